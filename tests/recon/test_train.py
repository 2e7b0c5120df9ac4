import csv
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from hpc.stop_signal import EXIT_TERMINATED, EXIT_TO_BE_CONTINUED, StopRequest
from recon.checkpoint import load_snapshot
from recon.network import build_model
from recon.run_folder import RunError
from recon.split import Split
from recon.train import main, train
from recon.train_config import TrainConfig
from recon.trainer import EpochMetrics, NonFiniteLossError, Trainer
from recon.views import evaluation_order
from tests.helpers.snapshots import equal, without_times

pytestmark = pytest.mark.usefixtures("one_thread")


class KilledError(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("changed", [{}, {"frame": "view", "render_online": True}])
def test_a_run_interrupted_ten_times_ends_with_the_very_same_weights_and_losses(
    tmp_path, tiny_config, monkeypatch, changed
):
    # Interruptions come within epochs and at their ends; the learning rate drops and the merger starts between them.
    config = replace(tiny_config, epochs=4, batch_size=1, single_view_epochs=1, learning_rate_drop_epoch=2, **changed)
    assert train(config, tmp_path / "straight", "cpu") == 0
    monkeypatch.setattr(Trainer, "steps", interrupted_after({1, 2, 4, 5, 6, 8, 9, 11, 12, 15}, Trainer.steps))
    statuses = []
    with StopRequest() as stop:
        while not statuses or statuses[-1] == EXIT_TO_BE_CONTINUED:
            stop.wants_requeue = False
            statuses.append(train(config, tmp_path / "interrupted", "cpu", stop))
    assert statuses == [EXIT_TO_BE_CONTINUED] * 10 + [0]
    straight, resumed = (load_snapshot(tmp_path / name / "snapshot.pt") for name in ("straight", "interrupted"))
    for part in ("model", "optimizer", "scheduler", "epoch", "step", "best_validation_iou", "cpu_rng_state"):
        assert equal(getattr(straight, part), getattr(resumed, part)), part
    assert without_times(straight) == without_times(resumed)


def interrupted_after(steps, run_steps):
    """Send this process Slurm's signal after each of the given steps of a run."""

    def run_some(self: Trainer):
        for _ in run_steps(self):
            if self.step in steps:
                os.kill(os.getpid(), signal.SIGUSR2)
            yield

    return run_some


def test_a_run_that_is_killed_without_a_warning_continues_from_the_last_epoch(tmp_path, tiny_config, monkeypatch):
    def killed(self: Trainer):
        for _ in steps(self):
            if self.step == 3:
                raise KilledError
            yield

    steps = Trainer.steps
    config = replace(tiny_config, epochs=3)
    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "steps", killed)
        with pytest.raises(KilledError):
            train(config, tmp_path / "killed", "cpu")
    assert load_snapshot(tmp_path / "killed" / "snapshot.pt").epoch == 1
    train(config, tmp_path / "killed", "cpu")
    train(config, tmp_path / "straight", "cpu")
    straight, resumed = (load_snapshot(tmp_path / name / "snapshot.pt") for name in ("straight", "killed"))
    assert equal(straight.model, resumed.model)
    assert without_times(straight) == without_times(resumed)


def test_a_job_that_is_being_ended_saves_its_state_and_does_not_ask_to_be_continued(tmp_path, tiny_config):
    with StopRequest() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert train(tiny_config, tmp_path / "run", "cpu", stop) == EXIT_TERMINATED
    assert load_snapshot(tmp_path / "run" / "snapshot.pt").step_in_epoch == 1


def test_a_finished_run_ends_at_once_and_changes_nothing(tiny_runs, tiny_config, caplog):
    run = tiny_runs / "views_02"
    before = (run / "snapshot.pt").stat().st_mtime_ns
    with caplog.at_level("INFO"):
        train(tiny_config, run, "cpu")
    assert "is finished: all 2 epochs are trained" in caplog.text
    assert (run / "snapshot.pt").stat().st_mtime_ns == before


def test_a_snapshot_from_before_a_setting_existed_is_continued_and_one_of_another_setting_never(tiny_config):
    trainer = make_trainer(tiny_config)
    kept = trainer.snapshot()
    older = replace(kept, config={name: value for name, value in kept.config.items() if name != "frame"}, step=7)
    trainer.restore(older)
    assert trainer.step == 7
    with pytest.raises(AssertionError):
        trainer.restore(replace(kept, config=kept.config | {"frame": "view"}))


def test_other_settings_for_a_run_are_refused_by_name(tiny_runs, tiny_config):
    with pytest.raises(RunError, match="batch_size was 3 and is now 2"):
        train(replace(tiny_config, batch_size=2), tiny_runs / "views_02", "cpu")


def test_metrics_have_one_row_per_epoch(tiny_runs):
    with (tiny_runs / "views_02" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    columns = ["epoch", "train_loss", "train_iou", "validation_loss", "validation_iou", "elapsed_s"]
    assert list(rows[0]) == columns
    assert [row["epoch"] for row in rows] == ["0", "1"]
    assert all(0 <= float(row["train_iou"]) <= 1 for row in rows)
    assert float(rows[0]["elapsed_s"]) < float(rows[1]["elapsed_s"])


def test_tensorboard_gets_every_scalar(tiny_runs):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tiny_runs / "views_02" / "tensorboard"))
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"train/loss", "train/iou", "validation/loss", "validation/iou"}
    assert [event.step for event in events.Scalars("train/loss")] == [0, 1]


