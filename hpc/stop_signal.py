"""A polite end: Slurm's warning before a time limit or a preemption becomes a flag that the work loop looks at."""

import logging
import signal
from types import FrameType

logger = logging.getLogger(__name__)

# What a batch job exits with when it stopped in good order and the same command would continue (sysexits.h).
EXIT_TO_BE_CONTINUED = 75


class StopSignal:
    """Turns SIGTERM and SIGUSR1 into `is_set`; a second signal ends the process as usual."""

    def __init__(self) -> None:
        self.is_set = False
        self._previous = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGUSR1)}

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.is_set = True
        logger.warning("%s: stopping at the next shard boundary", signal.Signals(number).name)
        self.restore()

    def restore(self) -> None:
        """Put the previous handlers back."""
        for number, handler in self._previous.items():
            signal.signal(number, handler)
