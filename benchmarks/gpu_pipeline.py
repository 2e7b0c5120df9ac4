"""
Proteins per second of the GPU's part of a build: solid, downsampling, 25 views, a tip, results in host memory.

    python benchmarks/gpu_pipeline.py --structures DIR --num 50

Several proteins are in flight on streams, as in a build. Results are first compared with those of the CPU.
"""

import argparse
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from peers import structures_of_all_sizes

from afmsim.build_config import BuildConfig
from afmsim.pymol_surface import SurfaceMesh, surface_mesh
from afmsim.sample import make_sample
from afmsim.solvent_surface import AtomSpheres, placement_of_atoms, solvent_excluded_occupancy
from afmsim.tip import Tip, scan
from hpc.array_backend import has_gpu, to_numpy
from hpc.in_flight import tasks_in_flight


def sample_and_scan(shape: SurfaceMesh | AtomSpheres, name: str, config: BuildConfig, xp: ModuleType) -> Any:
    """Make a sample, and its views under a tip of 1 nm."""
    sample = make_sample(shape, name, config, xp)
    heights_nm = xp.asarray(sample.arrays["height"]).astype(xp.float32) * np.float32(sample.height_scale_nm)
    return sample, to_numpy(scan(heights_nm, Tip(1.0), sample.pixel_size_nm, xp))


def per_second(functions: list[Any], xp: ModuleType, num_rounds: int = 5) -> float:
    """Return how many of the functions end in a second, in flight."""
    with tasks_in_flight(xp) as computing:
        for task in [computing.submit(function) for function in functions]:
            task.result()
        started_s = time.perf_counter()
        for task in [computing.submit(function) for function in functions * num_rounds]:
            task.result()
    return len(functions) * num_rounds / (time.perf_counter() - started_s)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=Path, required=True, help="folder or list of structures")
    parser.add_argument("--num", type=int, default=50, help="structures of all sizes to take (default: %(default)s)")
    args = parser.parse_args()
    if not has_gpu():
        sys.stderr.write("no CUDA device on this machine: nothing measured\n")
        return 2
    import cupy

    structures = structures_of_all_sizes(args.structures, args.num)
    config = BuildConfig()
    meshes = [surface_mesh(structure.mmcif_text) for structure in structures]
    for structure, mesh in list(zip(structures, meshes, strict=True))[:3]:
        ours = make_sample(mesh, structure.protein_id, config, cupy)
        expected = make_sample(mesh, structure.protein_id, config, np)
        num_different = int((ours.arrays["occupancy_fine"] != expected.arrays["occupancy_fine"]).sum())
        assert num_different == 0, f"{structure.protein_id}: {num_different} bytes differ between GPU and CPU"
    print(cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode())
    works = [
        lambda mesh=mesh, name=structure.protein_id: sample_and_scan(mesh, name, config, cupy)
        for structure, mesh in zip(structures, meshes, strict=True)
    ]
    print(f"voxelize, downsample, 25 views, tip: {per_second(works, cupy):.1f} proteins per second")
    solids = [
        lambda structure=structure: solvent_excluded_occupancy(
            structure.positions_nm,
            structure.radii_nm,
            placement_of_atoms(structure.positions_nm, structure.radii_nm),
            cupy,
        )
        for structure in structures
    ]
    print(f"ses at 256^3 alone:                  {per_second(solids, cupy):.1f} proteins per second")
    used_gb = cupy.get_default_memory_pool().total_bytes() / 1e9
    print(f"device memory held by the pool:      {used_gb:.2f} GB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
