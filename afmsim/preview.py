"""
Draw a contact sheet of a dataset: a row per protein, its views side by side, heights (or thicknesses) in nm.

    python -m afmsim.preview --store dataset.zarr --out sheet.png
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from afmsim.dataset import Dataset

# Edge of one picture on the sheet.
_TILE_INCH = 1.5
_SCALE_BARS_NM = (1, 2, 5, 10, 20, 50, 100)


def main(argv: list[str] | None = None) -> int:
    """Draw the sheet that the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m afmsim.preview",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--store", type=Path, required=True, help="dataset to look at")
    parser.add_argument("--out", type=Path, required=True, help="picture to write (.png, .pdf or .svg)")
    parser.add_argument("--num-proteins", type=int, default=8, help="rows of the sheet (default: 8)")
    parser.add_argument("--num-views", type=int, default=8, help="columns of the sheet (default: 8)")
    args = parser.parse_args(argv)

    from afmsim.dataset import open_dataset

    try:
        draw_contact_sheet(open_dataset(args.store), args.out, args.num_proteins, args.num_views)
    except ValueError as error:
        sys.stderr.write(f"afmsim.preview: {error}\n")
        return 2
    return 0


def draw_contact_sheet(dataset: "Dataset", out: Path, num_proteins: int = 8, num_views: int = 8) -> None:
    """
    Write a picture of the first views of proteins spread evenly over the dataset.

    Raises
    ------
    ValueError
        No protein of the dataset is done.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    import numpy as np

    from hpc.atomic_file import atomic_write

    done = dataset.done_indices
    if not len(done):
        raise ValueError(f"{dataset.path} holds no finished protein yet; build it with `python -m afmsim.build`")
    chosen = done[np.unique(np.linspace(0, len(done) - 1, min(num_proteins, len(done))).astype(int))]
    num_views = min(num_views, dataset.num_views)
    figure, axes = plt.subplots(
        len(chosen),
        num_views,
        figsize=((num_views + 0.9) * _TILE_INCH, len(chosen) * _TILE_INCH),
        squeeze=False,
        layout="constrained",
    )
    for axes_row, index in zip(axes, chosen, strict=True):
        _draw_row(figure, axes_row, dataset, int(index))
    with atomic_write(out) as temporary:
        figure.savefig(temporary, dpi=120)
    plt.close(figure)


def _draw_row(figure: Any, axes_row: "np.ndarray", dataset: "Dataset", index: int) -> None:
    """Draw one protein: views of equal scale, a scale bar, a colour bar in nm."""
    views_nm = dataset.views_nm(index, range(len(axes_row)))
    label, colours = ("height (nm)", "afmhot") if dataset.rendering == "height" else ("thickness (nm)", "gray")
    edge_nm = dataset.field_of_view_nm(index)
    for axes, view_nm in zip(axes_row, views_nm, strict=True):
        image = axes.imshow(view_nm, cmap=colours, vmin=0, vmax=views_nm.max(), extent=(0, edge_nm, 0, edge_nm))
        axes.set_xticks([])
        axes.set_yticks([])
    bar_nm = max((size for size in _SCALE_BARS_NM if size < edge_nm / 2), default=edge_nm / 4)
    axes_row[0].plot([edge_nm * 0.06, edge_nm * 0.06 + bar_nm], [edge_nm * 0.07] * 2, color="white", linewidth=3)
    axes_row[0].text(edge_nm * 0.06, edge_nm * 0.11, f"{bar_nm:g} nm", color="white", fontsize=8, va="bottom")
    axes_row[0].set_ylabel(dataset.protein_ids[index], fontsize=9)
    figure.colorbar(image, ax=list(axes_row), label=label, pad=0.01, aspect=12)


if __name__ == "__main__":
    sys.exit(main())
