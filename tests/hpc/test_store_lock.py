import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpc.store_lock import StoreLockedError, store_lock

HOLD = "import sys, time; from pathlib import Path; from hpc.store_lock import store_lock\n" + (
    "with store_lock(Path(sys.argv[1])):\n    sys.stdout.write('held'); sys.stdout.flush(); time.sleep(60)\n"
)


@pytest.fixture
def holder(tmp_path: Path):
    """Another living process that holds the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "build.lock")], stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.read(4) == b"held"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_holder_is_refused_with_the_first_ones_name(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    expected = f"process {holder.pid} on {socket.gethostname()}"
    with pytest.raises(StoreLockedError, match=expected), store_lock(tmp_path / "build.lock"):
        pass


def test_the_lock_of_a_killed_process_is_taken_over_at_once(tmp_path: Path, holder: subprocess.Popen[bytes]) -> None:
    holder.kill()
    holder.wait()
    with store_lock(tmp_path / "build.lock"):
        pass
    assert list(tmp_path.iterdir()) == []


def _write_lock_of_another_host(path: Path, job_id: str, age_s: float) -> None:
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": "1", "job_id": job_id}))
    os.utime(path, (time.time() - age_s,) * 2)


def test_a_lock_of_another_host_holds_until_it_is_no_longer_touched(tmp_path: Path) -> None:
    path = tmp_path / "build.lock"
    _write_lock_of_another_host(path, job_id="", age_s=60)
    with pytest.raises(StoreLockedError, match="elsewhere"), store_lock(path):
        pass
    _write_lock_of_another_host(path, job_id="", age_s=3600)
    with store_lock(path):
        pass


def test_a_requeued_job_takes_over_the_lock_of_its_earlier_life(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "build.lock"
    _write_lock_of_another_host(path, job_id="77", age_s=1)
    monkeypatch.setenv("SLURM_JOB_ID", "77")
    with store_lock(path):
        pass
