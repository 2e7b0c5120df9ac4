"""
Ranks: MPI where a launcher started several processes, this one process otherwise.

The only door to mpi4py. Counters shared by all ranks are advanced by one-sided fetch-and-add, so no rank idles as a
master.
"""

import os
import sys
import threading
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np

T = TypeVar("T")

# Set by the process managers of MPICH, Intel MPI, Cray, PMIx and Open MPI for each process that they start.
_LAUNCHER_VARIABLES = ("PMI_SIZE", "PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS")
# How often rank 0 lets MPI serve other ranks' one-sided requests while it computes.
_PROGRESS_INTERVAL_S = 0.005


class RankCountError(RuntimeError):
    """MPI and Slurm disagree on the number of ranks."""


class SharedCounters(Protocol):
    """Integers that all ranks see and advance."""

    def add(self, slot: int, amount: int) -> int:
        """Add `amount` to counter `slot`; return the value before."""

    def close(self) -> None:
        """Free the counters; every rank must call it."""


class Communicator(Protocol):
    """What this project asks of a group of ranks; all methods but the counters' `add` are collective."""

    rank: int
    size: int
    local_rank: int
    local_size: int

    def barrier(self) -> None:
        """Wait for all ranks."""

    def broadcast(self, value: T) -> T:
        """Return rank 0's `value` on every rank."""

    def gather(self, value: T) -> list[T] | None:
        """Return all ranks' values on rank 0, None elsewhere."""

    def shared_counters(self, num_slots: int) -> SharedCounters:
        """Return `num_slots` counters that start at 0."""

    def abort(self, exit_status: int) -> None:
        """End all ranks at once, because this one cannot go on."""

    def finalize(self) -> None:
        """Take leave of the other ranks in good order, so that an exit status above 0 ends nobody else."""


class _LocalCounters:
    def __init__(self, num_slots: int) -> None:
        self._values = [0] * num_slots
        self._lock = threading.Lock()

    def add(self, slot: int, amount: int) -> int:
        with self._lock:
            before = self._values[slot]
            self._values[slot] = before + amount
        return before

    def close(self) -> None:
        pass


class SerialCommunicator:
    """One process that stands for all ranks."""

    rank = 0
    size = 1
    local_rank = 0
    local_size = 1

    def barrier(self) -> None:
        """Return at once: there is nobody to wait for."""

    def broadcast(self, value: T) -> T:
        """Return `value`."""
        return value

    def gather(self, value: T) -> list[T] | None:
        """Return `[value]`."""
        return [value]

    def shared_counters(self, num_slots: int) -> SharedCounters:
        """Return counters of this process."""
        return _LocalCounters(num_slots)

    def abort(self, exit_status: int) -> None:
        """Return: the error that led here ends this process by itself."""

    def finalize(self) -> None:
        """Return: there is nobody to take leave of."""


class _MpiCounters:
    """Counters in rank 0's memory, reached by one-sided operations."""

    def __init__(self, mpi: Any, comm: Any, num_slots: int) -> None:
        self._mpi = mpi
        self._lock = threading.Lock()
        self._window = mpi.Win.Allocate(8 * num_slots if comm.rank == 0 else 0, 8, comm=comm)
        if comm.rank == 0:
            self._window.Lock(0)
            np.frombuffer(self._window.tomemory(), dtype=np.int64)[:] = 0
            self._window.Unlock(0)
        comm.Barrier()
        self._stop = threading.Event()
        self._progress: threading.Thread | None = None
        if comm.rank == 0 and comm.size > 1 and mpi.Query_thread() == mpi.THREAD_MULTIPLE:
            # Across nodes, MPI serves a one-sided request only while its target is inside an MPI call.
            self._progress = threading.Thread(target=self._serve, args=(comm,), daemon=True)
            self._progress.start()

    def _serve(self, comm: Any) -> None:
        while not self._stop.wait(_PROGRESS_INTERVAL_S):
            comm.Iprobe()

    def add(self, slot: int, amount: int) -> int:
        before = np.zeros(1, dtype=np.int64)
        with self._lock:
            self._window.Lock(0)
            self._window.Fetch_and_op(np.array([amount], dtype=np.int64), before, 0, slot, self._mpi.SUM)
            self._window.Unlock(0)
        return int(before[0])

    def close(self) -> None:
        self._stop.set()
        if self._progress is not None:
            self._progress.join()
        self._window.Free()


