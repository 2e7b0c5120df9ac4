import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.split import split_proteins, thinned

NAMES = st.lists(st.text("abcdef123", min_size=1, max_size=6), min_size=2, max_size=60, unique=True)


@given(
    protein_ids=NAMES, seed=st.integers(0, 5), validation=st.floats(0.01, 0.99), test=st.just(0) | st.floats(0.01, 0.99)
)
def test_every_protein_has_exactly_one_side_and_no_side_is_empty(protein_ids, seed, validation, test):
    split = split_proteins(protein_ids, [""] * len(protein_ids), seed, validation, test)
    assert sorted(split.train + split.validation + split.test) == sorted(protein_ids)
    assert split.train
    assert split.validation
    assert bool(split.test) == (test > 0 and len(protein_ids) > 2)


@given(protein_ids=NAMES, data=st.data())
def test_the_split_does_not_depend_on_the_order_of_the_proteins(protein_ids, data):
    shuffled = data.draw(st.permutations(protein_ids))
    clusters = [""] * len(protein_ids)
    first, second = (split_proteins(names, clusters, 0, 0.3) for names in (protein_ids, shuffled))
    assert set(first.train) == set(second.train)


def test_no_protein_changes_sides_when_a_dataset_grows():
    names = [f"p{number}" for number in range(400)]
    small = split_proteins(names[:50], [""] * 50, 0, 0.2, 0.1)
    large = split_proteins(names, [""] * 400, 0, 0.2, 0.1)
    assert set(small.train) <= set(large.train)
    assert set(small.test) <= set(large.test)
    assert set(small.validation) <= set(large.validation)


def test_a_tenth_of_many_proteins_tests_and_a_fifth_of_the_others_validates():
    names = [f"p{number}" for number in range(5000)]
    split = split_proteins(names, [""] * 5000, 0, 0.2, 0.1)
    # Five standard deviations of a binomial distribution.
    assert abs(len(split.test) - 500) < 5 * (5000 * 0.1 * 0.9) ** 0.5
    assert abs(len(split.validation) - 900) < 5 * (5000 * 0.18 * 0.82) ** 0.5


def test_relatives_stay_on_one_side():
    names = [f"p{number}" for number in range(60)]
    clusters = [f"family{number % 10}" for number in range(60)]
    split = split_proteins(names, clusters, 0, 0.3, 0.2)
    cluster_of = dict(zip(names, clusters, strict=True))
    train, validation, test = (
        {cluster_of[name] for name in side} for side in (split.train, split.validation, split.test)
    )
    assert len(train) + len(validation) + len(test) == len(train | validation | test) == 10


def test_another_seed_gives_another_split():
    names = [f"p{number}" for number in range(50)]
    first, second = (split_proteins(names, [""] * 50, seed, 0.2) for seed in (0, 1))
    assert first != second


def test_one_family_alone_cannot_be_split():
    with pytest.raises(ValueError, match="2 proteins in 1 groups"):
        split_proteins(["a", "b"], ["family", "family"], 0, 0.2)


def test_fewer_training_proteins_are_a_part_of_more_and_nothing_else_changes():
    split = split_proteins([f"p{number}" for number in range(60)], [""] * 60, 0, 0.2, 0.1)
    few, more = thinned(split, 5, 0), thinned(split, 20, 0)
    assert (len(few.train), len(more.train)) == (5, 20)
    assert set(few.train) < set(more.train) < set(split.train)
    assert (few.validation, few.test) == (split.validation, split.test)
    assert thinned(split, 0, 0) == split
