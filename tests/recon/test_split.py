import pytest
from hypothesis import given
from hypothesis import strategies as st

from recon.split import split_proteins

NAMES = st.lists(st.text("abcdef123", min_size=1, max_size=6), min_size=2, max_size=60, unique=True)


@given(protein_ids=NAMES, seed=st.integers(0, 5), fraction=st.floats(0.01, 0.99))
def test_every_protein_has_exactly_one_side_and_no_side_is_empty(protein_ids, seed, fraction):
    split = split_proteins(protein_ids, [""] * len(protein_ids), seed, fraction)
    assert sorted(split.train + split.validation) == sorted(protein_ids)
    assert split.train
    assert split.validation


@given(protein_ids=NAMES, data=st.data())
def test_the_split_does_not_depend_on_the_order_of_the_proteins(protein_ids, data):
    shuffled = data.draw(st.permutations(protein_ids))
    clusters = [""] * len(protein_ids)
    first, second = (split_proteins(names, clusters, 0, 0.3) for names in (protein_ids, shuffled))
    assert set(first.train) == set(second.train)


def test_no_protein_changes_sides_when_a_dataset_grows():
    names = [f"p{number}" for number in range(400)]
    small = split_proteins(names[:50], [""] * 50, 0, 0.2)
    large = split_proteins(names, [""] * 400, 0, 0.2)
    assert set(small.train) <= set(large.train)
    assert set(small.validation) <= set(large.validation)


def test_about_a_fifth_of_many_proteins_validates():
    names = [f"p{number}" for number in range(5000)]
    split = split_proteins(names, [""] * 5000, 0, 0.2)
    # Five standard deviations of a binomial distribution.
    assert abs(len(split.validation) - 1000) < 5 * (5000 * 0.2 * 0.8) ** 0.5


def test_relatives_stay_on_one_side():
    names = [f"p{number}" for number in range(60)]
    clusters = [f"family{number % 10}" for number in range(60)]
    split = split_proteins(names, clusters, 0, 0.3)
    cluster_of = dict(zip(names, clusters, strict=True))
    assert not {cluster_of[name] for name in split.train} & {cluster_of[name] for name in split.validation}


def test_another_seed_gives_another_split():
    names = [f"p{number}" for number in range(50)]
    first, second = (split_proteins(names, [""] * 50, seed, 0.2) for seed in (0, 1))
    assert first != second


def test_one_family_alone_cannot_be_split():
    with pytest.raises(ValueError, match="2 proteins in 1 groups"):
        split_proteins(["a", "b"], ["family", "family"], 0, 0.2)
