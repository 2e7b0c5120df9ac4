"""A real Slurm cluster of a few virtual nodes on this machine, for tests: up in two seconds, gone whole.

One munged, mariadbd, slurmdbd (for `sacct`) and slurmctld, and one slurmd per node. All daemons run in the
foreground as children of this process, all their files lie in one private folder in memory.
Needs root, because Slurm's nodes need device files (fake GPUs) and their names in /etc/hosts.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from tests.helpers.slurm_config import ClusterPorts, write_configuration
from tests.helpers.slurm_traces import (
    FOLDER_VARIABLE,
    PARENT_FOLDER,
    remove_abandoned_clusters,
    remove_traces,
    write_host_names,
)

DAEMONS = ("munged", "mariadbd", "slurmdbd", "slurmctld", "slurmd")
CLIENTS = ("sbatch", "srun", "squeue", "scontrol", "sinfo", "sacctmgr", "setpriv")
FINAL_STATES = frozenset(
    {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT"}
)
START_TIMEOUT_S = 30.0


def missing_requirements() -> list[str]:
    """Name what this machine lacks for a cluster: programs by name, or root."""
    programs = [program for program in DAEMONS + CLIENTS if _program(program) is None]
    return programs if os.geteuid() == 0 else [*programs, "root"]


class SlurmCluster:
    """Context manager: a running cluster, with the environment in which Slurm's commands find it.

    Attributes
    ----------
    env : dict of str to str
        This process's environment with `SLURM_CONF`, for `subprocess` calls.
    folder : Path
        Everything that the cluster writes; also what a container must bind to reach Slurm.
    """

    def __init__(self, num_nodes: int = 2, cpus_per_node: int = 4, gpus_per_node: int = 2) -> None:
        self.node_names = [f"n{number}" for number in range(1, num_nodes + 1)]
        self.cpus_per_node = cpus_per_node
        self.gpus_per_node = gpus_per_node
        self.folder = Path()
        self.env: dict[str, str] = {}
        self._daemons: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> SlurmCluster:
        remove_abandoned_clusters()
        # A short path: it holds Unix sockets, whose names end at 107 characters.
        self.folder = Path(tempfile.mkdtemp(prefix=f"slurm-{os.getpid()}-", dir=PARENT_FOLDER))
        self.env = _without_slurm(os.environ) | {
            "SLURM_CONF": str(self.folder / "slurm.conf"),
            FOLDER_VARIABLE: str(self.folder),
        }
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, *command: str, timeout_s: float = 60.0, settings: dict[str, str] | None = None) -> str:
        """Run one command, with `settings` in its environment, and return its output; a failure shows it."""
        env = self.env | (settings or {})
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=timeout_s)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done.stdout

    def sbatch(self, *arguments: str, **settings: str) -> int:
        """Submit a script with sbatch's own arguments, `settings` in its environment, and return the job id."""
        return int(self.run("sbatch", "--parsable", *arguments, settings=settings).split(";")[0])

    def squeue(self, job_id: int | str) -> str:
        """Return the state of a job in one word, finished jobs included."""
        return self.job_field(job_id, "JobState")

    def job_field(self, job_id: int | str, field: str) -> str:
        """Return one field that `scontrol show job` knows, such as `Restarts` or `ExitCode`."""
        text = self.run("scontrol", "--oneliner", "show", "job", str(job_id))
        found = re.search(rf"(?:^|\s){field}=(\S*)", text)
        if found is None:
            raise KeyError(f"scontrol shows no field {field} for job {job_id}: {text}")
        return found.group(1)

    def wait(self, job_id: int | str, timeout_s: float = 60.0) -> str:
        """Wait until a job has ended for good and return its state; TimeoutError tells where it hangs."""
        deadline_s = time.monotonic() + timeout_s
        while (state := self.squeue(job_id)) not in FINAL_STATES:
            if time.monotonic() > deadline_s:
                reason = self.job_field(job_id, "Reason")
                raise TimeoutError(f"job {job_id} is {state} ({reason}) after {timeout_s:g} s\n{self.controller_log()}")
            time.sleep(0.2)
        return state

    def controller_log(self, num_lines: int = 20) -> str:
        """Return the last lines of slurmctld's log."""
        path = self.folder / "log" / "slurmctld.log"
        return "\n".join(path.read_text().splitlines()[-num_lines:]) if path.exists() else ""

    def close(self) -> None:
        """End all daemons and every process a job left, and remove the folder and the names in /etc/hosts."""
        for daemon in reversed(self._daemons):
            daemon.terminate()
        for daemon in reversed(self._daemons):
            try:
                daemon.wait(timeout=3.0)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        self._daemons.clear()
        remove_traces(self.folder)

    def _start(self) -> None:
        database, accounting, controller, node_default, *nodes = _free_ports(4 + len(self.node_names))
        ports = ClusterPorts(database, accounting, controller, node_default, nodes)
        self._make_folders()
        write_configuration(self.folder, ports, self.node_names, self.cpus_per_node, self.gpus_per_node)
        write_host_names(self.node_names, owner=self.folder)
        munge = self.folder / "munge"
        self._spawn(
            "munged",
            *("--foreground", "--force", f"--key-file={munge / 'key'}", f"--socket={munge / 's'}"),
            *(f"--pid-file={munge / 'pid'}", f"--log-file={munge / 'log'}", f"--seed-file={munge / 'seed'}"),
        )
        self._spawn(
            "mariadbd",
            *("--no-defaults", "--user=root", "--skip-grant-tables", "--bind-address=127.0.0.1"),
            *(f"--port={ports.database}", f"--datadir={self.folder / 'sql'}"),
            *(f"--socket={self.folder / 'sql.s'}", f"--pid-file={self.folder / 'sql.pid'}"),
        )
        self._wait_until("munged", (munge / "s").exists)
        self._wait_until("mariadbd", lambda: _listens(ports.database))
        self._spawn("slurmdbd", "-D")
        self._wait_until("slurmdbd", lambda: _listens(ports.accounting))
        self.run("sacctmgr", "--immediate", "add", "cluster", "mini")
        self._spawn("slurmctld", "-D", "-f", self.env["SLURM_CONF"])
        self._wait_until("slurmctld", lambda: _listens(ports.controller))
        for name in self.node_names:
            self._spawn("slurmd", "-D", "-f", self.env["SLURM_CONF"], "-N", name)
        self._wait_until("nodes", self._all_nodes_idle)

    def _make_folders(self) -> None:
        names = ["munge", "sql", "state", "log", "dev"]
        names += [f"{kind}/{node}" for node in self.node_names for kind in ("spool", "tmp")]
        for name in names:
            (self.folder / name).mkdir(mode=0o700, parents=True)
        key = self.folder / "munge" / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        null_device = Path("/dev/null").stat().st_rdev
        for number in range(self.gpus_per_node):
            os.mknod(self.folder / "dev" / f"nvidia{number}", stat.S_IFCHR | 0o600, null_device)

    def _spawn(self, program: str, *arguments: str) -> None:
        path = _program(program)
        assert path is not None, f"{program} was there when the cluster was asked for"
        # The daemon ends with this process even when that is killed outright.
        command = ["setpriv", "--pdeathsig", "TERM", "--", path, *arguments]
        with (self.folder / "log" / f"{program}.out").open("ab") as output:
            self._daemons.append(
                subprocess.Popen(command, env=self.env, stdout=output, stderr=output, start_new_session=True)
            )

    def _wait_until(self, name: str, is_ready: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while not is_ready():
            if time.monotonic() > deadline_s:
                outputs = [path.read_text(errors="replace")[-1000:] for path in self.folder.glob("log/*")]
                raise TimeoutError(f"{name} not ready after {START_TIMEOUT_S:g} s\n" + "\n".join(outputs))
            time.sleep(0.05)

    def _all_nodes_idle(self) -> bool:
        shown = subprocess.run(
            ["sinfo", "--noheader", "--Node", "--partition=batch", "--format=%T"],
            env=self.env,
            capture_output=True,
            text=True,
        )
        return shown.stdout.split() == ["idle"] * len(self.node_names)


def _program(name: str) -> str | None:
    """Find a program, also in the folders of daemons that an ordinary PATH leaves out."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def _without_slurm(environment: os._Environ[str]) -> dict[str, str]:
    return {key: value for key, value in environment.items() if not key.startswith(("SLURM_", "SBATCH_"))}


def _free_ports(num_ports: int) -> list[int]:
    """Find ports that nobody listens on, all different because all are held until the last is found."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(num_ports)]
    ports = [server.getsockname()[1] for server in sockets]
    for server in sockets:
        server.close()
    return ports


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1.0).close()
    except OSError:
        return False
    return True
