"""What is scored is written down at once, so that a killed evaluation goes on after its last finished protein."""

import json
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hpc.atomic_file import write_text_atomically
from hpc.journal import Journal, read_journals
from hpc.settings import differences
from recon.shapes.shape_score import ShapeResult, ShapeScore


class ScoreKey(NamedTuple):
    """Which answer a score is of."""

    protein_id: str
    method: str
    identity: str
    views: int


class ScoreJournal:
    """
    The scores kept in a folder, beside the poses.

    Every rank appends to a file of its own, made when there is something to write.
    """

    def __init__(self, folder: Path, rank: int = 0) -> None:
        self._folder = folder
        self._path = folder / "scores" / f"{time.time_ns():020d}" / f"rank_{rank:04d}.jsonl"
        self._stack = ExitStack()
        self._journal: Journal | None = None

    def __enter__(self) -> "ScoreJournal":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def claim(self, settings: dict[str, Any]) -> None:
        """
        Write down what all scores and poses of the folder depend on, or check that it is the same.

        Raises
        ------
        ValueError
            They were made with other settings; the message names the differences.
        """
        path = self._folder / "settings.json"
        if not path.exists():
            write_text_atomically(path, json.dumps(settings, indent=2) + "\n")
            return
        kept = json.loads(path.read_text(encoding="utf-8"))
        changed = differences(kept, dict.fromkeys(kept) | settings)  # also what only the kept ones have, as a tip
        if changed:
            raise ValueError(
                f"got other settings than {self._folder} was made with: {'; '.join(changed)}; choose another --out, or "
                "remove that folder"
            )

    def read(self) -> dict[ScoreKey, ShapeResult]:
        """Return all that is kept."""
        kept = {}
        for entry in read_journals(self._folder / "scores"):
            for one in entry["results"]:
                score = ShapeScore(**one["score"])
                key = ScoreKey(score.protein_id, score.method, one["identity"], score.views)
                kept[key] = ShapeResult(score, np.array(one["calibration"], dtype=np.float64))
        return kept

    def keep(self, results: Sequence[tuple[ScoreKey, ShapeResult]]) -> None:
        """Write down the results of one protein; they are on disk when this returns."""
        if self._journal is None:
            self._journal = self._stack.enter_context(Journal(self._path))
        entry = [
            {"identity": key.identity, "score": asdict(one.score), "calibration": one.calibration.tolist()}
            for key, one in results
        ]
        self._journal.append({"results": entry})
