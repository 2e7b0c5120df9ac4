import numpy as np
import pytest

from recon.scores import SplitScores, bootstrap_interval, size_rows


def test_the_interval_is_that_of_the_normal_law_for_many_proteins():
    iou = np.random.default_rng(0).normal(0.5, 0.1, 2000)
    low, high = bootstrap_interval(iou, [str(protein) for protein in range(2000)])
    standard_error = iou.std() / 2000**0.5
    assert low == pytest.approx(iou.mean() - 1.96 * standard_error, abs=0.15 * standard_error)
    assert high == pytest.approx(iou.mean() + 1.96 * standard_error, abs=0.15 * standard_error)


def test_copies_of_a_protein_do_not_make_the_mean_surer():
    iou = np.random.default_rng(1).random(50)
    names = [str(protein) for protein in range(50)]
    alone, copied = bootstrap_interval(iou, names), bootstrap_interval(np.repeat(iou, 4), np.repeat(names, 4))
    assert copied == pytest.approx(alone)


def test_one_family_alone_has_no_interval():
    assert np.isnan(bootstrap_interval(np.array([0.2, 0.4]), ["a", "a"])).all()


def test_every_protein_is_in_one_group_of_size():
    sizes_nm = np.array([5.0, 8.0, 11.9, 12.0, 30.0, 200.0])
    iou = np.linspace(0, 1, 6)
    scores = SplitScores(iou, 0.5, iou, iou, sizes_nm, list("abcdef"))
    rows = size_rows(8, "test", scores)
    assert [(row.size_nm, row.num_proteins) for row in rows] == [("0-8", 1), ("8-12", 2), ("12-20", 1), ("20-", 2)]
    assert sum(row.num_proteins * row.iou_mean for row in rows) == pytest.approx(iou.sum())
