"""What a training writes down as it goes: snapshots, metrics, TensorBoard scalars, and how far it is."""

import json
import time
from types import TracebackType
from typing import TYPE_CHECKING

from hpc.atomic_file import write_text_atomically
from hpc.progress import Progress
from recon.checkpoint import save_snapshot
from recon.run_folder import RunFolder

if TYPE_CHECKING:
    from recon.trainer import EpochMetrics, Trainer

SNAPSHOT_INTERVAL_S = 600.0
"""A run that is killed without a warning loses at most this much of an epoch."""

PROGRESS_INTERVAL_S = 5.0


class RunRecorder:
    """Keeps the folder of a run up to date with its trainer; a context manager, of the main rank alone."""

    def __init__(self, run: RunFolder, trainer: "Trainer") -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._run = run
        self._trainer = trainer
        self._num_steps = trainer.order.num_batches * trainer.config.epochs
        self._writer = SummaryWriter(run.tensorboard_path, purge_step=trainer.epoch)
        self._bar = Progress(self._num_steps, f"training with {trainer.config.views} views")
        self._saved_s = self._shown_s = time.monotonic()
        run.write_metrics(trainer.history)

    def __enter__(self) -> "RunRecorder":
        self._bar.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.__exit__(kind, error, trace)
        self._writer.close()

    def step_taken(self) -> None:
        """Show the step, and now and then save the state."""
        totals = self._trainer.totals
        self._bar.update(
            self._trainer.step,
            f"loss {totals.loss / totals.num_samples:.4f}, IoU {totals.iou / totals.num_samples:.3f}",
        )
        now_s = time.monotonic()
        if now_s - self._shown_s > PROGRESS_INTERVAL_S:
            self._shown_s = now_s
            self._write_progress()
        if now_s - self._saved_s > SNAPSHOT_INTERVAL_S:
            self.save()

    def epoch_finished(self, metrics: "EpochMetrics") -> None:
        """Save the state and the epoch's metrics."""
        self.save()
        self._run.write_metrics(self._trainer.history)
        for name in ("train_loss", "train_iou", "validation_loss", "validation_iou"):
            self._writer.add_scalar(name.replace("_", "/"), getattr(metrics, name), metrics.epoch)

    def save(self) -> None:
        """Save the whole state."""
        save_snapshot(self._run.snapshot_path, self._trainer.snapshot())
        self._saved_s = time.monotonic()
        self._write_progress()

    def _write_progress(self) -> None:
        trainer = self._trainer
        values = {
            "epoch": trainer.epoch,
            "step": trainer.step,
            "num_steps": self._num_steps,
            "elapsed_s": (trainer.history[-1]["elapsed_s"] if trainer.history else 0.0) + trainer.totals.elapsed_s,
        }
        write_text_atomically(self._run.progress_path, json.dumps(values) + "\n")
