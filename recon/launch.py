"""
Train one network per number of views, score each, and write the report.

Jobs run through submitit: on Slurm side by side, on this machine one after another, so that they do not fight for
its cores. The same command started again goes on where it stopped.
"""

import argparse
import logging
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hpc.jobs import JobError, make_executor, resolve_cluster, submit, wait_for_job
from hpc.logs import set_up_logging
from hpc.settings import add_setting_arguments, settings_from
from recon.evaluate import DEFAULT_VIEW_COUNTS
from recon.train_config import TrainConfig
from recon.train_job import TrainJob

logger = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `python -m recon.launch`."""
    parser = argparse.ArgumentParser(
        prog="python -m recon.launch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--views", type=int, nargs="+", required=True, help="numbers of views, one training run each")
    add("--runs", type=Path, default=Path("runs"), help="folder of the runs (default: %(default)s)")
    add(
        "--evaluate-views",
        type=int,
        nargs="+",
        default=list(DEFAULT_VIEW_COUNTS),
        help="numbers of views to score with",
    )
    add("--device", choices=("auto", "cpu", "gpu"), default="auto", help="what computes (default: %(default)s)")
    add("--report", type=Path, help="report to write (default: report.html in the folder of the runs)")
    add("--dry-run", action="store_true", help="say what would be submitted, and submit nothing")
    policy = parser.add_argument_group("jobs")
    policy.add_argument(
        "--cluster",
        choices=("auto", "slurm", "local"),
        default="auto",
        help="where the jobs run; auto is Slurm where it exists and this machine otherwise (default: %(default)s)",
    )
    policy.add_argument("--timeout-min", type=int, default=24 * 60, help="time limit in minutes (default: %(default)s)")
    policy.add_argument("--gpus", type=int, default=1, help="GPUs per job, where there are any (default: %(default)s)")
    policy.add_argument("--cpus", type=int, default=4, help="cores per job, on Slurm (default: %(default)s)")
    policy.add_argument(
        "--memory-gb", type=int, default=64, help="memory per job in GB, on Slurm (default: %(default)s)"
    )
    policy.add_argument("--partition", help="Slurm partition")
    policy.add_argument("--account", help="Slurm account")
    add_setting_arguments(parser, TrainConfig, skip=("views",))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    arguments = build_parser().parse_args(argv)
    set_up_logging()
    try:
        jobs = plan_jobs(arguments)
        cluster = resolve_cluster(arguments.cluster)
        policy = job_policy(arguments, cluster)
        if arguments.dry_run:
            sys.stdout.write(describe(jobs, cluster, policy))
            return 0
        num_failed = run_jobs(jobs, cluster, arguments.runs / "jobs", policy)
    except (ValueError, OSError, JobError) as error:
        sys.stderr.write(f"recon.launch: {error}\n")
        return 2
    if num_failed:
        sys.stderr.write(f"recon.launch: {num_failed} of {len(jobs)} jobs failed; the same command tries them again\n")
        return 1
    from recon.report import main as report

    return report(["--runs", str(arguments.runs), "--out", str(arguments.report or arguments.runs / "report.html")])


def plan_jobs(arguments: argparse.Namespace) -> list[TrainJob]:
    """Return one job per number of views."""
    return [
        TrainJob(
            config=settings_from(TrainConfig, vars(arguments) | {"views": views}),
            run_path=(arguments.runs / f"views_{views:02d}").resolve(),
            device=arguments.device,
            evaluated_views=tuple(arguments.evaluate_views),
        )
        for views in sorted(set(arguments.views))
    ]


def job_policy(arguments: argparse.Namespace, cluster: str) -> dict[str, Any]:
    """Return submitit's parameters; an option that was not given is not passed on to Slurm at all."""
    if cluster == "local":
        return {"timeout_min": arguments.timeout_min, "gpus_per_node": arguments.gpus}
    policy = {
        "timeout_min": arguments.timeout_min,
        # Some Slurm versions refuse a request for no GPU.
        "gpus_per_node": arguments.gpus or None,
        "cpus_per_task": arguments.cpus,
        "mem_gb": arguments.memory_gb,
        "slurm_partition": arguments.partition,
        "slurm_account": arguments.account,
    }
    return {name: value for name, value in policy.items() if value is not None}


def describe(jobs: Sequence[TrainJob], cluster: str, policy: dict[str, Any]) -> str:
    """Return in words what would be submitted, one line per job."""
    settings = ", ".join(f"{name} {value}" for name, value in policy.items())
    lines = [f"{job.run_path.name}: train and score in {shlex.quote(str(job.run_path))}" for job in jobs]
    return "\n".join([f"on {cluster}, with {settings}:", *lines, ""])


def run_jobs(jobs: Sequence[TrainJob], cluster: str, folder: Path, policy: dict[str, Any]) -> int:
    """Run all jobs, whatever becomes of each; return how many failed."""
    if cluster == "local":
        return sum(_num_failed(_submit([job], cluster, folder, policy)) for job in jobs)
    return _num_failed(_submit(jobs, cluster, folder, policy))


def _submit(jobs: Sequence[TrainJob], cluster: str, folder: Path, policy: dict[str, Any]) -> list[Any]:
    submitted = []
    for job in jobs:
        executor = make_executor(cluster, folder, name=job.run_path.name, **policy)
        submitted.append(submit(executor, job))
        logger.info("%s is job %s, its log is %s", job.run_path.name, submitted[-1].job_id, submitted[-1].paths.stderr)
    return submitted


def _num_failed(submitted: Sequence[Any]) -> int:
    num_failed = 0
    for job in submitted:
        try:
            wait_for_job(job, sys.stderr.write)
        except JobError as error:
            logger.error("%s", error)
            num_failed += 1
    return num_failed


if __name__ == "__main__":
    sys.exit(main())
