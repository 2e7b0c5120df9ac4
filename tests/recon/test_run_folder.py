from dataclasses import replace

import pytest

from recon.run_folder import RunError, RunFolder, RunRecord, read_rows, write_rows
from recon.split import Split
from recon.train_config import TrainConfig

RECORD = RunRecord(
    config=TrainConfig(store="/data.zarr", views=8),
    split=Split(train=("a", "b"), validation=("c",)),
    num_parameters=7,
    device="cpu",
    versions={"torch": "2"},
    commit="0123abc",
)


def test_the_record_of_a_run_comes_back_as_it_was(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.claim(RECORD)
    assert run.read_record() == RECORD


def test_the_same_settings_are_accepted_again_on_another_device(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.claim(RECORD)
    run.claim(replace(RECORD, device="cuda"))
    assert run.read_record() == RECORD


def test_a_dataset_that_has_moved_is_accepted(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.claim(RECORD)
    run.claim(replace(RECORD, config=replace(RECORD.config, store="/elsewhere/data.zarr")))


def test_each_changed_setting_is_named(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.claim(RECORD)
    changed = replace(RECORD, config=replace(RECORD.config, views=5, seed=1))
    with pytest.raises(RunError, match="views was 8 and is now 5; seed was 0 and is now 1; choose another --run"):
        run.claim(changed)


def test_a_dataset_that_has_grown_is_refused(tmp_path):
    run = RunFolder(tmp_path / "run")
    run.claim(RECORD)
    with pytest.raises(RunError, match="then had 3 proteins and now has 4, 1 of them new and 0 gone"):
        run.claim(replace(RECORD, split=Split(train=("a", "b", "d"), validation=("c",))))


def test_a_folder_without_a_run_says_how_to_make_one(tmp_path):
    with pytest.raises(RunError, match="train one first"):
        RunFolder(tmp_path).read_record()


def test_a_damaged_config_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(RunError, match=r"config\.json, got"):
        RunFolder(tmp_path).read_record()


def test_rows_come_back_as_text_and_an_absent_file_has_none(tmp_path):
    write_rows(tmp_path / "rows.csv", ("epoch", "loss"), [{"epoch": 0, "loss": 0.1}])
    assert (tmp_path / "rows.csv").read_text() == "epoch,loss\n0,0.1\n"
    assert read_rows(tmp_path / "rows.csv") == [{"epoch": "0", "loss": "0.1"}]
    assert read_rows(tmp_path / "absent.csv") == []
