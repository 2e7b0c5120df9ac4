import os
from dataclasses import fields

import pytest
import torch

from recon.checkpoint import Snapshot, load_snapshot, save_snapshot


def snapshot(**changed: object) -> Snapshot:
    values = {
        "model": {"weight": torch.arange(6.0).reshape(2, 3)},
        "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 1e-3, "params": [0]}]},
        "scheduler": {"last_epoch": 2},
        "epoch": 2,
        "step": 14,
        "step_in_epoch": 3,
        "totals": {"loss": 1.5, "iou": 0.2, "num_samples": 6.0, "elapsed_s": 0.5},
        "best_validation_iou": 0.25,
        "history": [{"epoch": 0, "train_loss": 0.5}],
        "config": {"views": 8, "size": "F"},
        "cpu_rng_state": torch.get_rng_state(),
        "gpu_rng_states": [],
    }
    return Snapshot(**values | changed)


def test_a_snapshot_comes_back_as_it_was(tmp_path):
    saved = snapshot()
    save_snapshot(tmp_path / "snapshot.pt", saved)
    loaded = load_snapshot(tmp_path / "snapshot.pt")
    assert torch.equal(loaded.model["weight"], saved.model["weight"])
    assert torch.equal(loaded.cpu_rng_state, saved.cpu_rng_state)
    tensor_fields = {"model", "cpu_rng_state"}
    for field in fields(Snapshot):
        if field.name not in tensor_fields:
            assert getattr(loaded, field.name) == getattr(saved, field.name)


def test_a_snapshot_that_cannot_be_written_leaves_the_one_before(tmp_path):
    path = tmp_path / "snapshot.pt"
    save_snapshot(path, snapshot(epoch=1))
    with pytest.raises(Exception, match="pickle"):
        save_snapshot(path, snapshot(epoch=2, config={"unsaveable": lambda: None}))
    assert load_snapshot(path).epoch == 1
    assert [file.name for file in tmp_path.iterdir()] == ["snapshot.pt"]


@pytest.mark.parametrize("content", [b"", b"not a snapshot", b"PK\x03\x04 cut off"])
def test_a_damaged_file_is_named(tmp_path, content):
    path = tmp_path / "snapshot.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"snapshot\.pt, which is not a readable snapshot"):
        load_snapshot(path)


def test_a_file_that_would_run_code_is_refused(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "trapped"),)

    torch.save({"model": Trap()}, tmp_path / "snapshot.pt")
    with pytest.raises(ValueError, match="not a readable snapshot"):
        load_snapshot(tmp_path / "snapshot.pt")
    assert not (tmp_path / "trapped").exists()
