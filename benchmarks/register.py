"""
Seconds to find all poses of a protein from its height maps, on the CPU and, where there is one, on a GPU.

    python benchmarks/register.py --num 5
    python benchmarks/register.py --store dataset.zarr --num 20

Beside the seconds stand the errors of the orientations, in degrees. Proteins come from a store, or from structure
files, seen as a build with `--surface ses` sees them. The first call compiles and is told apart.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numba
import numpy as np
from peers import structures_of_all_sizes

import hpc  # noqa: F401  # settings of threads, before any compiled code runs
from afmsim.build_config import BuildConfig
from afmsim.dataset import open_dataset
from afmsim.sample import make_sample
from afmsim.solvent_surface import AtomSpheres
from hpc.array_backend import array_module, has_gpu
from recon.poses.pose_error import pose_errors_deg
from recon.register import register

EXAMPLES = Path(__file__).parents[1] / "examples" / "structures"


@dataclass(frozen=True)
class SeenBody:
    """A body, its height maps and its true orientations."""

    name: str
    heights_nm: np.ndarray
    pixel_size_nm: float
    rotations: np.ndarray
    """world -> view"""
    body: np.ndarray
    """0/1 (z, y, x) in the world's axes"""


@dataclass(frozen=True)
class Timing:
    """What one registration took, and how right it is."""

    elapsed_s: float
    processor_s: float
    """seconds of all cores, which other work on the machine does not change"""
    median_error_deg: float
    largest_error_deg: float


def bodies_of_store(path: Path, num_bodies: int, num_views: int) -> Iterator[SeenBody]:
    """Yield finished proteins from all over a store."""
    dataset = open_dataset(path)
    done = dataset.done_indices
    for protein in done[np.unique(np.linspace(0, len(done) - 1, num_bodies).astype(int))]:
        yield SeenBody(
            dataset.protein_ids[protein],
            dataset.heights_nm(protein, range(num_views)),
            float(dataset.pixel_size_nm[protein]),
            dataset.view_rotations(protein)[:num_views].astype(float),
            dataset.occupancy(protein),
        )


def bodies_of_structures(path: Path, num_bodies: int, num_views: int) -> Iterator[SeenBody]:
    """Yield structures of all sizes."""
    config = BuildConfig(surface="ses", num_views=num_views)
    for structure in structures_of_all_sizes(path, num_bodies):
        spheres = AtomSpheres(structure.positions_nm, structure.radii_nm)
        sample = make_sample(spheres, structure.protein_id, config)
        heights_nm = sample.arrays["height"].astype(np.float32) * np.float32(sample.height_scale_nm)
        rotations = sample.arrays["view_rotation"].astype(float)
        yield SeenBody(structure.protein_id, heights_nm, sample.pixel_size_nm, rotations, sample.arrays["occupancy"])


def timed(seen: SeenBody, xp: ModuleType) -> Timing:
    """Register once."""
    started_s, started_processor_s = time.perf_counter(), time.process_time()
    found = register(seen.heights_nm, seen.pixel_size_nm, xp=xp)
    elapsed_s, processor_s = time.perf_counter() - started_s, time.process_time() - started_processor_s
    errors_deg = pose_errors_deg(found.rotations @ seen.rotations[0], seen.rotations, seen.body)
    return Timing(elapsed_s, processor_s, float(np.median(errors_deg)), float(errors_deg.max()))


def print_table(what: str, bodies: list[SeenBody], xp: ModuleType) -> None:
    """Register all bodies and print a row for each."""
    first = timed(bodies[0], xp)
    print(f"{what}; the first call, which compiles, took {first.elapsed_s:.2f} s")
    print(f"{'protein':16} {'seconds':>9} {'of cores':>9} {'median error':>13} {'largest':>9}")
    timings = [timed(seen, xp) for seen in bodies]
    median = Timing(*(statistics.median(column) for column in zip(*(vars(t).values() for t in timings), strict=True)))
    for name, timing in [*((seen.name, t) for seen, t in zip(bodies, timings, strict=True)), ("median", median)]:
        print(
            f"{name:16} {timing.elapsed_s:>9.3f} {timing.processor_s:>9.3f} {timing.median_error_deg:>13.3f} "
            f"{timing.largest_error_deg:>9.3f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, help="dataset of height maps (default: built from --structures)")
    parser.add_argument(
        "--structures", type=Path, default=EXAMPLES, help="folder or list of structures (default: the examples)"
    )
    parser.add_argument("--num", type=int, default=5, help="proteins to take (default: %(default)s)")
    parser.add_argument("--num-views", type=int, default=8, help="views of each (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads (default: %(default)s)")
    args = parser.parse_args()
    numba.set_num_threads(min(args.threads, numba.config.NUMBA_NUM_THREADS))
    if args.store is None:
        bodies = list(bodies_of_structures(args.structures, args.num, args.num_views))
    else:
        bodies = list(bodies_of_store(args.store, args.num, args.num_views))
    size = bodies[0].heights_nm.shape[1]
    print(f"{len(bodies)} proteins, {args.num_views} views of {size} x {size} pixels")
    print_table(f"CPU, {numba.get_num_threads()} threads", bodies, np)
    if not has_gpu():
        print("no CUDA device on this machine: nothing measured on a GPU")
        return
    xp = array_module("gpu")
    print_table(xp.cuda.runtime.getDeviceProperties(xp.cuda.Device().id)["name"].decode(), bodies, xp)


if __name__ == "__main__":
    main()
