"""The report's figures, as PNG files in base64."""

import base64
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np

from recon.metrics import iou_per_protein
from recon.reporting.run_results import Prediction, RunResult
from recon.reporting.shaded_volume import seen_from_front, seen_from_top, shaded_picture

matplotlib.use("Agg")
import matplotlib.pyplot as plt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAPER_IOU = {3: (0.89, 0.50), 5: (0.91, 0.51), 8: (0.92, 0.51), 10: (0.92, 0.52)}
"""Training and validation IoU in table 1 of the paper, by number of views."""

_TRAIN_COLOR, _VALIDATION_COLOR, _PAPER_COLOR = "#0f766e", "#c2410c", "#94a3b8"
_TRUTH_RGB, _PREDICTION_RGB = (0.45, 0.80, 0.76), (0.98, 0.70, 0.42)
_NUM_IMAGES_SHOWN = 2
_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#64748b",
    "axes.labelcolor": "#334155",
    "xtick.color": "#64748b",
    "ytick.color": "#64748b",
    "axes.grid": True,
    "grid.color": "#e2e8f0",
    "legend.frameon": False,
}


def training_curves(results: Sequence[RunResult]) -> str:
    """Draw loss and IoU by epoch, a row per run; return a data URI."""
    with plt.rc_context(_STYLE):
        figure, rows = plt.subplots(
            len(results), 2, figsize=(9, 2.8 * len(results)), layout="constrained", squeeze=False
        )
        for (loss_axes, iou_axes), result in zip(rows, results, strict=True):
            epochs = [row["epoch"] + 1 for row in result.history]
            for axes, quantity in ((loss_axes, "loss"), (iou_axes, "iou")):
                for split, color in (("train", _TRAIN_COLOR), ("validation", _VALIDATION_COLOR)):
                    values = [row[f"{split}_{quantity}"] for row in result.history]
                    axes.plot(epochs, values, color=color, label=_split_words(split))
                axes.set_xlabel("epoch")
                if 0 < result.record.config.single_view_epochs < len(epochs):
                    axes.axvline(result.record.config.single_view_epochs + 0.5, color=_PAPER_COLOR, ls=":")
            loss_axes.set_ylabel("cross-entropy (nats per voxel)")
            iou_axes.set(ylabel="IoU at threshold 0.5", ylim=(0, 1))
            loss_axes.set_title(result.name, loc="left", fontsize=10)
            iou_axes.legend()
        return data_uri(figure)


def iou_by_views(results: Sequence[RunResult]) -> str:
    """Draw IoU by number of views, with the mean training shape and the paper's values; return a data URI."""
    with plt.rc_context(_STYLE):
        figure, panels = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained", sharey=True)
        sides = (("train", _TRAIN_COLOR), ("validation", _VALIDATION_COLOR))
        for axes, (split, color), paper_column in zip(panels, sides, (0, 1), strict=True):
            for opacity, result in zip(_opacities(len(results)), results, strict=True):
                rows = [row for row in result.scores if row.split == split]
                label = result.name
                views = [row.views for row in rows]
                axes.plot(views, [row.iou_mean for row in rows], "o-", color=color, alpha=opacity, label=label)
                if split in result.baseline:
                    axes.axhline(result.baseline[split], color=color, ls=":", lw=1.2, alpha=opacity)
            axes.plot([], [], color=color, ls=":", label="mean training shape (no image)")
            paper_iou = [values[paper_column] for values in PAPER_IOU.values()]
            axes.plot(list(PAPER_IOU), paper_iou, "D--", color=_PAPER_COLOR, ms=4, lw=1, label="paper, 8 K proteins")
            axes.set(xlabel="number of views", ylim=(0, 1))
            axes.set_title(f"{_split_words(split)} proteins", loc="left", fontsize=10)
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2, fontsize=8)
        panels[0].set_ylabel("mean IoU")
        return data_uri(figure)


