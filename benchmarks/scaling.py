"""
How the cost of a protein grows with its atoms and its views, and what memory it takes: a plot and a table.

    python benchmarks/scaling.py --structures DIR --out docs/scaling.png

The grid is 256^3 for all: what is left to grow with the atoms are the spheres. PyMOL is no part of it.
"""

import argparse
import resource
from pathlib import Path

import numpy as np
from peers import median_s

from afmsim.orientation import random_rotations
from afmsim.render import height_maps, prepare_body
from afmsim.solvent_surface import placement_of_atoms, solvent_excluded_occupancy
from afmsim.source_list import estimated_num_atoms, find_sources
from afmsim.structure import Structure, read_structure
from afmsim.voxelize import downsample_majority, pack_occupancy
from hpc.atomic_file import atomic_write

NUM_VIEWS = (1, 5, 10, 25, 50, 100)


def structures_over_decades(path: Path, num_structures: int) -> list[Structure]:
    """Return structures whose sizes are spread evenly on a logarithmic scale, as far as there are any."""
    sources = sorted(find_sources(path), key=lambda source: estimated_num_atoms(source.path))
    sizes = np.log([estimated_num_atoms(source.path) for source in sources])
    wanted = np.linspace(sizes[0], sizes[-1], num_structures)
    chosen = np.unique(np.abs(sizes - wanted[:, None]).argmin(axis=1))
    return [read_structure(sources[index].path) for index in chosen]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=Path, required=True, help="folder or list of structures")
    parser.add_argument("--num", type=int, default=20, help="structures of all sizes to take (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="plot to write (.png)")
    args = parser.parse_args()
    num_atoms, solid_s, rest_s, views_s = [], [], [], []
    print("protein       atoms   solid (ms)   25 views (ms)   reduce, pack (ms)   peak memory so far (GB)")
    for structure in structures_over_decades(args.structures, args.num):
        positions_nm, radii_nm = structure.positions_nm, structure.radii_nm
        placement = placement_of_atoms(positions_nm, radii_nm)
        seconds, solid = median_s(lambda: solvent_excluded_occupancy(positions_nm, radii_nm, placement))
        solid_s.append(seconds)
        body = prepare_body(solid)
        assert body is not None
        edge_nm = body.field_of_view_voxels * placement.voxel_size_nm
        rotations = random_rotations(max(NUM_VIEWS), 0, structure.protein_id)
        sizes = (placement.voxel_size_nm, edge_nm / 224, 224)
        views_s.append([median_s(lambda n=n: height_maps(body, rotations[:n], *sizes), 1)[0] for n in NUM_VIEWS])
        rest_s.append(median_s(lambda: (downsample_majority(solid, 32), pack_occupancy(solid)))[0])
        num_atoms.append(structure.num_atoms)
        peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        print(
            f"{structure.protein_id:10} {structure.num_atoms:>8} {solid_s[-1] * 1e3:>12.1f} "
            f"{views_s[-1][NUM_VIEWS.index(25)] * 1e3:>15.1f} {rest_s[-1] * 1e3:>19.1f} {peak_gb:>25.2f}",
            flush=True,
        )
    slope_s, start_s = np.polyfit(num_atoms, solid_s, 1)
    print(f"solid: {start_s * 1e3:.0f} ms + {slope_s * 1e6:.2f} ms per 1000 atoms")
    slope_s, start_s = np.polyfit(NUM_VIEWS, np.median(views_s, axis=0), 1)
    print(f"views, median protein: {start_s * 1e3:.1f} ms + {slope_s * 1e3:.2f} ms per view")
    draw(num_atoms, solid_s, np.array(views_s), args.out)


def draw(num_atoms: list[int], solid_s: list[float], views_s: np.ndarray, out: Path) -> None:
    """Draw time over atoms and over views."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    left.loglog(num_atoms, np.array(solid_s) * 1e3, "o", label="solid, 256³")
    left.loglog(num_atoms, views_s[:, NUM_VIEWS.index(25)] * 1e3, "s", label="25 views, 224 x 224 pixels")
    left.set_xlabel("heavy atoms")
    left.set_ylabel("time (ms)")
    left.legend()
    for times_s in views_s:
        right.plot(NUM_VIEWS, times_s * 1e3, color="0.7", linewidth=1)
    right.plot(NUM_VIEWS, np.median(views_s, axis=0) * 1e3, "o-", label="median protein")
    right.set_xlabel("views")
    right.set_ylabel("time (ms)")
    right.legend()
    with atomic_write(out) as temporary:
        figure.savefig(temporary, dpi=90)


if __name__ == "__main__":
    main()
