"""Charts of the table of all methods: scores over views, errors of poses, calibration."""

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from recon.shapes.shape_score import ShapeScore
from recon.shapes.shape_tables import CalibrationRow, ShapeRow
from recon.shapes.shape_task import KNOWN, MEAN_SHAPE, PAPER, REFINE, REGISTER, VIEW

PAPER_IOU = {3: 0.50, 5: 0.51, 8: 0.51, 10: 0.52}
"""Validation IoU in table 1 of the paper, by number of views."""
WORDS_OF_METHOD = {
    MEAN_SHAPE: "mean training shape, no image",
    PAPER: "Pix2Vox++, axes of the file",
    VIEW: "Pix2Vox++, axes of the first view",
    KNOWN: "carved with true orientations",
    REGISTER: "registered and carved",
    REFINE: "registered, carved and refined",
}
_COLORS = dict(zip(WORDS_OF_METHOD, ("#a16207", "#7c3aed", "#db2777", "#1d4ed8", "#c2410c", "#0f766e"), strict=True))
_ERROR_BINS_DEG = [0.0, *np.geomspace(0.01, 180, 30).tolist()]


def iou_chart(rows: Sequence[ShapeRow]) -> Figure:
    """Draw mean IoU and its interval by number of views, beside the paper's."""

    def draw(axes: Axes, own: Sequence[ShapeRow], color: str) -> None:
        ends = ([row.iou_low for row in own], [row.iou_high for row in own])
        axes.fill_between([row.views for row in own], *ends, alpha=0.2, color=color, lw=0)

    figure, axes = _over_views(rows, "iou_mean", draw)
    axes.plot(list(PAPER_IOU), list(PAPER_IOU.values()), "D--", color="#94a3b8", ms=4, label="the paper, validation")
    axes.set(ylabel=f"mean IoU, {_proteins(rows)}", ylim=(0, 1))
    axes.legend(frameon=False, loc="lower right", fontsize=8)
    return figure


def chamfer_chart(rows: Sequence[ShapeRow]) -> Figure:
    """Draw the mean Chamfer distance by number of views."""
    figure, axes = _over_views(rows, "chamfer_nm_mean")
    axes.set(ylabel="mean Chamfer distance (nm)", yscale="log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter("{x:.2g}")
    axes.legend(frameon=False, fontsize=8)
    return figure


def pose_error_chart(scores: Sequence[ShapeScore]) -> Figure | None:
    """Draw how many proteins have which error of orientation, by number of views; None where none were found."""
    method = next((name for name in (REGISTER, REFINE) if any(score.method == name for score in scores)), None)
    own = [score for score in scores if score.method == method and np.isfinite(score.pose_error_deg)]
    if not own:
        return None
    figure, axes = _axes()
    counts = sorted({score.views for score in own})
    for shade, views in zip(np.linspace(0.35, 1, len(counts)), counts, strict=True):
        errors = [score.pose_error_deg for score in own if score.views == views]
        axes.hist(
            errors, _ERROR_BINS_DEG, histtype="step", color=(0.05, 0.46, 0.43, shade), lw=1.6, label=f"{views} views"
        )
    axes.set(xscale="symlog", xlim=(0, 180), xlabel="median error of a protein's orientations (degrees)")
    axes.set_xscale("symlog", linthresh=0.01)
    axes.set_ylabel("number of proteins")
    axes.legend(frameon=False, fontsize=8)
    return figure


def calibration_chart(rows: Sequence[CalibrationRow], views: int) -> Figure:
    """Draw the share of voxels that are inside by what was predicted, for one number of views."""
    figure, axes = _axes()
    axes.plot([0, 1], [0, 1], ":", color="#64748b", label="what a probability means")
    for method in dict.fromkeys(row.method for row in rows):
        own = [row for row in rows if (row.method, row.views) == (method, views) and row.num_voxels]
        probability, share = [row.mean_probability for row in own], [row.true_share for row in own]
        axes.plot(probability, share, "o-", ms=4, color=_COLORS[method], label=WORDS_OF_METHOD[method])
    axes.set(xlabel=f"predicted probability of a voxel, {views} views", ylabel="share of such voxels that are inside")
    axes.set(xlim=(0, 1), ylim=(0, 1))
    axes.legend(frameon=False, fontsize=8)
    return figure


def _over_views(
    rows: Sequence[ShapeRow], column: str, draw_more: Callable[[Axes, Sequence[ShapeRow], str], None] | None = None
) -> tuple[Figure, Axes]:
    """Draw one column by number of views, a line per method."""
    figure, axes = _axes()
    for method in dict.fromkeys(row.method for row in rows):
        own = [row for row in rows if row.method == method]
        values = [getattr(row, column) for row in own]
        color = _COLORS[method]
        axes.plot([row.views for row in own], values, "o-", ms=4, color=color, label=WORDS_OF_METHOD[method])
        if draw_more:
            draw_more(axes, own, color)
    axes.set_xlabel("number of views")
    return figure, axes


def _axes() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(6.5, 4), layout="constrained")
    axes = figure.subplots()
    axes.grid(color="#e2e8f0")
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _proteins(rows: Sequence[ShapeRow]) -> str:
    return {"test": "unseen proteins", "all": "all proteins"}.get(rows[0].split, f"{rows[0].split} proteins")
