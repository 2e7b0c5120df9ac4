"""Which proteins of a dataset are scored, and which may be learned from."""

from afmsim.dataset import Dataset
from recon.shapes.shape_task import ALL, ShapeTask
from recon.split import families_of, split_dataset


def chosen_proteins(dataset: Dataset, task: ShapeTask) -> list[int]:
    """Return the indices of the proteins of the task's split, without those of excluded families."""
    families = families_of(dataset)
    chosen = _names_of_split(dataset, task, task.split)
    if task.exclude is not None:
        excluded = set(task.exclude.read_text(encoding="utf-8").split())
        bad_families = {families[name] for name in families if name in excluded}
        chosen = {name for name in chosen if families[name] not in bad_families}
    proteins = _indices(dataset, chosen)[: task.max_proteins]
    if not proteins:
        raise ValueError(f"got no finished protein in the split {task.split!r} of {dataset.path}; take another split")
    return proteins


def training_proteins(dataset: Dataset, task: ShapeTask, scored: list[int]) -> list[int]:
    """
    Return the indices of the training proteins of the task's split that are no relatives of those scored.

    Raises
    ------
    ValueError
        There is none.
    """
    families = families_of(dataset)
    scored_families = {families[dataset.protein_ids[index]] for index in scored}
    names = {name for name in _names_of_split(dataset, task, "train") if families[name] not in scored_families}
    if not names:
        raise ValueError(
            f"got no training protein in {dataset.path} that is unrelated to those scored, the split {task.split!r}; "
            "score --split test or --split validation, or leave out the method mean-shape"
        )
    return _indices(dataset, names)


def _names_of_split(dataset: Dataset, task: ShapeTask, side: str) -> set[str]:
    if side == ALL:
        return {dataset.protein_ids[index] for index in dataset.done_indices}
    split = split_dataset(dataset, task.seed, task.validation_fraction, task.test_fraction)
    return set(getattr(split, side))


def _indices(dataset: Dataset, names: set[str]) -> list[int]:
    return [int(index) for index in dataset.done_indices if dataset.protein_ids[index] in names]
