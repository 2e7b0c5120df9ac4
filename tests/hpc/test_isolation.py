import ctypes
import mmap
import operator
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from hpc.isolation import IsolatedWorker, TaskMemoryError, TaskTimeoutError, WorkerDiedError
from tests.helpers.ranks import mpiexec_command

ROOT = Path(__file__).parents[2]


class UnreadableError(Exception):
    """Can be pickled and not unpickled."""

    def __init__(self, first, second):
        super().__init__(f"{first} {second}")


def raise_unreadable():
    raise UnreadableError("one", "two")


def environment():
    return dict(os.environ)


def read_stdin():
    return os.read(0, 1)


def ignored_signals():
    return [number for number in range(1, 32) if signal.getsignal(number) == signal.SIG_IGN]


@pytest.fixture
def worker():
    with IsolatedWorker(timeout_s=60, memory_limit_gb=2) as worker:
        yield worker


def test_a_result_comes_back_and_the_child_is_kept(worker):
    assert worker.call(operator.add, 2, 3) == 5
    child = worker.call(os.getpid)
    assert child == worker.call(os.getpid)
    assert child != os.getpid()


def test_a_large_array_passes_unchanged_both_ways(worker):
    array = np.arange(12_500_000, dtype=np.float64)
    np.testing.assert_array_equal(worker.call(np.negative, array), -array)


def test_the_function_s_own_exception_is_raised_and_the_child_is_kept(worker):
    child = worker.call(os.getpid)
    with pytest.raises(ZeroDivisionError) as error:
        worker.call(operator.truediv, 1, 0)
    assert "in the isolated process" in error.value.__notes__[0]
    assert worker.call(os.getpid) == child


def test_an_exception_that_cannot_be_passed_is_told_in_words(worker):
    with pytest.raises(RuntimeError, match="UnreadableError: one two"):
        worker.call(raise_unreadable)


def test_a_result_that_cannot_be_pickled_is_the_function_s_error_and_the_child_is_kept(worker):
    child = worker.call(os.getpid)
    with pytest.raises(TypeError, match="pickle"):
        worker.call(compile, "1", "text", "eval")
    assert worker.call(os.getpid) == child


def test_a_function_that_cannot_be_sent_leaves_a_worker_that_works(worker):
    with pytest.raises(Exception, match="pickle"):
        worker.call(lambda: 1)
    assert worker.call(operator.add, 1, 1) == 2


def test_a_real_segmentation_fault_is_named_and_the_child_replaced(worker):
    child = worker.call(os.getpid)
    with pytest.raises(WorkerDiedError, match="ended by signal SIGSEGV"):
        worker.call(ctypes.string_at, 0)
    assert worker.call(os.getpid) != child


def test_an_exit_is_named_with_its_status(worker):
    with pytest.raises(WorkerDiedError, match="exit status 7"):
        worker.call(os._exit, 7)
    assert worker.call(operator.add, 1, 1) == 2


def test_a_hang_ends_at_the_time_limit_and_the_child_is_gone():
    with IsolatedWorker(timeout_s=2, memory_limit_gb=2) as worker:
        child = worker.call(os.getpid)
        with pytest.raises(TaskTimeoutError, match="limit of 2 s"):
            worker.call(time.sleep, 600)
        assert not psutil.pid_exists(child)
        assert worker.call(operator.add, 1, 1) == 2


def test_too_much_memory_ends_at_the_memory_limit_and_the_child_is_gone():
    with IsolatedWorker(timeout_s=60, memory_limit_gb=0.3) as worker:
        child = worker.call(os.getpid)
        with pytest.raises(TaskMemoryError, match=r"limit of 0\.3 GB"):
            worker.call(np.ones, 10**9)
        assert not psutil.pid_exists(child)
        assert worker.call(operator.add, 1, 1) == 2


def test_reserved_memory_that_is_not_touched_counts_for_nothing():
    with IsolatedWorker(timeout_s=60, memory_limit_gb=0.3) as worker:
        assert worker.call(reserve_bytes, 2_000_000_000) == 2_000_000_000


def reserve_bytes(num_bytes):
    with mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as reserved:
        time.sleep(0.5)
        return len(reserved)


def test_a_child_that_was_killed_between_calls_is_replaced(worker):
    child = worker.call(os.getpid)
    psutil.Process(child).kill()
    psutil.wait_procs([psutil.Process(child)], timeout=0.5)
    assert worker.call(os.getpid) != child


def test_the_child_takes_nothing_of_the_launcher_and_no_stdin(worker, monkeypatch):
    for name in ("PMI_RANK", "PMIX_RANK", "OMPI_COMM_WORLD_RANK", "SLURM_PROCID", "HYDI_CONTROL_FD"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    inherited = worker.call(environment)
    assert inherited["OMP_NUM_THREADS"] == "3"
    assert not [name for name in inherited if name.startswith(("PMI", "OMPI_", "SLURM", "HYDI"))]
    assert worker.call(read_stdin) == b""


def test_signals_to_the_whole_job_do_not_end_the_child(worker):
    expected = {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2}
    assert expected <= set(worker.call(ignored_signals))


def test_closing_ends_the_child():
    with IsolatedWorker(timeout_s=60, memory_limit_gb=2) as worker:
        child = worker.call(os.getpid)
    assert not psutil.pid_exists(child)


PARENT = """
import os, sys, time
from hpc.isolation import IsolatedWorker
with IsolatedWorker(60, 2) as worker:
    print(worker.call(os.getpid), flush=True)
    worker.call(time.sleep, 600)
"""


def test_a_busy_child_ends_when_its_parent_is_killed():
    with subprocess.Popen([sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    gone, _ = psutil.wait_procs([child], timeout=20)
    assert gone or child.status() == psutil.STATUS_ZOMBIE


RANK = """
import os
import operator
from mpi4py import MPI
from hpc.isolation import IsolatedWorker
with IsolatedWorker(60, 2) as worker:
    result = worker.call(operator.mul, MPI.COMM_WORLD.rank, 10)
print(MPI.COMM_WORLD.gather(result), flush=True) if MPI.COMM_WORLD.rank == 0 else MPI.COMM_WORLD.gather(result)
"""


@pytest.mark.mpi
def test_ranks_started_as_modules_under_mpi4py_isolate_their_calls(tmp_path):
    (tmp_path / "rank_program.py").write_text(RANK)
    command = mpiexec_command(2, "-m", "mpi4py", "-m", "rank_program")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "[0, 10]"


@pytest.mark.parametrize(("timeout_s", "memory_limit_gb"), [(0, 1), (1, 0), (-1, 1)])
def test_limits_must_be_above_zero(timeout_s, memory_limit_gb):
    with pytest.raises(ValueError, match="limits above 0"):
        IsolatedWorker(timeout_s, memory_limit_gb)
