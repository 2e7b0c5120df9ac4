"""
Draw what recon.evaluate wrote for methods that find orientations: two PNG pictures.

    iou_by_views.png   mean IoU and its interval by number of views, one line per method, beside the paper's
    bodies.png         best, median and worst prediction beside the truth
"""

import argparse
import csv
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hpc.logs import set_up_logging

if TYPE_CHECKING:
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

PAPER_IOU = {3: 0.50, 5: 0.51, 8: 0.51, 10: 0.52}
"""Validation IoU in table 1 of the paper, by number of views."""
WORDS_OF_METHOD = {
    "known": "carved with true orientations",
    "register": "registered and carved",
    "register+refine": "registered, carved and refined",
}
SHOWN = ("best", "median", "worst")
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
        for name, figure in (
            ("iou_by_views", views_figure(arguments.table)),
            ("bodies", bodies_figure(arguments.table)),
        ):
            write_figure(figure, arguments.out / f"{name}.png")
    except OSError as error:
        sys.stderr.write(f"recon.shape_figures: {error}; score methods with recon.evaluate --out first\n")
        return 2
    return 0


def views_figure(table: Path) -> "Figure":
    """Draw IoU by number of views, one line per method."""
    from matplotlib.figure import Figure

    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axes = figure.subplots()
    for method in dict.fromkeys(row["method"] for row in rows):
        own = [row for row in rows if row["method"] == method]
        views = [int(row["views"]) for row in own]
        mean, low, high = ([float(row[name]) for row in own] for name in ("iou_mean", "iou_low", "iou_high"))
        (line,) = axes.plot(views, mean, "o-", ms=4, label=WORDS_OF_METHOD[method])
        axes.fill_between(views, low, high, alpha=0.2, color=line.get_color(), lw=0)
    axes.plot(list(PAPER_IOU), list(PAPER_IOU.values()), "D--", color="#94a3b8", ms=4, label="paper, validation")
    axes.set(xlabel="number of views", ylabel="mean IoU, unseen complexes", ylim=(0, 1))
    axes.grid(color="#e2e8f0")
    axes.legend(frameon=False, loc="lower right")
    return figure


def bodies_figure(table: Path) -> "Figure":
    """Draw the best, the median and the worst prediction beside the truth, a row each."""
    import numpy as np
    from matplotlib.figure import Figure

    from recon.shaded_volume import seen_from_front, seen_from_top, shaded_picture

    figure = Figure(figsize=(8, 6.4), layout="constrained")
    grid = figure.subplots(len(SHOWN), 4)
    for axes_row, name in zip(grid, SHOWN, strict=True):
        with np.load(table.with_name(f"{table.stem}_{name}.npz")) as shown:
            truth, predicted = shown["occupancy"], shown["probability"] >= 0.5
            words = f"{name}: {shown['protein_id']}\nIoU {float(shown['iou']):.2f}, {int(shown['views'])} views"
        pictures = [
            shaded_picture(seen(body), color)
            for seen in (seen_from_top, seen_from_front)
            for body, color in ((truth, _TRUTH_RGB), (predicted, _PREDICTION_RGB))
        ]
        for axes, picture in zip(axes_row, pictures, strict=True):
            axes.imshow(picture)
            axes.set(xticks=[], yticks=[])
        axes_row[0].set_ylabel(words, fontsize=9)
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
