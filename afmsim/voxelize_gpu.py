"""Solid voxelization on the GPU: starts the kernels of ``kernels/voxelize.cu`` and ``kernels/downsample.cu``."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy

from hpc.cuda_source import Kernels

KERNEL_DIR = Path(__file__).parent / "kernels"
# A triangle of a box covers thousands of rays: its rows are shared by this many threads.
NUM_ROW_SHARES = 8


def solid_occupancy(lattice: numpy.ndarray, faces: numpy.ndarray, grid_size: int, xp: ModuleType) -> Any:
    """Voxelize a mesh whose int32 ``(vertex, xyz)`` lie on the lattice; returns uint8 ``(z, y, x)``."""
    kernels = Kernels(KERNEL_DIR / "voxelize.cu")
    num_rows, num_words = grid_size + 1, grid_size // 32 + 1
    toggles = xp.zeros((3, num_rows, num_rows, num_words), dtype=xp.uint32)
    occupancy = xp.empty((grid_size,) * 3, dtype=xp.uint8)
    size = numpy.int32(grid_size)
    if len(faces):
        mesh = (xp.asarray(lattice), xp.asarray(faces), numpy.int32(len(faces)))
        for ray_axis in range(3):
            arguments = (*mesh, numpy.int32(ray_axis), size, toggles[ray_axis])
            kernels.start("toggle_crossings", len(faces), arguments, NUM_ROW_SHARES)
    layer_size = num_rows * num_words
    scans = (("scan_x", num_rows**2), ("scan_y", layer_size), ("scan_z", layer_size))
    for (name, num_threads), bits in zip(scans, toggles, strict=True):
        kernels.start(name, num_threads, (bits, size))
    kernels.start("vote", grid_size**3, (*toggles, size, occupancy))
    return occupancy


def downsample_majority(occupancy: Any, target_size: int, xp: ModuleType) -> Any:
    """Reduce uint8 ``(z, y, x)``: 1 where at least half of the fine voxels are 1."""
    coarse = xp.empty((target_size,) * 3, dtype=xp.uint8)
    arguments = (occupancy, numpy.int32(occupancy.shape[0]), numpy.int32(target_size), coarse)
    Kernels(KERNEL_DIR / "downsample.cu").start("downsample_majority", target_size**3, arguments)
    return coarse