class MpiCommunicator:
    """All ranks of MPI's world."""

    def __init__(self) -> None:
        from mpi4py import MPI

        self._mpi = MPI
        self._comm = MPI.COMM_WORLD
        self.rank: int = self._comm.Get_rank()
        self.size: int = self._comm.Get_size()
        node = self._comm.Split_type(MPI.COMM_TYPE_SHARED)
        self.local_rank: int = node.Get_rank()
        self.local_size: int = node.Get_size()

    def barrier(self) -> None:
        """Wait for all ranks."""
        self._comm.Barrier()

    def broadcast(self, value: T) -> T:
        """Return rank 0's `value` on every rank."""
        return self._comm.bcast(value, root=0)

    def gather(self, value: T) -> list[T] | None:
        """Return all ranks' values on rank 0, None elsewhere."""
        return self._comm.gather(value, root=0)

    def shared_counters(self, num_slots: int) -> SharedCounters:
        """Return counters in rank 0's memory."""
        return _MpiCounters(self._mpi, self._comm, num_slots)

    def abort(self, exit_status: int) -> None:
        """End all ranks at once."""
        self._comm.Abort(exit_status)

    def finalize(self) -> None:
        """End MPI in good order: `python -m mpi4py` aborts all ranks when one exits with a status above 0 before."""
        self._mpi.Finalize()


def open_communicator() -> Communicator:
    """
    Return MPI's world where a launcher started this process, else one that stands alone.

    Raises
    ------
    RankCountError
        Slurm started several tasks, but MPI sees another number of ranks.
    """
    # `python -m mpi4py -m ...` has loaded mpi4py before this module runs.
    started_by_launcher = any(name in os.environ for name in _LAUNCHER_VARIABLES)
    has_mpi = started_by_launcher or "mpi4py" in sys.modules
    communicator: Communicator = MpiCommunicator() if has_mpi else SerialCommunicator()
    check_rank_count(communicator.size, os.environ)
    return communicator


def check_rank_count(size: int, environment: Any) -> None:
    """
    Raise RankCountError when `srun` started another number of tasks than MPI has ranks.

    With a process-management plugin that does not fit the MPI library, every task silently becomes rank 0 of 1, and
    all of them would do the same work and write the same files.
    """
    started_by_srun = "SLURM_STEP_ID" in environment and "SLURM_PROCID" in environment
    num_tasks = int(environment.get("SLURM_STEP_NUM_TASKS", environment.get("SLURM_NTASKS", "1")))
    # `mpiexec` inside a job has a step of its own whose tasks are its proxies, one a node.
    started_by_mpiexec = "HYDI_CONTROL_FD" in environment or "MPIEXEC_HOSTNAME" in environment
    if started_by_srun and not started_by_mpiexec and num_tasks != size:
        raise RankCountError(
            f"srun started {num_tasks} tasks, but MPI sees {size} rank(s): the plugin does not fit the MPI library; "
            "start with `srun --mpi=pmi2` (MPICH) or `--mpi=pmix` (Open MPI), see `srun --mpi=list`"
        )


def on_main_rank(communicator: Communicator, function: Callable[[], T]) -> T:
    """
    Run `function` on rank 0 and return its result on every rank; what it raises is raised on every rank.

    Without this, an error on rank 0 would leave the others waiting for ever.
    """
    result: tuple[T | None, Exception | None] = (None, None)
    if communicator.rank == 0:
        try:
            result = (function(), None)
        except Exception as error:
            result = (None, error)
    value, raised = communicator.broadcast(result)
    if raised is not None:
        raise raised
    return value  # type: ignore[return-value]
