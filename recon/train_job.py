"""The job that trains and scores one run, as an object that can be sent to another machine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recon.train_config import TrainConfig


@dataclass(frozen=True)
class TrainJob:
    """Train one run from wherever it stands, then score it."""

    config: TrainConfig
    run_path: Path
    device: str
    evaluated_views: tuple[int, ...]

    def __call__(self) -> None:
        """Train and score; what is done already is not done again."""
        from hpc.logs import set_up_logging
        from recon.evaluate import evaluate
        from recon.train import train

        set_up_logging()
        train(self.config, self.run_path, self.device)
        evaluate(self.run_path, self.evaluated_views, device_name=self.device)

    def checkpoint(self) -> Any:
        """Return the submission that goes on after a time limit or a preemption: this job, which resumes."""
        from hpc.jobs import delayed_submission

        return delayed_submission(self)
