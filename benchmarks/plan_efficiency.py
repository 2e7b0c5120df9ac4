"""
Simulate the claiming of shards with the atom counts and times of a real build.

    python benchmarks/plan_efficiency.py --store dataset.zarr

The journals of a finished store give a line of seconds over atoms (fitted up to 20 000 atoms, extrapolated above, so
that a machine that was busy with something else for a while does no harm). Lists of proteins are drawn from it with
replacement. Printed is the parallel efficiency, work / (ranks x time of the last rank), of the plan with its default
shard size, and the bound that no plan can pass: a protein cannot be shared between ranks, so no build ends before its
longest protein does.
"""

import argparse
import random
import sys
from pathlib import Path

import numpy as np

from afmsim.build_store import journaled_rows
from hpc.work_plan import default_shard_size, parallel_efficiency, shard_ranges

LISTS = (8_000, 100_000, 542_000)
_MAX_FITTED_ATOMS = 20_000
RANKS = (16, 256, 1_024, 4_096)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True, help="finished store whose journals hold the times")
    parser.add_argument("--max-atoms", type=int, default=10**9, help="leave out proteins with more atoms")
    args = parser.parse_args()
    rows = [row for row in journaled_rows(args.store).values() if row["num_atoms"] <= args.max_atoms]
    num_atoms = np.array([row["num_atoms"] for row in rows])
    elapsed_s = np.array([row["elapsed_s"] for row in rows])
    fitted = num_atoms <= _MAX_FITTED_ATOMS
    slope_s, start_s = np.polyfit(num_atoms[fitted], elapsed_s[fitted], 1)
    model_s = (start_s + slope_s * num_atoms).tolist()
    print(
        f"{len(rows)} proteins: {start_s:.2f} s + {slope_s * 1000:.2f} s per 1000 atoms, "
        f"mean {np.mean(model_s):.2f} s, longest {max(model_s):.1f} s ({num_atoms.max()} atoms)"
    )
    print("proteins  shard  files   " + "".join(f"{ranks:>8} ranks (bound)" for ranks in RANKS))
    rng = random.Random(0)
    for num_proteins in LISTS:
        costs_s = rng.choices(model_s, k=num_proteins)
        size = default_shard_size(num_proteins)
        shards_s = [sum(costs_s[item] for item in shard) for shard in shard_ranges(num_proteins, size)]
        cells = []
        for ranks in RANKS:
            bound = min(1.0, sum(costs_s) / (ranks * max(costs_s)))
            cells.append(f"{parallel_efficiency(shards_s, ranks):>11.3f}  ({bound:.3f})")
        print(f"{num_proteins:>8} {size:>6} {4 * len(shards_s):>7}" + "".join(cells))
    return 0


if __name__ == "__main__":
    sys.exit(main())
