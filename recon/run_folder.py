"""The folder of one training run: what lies where, what was asked for, and what came out."""

import csv
import importlib.metadata
import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpc.atomic_file import atomic_write, write_text_atomically
from hpc.settings import differences
from recon.split import Split
from recon.train_config import TrainConfig

if TYPE_CHECKING:
    import numpy as np

METRICS_COLUMNS = ("epoch", "train_loss", "train_iou", "validation_loss", "validation_iou", "elapsed_s")


class RunError(ValueError):
    """A run's folder does not fit what is asked of it."""


@dataclass(frozen=True)
class RunRecord:
    """What config.json holds: the settings of a run and the facts that follow from them."""

    config: TrainConfig
    split: Split
    num_parameters: int
    device: str
    versions: dict[str, str]
    commit: str
    """Of the source code; empty where it is not known."""


class RunFolder:
    """Paths and small files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.config_path = self.path / "config.json"
        self.metrics_path = self.path / "metrics.csv"
        self.progress_path = self.path / "progress.json"
        self.results_path = self.path / "results.json"
        self.snapshot_path = self.path / "snapshot.pt"
        self.tensorboard_path = self.path / "tensorboard"
        self.predictions_path = self.path / "predictions"
        self.iou_by_views_path = self.path / "iou_by_views.csv"
        self.iou_by_size_path = self.path / "iou_by_size.csv"
        self.iou_per_protein_path = self.path / "iou_per_protein.csv"
        self.baselines_path = self.path / "baselines.csv"
        self.evaluation_views_path = self.path / "evaluation_views.csv"

    def read_record(self) -> RunRecord:
        """
        Read config.json.

        Raises
        ------
        RunError
            There is no run in this folder, or its config.json cannot be read.
        """
        try:
            values = json.loads(self.config_path.read_text(encoding="utf-8"))
            split = Split(**{side: tuple(ids) for side, ids in values.pop("split").items()})
            return RunRecord(TrainConfig(**values.pop("config")), split, **values)
        except FileNotFoundError as error:
            raise RunError(
                f"expected a training run in {self.path}, got a folder without config.json; "
                "train one first with `python -m recon.train`"
            ) from error
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"expected the settings of a run in {self.config_path}, got: {error}") from error

    def claim(self, record: RunRecord) -> None:
        """
        Write config.json, or check that the one that is there asks for the same.

        Raises
        ------
        RunError
            The run was started with other settings or other proteins; the message names the differences.
        """
        if not self.config_path.exists():
            write_text_atomically(self.config_path, json.dumps(asdict(record), indent=2) + "\n")
            return
        saved = self.read_record()
        changed = differences(saved.config.deciding(), record.config.deciding())
        if not changed and saved.split != record.split:
            changed = [_split_difference(saved.split, record.split)]
        if changed:
            raise RunError(
                f"got other settings than {self.path} was started with: {'; '.join(changed)}; "
                "choose another --run, or the settings in its config.json"
            )

    def keep_view_orders(self, orders: "Mapping[str, np.ndarray]") -> None:
        """Write, by protein id, the order `(view,)` in which its views are taken when it is scored, unless kept."""
        if not self.evaluation_views_path.exists():
            rows = [{"protein_id": name, "views": " ".join(map(str, order))} for name, order in orders.items()]
            write_rows(self.evaluation_views_path, ("protein_id", "views"), rows)

    def read_view_orders(self) -> "dict[str, np.ndarray]":
        """
        Return what `keep_view_orders` kept, int64 `(view,)` by protein id.

        Raises
        ------
        RunError
            Nothing is kept.
        """
        import numpy as np

        rows = read_rows(self.evaluation_views_path)
        if not rows:
            raise RunError(
                f"expected the views by which proteins are scored in {self.evaluation_views_path}, got none; "
                "start the same training again, which writes them"
            )
        return {row["protein_id"]: np.array(row["views"].split(), dtype=np.int64) for row in rows}

    def write_metrics(self, history: Sequence[Mapping[str, float]]) -> None:
        """Write metrics.csv, one row per finished epoch."""
        write_rows(self.metrics_path, METRICS_COLUMNS, history)


def _split_difference(saved: Split, now: Split) -> str:
    before, after = (set(split.train + split.validation + split.test) for split in (saved, now))
    if before == after:
        return "the clusters of the dataset's proteins changed, and with them the split"
    return (
        f"the dataset then had {len(before)} proteins and now has {len(after)}, "
        f"{len(after - before)} of them new and {len(before - after)} gone"
    )


def write_rows(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a CSV file whole or not at all."""
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a CSV file; an absent one has no rows."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def source_commit() -> str:
    """Return the commit of the source code, with `-dirty` behind it where files differ; empty outside a checkout."""
    git = ("git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def installed_versions() -> dict[str, str]:
    """Return the versions that a run depends on."""
    names = ("afm-recon", "torch", "numpy", "zarr")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}
