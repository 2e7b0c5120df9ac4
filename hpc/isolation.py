"""Run functions that may hang, crash or eat all memory in a child process that can be killed and replaced."""

import ctypes
import json
import os
import pickle
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self, TypeVar

# A process that inherits these could take itself for an MPI rank and speak to the launcher.
_LAUNCHER_VARIABLES = (
    "PMI", "OMPI_", "PRTE_", "HYDRA_", "HYDI_", "MPI_LOCAL", "SLURM", "PALS_", "ALPS_", "FLUX_",
)  # fmt: skip

# The child is told where the parent imports from, so that both find the same modules, however the parent was started.
# Nothing of the parent's __main__ is imported.
_CHILD_PROGRAM = (
    "import json, sys; parent, connection, paths = json.loads(sys.argv[1]); sys.path[:] = paths; "
    "from hpc.isolation import _serve; _serve(parent, connection)"
)

Result = TypeVar("Result")

_WATCH_INTERVAL_S = 0.05
# Schedulers and terminals signal every process of a job. The parent alone decides what that means.
_IGNORED_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
_BYTES_PER_GB = 1e9
_PR_SET_PDEATHSIG = 1


class IsolatedTaskError(RuntimeError):
    """A task was ended from outside, so that it has neither a result nor an exception of its own."""


class TaskTimeoutError(IsolatedTaskError):
    """A task took longer than its time limit."""


class TaskMemoryError(IsolatedTaskError):
    """A task used more memory than its limit."""


class WorkerDiedError(IsolatedTaskError):
    """The child process ended in the middle of a task."""


class TaskCancelledError(IsolatedTaskError):
    """A task was given up because the caller no longer wants it."""


class IsolatedWorker:
    """
    One child process, kept alive between calls and replaced after a crash, a hang or too much memory.

    The child is a new Python, not a fork, because ranks of MPI must not fork. It ends with its parent, even one that is
    killed, and, where threads are used, with the thread that made the call that started it.

    The memory limit is on resident memory, watched from here every 50 ms. A limit set in the kernel (`RLIMIT_AS`,
    `RLIMIT_DATA`) counts address space that threads, Numba and PyMOL reserve and never touch, and shows as whatever the
    program does when `malloc` fails: often a crash that names no memory.
    """

    def __init__(
        self, timeout_s: float, memory_limit_gb: float, is_cancelled: Callable[[], bool] = lambda: False
    ) -> None:
        if not (timeout_s > 0 and memory_limit_gb > 0):
            raise ValueError(
                f"expected limits above 0, got timeout_s {timeout_s} and memory_limit_gb {memory_limit_gb}"
            )
        self.timeout_s = timeout_s
        self.memory_limit_gb = memory_limit_gb
        self.peak_memory_gb = 0.0
        """Most resident memory of any child so far, as far as the watch has seen it."""
        self._is_cancelled = is_cancelled
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def call(self, function: Callable[..., Result], *args: Any) -> Result:
        """
        Return `function(*args)`, computed in the child.

        The function must be importable by its module's name; arguments and result are pickled.

        Raises
        ------
        TaskTimeoutError, TaskMemoryError, TaskCancelledError, WorkerDiedError
            The child was killed, or died; the next call starts another one.
        Exception
            Whatever the function raises, with the child's traceback as a note.
        """
        if getattr(function, "__module__", None) == "__main__":
            raise ValueError(
                f"{function.__qualname__} is defined in the started program; move it to a module of its own"
            )
        process, connection = self._running_child()
        try:
            connection.send((function, args))
            self._watch(process, connection)
            succeeded, value = connection.recv()
        except (EOFError, ConnectionError):
            raise self._death(process) from None
        except BaseException:  # what was half sent or half received must not be read by the next call
            self.close()
            raise
        if not succeeded:
            raise value
        return value

    def close(self) -> None:
        """End the child."""
        if self._connection is not None:
            self._connection.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = self._connection = None

    def _running_child(self) -> tuple[subprocess.Popen[bytes], Connection]:
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._process is None or self._connection is None:
            self._connection, child_end = Pipe()
            start = json.dumps([os.getpid(), child_end.fileno(), sys.path])
            # A new process inherits what is blocked: no signal reaches the child before it has chosen to ignore it.
            blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _IGNORED_SIGNALS)
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-c", _CHILD_PROGRAM, start],
                    stdin=subprocess.DEVNULL,
                    pass_fds=[child_end.fileno()],
                    env={name: value for name, value in os.environ.items() if not name.startswith(_LAUNCHER_VARIABLES)},
                )
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            child_end.close()
        return self._process, self._connection

    def _watch(self, process: subprocess.Popen[bytes], connection: Connection) -> None:
        """Wait for the child's answer, or for the breach of a limit."""
        import psutil

        child = psutil.Process(process.pid)
        end_s = time.monotonic() + self.timeout_s
        while not connection.poll(_WATCH_INTERVAL_S):
            try:
                used_gb = child.memory_info().rss / _BYTES_PER_GB
            except psutil.Error:  # it has just ended, which the connection tells next
                continue
            self.peak_memory_gb = max(self.peak_memory_gb, used_gb)
            if used_gb > self.memory_limit_gb:
                raise TaskMemoryError(
                    f"used {used_gb:.1f} GB of memory, more than the limit of {self.memory_limit_gb:g} GB"
                )
            if self._is_cancelled():
                raise TaskCancelledError("was given up before its end")
            if time.monotonic() > end_s:
                raise TaskTimeoutError(f"took longer than the limit of {self.timeout_s:g} s")

    def _death(self, process: subprocess.Popen[bytes]) -> WorkerDiedError:
        status = process.wait()
        self.close()
        if status >= 0:
            return WorkerDiedError(f"ended with exit status {status} in the middle of a task")
        name = signal.Signals(-status).name
        hint = "; did the machine run out of memory?" if name == "SIGKILL" else ""
        return WorkerDiedError(f"ended by signal {name}{hint}")


def _serve(parent_pid: int, connection_fd: int) -> None:
    """Answer calls until the parent closes the connection; the child's main function."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # the parent was gone before the line above
        os._exit(1)
    for number in _IGNORED_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _IGNORED_SIGNALS)
    connection = Connection(connection_fd)
    while True:
        try:
            request = connection.recv_bytes()
        except EOFError:
            return
        connection.send_bytes(_answer(request))


def _answer(request: bytes) -> bytes:
    try:
        function, args = pickle.loads(request)
        return pickle.dumps((True, function(*args)), protocol=5)
    except Exception as error:
        error.add_note("in the isolated process:\n" + traceback.format_exc())
        try:
            answer = pickle.dumps((False, error))
            pickle.loads(answer)  # some exceptions can be written and not read
        except Exception:
            answer = pickle.dumps((False, RuntimeError(f"{type(error).__name__}: {error}")))
        return answer
