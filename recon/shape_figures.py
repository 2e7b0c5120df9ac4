"""
Draw what recon.evaluate --out wrote, as PNG pictures.

    iou_by_views.png      mean IoU and its interval by number of views, one line per method, beside the paper's
    chamfer_by_views.png  mean distance of surfaces in nm
    pose_errors.png       errors of the orientations that were found
    calibration.png       share of voxels inside by predicted probability
    bodies.png            best, median and worst prediction beside the truth
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpc.logs import set_up_logging

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

_TRUTH_RGB, _PREDICTION_RGB = (0.45, 0.80, 0.76), (0.98, 0.70, 0.42)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `python -m recon.shape_figures`."""
    parser = argparse.ArgumentParser(
        prog="python -m recon.shape_figures",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--table", type=Path, required=True, help="table that recon.evaluate --out wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder for the pictures")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    arguments = build_parser().parse_args(argv)
    set_up_logging()
    try:
        for name, figure in table_figures(arguments.table).items():
            write_figure(figure, arguments.out / f"{name}.png")
    except (ValueError, OSError) as error:
        sys.stderr.write(f"recon.shape_figures: {error}; score methods with recon.evaluate --out first\n")
        return 2
    return 0


def table_figures(table: Path) -> "dict[str, Figure]":
    """Return all pictures of a table by name; without poses, none of their errors."""
    from recon.reporting.shape_charts import calibration_chart, chamfer_chart, iou_chart, pose_error_chart
    from recon.reporting.shape_results import read_calibration, read_scores, read_table

    rows = read_table(table)
    figures = {
        "iou_by_views": iou_chart(rows),
        "chamfer_by_views": chamfer_chart(rows),
        "pose_errors": pose_error_chart(read_scores(table)),
        "calibration": calibration_chart(read_calibration(table), max(row.views for row in rows)),
        "bodies": bodies_figure(table),
    }
    return {name: figure for name, figure in figures.items() if figure is not None}


def bodies_figure(table: Path) -> "Figure":
    """Draw the best, the median and the worst prediction beside the truth, a row each."""
    import numpy as np
    from matplotlib.figure import Figure

    from recon.reporting.shaded_volume import seen_from_front, seen_from_top, shaded_picture
    from recon.reporting.shape_results import SHOWN, beside

    figure = Figure(figsize=(8, 6.4), layout="constrained")
    grid = figure.subplots(len(SHOWN), 4)
    for axes_row, name in zip(grid, SHOWN, strict=True):
        with np.load(beside(table, name, ".npz")) as shown:
            truth, predicted = shown["occupancy"], shown["probability"] >= shown["threshold"]
            half_nm = float(shown["voxel_size_nm"]) * len(truth) / 2
            words = f"{name}: {shown['protein_id']}\nIoU {float(shown['iou']):.2f}, {int(shown['views'])} views"
        pictures = [
            shaded_picture(seen(body), color)
            for seen in (seen_from_top, seen_from_front)
            for body, color in ((truth, _TRUTH_RGB), (predicted, _PREDICTION_RGB))
        ]
        for axes, picture in zip(axes_row, pictures, strict=True):
            axes.imshow(picture, extent=(-half_nm, half_nm, -half_nm, half_nm))
            axes.tick_params(labelsize=6, length=2)
        axes_row[0].set_ylabel(words, fontsize=9)
        axes_row[-1].set_xlabel("nm", fontsize=7)
    for axes, title in zip(
        grid[0], ("truth, from above", "prediction", "truth, from the side", "prediction"), strict=True
    ):
        axes.set_title(title, fontsize=9)
    return figure


def write_figure(figure: "Figure", path: Path) -> None:
    """Write a PNG file whole or not at all."""
    from hpc.atomic_file import atomic_write

    with atomic_write(path) as temporary:
        figure.savefig(temporary, dpi=130)
    logger.info("wrote %s", path)


if __name__ == "__main__":
    sys.exit(main())
