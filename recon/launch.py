"""
Train one network per number of views, score each, and write the report; or score methods in one table (--method).

On Slurm: one array of trainings, a scoring after each, and a report after all; the command returns when they are
submitted (--wait: when they have ended; --status: how they stand). A training that meets its time limit, is preempted
or loses a rank is queued again and goes on at the same step. On this machine: one after another, so that they do not
fight for its cores. The same command started again goes on where it stopped.

With --method register, register+refine and others, one job scores them all, with one rank on each core, into shapes.csv
in the folder of the runs; a report follows.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hpc.jobs import JobError, make_executor, resolve_cluster, sbatch_text, submit, submit_array, wait_for_job
from hpc.logs import set_up_logging
from hpc.settings import add_setting_arguments, settings_from
from recon.evaluate import DEFAULT_VIEW_COUNTS
from recon.jobs.cluster_jobs import EvaluateJob, ReportJob, TrainJob
from recon.jobs.cluster_policy import ClusterPolicy, add_policy_arguments, policy_from
from recon.jobs.launch_shapes import ShapePlan, plan_shapes, wants_table
from recon.jobs.run_status import JOBS_FOLDER, SubmittedJob, keep_jobs
from recon.jobs.watch import print_status, watch
from recon.shapes.shape_options import add_shape_options
from recon.shapes.shape_task import PAPER, SHAPE_METHODS, VIEW
from recon.train_config import TrainConfig

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingPlan:
    """Trainings, each followed by the evaluation at its place, and the report."""

    runs: Path
    trainings: list[TrainJob]
    evaluations: list[EvaluateJob]
    report: ReportJob

    def describe(self, cluster: str, policy: ClusterPolicy) -> str:
        """Return what would be submitted: on Slurm the scripts of sbatch, one after another."""
        names = [training.run_path.name for training in self.trainings]
        if cluster == "local":
            lines = [f"{name}: train and score in {self.runs / name}, on this machine" for name in names]
            return "\n".join([*lines, f"report: {self.report.out}", ""])
        folder, python = self.runs / JOBS_FOLDER, policy.python
        training = policy.parameters()
        scoring = policy.parameters("afterok:TRAINING")
        report = policy.parameters("afterany:SCORINGS", is_report=True)
        scripts = [
            (f"training of {', '.join(names)}", sbatch_text(folder, len(names), python, name="train", **training)),
            ("scoring, one job after each training", sbatch_text(folder, 1, python, name="evaluate", **scoring)),
            ("report, after all scorings", sbatch_text(folder, 1, python, name="report", **report)),
        ]
        return "\n".join(f"### {title}\n{text}" for title, text in scripts)

    def submit_to_slurm(self, policy: ClusterPolicy) -> list[SubmittedJob]:
        """Submit all jobs with their dependencies; keep and return what `--status` needs of them."""
        folder, python = self.runs / JOBS_FOLDER, policy.python
        kept: list[SubmittedJob] = []

        def keep(role: str, run: str, job: object) -> None:
            job_id, num_tasks = job.job_id, job.num_tasks  # type: ignore[attr-defined]
            kept.append(SubmittedJob(role, run, "slurm", job_id, num_tasks))
            keep_jobs(self.runs, kept)
            logger.info("%s is job %s", f"{role} {run}".strip(), job_id)

        executor = make_executor("slurm", folder, python, name="train", **policy.parameters())
        trainings = submit_array(executor, self.trainings)
        for one, job in zip(self.trainings, trainings, strict=True):
            keep("train", one.run_path.name, job)
        scorings = []
        for evaluation, job in zip(self.evaluations, trainings, strict=True):
            after = policy.parameters(f"afterok:{job.job_id}")
            scorings.append(submit(make_executor("slurm", folder, python, name="evaluate", **after), evaluation))
            keep("evaluate", evaluation.run_path.name, scorings[-1])
        # After any end: the report shows the runs that were scored.
        after = policy.parameters("afterany:" + ":".join(job.job_id for job in scorings), is_report=True)
        keep("report", "", submit(make_executor("slurm", folder, python, name="report", **after), self.report))
        return kept

    def run_here(self, policy: ClusterPolicy) -> int:
        """Run one job after another, whatever becomes of each; return the exit status."""
        num_failed = 0
        for training, evaluation in zip(self.trainings, self.evaluations, strict=True):
            try:
                for job in (training, evaluation):
                    executor = make_executor(
                        "local",
                        self.runs / JOBS_FOLDER,
                        name=training.run_path.name,
                        timeout_min=policy.timeout_min,
                        gpus_per_node=policy.gpus_per_node,
                    )
                    wait_for_job(submit(executor, job), sys.stderr.write)
            except JobError as error:
                logger.error("%s", error)
                num_failed += 1
        if num_failed:
            total = len(self.trainings)
            sys.stderr.write(f"recon.launch: {num_failed} of {total} runs failed; the same command tries them again\n")
            return 1
        self.report()
        return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `python -m recon.launch`."""
    parser = argparse.ArgumentParser(
        prog="python -m recon.launch", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--views", type=int, nargs="+", help="numbers of views, one training run each, or to score with")
    what.add_argument("--status", type=Path, metavar="RUNS", help="show how the jobs launched into this folder stand")
    add(
        "--method",
        nargs="+",
        choices=SHAPE_METHODS,
        default=[PAPER],
        help="paper or view alone: train networks, in the axes of the structure files or of the first view; any "
        "others: score them in one table (default: paper)",
    )
    add("--runs", type=Path, default=Path("runs"), help="folder of the runs and of the table (default: %(default)s)")
    add(
        "--evaluate-views",
        type=int,
        nargs="+",
        default=list(DEFAULT_VIEW_COUNTS),
        help="numbers of views to score with (default: 1 3 5 8 10)",
    )
    add("--device", choices=("auto", "cpu", "gpu"), default="auto", help="what computes (default: %(default)s)")
    add("--report", type=Path, help="report to write (default: report.html in the folder of the runs)")
    add(
        "--dry-run",
        action="store_true",
        help="print what would be submitted (on Slurm: the scripts), and submit nothing",
    )
    add("--wait", action="store_true", help="on Slurm: show the jobs until they have ended")
    add(
        "--cluster",
        choices=("auto", "slurm", "local"),
        default="auto",
        help="where the jobs run; auto is Slurm where a cluster answers, else this machine (default: %(default)s)",
    )
    add_policy_arguments(parser)
    add_shape_options(parser)
    add_setting_arguments(parser, TrainConfig, skip=("views",))
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    arguments = build_parser().parse_args(argv)
    set_up_logging()
    try:
        if arguments.status:
            return print_status(arguments.status)
        plan: TrainingPlan | ShapePlan = plan_shapes(arguments) if wants_table(arguments) else plan_jobs(arguments)
        policy = policy_from(arguments)
        if arguments.dry_run:
            cluster = arguments.cluster if arguments.cluster == "slurm" else resolve_cluster(arguments.cluster)
            sys.stdout.write(plan.describe(cluster, policy))
            return 0
        cluster = resolve_cluster(arguments.cluster)
        check_store(Path(arguments.store))
        if cluster == "local":
            return plan.run_here(policy)
        jobs = plan.submit_to_slurm(policy)
        return watch(plan.runs, jobs) if arguments.wait else 0
    except (ValueError, OSError, JobError) as error:
        sys.stderr.write(f"recon.launch: {error}\n")
        return 2


def plan_jobs(arguments: argparse.Namespace) -> TrainingPlan:
    """Return a training and an evaluation per number of views, and the report."""
    runs = arguments.runs.resolve()
    counts = sorted(set(arguments.views))
    is_in_view = arguments.method == [VIEW]
    paths = [runs / f"{'view_frame' if is_in_view else 'views'}_{views:02d}" for views in counts]
    evaluated = tuple(arguments.evaluate_views)
    values = vars(arguments) | {"store": str(Path(arguments.store).resolve())}
    if is_in_view:
        values["frame"] = "view"
    return TrainingPlan(
        runs=runs,
        trainings=[
            TrainJob(settings_from(TrainConfig, values | {"views": views}), path, arguments.device)
            for views, path in zip(counts, paths, strict=True)
        ],
        evaluations=[EvaluateJob(path, evaluated, arguments.device) for path in paths],
        report=ReportJob(runs, (arguments.report or runs / "report.html").resolve()),
    )


def check_store(store: Path) -> None:
    """Refuse a dataset that is not there now rather than in every job."""
    if not (store / "zarr.json").is_file():
        raise ValueError(
            f"expected a dataset at {store}, found none; name it with --store, or build one with "
            "`python -m afmsim.build`"
        )


if __name__ == "__main__":
    sys.exit(main())
