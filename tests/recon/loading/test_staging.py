import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import recon.loading.staging
from recon.distributed import Ranks
from recon.inference import evaluation_batches
from recon.loading.samples import SampleMaker, arrays_of
from recon.loading.staging import stage_folder, use_staged
from recon.loading.training_batches import CPU, EpochBatches, TrainingBatches
from recon.loading.training_data import ProteinData
from tests.helpers.tiny_store import write_tiny_store
from tests.helpers.torch_ranks import run_ranks


@pytest.mark.parametrize(
    ("stage", "environment", "folder"),
    [
        ("auto", {}, None),
        ("auto", {"SLURM_TMPDIR": "/local/7"}, Path("/local/7")),
        ("none", {"SLURM_TMPDIR": "/local/7"}, None),
        ("/scratch", {"SLURM_TMPDIR": "/local/7"}, Path("/scratch")),
    ],
)
def test_where_a_run_is_staged(stage, environment, folder):
    assert stage_folder(stage, environment) == folder


def samples(data: ProteinData, frame: str, is_online: bool, num_workers: int = 0) -> list[list[bytes]]:
    maker, order = SampleMaker(data, frame), EpochBatches(range(6), repeats=2, seed=1, batch_size=5)
    orders = {name: np.arange(5) for name in data.protein_ids}
    batches = [
        *TrainingBatches(maker, order, 2, 1, is_online, num_workers=num_workers),
        *evaluation_batches(maker, orders, range(6), 3, 4, CPU),
    ]
    return [[part.numpy().tobytes() for part in batch] for batch in batches]


def staged_data(folder: Path, store: Path, frame: str = "pdb", is_online: bool = False) -> ProteinData:
    data = ProteinData(store, 20)
    use_staged(folder, data, arrays_of(frame, is_online), Ranks())
    return data


@pytest.mark.parametrize(("frame", "is_online"), [("pdb", False), ("view", False), ("view", True), ("inertia", False)])
def test_staged_samples_are_those_of_the_dataset(tmp_path, tiny_store, frame, is_online):
    data = staged_data(tmp_path, tiny_store, frame, is_online)
    assert all(isinstance(data.arrays[name].held, np.memmap) for name in arrays_of(frame, is_online))
    assert samples(data, frame, is_online) == samples(ProteinData(tiny_store, 20), frame, is_online)


def test_workers_map_the_staged_file_too(tmp_path, tiny_store):
    data = staged_data(tmp_path, tiny_store, "view")
    assert samples(data, "view", False, num_workers=2) == samples(data, "view", False)
    assert all(isinstance(data.arrays[name].held, np.memmap) for name in arrays_of("view", False))


def test_a_second_run_uses_the_file_and_other_settings_and_datasets_have_their_own(tmp_path, tiny_store):
    folder = tmp_path / "stage"
    staged_data(folder, tiny_store)
    (path,) = folder.iterdir()
    written_ns = path.stat().st_mtime_ns
    staged_data(folder, tiny_store)
    assert list(folder.iterdir()) == [path]
    assert path.stat().st_mtime_ns == written_ns
    staged_data(folder, tiny_store, "view")
    use_staged(folder, ProteinData(tiny_store, 32), arrays_of("pdb", False), Ranks())
    staged_data(folder, write_tiny_store(tmp_path / "other.zarr"))
    grown = write_tiny_store(tmp_path / "grown.zarr")
    staged_data(folder, grown)
    table = grown / "proteins.csv"
    table.write_text(table.read_text().replace("body05,", "body55,"))
    staged_data(folder, grown)
    assert len(list(folder.iterdir())) == 6


@pytest.mark.parametrize("broken", [b"", b"no such format" * 100, None])
def test_a_broken_file_is_made_anew(tmp_path, tiny_store, broken):
    folder = tmp_path / "stage"
    staged_data(folder, tiny_store)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if broken is None else broken)
    data = staged_data(folder, tiny_store)
    assert path.stat().st_size == len(whole)
    assert samples(data, "pdb", False) == samples(ProteinData(tiny_store, 20), "pdb", False)


def test_without_room_the_dataset_itself_is_read(tmp_path, tiny_store, monkeypatch, caplog):
    monkeypatch.setattr(recon.loading.staging.shutil, "disk_usage", lambda _path: SimpleNamespace(free=1000))
    data = staged_data(tmp_path / "stage", tiny_store)
    assert "expected 0.0 GB: reading the dataset without staging" in caplog.text
    assert list((tmp_path / "stage").iterdir()) == []
    assert samples(data, "pdb", False) == samples(ProteinData(tiny_store, 20), "pdb", False)


def train_command(store: Path, run: Path, *options: str) -> tuple[str, ...]:
    settings = ("--views=2", "--size=F", "--input-size=32", "--device=cpu", "--epochs=1", "--repeats=1")
    return (f"--store={store}", f"--run={run}", *settings, *options)


@pytest.mark.slow
def test_a_run_killed_while_it_stages_leaves_no_file_and_the_next_one_makes_it(tmp_path, tiny_store):
    program = (
        "import os, signal, sys, recon.loading.staging as s, recon.train\n"
        "old = s._write\n"
        "def write(path, arrays):\n"
        "    last = arrays['images']\n"
        "    read = last.read\n"
        "    last.read = lambda protein: os.kill(os.getpid(), signal.SIGKILL) if protein == 3 else read(protein)\n"
        "    old(path, arrays)\n"
        "s._write = write\n"
        "sys.exit(recon.train.main(sys.argv[1:]))\n"
    )
    folder = tmp_path / "stage"
    arguments = train_command(tiny_store, tmp_path / "run", f"--stage={folder}")
    done = subprocess.run([sys.executable, "-c", program, *arguments], check=False, timeout=600)
    assert done.returncode == -signal.SIGKILL
    (leftover,) = folder.iterdir()
    assert leftover.name.endswith(".partial.h5")
    subprocess.run([sys.executable, "-m", "recon.train", *arguments], check=True, timeout=600)
    (path,) = folder.iterdir()
    assert path.suffix == ".h5"
    assert "partial" not in path.name


@pytest.mark.slow
def test_two_ranks_train_alike_from_a_staged_file_and_from_the_dataset(tmp_path, tiny_store):
    tables = []
    for name, stage in (("direct", "none"), ("staged", str(tmp_path / "stage"))):
        arguments = train_command(tiny_store, tmp_path / name, f"--stage={stage}", "--frame=view")
        ends = run_ranks(2, "-m", "recon.train", *arguments)
        assert [status for status, _ in ends] == [0, 0], ends
        rows = (tmp_path / name / "metrics.csv").read_text().splitlines()
        tables.append([row.rsplit(",", 1)[0] for row in rows])  # without the time
    assert tables[0] == tables[1]
    assert len(list((tmp_path / "stage").iterdir())) == 1
