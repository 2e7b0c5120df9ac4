"""Processes that load data beside a training: they start clean, and only the training decides when they end."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

from hpc.stop_signal import StopRequest

START_METHOD = "spawn"
"""A forked worker would inherit locks of threads that it does not have, such as those of torch's and of the ranks."""

_SIGNALS = (*StopRequest.REQUEUE, *StopRequest.END, signal.SIGINT)
"""Slurm and terminals send these to every process of a training."""


@contextmanager
def deaf_children() -> Iterator[None]:
    """Have processes that start meanwhile never hear the signals by which a training ends; here they come later."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        # The process that watches over shared memory is started first, since that unblocks some of them.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def begin_worker(_worker: int) -> None:
    """Keep to one core, as torch does in a worker."""
    import numba

    numba.set_num_threads(1)