def learning_curve(results: Sequence[RunResult]) -> str:
    """Draw IoU by number of training proteins; return a data URI, empty where all runs have the same number."""
    alike: dict[tuple[str, int], list[RunResult]] = {}
    for result in sorted(results, key=lambda one: len(one.record.split.train)):
        alike.setdefault((result.record.config.frame, result.record.config.views), []).append(result)
    curves = {kind: own for kind, own in alike.items() if len({len(one.record.split.train) for one in own}) > 1}
    if not curves:
        return ""
    with plt.rc_context(_STYLE):
        figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
        for opacity, ((frame, views), own) in zip(_opacities(len(curves)), curves.items(), strict=True):
            for split, color in (("train", _TRAIN_COLOR), ("validation", _VALIDATION_COLOR)):
                points = [(len(one.record.split.train), row) for one in own if (row := one.nearest_score(views, split))]
                means = [row.iou_mean for _, row in points]
                ends = [(row.iou_mean - row.iou_low, row.iou_high - row.iou_mean) for _, row in points]
                axes.errorbar(
                    [count for count, _ in points],
                    means,
                    yerr=np.maximum(np.nan_to_num(np.array(ends).T), 0),
                    fmt="o-",
                    ms=4,
                    capsize=2,
                    color=color,
                    alpha=opacity,
                    label=f"{_split_words(split)}, views: {views}, frame: {frame}",
                )
        axes.set(xscale="log", xlabel="number of training proteins", ylabel="mean IoU", ylim=(0, 1))
        axes.legend(fontsize=8)
        return data_uri(figure)


def predictions_figure(predictions: Sequence[Prediction], threshold: float) -> str:
    """Draw images, truth and prediction of a few proteins, a row each; return a data URI."""
    titles = [
        "image 1",
        "image 2",
        "truth from top",
        "prediction from top",
        "truth from front",
        "prediction from front",
    ]
    with plt.rc_context(_STYLE | {"axes.grid": False}):
        figure, rows = plt.subplots(
            len(predictions),
            len(titles),
            figsize=(1.75 * len(titles), 1.95 * len(predictions) + 0.2),
            layout="constrained",
            squeeze=False,
        )
        for axes_row, prediction in zip(rows, predictions, strict=True):
            _draw_prediction(axes_row, prediction, threshold)
        for axes, title in zip(rows[0], titles, strict=True):
            axes.set_title(title, fontsize=8.5, color="#334155")
        return data_uri(figure)


def _draw_prediction(axes_row: "Sequence[Axes]", prediction: Prediction, threshold: float) -> None:
    for axes, image in zip(axes_row, prediction.images[:_NUM_IMAGES_SHOWN], strict=False):
        half_nm = prediction.field_of_view_nm / 2
        axes.imshow(image, cmap="afmhot", vmin=0, extent=(-half_nm, half_nm, -half_nm, half_nm))
    for axes in axes_row[len(prediction.images) : _NUM_IMAGES_SHOWN]:
        axes.axis("off")
    predicted = prediction.probability >= threshold
    bodies = [(prediction.occupancy, _TRUTH_RGB), (predicted, _PREDICTION_RGB)]
    half_nm = prediction.voxel_size_nm * len(prediction.occupancy) / 2
    pictures = [
        shaded_picture(seen(body), color) for seen in (seen_from_top, seen_from_front) for body, color in bodies
    ]
    for axes, picture in zip(axes_row[_NUM_IMAGES_SHOWN:], pictures, strict=True):
        axes.imshow(picture, extent=(-half_nm, half_nm, -half_nm, half_nm))
        axes.set_facecolor("#f8fafc")
    iou = iou_per_protein(prediction.probability[None], prediction.occupancy[None], threshold)[0]
    axes_row[0].set_ylabel(f"{prediction.protein_id}\nIoU {iou:.2f}", fontsize=9)
    for axes in axes_row:
        axes.tick_params(labelsize=6, length=2)
    axes_row[-1].set_xlabel("nm", fontsize=7)


def _split_words(split: str) -> str:
    return {"train": "training", "validation": "validation"}[split]


def _opacities(count: int) -> list[float]:
    return [1 - 0.6 * position / max(count - 1, 1) for position in range(count)][::-1]


def data_uri(figure: "Figure | Any") -> str:
    """Return a figure as a PNG file in base64, and close it."""
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=150)
    plt.close(figure)
    return png_data_uri(file.getvalue())


def png_data_uri(png: bytes) -> str:
    """Return a PNG file as a data URI."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
