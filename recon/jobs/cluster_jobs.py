"""The jobs of a launch, as objects that can be sent to another machine; what is heavy is imported there."""

import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recon.shapes.shape_task import ShapeTask
from recon.train_config import TrainConfig

TABLE_NAME = "shapes.csv"
"""The table of all methods, in the folder of the runs."""


class _ResumableJob:
    """A job that, run again, goes on where it stopped."""

    def checkpoint(self) -> Any:
        """Return the submission that follows an interruption before the job could note it: the job itself."""
        from hpc.jobs import delayed_submission

        return delayed_submission(self)  # type: ignore[arg-type]


@dataclass(frozen=True)
class TrainJob(_ResumableJob):
    """Train one run from wherever it stands; a signal ends it between two steps, with its state saved."""

    config: TrainConfig
    run_path: Path
    device: str

    def __call__(self) -> None:
        """Train to the end, or end the process with a status that says how to go on."""
        from hpc.stop_signal import StopRequest

        with StopRequest() as stop:
            _set_up_logging()
            from recon.train import train

            status = train(self.config, self.run_path, self.device, stop)
        if status:
            sys.exit(status)


@dataclass(frozen=True)
class EvaluateJob(_ResumableJob):
    """Score one trained run."""

    run_path: Path
    views: tuple[int, ...]
    device: str

    def __call__(self) -> None:
        """Score; an interruption ends it at once, and it starts anew."""
        signal.signal(signal.SIGUSR2, signal.SIG_DFL)
        _set_up_logging()
        from recon.evaluate import evaluate

        evaluate(self.run_path, self.views, device_name=self.device)


@dataclass(frozen=True)
class ShapesJob(_ResumableJob):
    """Score methods in one table; what is scored is kept, so that an interruption costs one protein of each rank."""

    task: ShapeTask
    out: Path

    def __call__(self) -> None:
        """Score; end the process with status 1 where a protein failed."""
        signal.signal(signal.SIGUSR2, signal.SIG_DFL)
        _set_up_logging()
        from recon.shapes.evaluate_shapes import evaluate_shapes

        if evaluate_shapes(self.task, self.out).failures:
            sys.exit(1)


@dataclass(frozen=True)
class ReportJob(_ResumableJob):
    """Write the report of all scored runs in a folder, and of the table of all methods where it lies there."""

    runs: Path
    out: Path

    def __call__(self) -> None:
        """Write it."""
        _set_up_logging()
        from recon.report import write_report

        table = self.runs / TABLE_NAME
        has_runs = any(self.runs.glob("*/iou_by_views.csv"))
        if table.exists():
            write_report(self.runs if has_runs else None, self.out, shapes=table)
        else:
            write_report(self.runs, self.out)


def _set_up_logging() -> None:
    from hpc.logs import set_up_logging
    from recon.distributed import place_in

    place = place_in(os.environ)
    set_up_logging(place.rank, place.size)
