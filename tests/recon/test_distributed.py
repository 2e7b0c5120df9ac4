import csv
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hpc.stop_signal import EXIT_TO_BE_CONTINUED
from recon.checkpoint import load_snapshot
from recon.distributed import Place, Ranks, first_host, place_in
from recon.heartbeat import LEFT, Silence
from recon.synced_batch_norm import SyncedBatchNorm, synced_batch_norm
from tests.helpers.torch_ranks import finish, run_ranks, start_ranks

SETTINGS = ("--views=2", "--size=F", "--input-size=32", "--device=cpu")
# Nine samples in batches of four: the last batch has one, so that of two ranks one has none.
SCHEDULE = ("--epochs=2", "--repeats=3", "--batch-size=4", "--single-view-epochs=1", "--validation-fraction=0.7")


def train_command(store: Path, run: Path, *options: str) -> tuple[str, ...]:
    return ("-m", "recon.train", f"--store={store}", f"--run={run}", *SETTINGS, *SCHEDULE, *options)


def wait_for(path: Path) -> None:
    deadline_s = time.monotonic() + 120
    while not path.exists():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def losses(run: Path) -> np.ndarray:
    """Losses and IoU `(epoch, quantity)`."""
    with (run / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = ("train_loss", "train_iou", "validation_loss", "validation_iou")
    return np.array([[float(row[name]) for name in names] for row in rows])


@pytest.mark.parametrize(
    ("node_list", "host"),
    [("n1", "n1"), ("n[1-2]", "n1"), ("gpu[003-005,9],x1", "gpu003"), ("a-b7,c", "a-b7"), ("r[1-2]n[3,5]", "r1n3")],
)
def test_the_first_host_of_a_node_list(node_list, host):
    assert first_host(node_list) == host


def test_a_process_by_itself_is_alone_also_in_a_batch_script():
    assert place_in({}) == Place()
    assert place_in({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"}) == Place()


def slurm_step(**changed: str) -> dict[str, str]:
    step = {
        "SLURM_JOB_ID": "70",
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_NUM_TASKS": "4",
        "SLURM_PROCID": "3",
        "SLURM_LOCALID": "1",
        "SLURM_STEP_NODELIST": "n[1-2]",
    }
    return step | changed


def test_ranks_of_a_slurm_step_meet_on_its_first_node():
    place = place_in(slurm_step())
    assert (place.rank, place.size, place.local_rank, place.host, place.has_store) == (3, 4, 1, "n1", False)
    assert place_in(slurm_step(SLURM_PROCID="0")).has_store
    assert place_in(slurm_step(SLURM_PROCID="0")).port == place.port


def test_a_requeued_job_meets_at_another_port():
    first, second = place_in(slurm_step()), place_in(slurm_step(SLURM_RESTART_COUNT="1"))
    assert (first.port, first.attempt) != (second.port, second.attempt)
    assert first.port != second.port


def test_alone_the_ranks_are_one():
    ranks = Ranks()
    assert ranks.sum([1.0, 2.0]) == [1.0, 2.0]
    assert ranks.gather("a") == ["a"]
    ranks.barrier()


@pytest.mark.slow
def test_ranks_with_uneven_ends_have_the_losses_and_gradients_of_one(tmp_path, tiny_store):
    # Adam turns rounding of a gradient near zero into a whole step; with short ones all ranks stay comparable.
    short_steps = ("--learning-rate=1e-6", "--merger-learning-rate=1e-6")
    snapshots = []
    for num_ranks in (1, 2):
        run = tmp_path / f"run{num_ranks}"
        ends = run_ranks(num_ranks, *train_command(tiny_store, run, *short_steps))
        assert [status for status, _ in ends] == [0] * num_ranks, ends
        snapshots.append(load_snapshot(run / "snapshot.pt"))
    found, expected = losses(tmp_path / "run2"), losses(tmp_path / "run1")
    np.testing.assert_allclose(found[:, ::2], expected[:, ::2], rtol=1e-5)
    np.testing.assert_allclose(found[:, 1::2], expected[:, 1::2], atol=1e-3)  # IoU: voxels near the threshold
    alone, shared = snapshots
    assert list(shared.model) == list(alone.model)
    assert shared.step == alone.step == 6
    for key, state in alone.optimizer["state"].items():
        gradient, expected_gradient = shared.optimizer["state"][key]["exp_avg"], state["exp_avg"]
        assert (gradient - expected_gradient).norm() <= 1e-2 * expected_gradient.norm() + 1e-7, key


@pytest.mark.slow
def test_one_two_and_three_ranks_score_every_protein_alike(tmp_path, tiny_runs):
    tables = []
    for num_ranks in (1, 2, 3):
        run = tmp_path / f"run{num_ranks}"
        shutil.copytree(tiny_runs / "views_02", run)
        (run / "iou_per_protein.csv").unlink()
        ends = run_ranks(num_ranks, "-m", "recon.evaluate", f"--run={run}", "--views", "1", "5", "--device=cpu")
        assert [status for status, _ in ends] == [0] * num_ranks, ends
        tables.append([(run / name).read_bytes() for name in ("iou_per_protein.csv", "iou_by_views.csv")])
    assert tables[0] == tables[1] == tables[2]
    assert tables[0][0].count(b"\n") == 1 + 2 * 6


@pytest.mark.slow
def test_the_error_of_one_rank_is_what_all_ranks_say(tmp_path, tiny_store):
    program = (
        "import sys, recon.train, recon.trainer as t\n"
        "old = t.Trainer._train_step\n"
        "def step(self, batch):\n"
        "    if self.ranks.rank == 1 and self.step == 2: raise ValueError('a bad byte')\n"
        "    old(self, batch)\n"
        "t.Trainer._train_step = step\n"
        "sys.exit(recon.train.main(sys.argv[1:]))\n"
    )
    ends = run_ranks(2, "-c", program, *train_command(tiny_store, tmp_path / "run")[2:])
    (first, first_error), (second, second_error) = ends
    assert first == 1
    assert second == 2
    assert "stopped because of rank 1 of 2: ValueError: a bad byte" in first_error
    assert second_error.strip().splitlines()[-1] == "recon.train: a bad byte"


@pytest.mark.slow
def test_a_loss_that_is_no_number_names_the_proteins_of_all_ranks(tmp_path, tiny_store):
    program = (
        "import sys, recon.train, recon.loading.training_data as t\n"
        "old = t.ProteinData.images\n"
        "t.ProteinData.images = lambda self, protein, views: old(self, protein, views) * float('nan')\n"
        "sys.exit(recon.train.main(sys.argv[1:]))\n"
    )
    arguments = train_command(tiny_store, tmp_path / "run", "--batch-size=6", "--validation-fraction=0.01")[2:]
    for status, error in run_ranks(2, "-c", program, *arguments):
        assert status == 1
        assert "got loss nan in epoch 0, step 0" in error
        assert len(set(error.split("Its proteins: ")[1].split(". Check")[0].split(", "))) > 2


@pytest.mark.slow
def test_a_killed_rank_ends_the_others_with_a_snapshot_that_goes_on(tmp_path, tiny_store):
    run, straight = tmp_path / "run", tmp_path / "straight"
    command = train_command(tiny_store, run, "--epochs=6")
    ranks = start_ranks(2, *command)
    wait_for(run / "snapshot.pt")
    ranks[1].send_signal(signal.SIGKILL)
    (status, error), _ = finish(ranks)
    assert status == EXIT_TO_BE_CONTINUED, error
    assert "lost contact with another rank" in error
    assert load_snapshot(run / "snapshot.pt").epoch < 6
    for name in (run, straight):
        ends = run_ranks(2, *train_command(tiny_store, name, "--epochs=6"))
        assert [status for status, _ in ends] == [0, 0], ends
    # A sum of two numbers has no order, so two ranks repeat each other to the bit.
    np.testing.assert_array_equal(losses(run), losses(straight))


@pytest.mark.slow
def test_a_rank_that_stands_still_with_open_connections_is_lost_too(tmp_path, tiny_store):
    program = (
        "import sys, recon.heartbeat as h, recon.train\n"
        "h.BEAT_INTERVAL_S, h.LONGEST_SILENCE_S = 0.2, 3.0\n"
        "sys.exit(recon.train.main(sys.argv[1:]))\n"
    )
    run = tmp_path / "run"
    ranks = start_ranks(2, "-c", program, *train_command(tiny_store, run, "--epochs=500")[2:])
    try:
        wait_for(run / "snapshot.pt")
        ranks[1].send_signal(signal.SIGSTOP)  # as a node without power: nothing is closed, nothing comes any more
        ((status, error),) = finish(ranks[:1])
    finally:
        ranks[1].kill()
        finish(ranks[1:])
    assert status == EXIT_TO_BE_CONTINUED, error
    assert "lost contact with another rank: nothing was heard of rank 1" in error
    assert load_snapshot(run / "snapshot.pt").epoch < 500


def test_silence_begins_with_the_last_new_beat_and_never_after_a_rank_has_left(monkeypatch):
    now_s = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    silence = Silence([1, 2])
    now_s = 10.0
    silence.note(1, 5)
    assert silence.longest() == (2, 10.0)
    silence.note(2, 7 + LEFT)
    now_s = 15.0
    silence.note(1, 5)
    assert silence.longest() == (1, 5.0)


@pytest.mark.slow
def test_torchrun_starts_a_training(tmp_path, tiny_store):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    run = tmp_path / "run"
    module, *arguments = train_command(tiny_store, run, "--epochs=1")
    done = subprocess.run(
        [*command, module, "recon.train", "--", *arguments[1:]], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "2 ranks" in done.stderr
    assert len(losses(run)) == 1


def batch_norm_on_rank(rank: int, folder: str) -> None:
    """Normalise this rank's uneven share and write outputs and gradients."""
    from torch import distributed

    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    layer = SyncedBatchNorm(3)
    inputs = torch.load(f"{folder}/inputs.pt")[:5] if rank == 0 else torch.load(f"{folder}/inputs.pt")[5:5]
    inputs = inputs.clone().requires_grad_()
    outputs = layer(inputs)
    outputs.pow(3).sum().backward()
    torch.save(
        {"outputs": outputs.detach(), "gradient": inputs.grad, "mean": layer.running_mean}, f"{folder}/{rank}.pt"
    )
    distributed.destroy_process_group()


def test_statistics_over_ranks_are_those_of_torch_also_where_a_rank_has_nothing(tmp_path):
    torch.manual_seed(0)
    inputs = torch.randn(5, 3, 4, 4)
    torch.save(inputs, tmp_path / "inputs.pt")
    torch.multiprocessing.spawn(batch_norm_on_rank, (str(tmp_path),), nprocs=2)
    inputs.requires_grad_()
    layer = nn.BatchNorm2d(3)
    outputs = layer(inputs)
    outputs.pow(3).sum().backward()
    found = torch.load(tmp_path / "0.pt")
    for name, value in (("outputs", outputs), ("gradient", inputs.grad), ("mean", layer.running_mean)):
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-5)


def test_every_normalisation_is_exchanged_and_keeps_its_values():
    model = nn.Sequential(nn.BatchNorm2d(2), nn.Sequential(nn.Conv3d(2, 2, 1), nn.BatchNorm3d(2)))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    synced = synced_batch_norm(model, torch.device("cpu"))
    assert sum(isinstance(module, SyncedBatchNorm) for module in synced.modules()) == 2
    assert all(torch.equal(before[name], value) for name, value in synced.state_dict().items())
