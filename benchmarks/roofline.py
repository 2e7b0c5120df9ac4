"""
How near each GPU kernel comes to what the card can do: bytes and operations, the floor they imply, the share reached.

    python benchmarks/roofline.py --structures DIR

The floor is the larger of bytes / bandwidth and operations / rate of the card; which of them it is, is the limiter. The
bytes are those that must move once, the operations a count of what the source does, both by formula from the sizes of
the input. A share far below one with both floors low means that latency limits: too few threads, or loads that wait.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from peers import structures_of_all_sizes

from afmsim import render
from afmsim.orientation import random_rotations
from afmsim.pymol_surface import surface_mesh
from afmsim.solvent_surface import ball_rows, lag_voxels, placement_of_atoms, solvent_excluded_occupancy
from afmsim.tip import Tip, scan
from afmsim.voxelize import downsample_majority, placement_of_mesh, voxelize_mesh
from hpc.array_backend import has_gpu

GRID, VIEWS, IMAGE = 256, 25, 224
# Cores per multiprocessor by compute capability (CUDA C++ programming guide, arithmetic instructions).
CORES = {(7, 0): 64, (7, 5): 64, (8, 0): 64, (8, 6): 128, (8, 9): 128, (9, 0): 128}


@dataclass(frozen=True)
class Work:
    """One kernel family on one protein."""

    name: str
    run: Any
    num_bytes: float
    num_operations: float


def works(structure: Any, xp: Any) -> list[Work]:
    """Return what is timed, with its bytes and operations."""
    mesh = surface_mesh(structure.mmcif_text)
    placement = placement_of_mesh(mesh.vertices_nm, GRID)
    solid = voxelize_mesh(mesh.vertices_nm, mesh.faces, placement, xp)
    atoms = placement_of_atoms(structure.positions_nm, structure.radii_nm, GRID)
    body = render.prepare_body(solid, xp)
    assert body is not None
    rotations = random_rotations(VIEWS, 0, structure.protein_id)
    edge_nm = body.field_of_view_voxels * placement.voxel_size_nm
    sizes = (placement.voxel_size_nm, edge_nm / IMAGE, IMAGE)
    heights_nm = render.height_maps(body, rotations, *sizes, xp)
    probe = 0.14 / atoms.voxel_size_nm
    ball = ball_rows(probe + lag_voxels(probe, 0.17 / atoms.voxel_size_nm))
    num_bits = GRID**3 / 8
    num_pixels = VIEWS * IMAGE**2
    num_hits = float((heights_nm > 0).sum())
    # A triangle is tested against the rays of its box, about 3 per axis and 15 operations each, and three times.
    toggles = 3 * len(mesh.faces) * 10 * 15
    return [
        Work(
            "voxelize (toggle, scan, vote)",
            lambda: voxelize_mesh(mesh.vertices_nm, mesh.faces, placement, xp),
            36.0 * len(mesh.faces) + 3 * 3 * num_bits + GRID**3,
            toggles + 3 * GRID**3 / 32 * 12 + GRID**3 * 20,
        ),
        Work("downsample", lambda: downsample_majority(solid, 32, xp), float(GRID**3), float(GRID**3)),
        Work(
            "solvent-excluded solid",
            lambda: solvent_excluded_occupancy(structure.positions_nm, structure.radii_nm, atoms, xp),
            16.0 * structure.num_atoms + num_bits * 3 * (ball.radius + 1) + GRID**3,
            GRID**3 / 32 * (len(ball.offsets_zy) * 4 + 8 * ball.radius),
        ),
        Work(
            "prepare body", lambda: render.prepare_body(solid, xp), 2.0 * GRID**3 + 2 * body.cells.size, GRID**3 * 10.0
        ),
        Work(
            "25 height maps",
            lambda: render.height_maps(body, rotations, *sizes, xp),
            float(body.cells.size) + 4 * num_pixels,
            num_pixels * 20 + num_hits * 12 * 45,
        ),
        Work(
            "tip of 1 nm on 25 views",
            lambda: scan(heights_nm, Tip(1.0), edge_nm / IMAGE, xp),
            8.0 * num_pixels,
            num_pixels * 5 * (1.5 / (edge_nm / IMAGE)) ** 2 * 3,
        ),
    ]


def device_limits(cupy: Any) -> tuple[str, float, float]:
    """Return the card's name, its bandwidth in byte/s and its float32 instructions per second."""
    device = cupy.cuda.Device()
    found = cupy.cuda.runtime.getDeviceProperties(device.id)
    bandwidth = 2 * found["memoryClockRate"] * 1e3 * found["memoryBusWidth"] / 8
    capability = (found["major"], found["minor"])
    rate = found["multiProcessorCount"] * CORES.get(capability, 64) * found["clockRate"] * 1e3
    return found["name"].decode(), bandwidth, rate


def device_time_s(cupy: Any, function: Any, num_runs: int = 20) -> float:
    """Return the median time on the device between two events."""
    function()
    times_s = []
    for _ in range(num_runs):
        start, end = cupy.cuda.Event(), cupy.cuda.Event()
        start.record()
        function()
        end.record()
        end.synchronize()
        times_s.append(cupy.cuda.get_elapsed_time(start, end) / 1e3)
    return float(np.median(times_s))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=Path, required=True, help="folder or list of structures")
    args = parser.parse_args()
    if not has_gpu():
        sys.stderr.write("no CUDA device on this machine: nothing measured\n")
        return 2
    import cupy

    name, bandwidth, rate = device_limits(cupy)
    print(f"{name}: {bandwidth / 1e12:.2f} TB/s, {rate / 1e12:.1f} T instructions/s")
    structures = structures_of_all_sizes(args.structures, 9)
    structure = structures[len(structures) // 2]
    print(f"{structure.protein_id}, {structure.num_atoms} atoms, {GRID}^3 voxels")
    print(f"{'':32} {'time (ms)':>10} {'MB':>8} {'M ops':>8} {'floor (ms)':>11} {'share':>7}  limiter")
    for work in works(structure, cupy):
        seconds = device_time_s(cupy, work.run)
        by_bytes, by_operations = work.num_bytes / bandwidth, work.num_operations / rate
        floor_s = max(by_bytes, by_operations)
        limiter = "memory" if by_bytes >= by_operations else "arithmetic"
        if floor_s < 0.1 * seconds:
            limiter = "latency"
        print(
            f"{work.name:32} {seconds * 1e3:>10.3f} {work.num_bytes / 1e6:>8.1f} {work.num_operations / 1e6:>8.0f} "
            f"{floor_s * 1e3:>11.3f} {floor_s / seconds:>7.2f}  {limiter}",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
