"""The report's text on trained runs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isnan

from recon.reporting.figures import PAPER_IOU
from recon.reporting.page_parts import box, figure, table
from recon.reporting.run_results import RunResult
from recon.scores import ScoreRow

HEADLINE_VIEWS = 8


@dataclass(frozen=True)
class ReportImages:
    """The page's pictures as data URIs; an empty one is left out."""

    sheet: str
    training_curves: str
    iou_by_views: str
    learning_curve: str
    training_predictions: str
    validation_predictions: str


def run_sections(results: Sequence[RunResult], images: ReportImages, dataset: dict[str, str]) -> list[str]:
    """Return the page's sections; `dataset` holds what is known of the dataset, by label."""
    result, views = headline(results)
    return [
        _headline_section(result, views),
        figure(
            "Virtual AFM images",
            images.sheet,
            "Each row is one protein in several random orientations, on a flat substrate. Colour is height in nm.",
        ),
        figure(
            "Training",
            images.training_curves,
            "One row per run. The training IoU is that of the batches as they were trained on, the validation IoU "
            "that of the network after each epoch, both at threshold 0.5. Where training began with single views, a "
            "dotted line shows from where on the views are merged.",
        ),
        figure(
            "Does the number of views matter?",
            images.iou_by_views,
            "Every protein is seen through a fixed draw of its views, and more views include the fewer. The dotted "
            "line is the mean training shape, the same answer for every protein.",
        ),
        _iou_table(results),
        figure(
            "Do more training proteins help?",
            images.learning_curve,
            "Mean IoU of runs trained on different numbers of proteins, with its 95 % interval over families, each run "
            "scored with as many views as it was trained with.",
        ),
        figure(
            "Truth and prediction: training proteins",
            images.training_predictions,
            "Left, two of the images that the network saw; then the body as built from the structure (green) and as "
            "predicted (orange), seen along z and along y, in nm.",
        ),
        figure(
            "Truth and prediction: validation proteins",
            images.validation_predictions,
            "The same for proteins that the network never saw.",
        ),
        "<h2>What this can show, and what it cannot</h2>",
        _CAVEATS,
        "<h2>Settings, sizes, times</h2>",
        _settings_section(results, dataset),
    ]


def headline(results: Sequence[RunResult]) -> tuple[RunResult, int]:
    """Return the run trained nearest to eight views, and the number of views to quote: eight where it was scored."""
    result = min(results, key=lambda candidate: abs(candidate.record.config.views - HEADLINE_VIEWS))
    return result, min(result.view_counts, key=lambda views: abs(views - HEADLINE_VIEWS))


def _headline_section(result: RunResult, views: int) -> str:
    boxes, gains = [], {}
    for split, words in (("train", "training"), ("validation", "validation")):
        row = result.score(views, split)
        if row is None or split not in result.baseline:
            continue
        gains[split] = row.iou_mean - result.baseline[split]
        boxes.append(box(f"{row.iou_mean:.2f}", f"IoU with {views} views, {row.num_proteins} {words} proteins"))
        boxes.append(box(f"{result.baseline[split]:.2f}", f"mean training shape, {words} proteins"))
    sentences = []
    if "train" in gains:
        row = result.score(views, "train")
        assert row is not None
        sentences.append(
            f"With {views} views the network reaches a mean IoU of <b>{row.iou_mean:.2f}</b> on the training "
            f"proteins, where the mean training shape, which looks at no image, reaches "
            f"<b>{result.baseline['train']:.2f}</b>: {_comparison(gains['train'])}"
        )
    if "validation" in gains:
        row = result.score(views, "validation")
        assert row is not None
        sentences.append(
            f"On proteins it never saw it reaches {row.iou_mean:.2f} against "
            f"{result.baseline['validation']:.2f}: {_comparison(gains['validation'])}"
        )
    return f'<div class="boxes">{"".join(boxes)}</div><p class="lead">{" ".join(sentences)}</p>'


