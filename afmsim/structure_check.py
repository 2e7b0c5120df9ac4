"""Whether files hold a protein that can be read, seen in processes of their own."""

import multiprocessing
import signal
import tempfile
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from pathlib import Path
from types import TracebackType

_NUM_PROCESSES = 2


class StructureCheck:
    """
    Reads structure files for threads that have other things to do.

    Parsing holds Python's lock, so that threads which receive files would wait for it; and a file can crash the parser,
    which ends a process here, not the command.
    """

    def __init__(self, problem_of: Callable[[Path, str], str] | None = None) -> None:
        self._problem_of = problem_of or structure_problem
        self._pool = _new_pool(_NUM_PROCESSES)

    def __call__(self, path: Path, name: str) -> None:
        """Raise ValueError, with a sentence, where the file at `path`, to be called `name`, holds no protein."""
        try:
            problem = self._pool.submit(self._problem_of, path, name).result()
        except BrokenExecutor:
            # After one crash the pool takes nothing more, and each file is read by a process of its own.
            problem = self._problem_alone(path, name)
        if problem:
            raise ValueError(problem)

    def _problem_alone(self, path: Path, name: str) -> str:
        """Read a file once more where no other file's crash can be blamed on it."""
        with _new_pool(1) as pool:
            try:
                return pool.submit(self._problem_of, path, name).result()
            except BrokenExecutor:
                return f"{name!r} crashes the reader of structures; leave it out"

    def __enter__(self) -> "StructureCheck":
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)


def structure_problem(path: Path, name: str) -> str:
    """Say in a sentence why `path`, to be called `name`, holds no protein that can be read; nothing where it does."""
    from afmsim.structure import StructureError, read_structure

    # A file under way has a temporary name, while the reader goes by the name's end and tells it in its sentences.
    with tempfile.TemporaryDirectory() as folder:
        named = Path(folder) / name
        named.symlink_to(path.resolve())
        try:
            read_structure(named)
        except StructureError as error:
            return str(error)
        except MemoryError:
            return f"{name!r} needs more memory than there is"
    return ""


def _new_pool(num_processes: int) -> ProcessPoolExecutor:
    # Spawned, since a fork of a process with threads may take over locks that nobody will open.
    return ProcessPoolExecutor(
        num_processes, mp_context=multiprocessing.get_context("spawn"), initializer=_leave_interrupts_to_the_parent
    )


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
