"""Solid voxelization on the GPU: starts the kernels of ``kernels/voxelize.cu`` and ``kernels/downsample.cu``."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy

from hpc.cuda_source import load_kernels

KERNEL_DIR = Path(__file__).parent / "kernels"
NUM_THREADS = 128
# A triangle of a box covers thousands of rays: its rows are shared by this many threads.
NUM_ROW_SHARES = 8


def solid_occupancy(lattice: numpy.ndarray, faces: numpy.ndarray, grid_size: int, xp: ModuleType) -> Any:
    """Voxelize a mesh whose int32 ``(vertex, xyz)`` lie on the lattice; returns uint8 ``(z, y, x)``."""
    module = load_kernels(KERNEL_DIR / "voxelize.cu")
    num_rows, num_words = grid_size + 1, grid_size // 32 + 1
    toggles = xp.zeros((3, num_rows, num_rows, num_words), dtype=xp.uint32)
    occupancy = xp.empty((grid_size,) * 3, dtype=xp.uint8)
    size = numpy.int32(grid_size)
    if len(faces):
        mesh = (xp.asarray(lattice), xp.asarray(faces), numpy.int32(len(faces)))
        toggle = module.get_function("toggle_crossings")
        num_blocks = (_num_blocks(len(faces)), NUM_ROW_SHARES)
        for ray_axis in range(3):
            toggle(num_blocks, (NUM_THREADS,), (*mesh, numpy.int32(ray_axis), size, toggles[ray_axis]))
    layer_size = num_rows * num_words
    scans = (("scan_x", num_rows**2), ("scan_y", layer_size), ("scan_z", layer_size))
    for (name, num_threads), bits in zip(scans, toggles, strict=True):
        module.get_function(name)((_num_blocks(num_threads),), (NUM_THREADS,), (bits, size))
    vote = module.get_function("vote")
    vote((_num_blocks(grid_size**3),), (NUM_THREADS,), (*toggles, size, occupancy))
    return occupancy


def downsample_majority(occupancy: Any, target_size: int, xp: ModuleType) -> Any:
    """Reduce uint8 ``(z, y, x)``: 1 where at least half of the fine voxels are 1."""
    coarse = xp.empty((target_size,) * 3, dtype=xp.uint8)
    arguments = (occupancy, numpy.int32(occupancy.shape[0]), numpy.int32(target_size), coarse)
    kernel = load_kernels(KERNEL_DIR / "downsample.cu").get_function("downsample_majority")
    kernel((_num_blocks(target_size**3),), (NUM_THREADS,), arguments)
    return coarse


def _num_blocks(num_threads: int) -> int:
    return -(-num_threads // NUM_THREADS)
