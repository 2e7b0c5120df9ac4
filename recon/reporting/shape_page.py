"""The report's sections on the table of all methods."""

from collections.abc import Sequence
from math import isfinite
from pathlib import Path

from recon.reporting.figures import data_uri
from recon.reporting.page_parts import box, figure, table
from recon.reporting.shape_charts import WORDS_OF_METHOD, calibration_chart, chamfer_chart, iou_chart, pose_error_chart
from recon.reporting.shape_results import num_failures, read_calibration, read_scores, read_table
from recon.shape_figures import bodies_figure
from recon.shapes.shape_tables import ShapeRow

_HEADER = (
    "method",
    "views",
    "IoU",
    "aligned",
    "mirrored",
    "Chamfer, nm",
    "pose error",
    "within 5°",
    "calibration error",
    "time",
    "axes",
)
_AXES = {"view": "first view", "turned": "first view, stored grid", "pdb": "file"}


def shape_sections(path: Path) -> list[str]:
    """
    Return the sections of one table.

    Raises
    ------
    ValueError, OSError
        It is no table of recon.evaluate --out, or what lies beside it is missing.
    """
    rows, calibration = read_table(path), read_calibration(path)
    if not rows:
        raise ValueError(f"expected scores in {path}, found none; score methods with python -m recon.evaluate --out")
    most_views = max(row.views for row in rows)
    poses = pose_error_chart(read_scores(path))
    return [
        _headline(rows, most_views, num_failures(path)),
        "<h2>All methods on the same proteins</h2>",
        table(_HEADER, [_cells(row) for row in rows]),
        _NOTE,
        figure(
            "Intersection over union by number of views",
            data_uri(iou_chart(rows)),
            "Bands are 95 % bootstrap intervals of the mean over families of relatives. The paper's values are for its "
            "own proteins.",
        ),
        figure(
            "Distance of surfaces by number of views",
            data_uri(chamfer_chart(rows)),
            "Mean distance from one surface to the other, both ways, in nm.",
        ),
        figure(
            "Errors of the orientations that were found",
            data_uri(poses) if poses else "",
            "Each protein counts with the median error of its views relative to the first; turns that map the body "
            "onto itself are no error. Logarithmic above 0.01 degrees.",
        ),
        figure(
            "Does a probability mean what it says?",
            data_uri(calibration_chart(calibration, most_views)),
            "Voxels grouped by their predicted probability: on the dotted line, as many are inside as was said.",
        ),
        figure(
            "Best, median and worst prediction",
            data_uri(bodies_figure(path)),
            f"Of the last method of the table with {most_views} views; truth green, prediction orange.",
        ),
    ]


def _headline(rows: Sequence[ShapeRow], most_views: int, failed: int) -> str:
    last = [row for row in rows if row.views == most_views][-1]
    words = f"IoU with {most_views} views, {last.num_proteins} proteins: {WORDS_OF_METHOD[last.method]}"
    boxes = [box(f"{last.iou_mean:.2f}", words), box(f"{last.chamfer_nm_mean:.2f} nm", "Chamfer distance")]
    if isfinite(last.pose_error_deg_median):
        boxes.append(box(f"{last.pose_error_deg_median:.2g}°", "median error of orientations"))
    if failed:
        boxes.append(box(str(failed), "proteins failed and are in no row"))
    return f'<div class="boxes">{"".join(boxes)}</div>'


def _cells(row: ShapeRow) -> tuple[str, ...]:
    interval = f" ({row.iou_low:.3f} to {row.iou_high:.3f})" if isfinite(row.iou_low) else ""
    has_poses = isfinite(row.pose_error_deg_median)
    return (
        WORDS_OF_METHOD[row.method],
        str(row.views),
        f"{row.iou_mean:.3f}{interval}",
        f"{row.aligned_iou_mean:.3f}",
        f"{row.mirrored_iou_mean:.3f}",
        f"{row.chamfer_nm_mean:.2f}",
        f"{row.pose_error_deg_median:.2g}°" if has_poses else "",
        f"{row.pose_within_5_deg:.0%}" if has_poses else "",
        f"{row.calibration_error:.3f}",
        f"{row.elapsed_s_median:.1f} s",
        _AXES[row.frame],
    )


_NOTE = (
    '<p class="note">Every method is scored on the same proteins, seen by the same views. In brackets: 95 % bootstrap '
    "interval of the mean over families of relatives. Aligned: IoU after the best rotation and shift; mirrored: the "
    "same for the mirror image of the prediction, so that a method knows the hand of a protein where this is lower. "
    "Pose error: median over proteins; within 5°: share of the views. Calibration error: how far a voxel's probability "
    "is from the share of such voxels inside. Axes: what a method answers in, and is scored in.</p>"
)
