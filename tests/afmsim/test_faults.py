"""Real ranks, killed, starved and crashed: afterwards the same command gives the bytes of an undisturbed build."""

import csv
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from afmsim.structure import read_structure
from tests.helpers.builds import (
    REPOSITORY,
    build_command,
    copy_structures,
    finish_build,
    interrupt_build,
    kill_group,
    kill_one_rank,
    num_journaled_shards,
)
from tests.helpers.stores import array_digests

pytestmark = [pytest.mark.mpi, pytest.mark.slow]

NUM_RANDOM_KILLS = 20


@pytest.fixture(scope="module")
def structures(example_structures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The eight smallest shipped complexes: four shards."""
    files = sorted(example_structures.glob("*.gz"), key=lambda path: path.stat().st_size)[:8]
    return copy_structures(files, tmp_path_factory.mktemp("faults") / "structures")


@pytest.fixture(scope="module")
def undisturbed(structures: Path) -> dict[str, str]:
    """Digests of a store that was built in one go."""
    store = structures.parent / "undisturbed.zarr"
    result = finish_build(structures, store)
    assert result.returncode == 0, result.stderr
    return array_digests(store)


@pytest.mark.parametrize(
    ("how", "statuses"),
    [(kill_one_rank, None), (kill_group, {-9}), (lambda pid: os.killpg(pid, signal.SIGTERM), {75, 143, -15})],
    ids=["one rank killed", "all ranks killed", "SIGTERM"],
)
def test_an_interrupted_build_continues_to_the_same_bytes(
    how, statuses, structures: Path, undisturbed: dict[str, str], tmp_path: Path
) -> None:
    store = tmp_path / "dataset.zarr"
    status = interrupt_build(structures, store, lambda: num_journaled_shards(store) >= 1, how)
    assert status != 0
    assert statuses is None or status in statuses
    assert num_journaled_shards(store) < 4
    result = finish_build(structures, store)
    assert result.returncode == 0, result.stderr
    assert array_digests(store) == undisturbed


def test_twenty_random_kills_change_no_byte(structures: Path, undisturbed: dict[str, str], tmp_path: Path) -> None:
    rng = random.Random(0)
    num_kills, number = 0, 0
    while num_kills < NUM_RANDOM_KILLS:
        store = tmp_path / f"dataset_{number}.zarr"
        number += 1
        while num_kills < NUM_RANDOM_KILLS:
            kill_at_s = time.monotonic() + rng.uniform(0.5, 6.0)
            how = rng.choice([kill_group, lambda pid: os.killpg(pid, signal.SIGKILL)])
            status = interrupt_build(structures, store, lambda at_s=kill_at_s: time.monotonic() > at_s, how)
            num_kills += status != 0
            if status == 0:
                break
        result = finish_build(structures, store)
        assert result.returncode == 0, result.stderr
        assert array_digests(store) == undisturbed


def test_a_crash_a_hang_and_a_memory_hog_cost_one_protein_each(
    structures: Path, undisturbed: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = sorted(structures.glob("*.gz"))
    counts = [read_structure(path).num_atoms for path in files]
    assert len(set(counts)) == len(counts)
    planted = tmp_path / "planted"
    planted.mkdir()
    (planted / "pymol2.py").write_text((REPOSITORY / "tests/helpers/planted_pymol.py").read_text())
    with monkeypatch.context() as faulty:
        faulty.setenv("PYTHONPATH", str(planted))
        faulty.setenv("FAULTS", f"{counts[0]}=segfault {counts[3]}=hang {counts[6]}=memory")
        store = tmp_path / "dataset.zarr"
        result = finish_build(structures, store, "--protein-timeout-s=30", "--protein-memory-gb=2")
    assert result.returncode == 1, result.stderr
    with (store / "proteins.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    reasons = {index: row["reason"] for index, row in enumerate(rows) if row["status"] == "failed"}
    assert set(reasons) == {0, 3, 6}
    assert "SIGSEGV" in reasons[0]
    assert "limit of 30 s; raise --protein-timeout-s" in reasons[3]
    assert "limit of 2 GB; raise --protein-memory-gb" in reasons[6]
    result = finish_build(structures, store, "--retry-failed")
    assert result.returncode == 0, result.stderr
    assert array_digests(store) == undisturbed


@pytest.mark.parametrize(
    ("largest_file_kib", "is_store_made"),
    [pytest.param(1, False, id="no room for the metadata"), pytest.param(2, True, id="no room for a shard")],
)
def test_a_full_disk_ends_the_build_in_one_sentence_and_loses_nothing(
    structures: Path, undisturbed: dict[str, str], tmp_path: Path, largest_file_kib: int, is_store_made: bool
) -> None:
    store = tmp_path / "dataset.zarr"
    # A limit on the size of a file stands for the disk.
    # One process without MPI, whose shared memory would be the first file that does not fit.
    command = build_command(structures, store)
    alone = [sys.executable, *command[command.index("afmsim.build") - 1 :]]
    limited = subprocess.run(
        ["bash", "-c", f'ulimit -f {largest_file_kib}; exec "$@"', "limited", *alone],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
    )
    assert limited.returncode != 0
    assert "File too large" in limited.stderr
    assert "the same command continues" in limited.stderr
    assert "Traceback" not in limited.stderr
    assert store.exists() == is_store_made
    result = finish_build(structures, store)
    assert result.returncode == 0, result.stderr
    assert array_digests(store) == undisturbed


def test_a_second_build_of_a_store_is_refused_while_the_first_runs(structures: Path, tmp_path: Path) -> None:
    store = tmp_path / "dataset.zarr"
    refused = []

    def start_another(_pid: int) -> None:
        refused.append(finish_build(structures, store))

    status = interrupt_build(structures, store, lambda: (store / "build.lock").exists(), start_another)
    assert status == 0
    assert refused[0].returncode == 2
    assert "is being built by process" in refused[0].stderr
    assert "Traceback" not in refused[0].stderr
