import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest

from hpc.stop_signal import EXIT_TERMINATED, EXIT_TO_BE_CONTINUED
from recon.checkpoint import load_snapshot
from recon.train import train
from tests.helpers.snapshots import equal, without_times

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.slow
def test_workers_hear_no_signal_and_leave_the_losses_as_they_are_to_the_bit(tmp_path, tiny_config):
    config = replace(tiny_config, epochs=3, render_online=True, frame="view")
    assert train(config, tmp_path / "straight", "cpu") == 0
    options = ("--views=2", "--size=F", "--input-size=32", "--epochs=3", "--repeats=1", "--batch-size=3")
    run = tmp_path / "workers"
    program = (
        "import os, signal, sys, psutil, recon.train, recon.trainer as t\n"
        "old = t.Trainer._train_step\n"
        "def step(self, batch):\n"
        "    old(self, batch)\n"
        "    if self.step == 3:\n"
        "        names = [' '.join(child.cmdline()) for child in psutil.Process().children()]\n"
        "        assert sum('spawn_main' in name for name in names) == 2, names\n"
        "        os.killpg(0, getattr(signal, sys.argv.pop()))\n"
        "t.Trainer._train_step = step\n"
        "sys.exit(recon.train.main([one for one in sys.argv[1:] if not one.startswith('SIG')]))\n"
    )
    arguments = (f"--store={config.store}", f"--run={run}", "--device=cpu", "--render-online", "--frame=view")
    command = [sys.executable, "-c", program, *arguments, *options, "--loader-workers=2"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for name, expected in (("SIGUSR2", EXIT_TO_BE_CONTINUED), ("SIGTERM", EXIT_TERMINATED)):
        process = subprocess.Popen(
            [*command, name], env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        error = process.communicate(timeout=600)[1]
        assert process.returncode == expected, error
        assert "Traceback" not in error
        wait_for_the_end_of_session(process.pid)
        assert load_snapshot(run / "snapshot.pt").step == 3
        if name == "SIGUSR2":
            shutil.rmtree(run)
    assert subprocess.run([*command, "SIGUSR2"], env=environment, timeout=600, check=False).returncode == 0
    straight, resumed = (load_snapshot(tmp_path / name / "snapshot.pt") for name in ("straight", "workers"))
    assert equal(straight.model, resumed.model)
    assert without_times(straight) == without_times(resumed)


def wait_for_the_end_of_session(session: int) -> None:
    """Wait until none of the processes that a training started is left."""
    deadline_s = time.monotonic() + 20
    while left := [process for process in psutil.process_iter() if is_alive_in(process, session)]:
        assert time.monotonic() < deadline_s, left
        time.sleep(0.05)


def is_alive_in(process: psutil.Process, session: int) -> bool:
    try:
        return os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False
