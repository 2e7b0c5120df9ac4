"""A few tasks in flight on one GPU, each thread with a CUDA stream of its own; on the CPU one after the other."""

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from types import ModuleType
from typing import Any

import numpy as np

NUM_STREAMS = 4
"""Enough that one task's transfers and Python hide behind the kernels of the others."""


class InTurn(Executor):
    """Runs each task when it is handed in: compiled CPU code takes all cores by itself."""

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future:
        """Run the task and return it finished."""
        task: Future = Future()
        try:
            task.set_result(function(*args, **kwargs))
        except Exception as error:
            task.set_exception(error)
        return task


def tasks_in_flight(xp: ModuleType) -> Executor:
    """Return an executor for tasks that compute with `xp` on the current device."""
    if xp is np:
        return InTurn()
    device = xp.cuda.Device()

    def use_own_stream() -> None:
        device.use()
        xp.cuda.Stream(non_blocking=True).use()

    return ThreadPoolExecutor(NUM_STREAMS, "stream", use_own_stream)
