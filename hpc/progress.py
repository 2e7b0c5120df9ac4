"""Progress of long work: a bar on a terminal, a plain line now and then in a log file."""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any

logger = logging.getLogger(__name__)

_LOG_INTERVAL_S = 15.0
_WATCH_INTERVAL_S = 0.5


class Progress:
    """
    Shows how many of `total` items are done.

    Used as a context manager; `update` may be called from any one thread, as often as is convenient.
    """

    def __init__(self, total: int, description: str) -> None:
        self._total = total
        self._description = description
        self._started_s = time.monotonic()
        self._last_line_s = self._started_s
        self._bar = _terminal_bar() if sys.stderr.isatty() else None

    def __enter__(self) -> "Progress":
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task(self._description, total=self._total, note="")
        return self

    def update(self, num_done: int, note: str = "") -> None:
        """Show that `num_done` items are done, with a short `note` behind."""
        if self._bar is not None:
            self._bar.update(self._task, completed=num_done, note=note)
            return
        now_s = time.monotonic()
        if now_s - self._last_line_s >= _LOG_INTERVAL_S:
            self._last_line_s = now_s
            elapsed_s = now_s - self._started_s
            left = f", about {elapsed_s * (self._total - num_done) / num_done:.0f} s left" if num_done else ""
            logger.info(
                "%s: %d of %d, %.0f s elapsed%s%s",
                self._description,
                num_done,
                self._total,
                elapsed_s,
                left,
                f", {note}" if note else "",
            )

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def _terminal_bar() -> Any:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as RichProgress

    return RichProgress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )


@contextmanager
def watched_progress(total: int, description: str, read: Callable[[], tuple[int, str]]) -> Iterator[None]:
    """
    Show progress from a thread of its own while the block works.

    Parameters
    ----------
    read
        Returns how many items are done, over all ranks, and a short note.
    """
    ended = threading.Event()

    def show() -> None:
        with Progress(total, description) as progress:
            is_last = False
            while not is_last:
                is_last = ended.wait(_WATCH_INTERVAL_S)
                progress.update(*read())

    thread = threading.Thread(target=show, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
