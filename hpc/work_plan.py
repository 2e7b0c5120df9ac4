"""
Who does what, as pure functions of numbers: shards of items, heaviest first, claimed one by one.

The unit of work is a shard, a run of items that stand together in the store and have one writer. A shard is claimed
when a rank becomes free, so the plan needs no number of ranks and any number of them gives the same shards.
"""

import heapq
from collections.abc import Sequence

# A shard is one file per array. File systems want few files; balance wants many shards per rank, since the last shard
# to end takes as long as all its proteins together. `benchmarks/plan_efficiency.py` weighs the two: this many shards
# keep 256 ranks busy on 8 000 proteins ...
_TARGET_NUM_SHARDS = 4_000
# ... and shards no larger than this keep 4 096 ranks busy on 542 000.
_MAX_SHARD_SIZE = 8


def default_shard_size(num_items: int) -> int:
    """Return the number of items per shard for a list of `num_items`; it never depends on the number of ranks."""
    return max(1, min(_MAX_SHARD_SIZE, num_items // _TARGET_NUM_SHARDS))


def shard_ranges(num_items: int, shard_size: int) -> list[range]:
    """Return the item indices of each shard: every item in exactly one, in order, only the last one shorter."""
    return [range(start, min(start + shard_size, num_items)) for start in range(0, num_items, shard_size)]


def heaviest_first(shard_costs: Sequence[float]) -> list[int]:
    """Return the shard indices in the order in which they are claimed: by falling cost, ties by index."""
    return sorted(range(len(shard_costs)), key=lambda shard: (-shard_costs[shard], shard))


def makespan_s(shard_costs_s: Sequence[float], num_ranks: int) -> float:
    """
    Simulate the claiming: the time after which the last of `num_ranks` equal ranks is done, in seconds.

    Each free rank takes the next shard of `heaviest_first` (Graham's longest-processing-time list schedule).
    """
    free_at = [0.0] * num_ranks
    for shard in heaviest_first(shard_costs_s):
        heapq.heapreplace(free_at, free_at[0] + shard_costs_s[shard])
    return max(free_at)


def parallel_efficiency(shard_costs_s: Sequence[float], num_ranks: int) -> float:
    """Return work / (ranks x makespan), 1.0 where no rank ever waits."""
    return sum(shard_costs_s) / (num_ranks * makespan_s(shard_costs_s, num_ranks))