def train_epoch(trainer: Trainer) -> EpochMetrics:
    for _ in trainer.steps():
        pass
    return trainer.finish_epoch()


def make_trainer(config: TrainConfig) -> Trainer:
    from recon.loading.training_data import ProteinData

    data = ProteinData(Path(config.store), config.input_size)
    names = data.protein_ids
    orders = {name: evaluation_order(0, name, data.num_views) for name in names}
    return Trainer(config, data, Split((names[0], names[2], names[3]), (names[1],)), orders, torch.device("cpu"))


def test_a_loss_that_is_no_number_stops_before_the_step_and_names_the_proteins(tiny_config):
    trainer = make_trainer(tiny_config)
    trainer.data.hold_images()
    trainer.data.arrays["images"].held[2] = float("nan")
    weights = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    with pytest.raises(NonFiniteLossError, match="got loss nan in epoch 0, step 0.*Its proteins: .*body02"):
        train_epoch(trainer)
    assert trainer.step == 0
    assert all(map(torch.equal, weights, trainer.model.parameters()))


def test_the_merger_has_a_learning_rate_of_its_own_and_both_are_halved(tiny_config):
    trainer = make_trainer(replace(tiny_config, learning_rate_drop_epoch=1))
    assert [group["lr"] for group in trainer.optimizer.param_groups] == [1e-3, 1e-4]
    num_merger = sum(parameter.numel() for parameter in trainer.model.merger.parameters())
    assert sum(parameter.numel() for parameter in trainer.optimizer.param_groups[1]["params"]) == num_merger
    train_epoch(trainer)
    assert [group["lr"] for group in trainer.optimizer.param_groups] == [5e-4, 5e-5]


def test_the_merger_rests_while_single_views_are_trained(tiny_config):
    trainer = make_trainer(replace(tiny_config, single_view_epochs=1))
    before = [parameter.detach().clone() for parameter in trainer.model.merger.parameters()]
    train_epoch(trainer)
    assert all(map(torch.equal, before, trainer.model.merger.parameters()))
    train_epoch(trainer)
    assert not all(map(torch.equal, before, trainer.model.merger.parameters()))


def test_a_compiled_network_gives_the_same_and_keeps_its_names(tiny_config, monkeypatch):
    monkeypatch.setattr("recon.network.COMPILE_BACKEND", "aot_eager")
    eager, compiled = make_trainer(tiny_config), make_trainer(replace(tiny_config, compile=True))
    assert compiled.model._compiled_call_impl is not None
    assert list(eager.snapshot().model) == list(compiled.snapshot().model)
    images = torch.rand(2, 2, 1, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(compiled.model(images).refined, eager.model(images).refined)
    assert train_epoch(compiled).train_loss == pytest.approx(train_epoch(eager).train_loss, rel=1e-4)


def test_the_first_weights_follow_from_the_seed(tiny_config):
    first, again, other = (build_model(replace(tiny_config, seed=seed)).state_dict() for seed in (0, 0, 1))
    assert equal(dict(first), dict(again))
    assert not equal(dict(first), dict(other))


def test_training_lowers_the_loss(tiny_config):
    trainer = make_trainer(replace(tiny_config, single_view_epochs=99))
    losses = [train_epoch(trainer).train_loss for _ in range(6)]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--views", "9"], "got 9 views, expected 1 to 5"),
        (["--store", "absent.zarr"], "expected a Zarr v3 store"),
        (["--views", "0"], "expected views of at least 1"),
    ],
)
def test_a_users_mistake_is_one_sentence_and_status_2(tmp_path, tiny_store, capsys, changed, message):
    arguments = ["--store", str(tiny_store), "--views", "2", "--run", str(tmp_path / "run"), "--input-size", "32"]
    assert main([*arguments, "--size", "F", "--device", "cpu", *changed]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()


def test_a_run_starts_from_the_weights_of_another_one(tmp_path, tiny_runs, tiny_config, monkeypatch):
    taken = {}
    monkeypatch.setattr(Trainer, "_train_step", lambda self, _batch: taken.update(self.model.state_dict()) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        train(replace(tiny_config, views=3, start_from=str(tiny_runs / "views_02")), tmp_path / "run", "cpu")
    assert equal(dict(taken), dict(load_snapshot(tiny_runs / "views_02" / "snapshot.pt").model))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 1}, "that validate or test here"),
        ({"size": "A"}, "expected a run of size A to start from"),
        ({"start_from": "nowhere"}, "expected a training run in .*nowhere"),
    ],
)
def test_a_run_never_starts_from_weights_that_do_not_fit(tmp_path, tiny_runs, tiny_config, changed, message):
    config = replace(tiny_config, **{"start_from": str(tiny_runs / "views_02")} | changed)
    with pytest.raises(RunError, match=message):
        train(config, tmp_path / "run", "cpu")
    assert not (tmp_path / "run").exists()
