"""
How well `--surface ses` agrees with `--surface pymol`: IoU of the solids of real structures, and the worst drawn.

    python benchmarks/surface_agreement.py --structures DIR --num 200 --out docs/ses_worst.png

Both solids on the same 256^3 grid, and reduced to 64^3 and 32^3. The pictures show the slice with the largest
difference of the three worst at 256^3: both, only PyMOL, only ses.
"""

import argparse
import hashlib
from pathlib import Path

import numpy as np
from peers import iou

from afmsim.pymol_surface import surface_mesh
from afmsim.solvent_surface import placement_of_atoms, solvent_excluded_occupancy
from afmsim.source_list import estimated_num_atoms, find_sources
from afmsim.structure import read_structure
from afmsim.voxelize import downsample_majority, voxelize_mesh
from hpc.atomic_file import atomic_write
from hpc.progress import Progress

SIZES = (256, 64, 32)
NUM_WORST = 3


def both_solids(path: Path) -> tuple[np.ndarray, np.ndarray, float]:
    """Return the solids of PyMOL and of the atoms, uint8 (z, y, x), and the voxel's edge in nm."""
    structure = read_structure(path)
    placement = placement_of_atoms(structure.positions_nm, structure.radii_nm)
    mesh = surface_mesh(structure.mmcif_text)
    solid = solvent_excluded_occupancy(structure.positions_nm, structure.radii_nm, placement)
    return voxelize_mesh(mesh.vertices_nm, mesh.faces, placement), solid, placement.voxel_size_nm


def draw_worst(worst: list[tuple[float, str, Path]], out: Path) -> None:
    """Draw one slice of each."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes_row = plt.subplots(1, len(worst), figsize=(5 * len(worst), 5), squeeze=False, layout="constrained")
    for axes, (value, name, path) in zip(axes_row[0], worst, strict=True):
        of_pymol, of_atoms, voxel_size_nm = both_solids(path)
        z = int((of_pymol != of_atoms).sum(axis=(1, 2)).argmax())
        colours = np.ones((*of_pymol[z].shape, 3))
        colours[(of_pymol[z] & of_atoms[z]) > 0] = (0.75, 0.75, 0.75)
        colours[of_pymol[z] > of_atoms[z]] = (0.85, 0.2, 0.1)
        colours[of_atoms[z] > of_pymol[z]] = (0.1, 0.3, 0.85)
        edge_nm = 256 * voxel_size_nm
        axes.imshow(colours, origin="lower", extent=(0, edge_nm, 0, edge_nm))
        axes.set_title(f"{name}: IoU {value:.3f}, z = {z * voxel_size_nm:.1f} nm")
        axes.set_xlabel("x (nm)")
        axes.set_ylabel("y (nm)")
    figure.suptitle("grey: both, red: PyMOL only, blue: ses only")
    with atomic_write(out) as temporary:
        figure.savefig(temporary, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=Path, required=True, help="folder or list of structures")
    parser.add_argument("--num", type=int, default=200, help="structures to take (default: %(default)s)")
    parser.add_argument("--max-atoms", type=int, default=20_000, help="leave out larger ones (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="picture of the worst (.png)")
    args = parser.parse_args()
    sources = [source for source in find_sources(args.structures) if estimated_num_atoms(source.path) <= args.max_atoms]
    # A draw that depends on the names alone.
    sources = sorted(sources, key=lambda source: hashlib.sha256(source.protein_id.encode()).digest())[: args.num]
    found: list[tuple[float, str, Path]] = []
    table = []
    with Progress(len(sources), "structures") as progress:
        for number, source in enumerate(sources):
            first, second, _ = both_solids(source.path)
            pairs = [(downsample_majority(first, size), downsample_majority(second, size)) for size in SIZES]
            values = [iou(one, other) for one, other in pairs]
            table.append([*values, second.sum() / first.sum()])
            found.append((values[0], source.protein_id, source.path))
            progress.update(number + 1)
    columns = np.array(table)
    print(f"{len(columns)} structures    mean  median   least")
    for column, name in enumerate([f"IoU at {size}^3" for size in SIZES] + ["volume ses / PyMOL"]):
        values = columns[:, column]
        print(f"{name:18} {values.mean():>7.4f} {np.median(values):>7.4f} {values.min():>7.4f}")
    worst = sorted(found)[:NUM_WORST]
    print("worst:", ", ".join(f"{name} {value:.4f}" for value, name, _ in worst))
    draw_worst(worst, args.out)


if __name__ == "__main__":
    main()
