from hypothesis import given
from hypothesis import strategies as st

from hpc.work_plan import default_shard_size, heaviest_first, makespan_s, parallel_efficiency, shard_ranges

costs = st.lists(st.floats(0.01, 1e4), min_size=1, max_size=60)


@given(num_items=st.integers(0, 500), shard_size=st.integers(1, 40))
def test_every_item_is_in_exactly_one_shard(num_items: int, shard_size: int) -> None:
    shards = shard_ranges(num_items, shard_size)
    assert [item for shard in shards for item in shard] == list(range(num_items))
    assert all(len(shard) == shard_size for shard in shards[:-1])
    assert all(shard.start % shard_size == 0 for shard in shards)


@given(costs)
def test_every_shard_is_claimed_once_and_none_before_a_heavier_one(shard_costs: list[float]) -> None:
    order = heaviest_first(shard_costs)
    assert sorted(order) == list(range(len(shard_costs)))
    claimed = [shard_costs[shard] for shard in order]
    assert claimed == sorted(claimed, reverse=True)


@given(costs, st.integers(1, 70))
def test_makespan_keeps_grahams_bound(shard_costs: list[float], num_ranks: int) -> None:
    lower_bound_s = max(max(shard_costs), sum(shard_costs) / num_ranks)
    span_s = makespan_s(shard_costs, num_ranks)
    assert lower_bound_s <= span_s * (1 + 1e-9)
    # Graham 1969: a list schedule is at most work / ranks + (1 - 1 / ranks) * the longest piece.
    assert span_s <= (sum(shard_costs) / num_ranks + (1 - 1 / num_ranks) * max(shard_costs)) * (1 + 1e-9)


def test_makespan_of_known_schedules() -> None:
    assert makespan_s([3.0, 3.0, 2.0, 2.0, 2.0], 2) == 7.0
    assert makespan_s([5.0, 1.0], 8) == 5.0
    assert parallel_efficiency([1.0] * 8, 4) == 1.0


def test_shard_size_grows_with_the_list_and_stays_in_memory() -> None:
    sizes = [default_shard_size(num_items) for num_items in (1, 32, 8_000, 100_000, 542_000)]
    assert sizes == sorted(sizes)
    assert sizes[0] == 1
    assert sizes[-1] <= 32
