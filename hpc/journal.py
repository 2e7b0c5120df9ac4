"""What is done is written down: append-only JSON lines, one file per rank and run, one writer each."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Journal:
    """
    Append-only record of finished work.

    Each entry is on disk when `append` returns, so an entry may be written only after what it speaks of is in place.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("a", encoding="utf-8")

    def append(self, entry: dict[str, Any]) -> None:
        """Write one entry and wait until it is on disk."""
        self._file.write(json.dumps(entry) + "\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_journals(folder: Path) -> Iterator[dict[str, Any]]:
    """
    Yield the entries of all journals below `folder`, oldest run first.

    A killed writer may leave a torn last line, which stands for work that was not finished: it is passed over.
    """
    for path in sorted(folder.glob("*/rank_*.jsonl")):
        for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(entry, dict):
                yield entry
