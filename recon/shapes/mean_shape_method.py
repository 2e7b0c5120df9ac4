"""What a method reaches in the frame of the first view without looking at any image: the mean training shape there."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from afmsim.dataset import Dataset
from recon.distributed import Ranks
from recon.metrics import THRESHOLDS, choose_threshold, iou_at_thresholds
from recon.shapes.seen_protein import SeenProtein
from recon.shapes.shape_method import VIEW_FRAME, ShapeAnswer
from recon.shapes.shape_task import MEAN_SHAPE
from recon.shapes.volume_frame import VolumeFrame, occupancy_in_frame
from recon.views import evaluation_order

MAX_TRAINING = 500
"""Training proteins that are averaged, evenly spread over all: how often a voxel is inside is then known to 0.02."""


@dataclass(frozen=True)
class MeanShapeMethod:
    """The same body for every protein, scaled with the field of view."""

    probability: np.ndarray
    """float32 `(z, y, x)`: how often a voxel is inside"""
    threshold: float
    identity: str = ""
    name: str = MEAN_SHAPE

    def predict(self, seen: SeenProtein, num_views: int) -> ShapeAnswer:  # noqa: ARG002 (what any method is asked)
        """Answer with the mean shape, whatever is seen."""
        return ShapeAnswer(self.probability, VIEW_FRAME, self.threshold, elapsed_s=0.0)


def mean_shape_method(dataset: Dataset, training: Sequence[int], size: int, seed: int, ranks: Ranks) -> MeanShapeMethod:
    """
    Average training bodies, each in the frame of a random view; the ranks share them.

    The threshold is the best one for the training bodies themselves, as they were averaged.

    Parameters
    ----------
    training
        Indices of the training proteins, of which `MAX_TRAINING` are used.
    size
        Voxels per axis.
    seed
        Of the draw of views: the view is the one that a method would see first.
    """
    training = training[:: -(-len(training) // MAX_TRAINING)]
    own = range(ranks.rank, len(training), ranks.size)
    bodies = [body_in_random_view(dataset, training[position], size, seed) for position in own]
    inside = sum((body.astype(np.int64) for body in bodies), np.zeros((size,) * 3, np.int64))
    mean = (sum(ranks.gather(inside)) / len(training)).astype(np.float32)
    columns = {position: iou_at_thresholds(mean[None], body[None]) for position, body in zip(own, bodies, strict=True)}
    all_columns = {position: column for part in ranks.gather(columns) for position, column in part.items()}
    iou = np.concatenate([all_columns[position] for position in range(len(training))], axis=1)
    identity = f"{len(training)} proteins, {int(mean.sum(dtype=np.float64) * len(training))} voxels"
    return MeanShapeMethod(mean, float(THRESHOLDS[choose_threshold(iou)]), identity)


def body_in_random_view(dataset: Dataset, protein: int, size: int, seed: int) -> np.ndarray:
    """
    Return a protein's target body in the frame of the first view of its draw, uint8 `(z, y, x)`.

    That frame's middle is the middle of the box around the turned body, as in
    `recon.shapes.volume_frame.frame_of_view`, so that no image is read.
    """
    occupancy = dataset.occupancy(protein)
    voxel_size_nm = float(dataset.voxel_size_nm[protein]) * dataset.grid_size / dataset.target_size
    view = evaluation_order(seed, dataset.protein_ids[protein], dataset.num_views)[0]
    rotation = dataset.view_rotations(protein)[view].astype(np.float64)
    points = np.argwhere(occupancy)[:, ::-1] - (len(occupancy) - 1) / 2  # (voxel, xyz)
    turned_nm = points @ rotation.T * voxel_size_nm
    middle = (turned_nm.min(axis=0) + turned_nm.max(axis=0)) / 2
    frame = VolumeFrame(tuple(middle.tolist()), dataset.field_of_view_nm(protein))
    return occupancy_in_frame(occupancy, voxel_size_nm, rotation, np.zeros(3), frame, size)
