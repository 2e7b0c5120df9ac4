"""
Whether the other ranks still live, told by a beat that each leaves in the store through which they met.

A rank that is killed closes its connections, and the others learn of it in their next exchange. A node that loses its
power or its network closes nothing, and an exchange with it would wait for its whole time limit; it may not come back
from the library at all, so that only ending the process helps.
"""

import logging
import os
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from hpc.stop_signal import EXIT_TO_BE_CONTINUED

logger = logging.getLogger(__name__)

BEAT_INTERVAL_S = 2.0
LONGEST_SILENCE_S = 120.0
"""A rank that is silent for longer is lost; it beats from a thread of its own, whatever it computes."""


LEFT = 1 << 40
"""Added to a rank's beats when it is done, so that nobody waits for more."""


@contextmanager
def heartbeat(store: Any, rank: int, num_ranks: int) -> Iterator[None]:
    """
    Beat while the block works, and end this process with `EXIT_TO_BE_CONTINUED` when another rank falls silent.

    Parameters
    ----------
    store
        A `torch.distributed.Store` that nothing else waits in.
    rank, num_ranks
        This rank, and how many there are.
    """
    silence = Silence(other for other in range(num_ranks) if other != rank)
    finished = threading.Event()
    # Two threads: the one that talks to the store may itself wait for a lost node.
    for task, arguments in ((_beat, (store, rank, silence, finished)), (_watch, (rank, silence, finished))):
        threading.Thread(target=task, args=arguments, name=task.__name__, daemon=True).start()
    try:
        yield
    finally:
        finished.set()
        with suppress(RuntimeError):  # the store has gone with its rank
            store.add(_key(rank), LEFT)


class Silence:
    """How long each of some ranks has left no new beat."""

    def __init__(self, ranks: Iterable[int]) -> None:
        self._beats = dict.fromkeys(ranks, 0)
        self._heard_s = dict.fromkeys(self._beats, time.monotonic())

    @property
    def ranks(self) -> list[int]:
        """The ranks that are listened to."""
        return list(self._beats)

    def note(self, rank: int, beats: int) -> None:
        """Note how many beats a rank has left so far."""
        if beats != self._beats[rank]:
            self._heard_s[rank] = time.monotonic() if beats < LEFT else float("inf")
            self._beats[rank] = beats

    def longest(self) -> tuple[int, float]:
        """Return the rank that was silent for longest, and for how many seconds."""
        rank = min(self._heard_s, key=self._heard_s.__getitem__)
        return rank, time.monotonic() - self._heard_s[rank]


def _beat(store: Any, rank: int, silence: Silence, finished: threading.Event) -> None:
    while not finished.wait(BEAT_INTERVAL_S):
        try:
            store.add(_key(rank), 1)
            for other in silence.ranks:
                silence.note(other, store.add(_key(other), 0))
        except RuntimeError:  # the store has gone with its rank: nothing more will be heard
            return


def _watch(rank: int, silence: Silence, finished: threading.Event) -> None:
    while not finished.wait(BEAT_INTERVAL_S):
        lost, seconds = silence.longest()
        if seconds > LONGEST_SILENCE_S:
            logger.warning(
                "rank %d lost contact with another rank: nothing was heard of rank %d for %.0f s; the last snapshot "
                "is whole, and the same command continues from it",
                *(rank, lost, seconds),
            )
            os._exit(EXIT_TO_BE_CONTINUED)


def _key(rank: int) -> str:
    return f"beats of rank {rank}"
