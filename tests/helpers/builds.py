"""Small builds for tests of what happens when something goes wrong."""

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.helpers.ranks import mpiexec_command

REPOSITORY = Path(__file__).parents[2]
SMALL = ("--grid-size=32", "--image-size=32", "--num-views=2", "--shard-size=2")


def build_command(structures: Path, store: Path, *more: str, num_ranks: int = 2) -> list[str]:
    """Return the command of a small build on real MPI ranks."""
    arguments = [f"--structures={structures}", f"--store={store}", *SMALL, *more]
    return mpiexec_command(num_ranks, "-m", "mpi4py", "-m", "afmsim.build", *arguments)


def finish_build(structures: Path, store: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Run the build to its end."""
    return subprocess.run(
        build_command(structures, store, *more),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        stdin=subprocess.DEVNULL,
        cwd=REPOSITORY,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def interrupt_build(structures: Path, store: Path, when: Callable[[], bool], how: Callable[[int], None]) -> int:
    """
    Start the build, wait for `when`, do `how` to it with the launcher's pid, and return the launcher's exit status.

    A build that ends by itself before is left as it is.
    """
    log = store.with_suffix(".log")
    with log.open("ab") as output:
        process = subprocess.Popen(
            build_command(structures, store, "--grace-s=0"),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd=REPOSITORY,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        deadline_s = time.monotonic() + 120
        while process.poll() is None and not when():
            assert time.monotonic() < deadline_s, log.read_text()
            time.sleep(0.01)
        if process.poll() is None:
            how(process.pid)
        status = process.wait(timeout=120)
        kill_group(process.pid)
    return status


def num_journaled_shards(store: Path) -> int:
    """Return how many shards the journals of a store speak of."""
    return sum(path.read_bytes().count(b"\n") for path in store.glob("journal/*/rank_*.jsonl"))


def kill_group(pid: int) -> None:
    """SIGKILL everything that a launcher started."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def kill_one_rank(launcher_pid: int) -> None:
    """SIGKILL one rank below a launcher, not its PyMOL and not the launcher."""
    import psutil

    ranks = [
        process
        for process in psutil.Process(launcher_pid).children(recursive=True)
        if "afmsim.build" in process.cmdline() and "mpi4py" in process.cmdline() and "hydra" not in process.name()
    ]
    ranks = [process for process in ranks if "python" in process.name()]
    assert ranks, "no rank is running"
    random.choice(ranks).kill()


def copy_structures(names: list[Path], folder: Path) -> Path:
    """Copy structure files into a folder of their own."""
    folder.mkdir(parents=True)
    for path in names:
        shutil.copy(path, folder / path.name)
    return folder
