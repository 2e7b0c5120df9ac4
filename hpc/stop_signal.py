"""A polite end: Slurm's warning before a time limit or a preemption becomes a flag that the work loop looks at."""

import logging
import signal
import time
from types import FrameType

logger = logging.getLogger(__name__)

# What a batch job exits with when it stopped in good order and the same command would continue (sysexits.h).
EXIT_TO_BE_CONTINUED = 75


class StopSignal:
    """
    Turns SIGTERM and SIGUSR1 into `is_set`; a second signal ends the process as usual.

    Parameters
    ----------
    grace_s
        How long after the signal the work in hand may still take.
    """

    def __init__(self, grace_s: float) -> None:
        self.is_set = False
        self._grace_s = grace_s
        self._ends_s = float("inf")
        self._previous = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGUSR1)}

    def is_grace_over(self) -> bool:
        """Say whether the work in hand is to be given up."""
        return time.monotonic() > self._ends_s

    def restore(self) -> None:
        """Put the previous handlers back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.is_set = True
        self._ends_s = time.monotonic() + self._grace_s
        self.restore()
        logger.warning("%s: no more shards; %g s for the one in hand", signal.Signals(number).name, self._grace_s)
