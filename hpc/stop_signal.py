"""A polite end: Slurm's warning before a time limit or a preemption becomes a flag that the work loop looks at."""

import logging
import signal
import time
from types import FrameType

logger = logging.getLogger(__name__)

# What a batch job exits with when it stopped in good order and the same command would continue (sysexits.h).
EXIT_TO_BE_CONTINUED = 75

# What a process ends with that SIGTERM asked to, as a shell would say it.
EXIT_TERMINATED = 128 + signal.SIGTERM


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


class StopRequest:
    """
    Remembers that signals asked for an end, for a work loop that ends where it can be continued.

    A context manager; none of the signals ends the process while the block runs.
    """

    REQUEUE = (signal.SIGUSR1, signal.SIGUSR2)
    """A time limit or a preemption is near: whoever runs the job is to queue it again."""

    END = (signal.SIGTERM,)
    """The job is being ended, by someone who has already decided what becomes of it."""

    def __init__(self) -> None:
        self.wants_requeue = False
        self.wants_end = False

    def __enter__(self) -> "StopRequest":
        self._previous = {number: signal.signal(number, self._note) for number in self.REQUEUE + self.END}
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.wants_requeue |= number in self.REQUEUE
        self.wants_end |= number in self.END
        logger.warning("%s: stopping after the step in hand", signal.Signals(number).name)
