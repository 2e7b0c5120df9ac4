"""Every protein scored once, by whichever rank is free; one that cannot be scored does not stop the others."""

import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

from afmsim.dataset import Dataset
from hpc.progress import Progress
from recon.distributed import Ranks
from recon.poses.scan_cleaning import ScanConditions
from recon.shapes.score_journal import ScoreJournal, ScoreKey
from recon.shapes.seen_protein import SeenProtein, see_protein
from recon.shapes.shape_method import ShapeMethod
from recon.shapes.shape_score import ShapeResult, score_answer
from recon.shapes.shape_task import ShapeTask
from recon.views import evaluation_order

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ShapeFailure:
    """One row of `<stem>_failures.csv`: a protein that is in no row of the table."""

    protein_id: str
    reason: str


def seen_for_task(dataset: Dataset, task: ShapeTask, conditions: ScanConditions, protein: int) -> SeenProtein:
    """Return a protein with the views that the task draws, as they are scanned."""
    order = evaluation_order(task.seed, dataset.protein_ids[protein], dataset.num_views)
    return see_protein(dataset, protein, order[: max(task.view_counts)], task.target_size, conditions)


def score_proteins(
    dataset: Dataset,
    task: ShapeTask,
    conditions: ScanConditions,
    proteins: Sequence[int],
    methods: Sequence[ShapeMethod],
    journal: ScoreJournal,
    ranks: Ranks,
) -> tuple[list[ShapeResult], list[ShapeFailure]]:
    """
    Return the results in the order of proteins, views and methods, and the failures; the same on every rank.

    What the journal keeps is not computed again.
    """
    kept: dict[ScoreKey, ShapeResult] = ranks.gather(journal.read() if ranks.is_main else None)[0]
    names = [dataset.protein_ids[protein] for protein in proteins]
    keys = {name: _keys(name, task, methods) for name in names}
    left = [position for position, name in enumerate(names) if any(key not in kept for key in keys[name])]
    logger.info("%d of %d proteins are left to score", len(left), len(proteins))
    scored: dict[ScoreKey, ShapeResult] = {}
    failures: dict[str, ShapeFailure] = {}
    with Progress(len(left), "proteins") if ranks.is_main else nullcontext() as progress:
        for claim in ranks.claimed(len(left), "proteins"):
            name = names[left[claim]]
            try:
                missing = {key for key in keys[name] if key not in kept}
                seen = seen_for_task(dataset, task, conditions, proteins[left[claim]])
                results = _scores(seen, keys[name], methods, missing)
            except Exception as error:  # whatever is wrong with one protein, the others go on
                reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
                logger.error("%s cannot be scored: %s", name, reason)
                failures[name] = ShapeFailure(name, reason)
                continue
            journal.keep(results)
            scored |= dict(results)
            if progress:
                progress.update(claim + 1, f"{name}, IoU {results[-1][1].score.iou:.3f}")
    for part, failed in ranks.gather((scored, failures)):
        kept |= part
        failures |= failed
    ordered = [kept[key] for name in names if name not in failures for key in keys[name]]
    return ordered, [failures[name] for name in names if name in failures]


def _keys(name: str, task: ShapeTask, methods: Sequence[ShapeMethod]) -> list[ScoreKey]:
    counts = task.ordered_view_counts
    return [ScoreKey(name, method.name, method.identity, views) for views in counts for method in methods]


def _scores(
    seen: SeenProtein, keys: Sequence[ScoreKey], methods: Sequence[ShapeMethod], missing: set[ScoreKey]
) -> list[tuple[ScoreKey, ShapeResult]]:
    by_name = {method.name: method for method in methods}
    return [
        (key, score_answer(seen, key.method, key.views, by_name[key.method].predict(seen, key.views)))
        for key in keys
        if key in missing
    ]