def _comparison(gain: float) -> str:
    if gain > 0.02:
        return f"{gain:.2f} above it."
    if gain < -0.02:
        return f"{-gain:.2f} below it."
    return "no real difference."


def _iou_table(results: Sequence[RunResult]) -> str:
    ours = ("views", "trained with", "training", "validation", "test", "threshold")
    header = (*ours, "paper: training", "paper: validation")
    rows = []
    for result in results:
        for views in result.view_counts:
            scores = [result.score(views, split) for split in ("train", "validation", "test")]
            paper = PAPER_IOU.get(views)
            rows.append(
                (
                    str(views),
                    f"{result.record.config.views} views",
                    *(_with_interval(score) for score in scores),
                    f"{scores[0].threshold:.2f}" if scores[0] else "",
                    *((f"{value:.2f}" for value in paper) if paper else ("", "")),
                )
            )
        for words, name in (("mean shape", "mean_shape_iou"), ("best ball", "best_ball_iou")):
            values = (f"{getattr(score, name):.3f}" if score else "" for score in scores)
            rows.append(("none", words, *values, "", "", ""))
    note = (
        "Mean IoU over the proteins, in brackets its 95 % bootstrap interval over families of relatives. The threshold "
        "is chosen on the training proteins, per number of views, and never on what is scored with it; nothing at all "
        "is chosen by the test proteins. The mean shape of the training proteins and the best ball look at no image. "
        "The paper trained one network per number of views on some 8 000 proteins; it reports no baseline."
    )
    return table(header, rows) + f'<p class="note">{note}</p>'


def _with_interval(score: ScoreRow | None) -> str:
    if score is None:
        return ""
    interval = "" if isnan(score.iou_low) else f" ({score.iou_low:.3f} to {score.iou_high:.3f})"
    return f"{score.iou_mean:.3f}{interval}"


def _settings_section(results: Sequence[RunResult], dataset: dict[str, str]) -> str:
    facts = list(dataset.items())
    first = results[0].record
    facts += [
        (
            "training / validation / test proteins",
            f"{len(first.split.train)} / {len(first.split.validation)} / {len(first.split.test)}",
        ),
        ("network", f"Pix2Vox++/{first.config.size}, {first.num_parameters / 1e6:.1f} million parameters"),
        ("device", first.device),
        ("commit", first.commit or "unknown"),
        ("versions", ", ".join(f"{name} {version}" for name, version in first.versions.items())),
    ]
    names = [name for name in asdict(first.config) if name != "store"]
    settings = [
        (name.replace("_", " "), *(_shown(getattr(result.record.config, name)) for result in results)) for name in names
    ]
    settings.append(("epochs done", *(str(len(result.history)) for result in results)))
    settings.append(("training time", *(_duration(result) for result in results)))
    return table(("", ""), facts) + table(("run", *(result.name for result in results)), settings)


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _duration(result: RunResult) -> str:
    elapsed_s = result.history[-1]["elapsed_s"] if result.history else 0.0
    return f"{elapsed_s / 60:.1f} min" if elapsed_s >= 60 else f"{elapsed_s:.0f} s"


_CAVEATS = """
<p>A run on a few dozen proteins shows that every step works, from the structure files to the prediction, and that the
network can learn its training proteins from images. It cannot show how well proteins are predicted that the network
never saw: that takes thousands of structures, and then still a comparison with the mean training shape on the same
proteins.</p>
<p>There is also a limit that more data does not lift. The target is the body in the axes of its structure file, which
its depositors happened to choose. The images come from unknown random orientations, so nothing in them tells those
axes. A network can remember the axes of the proteins it was trained on, and can guess them for their relatives; for
any other protein even one that knew the exact shape would place it in a wrong orientation and score not much better
than the mean shape. A high training IoU with a low validation IoU, as in the paper, agrees with this.
Two further limits: all images are simulated, without the tip's width and without noise, and the IoU at 32 voxels says
little about details smaller than one voxel.</p>
"""
