"""
What a site asks of jobs: partition, account, GPUs, image. Read from one file that the site owns, overridden by options.

The policy becomes the parameters of submitit, plus the few lines of shell that queue an interrupted job again. They run
in the batch script, outside the image, because an image rarely holds Slurm's own commands.
"""

import argparse
import shlex
import tomllib
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from hpc.settings import setting
from hpc.stop_signal import EXIT_TO_BE_CONTINUED

DEFAULT_PATH = Path("slurm/cluster.toml")

# Killed by a signal, as a shell says it: SIGKILL (a lost rank, too little memory), SIGUSR1 and SIGUSR2 (Slurm's
# warning, before the job was ready to note it), and SIGTERM, by which srun ends the other ranks of a lost one.
_KILLED = tuple(128 + number for number in (9, 10, 12, 15))


@dataclass(frozen=True, kw_only=True)
class ClusterPolicy:
    """What is asked of Slurm for each job; the keys of the site's file are these fields."""

    partition: str = setting("Slurm partition; empty: the site's default", "")
    account: str = setting("Slurm account; empty: the site's default", "")
    nodes: int = setting("nodes of a training or an evaluation", 1)
    gpus_per_node: int = setting("GPUs of each node, with one rank on each; 0: one rank per node, on its cores", 1)
    cpus_per_task: int = setting("cores of each rank", 4)
    memory_gb: int = setting("memory of each node in GB", 64)
    timeout_min: int = setting("time limit of a job in minutes; one that needs longer is queued again", 24 * 60)
    signal_delay_s: int = setting("seconds before the time limit at which a job is told to save its state", 120)
    max_parallel: int = setting("training jobs that run at once", 4)
    max_restarts: int = setting("times that an interrupted job is queued again", 100)
    image: str = setting("Apptainer image in which jobs run; empty: this Python", "")
    binds: tuple[str, ...] = setting("folders for the image, as /data or /scratch:/work", ())
    setup: tuple[str, ...] = setting("lines of shell before a job, such as `module load apptainer`", ())

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            expected = tuple if field.name in ("binds", "setup") else field.type
            if type(value) is not expected:
                raise ValueError(f"expected {field.name} as {expected.__name__}, got {value!r}")  # type: ignore[union-attr]
            lowest = 0 if field.name in ("gpus_per_node", "max_restarts") else 1
            if isinstance(value, int) and value < lowest:
                raise ValueError(f"expected {field.name} of at least {lowest}, got {value}")

    @property
    def python(self) -> str | None:
        """The command that runs Python in a job; None is the Python that submits it."""
        if not self.image:
            return None
        parts = ["apptainer", "exec"]
        parts += ["--nv"] if self.gpus_per_node else []
        parts += ["--bind", ",".join(self.binds)] if self.binds else []
        return shlex.join([*parts, self.image, "python"])

    def parameters(self, dependency: str = "", is_report: bool = False, is_on_cores: bool = False) -> dict[str, Any]:
        """
        Return submitit's parameters of a job; what is empty is not passed on, since Slurm refuses empty requests.

        Parameters
        ----------
        dependency
            In the words of sbatch, such as `afterok:17`.
        is_report
            The job needs one core of one node only.
        is_on_cores
            The job has a rank on each of the cores that a training's ranks have together, and no GPU.
        """
        has_gpu = self.gpus_per_node > 0 and not (is_report or is_on_cores)
        num_cores = self.cpus_per_task * max(1, self.gpus_per_node)
        values = {
            "nodes": 1 if is_report else self.nodes,
            "tasks_per_node": self.gpus_per_node if has_gpu else num_cores if is_on_cores else 1,
            "gpus_per_node": self.gpus_per_node if has_gpu else None,
            "cpus_per_task": 1 if is_report or is_on_cores else self.cpus_per_task,
            "mem_gb": min(8, self.memory_gb) if is_report else self.memory_gb,
            "timeout_min": self.timeout_min,
            "slurm_partition": self.partition or None,
            "slurm_account": self.account or None,
            "slurm_signal_delay_s": self.signal_delay_s,
            "slurm_array_parallelism": self.max_parallel,
            "slurm_dependency": dependency or None,
            "slurm_setup": [*self.setup, *_SETUP],
            "slurm_teardown": _teardown(self.max_restarts),
            "slurm_srun_args": ["--kill-on-bad-exit=1"],
            # A job whose dependency failed would wait for ever.
            "slurm_additional_parameters": {"requeue": True, "kill-on-invalid-dep": "yes"},
        }
        return {name: value for name, value in values.items() if value is not None}


# Slurm 22.05 and newer do not hand sbatch's --cpus-per-task on to srun.
_SETUP = ('export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"',)


def _teardown(max_restarts: int) -> list[str]:
    """Return the shell lines that queue the job again, unless someone else is ending it: then it is not RUNNING."""
    statuses = "|".join(str(status) for status in (EXIT_TO_BE_CONTINUED, *_KILLED))
    return [
        "status=$?",
        # The last task of an array has the array's own number as SLURM_JOB_ID, which would name all its tasks.
        'job="${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}"',
        'job="${job:-$SLURM_JOB_ID}"',
        f'case "$status" in {statuses})',
        f'    if [ "${{SLURM_RESTART_COUNT:-0}}" -lt {max_restarts} ] &&',
        '        [ "$(squeue --noheader --jobs="$job" --format=%T)" = RUNNING ]; then',
        '        scontrol requeue "$job"',
        "    fi ;;",
        "esac",
        'exit "$status"',
    ]


def add_policy_arguments(parser: argparse.ArgumentParser) -> None:
    """Give `parser` the site's file and one option per setting that has a single value."""
    group = parser.add_argument_group("jobs on Slurm (settings of slurm/cluster.toml, overridden here)")
    group.add_argument("--policy", type=Path, help=f"file of the site's settings (default: {DEFAULT_PATH}, if there)")
    for field in fields(ClusterPolicy):
        if field.type in (int, str):
            name = f"--{field.name.replace('_', '-')}"
            shown = field.metadata["help"] + (f" (default: {field.default})" if field.default != "" else "")
            group.add_argument(name, type=field.type, help=shown)


def policy_from(arguments: argparse.Namespace) -> ClusterPolicy:
    """
    Return the policy of the site's file with the options that were given.

    Raises
    ------
    ValueError
        There is no such file, it is no TOML, or it has an unknown key or a wrong value.
    """
    path: Path | None = arguments.policy or (DEFAULT_PATH if DEFAULT_PATH.exists() else None)
    policy = read_policy(path) if path else ClusterPolicy()
    given = {name: getattr(arguments, name, None) for name in asdict(policy)}
    return replace(policy, **{name: value for name, value in given.items() if value is not None})


def read_policy(path: Path) -> ClusterPolicy:
    """Read a site's file; see `policy_from` for what is refused."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(
            f"expected the site's settings in {path}, got no file; copy slurm/cluster.example.toml"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"expected TOML in {path}: {error}") from None
    known = [field.name for field in fields(ClusterPolicy)]
    if unknown := sorted(set(values) - set(known)):
        raise ValueError(f"got the unknown setting {unknown[0]} in {path}, expected some of {', '.join(known)}")
    # Whatever the values are, the class checks them.
    settings: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    try:
        return ClusterPolicy(**settings)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
