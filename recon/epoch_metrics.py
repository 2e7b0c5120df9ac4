"""What is counted while an epoch is trained, and what is reported of it."""

from dataclasses import dataclass

IOU_THRESHOLD = 0.5
"""Threshold of the IoU that is logged while training; the scores of `recon.evaluate` choose their own."""


@dataclass(frozen=True)
class EpochMetrics:
    """
    One row of metrics.csv.

    `train_iou` is that of the batches as they were trained on, `validation_iou` that of the network after
    the epoch; both at `IOU_THRESHOLD`, and both from one view while single views are trained.
    """

    epoch: int
    train_loss: float
    train_iou: float
    validation_loss: float
    validation_iou: float
    elapsed_s: float
    """Time spent in training and validation since the first epoch, over all resumptions."""


@dataclass
class EpochTotals:
    """What an epoch that is under way has summed up, over all ranks."""

    loss: float = 0.0
    iou: float = 0.0
    num_samples: float = 0.0
    elapsed_s: float = 0.0
