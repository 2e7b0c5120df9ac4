"""What a test cluster leaves outside its own daemons, and how it is removed: jobs, names in /etc/hosts, its folder."""

from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

PARENT_FOLDER = Path("/dev/shm")
FOLDER_VARIABLE = "SLURM_TEST_CLUSTER_FOLDER"


def write_host_names(node_names: list[str], owner: Path) -> None:
    """Let the node names resolve (torch's rendezvous asks for them); an empty list takes them out again."""
    path = Path("/etc/hosts")
    mark = f"# {owner}"
    lines = [line for line in path.read_text().splitlines() if not line.endswith(mark)]
    lines += [f"127.0.1.1 {name} {mark}" for name in node_names]
    path.write_text("\n".join(lines) + "\n")  # in place: /etc/hosts may be a mount, which cannot be renamed


def remove_abandoned_clusters() -> None:
    """Clean up after test runs that were killed: their daemons have ended with them, their jobs have not."""
    for folder in PARENT_FOLDER.glob("slurm-*-*"):
        owner = folder.name.split("-")[1]
        if not Path("/proc", owner).exists():
            remove_traces(folder)


def remove_traces(folder: Path) -> None:
    _kill_processes_of(folder)
    write_host_names([], owner=folder)
    shutil.rmtree(folder, ignore_errors=True)


def _kill_processes_of(folder: Path) -> None:
    """Kill what jobs left behind: steps outlive slurmd, but their environment names the folder."""
    mark = f"{FOLDER_VARIABLE}={folder}".encode()
    for entry in Path("/proc").glob("[0-9]*/environ"):
        process_id = int(entry.parent.name)
        try:
            if process_id != os.getpid() and mark in entry.read_bytes().split(b"\0"):
                os.kill(process_id, signal.SIGKILL)
        except OSError:
            continue  # it has just ended
