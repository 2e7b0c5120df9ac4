"""Real MPI ranks for tests."""

import os
import shutil
import subprocess
import sys
from pathlib import Path


def mpiexec_command(num_ranks: int, *arguments: str) -> list[str]:
    """Return the command that runs `python arguments` on `num_ranks` ranks."""
    mpiexec = Path(sys.executable).parent / "mpiexec"
    command = str(mpiexec) if mpiexec.exists() else shutil.which("mpiexec")
    assert command, "mpiexec not found; it comes with the mpich wheel of the `build` extra"
    return [command, "-n", str(num_ranks), sys.executable, *arguments]


def run_ranks(num_ranks: int, *arguments: str, timeout_s: float = 300.0) -> subprocess.CompletedProcess[str]:
    """Run `python arguments` on `num_ranks` ranks (0: plain, without MPI) and return what came of it."""
    command = mpiexec_command(num_ranks, *arguments) if num_ranks else [sys.executable, *arguments]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
    )
