"""
Simulate the claiming of shards with the measured times of a real build.

    python benchmarks/plan_efficiency.py --store dataset.zarr

Draws lists of proteins from the journals of a finished store (with replacement) and prints the parallel efficiency,
work / (ranks x time of the last rank), of the plan with its default shard size. Beside it stands the bound that no plan
can pass: a single protein cannot be shared, so no build ends before its longest protein does.
"""

import argparse
import random
import sys
from pathlib import Path

from afmsim.build_store import journaled_rows
from hpc.work_plan import default_shard_size, parallel_efficiency, shard_ranges

LISTS = (8_000, 100_000, 542_000)
RANKS = (16, 256, 1_024, 4_096)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True, help="finished store whose journals hold the times")
    parser.add_argument("--max-atoms", type=int, default=10**9, help="leave out proteins with more atoms")
    args = parser.parse_args()
    rows = [row for row in journaled_rows(args.store).values() if row["num_atoms"] <= args.max_atoms]
    measured_s = [row["elapsed_s"] for row in rows]
    print(
        f"{len(rows)} proteins, mean {sum(measured_s) / len(rows):.2f} s, longest {max(measured_s):.1f} s "
        f"({max(row['num_atoms'] for row in rows)} atoms)"
    )
    print("proteins  shard  files   " + "".join(f"{ranks:>8} ranks (bound)" for ranks in RANKS))
    rng = random.Random(0)
    for num_proteins in LISTS:
        costs_s = rng.choices(measured_s, k=num_proteins)
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
