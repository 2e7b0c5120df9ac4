"""
Build the same structures with 1, 2, ... ranks and print the parallel efficiency, time on one rank / (ranks x time).

    python benchmarks/rank_efficiency.py --structures examples/structures --ranks 1 2

Each rank computes with one thread. Times are those of the claiming and building, from the first claim to the last
protein, as the build itself logs them; the start of Python and MPI is left out and printed beside.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def build_times_s(structures: Path, num_ranks: int) -> tuple[float, float]:
    """Return the time of the work and of the whole command."""
    mpiexec = Path(sys.executable).parent / "mpiexec"
    with tempfile.TemporaryDirectory() as folder:
        command = [mpiexec, "-n", str(num_ranks), sys.executable, "-m", "mpi4py", "-m", "afmsim.build"]
        started_s = time.monotonic()
        result = subprocess.run(
            [*command, f"--structures={structures}", f"--store={folder}/dataset.zarr"],
            env=os.environ | {"NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=True,
        )
        elapsed_s = time.monotonic() - started_s
    found = re.search(r"proteins in ([\d.]+) s: ([\d.]+) per minute", result.stderr)
    assert found, result.stderr
    return float(found[1]), elapsed_s


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=Path, required=True, help="folder or list of structures")
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2], help="numbers of ranks, 1 first")
    args = parser.parse_args()
    alone_s = None
    print("ranks   work (s)   command (s)   efficiency of the work")
    for num_ranks in args.ranks:
        work_s, command_s = build_times_s(args.structures, num_ranks)
        alone_s = alone_s or work_s
        print(f"{num_ranks:>5} {work_s:>10.1f} {command_s:>13.1f} {alone_s / (num_ranks * work_s):>24.2f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
