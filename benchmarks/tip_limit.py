"""
How much of a body a blunt tip can tell at best: a plot and a table of IoU over the tip's radius.

    python benchmarks/tip_limit.py --store dataset.zarr --out docs/tip_limit.png

A spherical tip cannot enter clefts narrower than itself. What it can prove empty, in any number of views of exact poses
without noise and whatever the shape of its shank, is what some ball of its radius outside the body covers; what is left
is the morphological closing of the body by that ball (Serra, Image Analysis and Mathematical Morphology, 1982). So the
IoU of body and closing bounds all carving, and only what has learned how proteins look can get beyond it.
"""

import argparse
from pathlib import Path

import numpy as np
from peers import iou
from scipy.ndimage import distance_transform_edt

from afmsim.dataset import open_dataset
from afmsim.voxelize import downsample_majority
from hpc.atomic_file import atomic_write
from hpc.progress import Progress

RADII_NM = (0.25, 0.5, 1.0, 2.0)
GRID_SIZE = 128
SCORED_SIZES = (128, 32)


def closed_by_ball(body: np.ndarray, radius_nm: float, voxel_size_nm: float) -> np.ndarray:
    """Return what no ball outside the body covers, uint8 (z, y, x); beyond the grid there is room for balls."""
    room = int(np.ceil(radius_nm / voxel_size_nm)) + 2
    padded = np.pad(body > 0, room)
    centers = distance_transform_edt(~padded) * voxel_size_nm >= radius_nm  # where a ball does not touch the body
    closed = distance_transform_edt(~centers) * voxel_size_nm >= radius_nm
    return (closed | padded)[room:-room, room:-room, room:-room].astype(np.uint8)


def best_ious(fine: np.ndarray, edge_nm: float) -> list[list[float]]:
    """Return the IoU of a body and its closing, by radius and by size of the grid on which they are compared."""
    body = downsample_majority(fine, GRID_SIZE)
    closings = [closed_by_ball(body, radius_nm, edge_nm / GRID_SIZE) for radius_nm in RADII_NM]
    return [
        [iou(downsample_majority(body, size), downsample_majority(closed, size)) for size in SCORED_SIZES]
        for closed in closings
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True, help="dataset of afmsim.build")
    parser.add_argument("--num", type=int, default=50, help="proteins, taken evenly (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, help="plot to write (.png)")
    args = parser.parse_args()
    dataset = open_dataset(args.store)
    proteins = dataset.done_indices[np.linspace(0, len(dataset.done_indices) - 1, args.num).astype(int)]
    edges_nm = dataset.voxel_size_nm[proteins] * dataset.config["grid_size"]
    rows = []
    with Progress(len(proteins), "proteins") as progress:
        for protein, edge_nm in zip(proteins, edges_nm, strict=True):
            rows.append(best_ious(dataset.occupancy_fine(int(protein)), float(edge_nm)))
            progress.update(len(rows))
    table = np.array(rows)  # (protein, radius, size)
    print(f"{len(proteins)} proteins, {edges_nm.min():.1f} to {edges_nm.max():.1f} nm long")
    print("tip radius (nm)" + "".join(f"   IoU at {size}^3 (5 % to 95 %)" for size in SCORED_SIZES))
    for radius_nm, of_radius in zip(RADII_NM, table.swapaxes(0, 1), strict=True):
        cells = zip(of_radius.mean(axis=0), *np.percentile(of_radius, (5, 95), axis=0), strict=True)
        print(f"{radius_nm:>15g}" + "".join(f"{mean:>10.3f} ({low:.3f} to {high:.3f})" for mean, low, high in cells))
    draw(table[:, :, -1], args.out)


def draw(values: np.ndarray, out: Path) -> None:
    """Draw the IoU of every protein over the radius."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.5, 4.2), layout="constrained")
    axes.semilogx(RADII_NM, values.T, color="0.8", linewidth=1)
    axes.semilogx(RADII_NM, values.mean(axis=0), "o-", label=f"mean of {len(values)} proteins")
    axes.set_xticks(RADII_NM, [f"{radius_nm:g}" for radius_nm in RADII_NM])
    axes.minorticks_off()
    axes.set_xlabel("radius of the tip (nm)")
    axes.set_ylabel(f"IoU of body and closing, {SCORED_SIZES[-1]}³ voxels")
    axes.set_ylim(0, 1)
    axes.legend()
    with atomic_write(out) as temporary:
        figure.savefig(temporary, dpi=90)


if __name__ == "__main__":
    main()
