"""The methods that a task asks for, ready to answer; what they cannot do is refused here, before any work."""

from functools import partial
from pathlib import Path

import torch

from afmsim.dataset import Dataset
from hpc.array_backend import array_module
from recon.distributed import Ranks
from recon.shapes.carving_method import CarvingMethod, KeptPoses, Refine, known_poses
from recon.shapes.scored_proteins import training_proteins
from recon.shapes.shape_method import PDB_FRAME, TURNED_FRAME, ShapeMethod
from recon.shapes.shape_task import KNOWN, MEAN_SHAPE, PAPER, REFINE, REGISTER, VIEW, ShapeTask
from recon.split import families_of


def chosen_methods(
    task: ShapeTask, dataset: Dataset, proteins: list[int], poses: Path, device: torch.device, ranks: Ranks
) -> list[ShapeMethod]:
    """
    Return the task's methods in the order of the table; called by all ranks together.

    Parameters
    ----------
    proteins
        Indices of the proteins that are scored.
    poses
        Folder in which found poses are kept.

    Raises
    ------
    ValueError
        A method lacks its weights, its run or its training proteins, or answers on another grid than the task's.
    """
    kept_poses = KeptPoses(poses, array_module(task.device, ranks.local_rank))
    return [_method(name, task, dataset, proteins, kept_poses, device, ranks) for name in task.ordered_methods]


def _method(
    name: str,
    task: ShapeTask,
    dataset: Dataset,
    proteins: list[int],
    poses: KeptPoses,
    device: torch.device,
    ranks: Ranks,
) -> ShapeMethod:
    if name == KNOWN:
        return CarvingMethod(KNOWN, known_poses)
    if name == REGISTER:
        return CarvingMethod(REGISTER, poses)
    if name == REFINE:
        refine, identity = refinement(task.refiner, task.target_size, task.has_tip)
        return CarvingMethod(REFINE, poses, refine, identity)
    if name == MEAN_SHAPE:
        from recon.shapes.mean_shape_method import mean_shape_method

        training = training_proteins(dataset, task, proteins)
        return mean_shape_method(dataset, training, task.target_size, task.seed, ranks)
    from recon.shapes.scored_runs import NETWORK_SIZE, ScoredProteins, network_method

    for size in (task.target_size, dataset.target_size):
        if size != NETWORK_SIZE:
            raise ValueError(_size_message(name, NETWORK_SIZE, size))
    frame, runs = {PAPER: (PDB_FRAME, task.paper_runs), VIEW: (TURNED_FRAME, task.view_runs)}[name]
    scored = ScoredProteins([dataset.protein_ids[protein] for protein in proteins], families_of(dataset))
    return network_method(name, frame, runs, task.ordered_view_counts, scored, device, ranks)


def refinement(path: Path | None, target_size: int, has_tip: bool) -> tuple[Refine, str]:
    """
    Return the refiner as a function, and a digest of its weights; without a path, of those of the package.

    Raises
    ------
    ValueError
        There are no weights, or they are for another grid, or for a tip where there is none, or the other way round.
    """
    from recon.shapes.carve_refiner import (
        REFINED_SIZE,
        check_channels,
        default_refiner_path,
        load_refiner,
        num_channels,
        refined_probability,
    )
    from recon.shapes.file_digest import file_digest

    path = path or default_refiner_path(has_tip)
    if target_size != REFINED_SIZE:
        raise ValueError(_size_message(REFINE, REFINED_SIZE, target_size))
    model = load_refiner(path)
    check_channels(model, num_channels(has_tip))
    return partial(refined_probability, model), file_digest(path)


def _size_message(name: str, size: int, target_size: int) -> str:
    return (
        f"the method {name} answers on {size} voxels per axis, got a target size of {target_size}; leave the method "
        f"out, or score with --target-size {size}"
    )
