"""The report's text: one HTML page that needs no other file."""

import html
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import isnan
from string import Template

from recon.figures import PAPER_IOU
from recon.run_results import RunResult
from recon.scores import ScoreRow

HEADLINE_VIEWS = 8


@dataclass(frozen=True)
class ReportImages:
    """The page's pictures as data URIs; an empty one is left out."""

    sheet: str
    training_curves: str
    iou_by_views: str
    training_predictions: str
    validation_predictions: str


def report_page(results: Sequence[RunResult], images: ReportImages, dataset: dict[str, str]) -> str:
    """Return the page; `dataset` holds what is known of the dataset, by label."""
    result, views = headline(results)
    return _PAGE.substitute(
        headline=_headline_section(result, views),
        sheet=_figure(
            "Virtual AFM images",
            images.sheet,
            "Each row is one protein in several random orientations, on a flat substrate. Colour is height in nm.",
        ),
        curves=_figure(
            "Training",
            images.training_curves,
            "One row per run. The training IoU is that of the batches as they were trained on, the validation IoU "
            "that of the network after each epoch, both at threshold 0.5. Where training began with single views, a "
            "dotted line shows from where on the views are merged.",
        ),
        iou=_figure(
            "Does the number of views matter?",
            images.iou_by_views,
            "Every protein is seen through a fixed draw of its views, and more views include the fewer. The dotted "
            "line is the mean training shape, the same answer for every protein.",
        )
        + _iou_table(results),
        predictions=_figure(
            "Truth and prediction: training proteins",
            images.training_predictions,
            "Left, two of the images that the network saw; then the body as built from the structure (green) and as "
            "predicted (orange), seen along z and along y, in nm.",
        )
        + _figure(
            "Truth and prediction: validation proteins",
            images.validation_predictions,
            "The same for proteins that the network never saw.",
        ),
        caveats=_CAVEATS,
        settings=_settings_section(results, dataset),
    )


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
        boxes.append(_box(f"{row.iou_mean:.2f}", f"IoU with {views} views, {row.num_proteins} {words} proteins"))
        boxes.append(_box(f"{result.baseline[split]:.2f}", f"mean training shape, {words} proteins"))
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
    return _table(header, rows) + f'<p class="note">{note}</p>'


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
    return _table(("", ""), facts) + _table(("run", *(result.name for result in results)), settings)


def _shown(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def _duration(result: RunResult) -> str:
    elapsed_s = result.history[-1]["elapsed_s"] if result.history else 0.0
    return f"{elapsed_s / 60:.1f} min" if elapsed_s >= 60 else f"{elapsed_s:.0f} s"


def _box(number: str, words: str) -> str:
    return f'<div class="box"><div class="number">{number}</div><div>{html.escape(words)}</div></div>'


def _figure(title: str, data_uri: str, caption: str) -> str:
    if not data_uri:
        return ""
    return (
        f'<h2>{html.escape(title)}</h2><figure><img alt="{html.escape(title)}" src="{data_uri}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    def cells(tag: str, row: Sequence[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row) + "</tr>"

    head = f"<thead>{cells('th', header)}</thead>" if any(header) else ""
    body = "".join(cells("td", row) for row in rows)
    return f'<div class="table"><table>{head}<tbody>{body}</tbody></table></div>'


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

_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Protein shapes from AFM images</title>
<style>
:root { --ink: #1e293b; --soft: #64748b; --line: #e2e8f0; --accent: #0f766e; }
* { box-sizing: border-box; }
body { margin: 0; background: #f8fafc; color: var(--ink); font: 16px/1.6 system-ui, "Segoe UI", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 2.5rem 1.5rem 4rem; background: #fff; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; }
h2 { font-size: 1.25rem; margin: 2.8rem 0 .8rem; padding-top: 1rem; border-top: 1px solid var(--line); }
p { max-width: 46rem; }
.subtitle, figcaption, .note { color: var(--soft); font-size: .9rem; }
.lead { font-size: 1.05rem; }
.boxes { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1.6rem 0 1rem; }
.box { flex: 1 1 11rem; border: 1px solid var(--line); border-radius: .6rem; padding: .9rem 1rem; font-size: .85rem;
  color: var(--soft); }
.box:first-child { border-color: var(--accent); }
.number { font-size: 1.9rem; font-weight: 650; color: var(--ink); font-variant-numeric: tabular-nums; }
.box:first-child .number { color: var(--accent); }
figure { margin: 0; } img { max-width: 100%; height: auto; display: block; }
figcaption { max-width: 46rem; margin-top: .5rem; }
.table { overflow-x: auto; margin: 1.2rem 0; }
table { border-collapse: collapse; font-size: .9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .35rem 1.1rem .35rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; color: var(--soft); white-space: nowrap; }
</style></head><body><main>
<h1>Protein shapes from multi-view AFM images</h1>
<p class="subtitle">Structures to virtual atomic force microscopy images, to a network that predicts the body as
32 by 32 by 32 voxels. IoU, intersection over union, is 1 for a perfect prediction and 0 for no overlap.</p>
$headline
$sheet
$curves
$iou
$predictions
<h2>What this can show, and what it cannot</h2>
$caveats
<h2>Settings, sizes, times</h2>
$settings
</main></body></html>
""")
