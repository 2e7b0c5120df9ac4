"""
Build a dataset: structure files in, one Zarr store of occupancy grids and virtual AFM height maps out.

Alone, or on any number of ranks, which give the same bytes:

    python -m afmsim.build --structures DIR --store dataset.zarr
    mpiexec -n 4 python -m mpi4py -m afmsim.build --structures DIR --store dataset.zarr

Exit status: 0 every protein is done; 1 some failed, with the reason in proteins.csv; 2 the command cannot be carried
out; 75 stopped by a signal, the same command continues.
"""

import argparse
import logging
import sys
import time
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from afmsim.build_config import BuildConfig
from hpc.communicator import Communicator, RankCountError, SharedCounters, on_main_rank, open_communicator
from hpc.logs import set_up_logging
from hpc.progress import watched_progress
from hpc.settings import add_setting_arguments, settings_from
from hpc.stop_signal import EXIT_TO_BE_CONTINUED, StopSignal
from hpc.work_plan import default_shard_size, heaviest_first, shard_ranges

if TYPE_CHECKING:
    from afmsim.source_list import Source

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BuildPlan:
    """What is to be done, the same on every rank."""

    sources: "list[Source]"
    shards: list[range]
    order: list[int]
    """Shards that are not done yet, heaviest first."""
    run_id: str


def main(argv: list[str] | None = None) -> int:
    """Build the dataset that the command line asks for; return the exit status."""
    args = _parser().parse_args(argv)
    try:
        communicator = open_communicator()
    except RankCountError as error:
        sys.stderr.write(f"afmsim.build: {error}\n")
        return 2
    set_up_logging(communicator.rank, communicator.size)
    try:
        status = _build(args, communicator)
    except ValueError as error:
        # A user's mistake, raised on every rank alike.
        if communicator.rank == 0:
            logger.error("%s", error)
        status = 2
    except OSError as error:
        logger.error("%s; what is finished is kept, the same command continues once this is mended", error)
        communicator.abort(2)
        return 2
    except BaseException:
        if communicator.size > 1:
            logger.exception("rank %d cannot go on and ends all ranks", communicator.rank)
            communicator.abort(1)
        raise
    communicator.finalize()
    return status


def _build(args: argparse.Namespace, communicator: Communicator) -> int:
    config = settings_from(BuildConfig, vars(args))
    with ExitStack() as held:
        plan = on_main_rank(communicator, lambda: _plan(args, config, held))
        started_s = time.monotonic()
        counters = communicator.shared_counters(3)
        with _shown_progress(plan, communicator, counters):
            is_stopped = _build_claimed(args, config, plan, communicator, counters)
            stopped_ranks = communicator.gather(is_stopped)
        counters.close()
        return on_main_rank(communicator, lambda: _complete(args.store, plan, any(stopped_ranks or []), started_s))


def _plan(args: argparse.Namespace, config: BuildConfig, held: ExitStack) -> BuildPlan:
    """Prepare the store, take its lock and list what is left to do; rank 0 only."""
    from afmsim.build_store import journaled_rows, pending_shards, prepare_store
    from afmsim.source_list import estimated_num_atoms, find_sources
    from hpc.store_lock import store_lock

    sources = find_sources(args.structures)
    shard_size = prepare_store(
        args.store, args.structures, sources, config, args.shard_size or default_shard_size(len(sources))
    )
    held.enter_context(store_lock(args.store / "build.lock"))
    shards = shard_ranges(len(sources), shard_size)
    pending = pending_shards(shards, journaled_rows(args.store), args.retry_failed)
    costs = [sum(estimated_num_atoms(sources[index].path) for index in shards[shard]) for shard in pending]
    order = [pending[place] for place in heaviest_first(costs)]
    num_pending = sum(len(shards[shard]) for shard in order)
    logger.info("%d structures, %d to do, in %d shards of %d", len(sources), num_pending, len(order), shard_size)
    return BuildPlan(sources, shards, order, run_id=f"{time.time_ns():020d}")


def _build_claimed(
    args: argparse.Namespace,
    config: BuildConfig,
    plan: BuildPlan,
    communicator: Communicator,
    counters: SharedCounters,
) -> bool:
    """Build what this rank claims; say whether a signal stopped it before the end of the list."""
    if not plan.order:
        return False
    from afmsim.build_shards import ShardBuilder, build_claimed_shards
    from afmsim.build_store import JOURNAL_FOLDER
    from hpc.array_backend import array_module
    from hpc.cpu_threads import share_cores
    from hpc.in_flight import tasks_in_flight
    from hpc.isolation import IsolatedWorker
    from hpc.journal import Journal

    stop = StopSignal(args.grace_s)
    share_cores(communicator.local_size)
    xp = array_module(args.device, communicator.local_rank, args.device_memory_gb)
    journal_path = args.store / JOURNAL_FOLDER / plan.run_id / f"rank_{communicator.rank:04d}.jsonl"
    with (
        IsolatedWorker(args.protein_timeout_s, args.protein_memory_gb, stop.is_grace_over) as worker,
        Journal(journal_path) as journal,
        tasks_in_flight(xp) as computing,
    ):
        builder = ShardBuilder(args.store, plan.sources, config, worker, xp, computing)
        return not build_claimed_shards(builder, plan.shards, plan.order, counters, journal, stop)


def _shown_progress(
    plan: BuildPlan, communicator: Communicator, counters: SharedCounters
) -> AbstractContextManager[None]:
    if communicator.rank != 0 or not plan.order:
        return nullcontext()
    from afmsim.build_shards import NUM_DONE, NUM_FAILED

    def read() -> tuple[int, str]:
        num_failed = counters.add(NUM_FAILED, 0)
        return counters.add(NUM_DONE, 0) + num_failed, f"{num_failed} failed" if num_failed else ""

    return watched_progress(sum(len(plan.shards[shard]) for shard in plan.order), "proteins", read)


def _complete(store: Path, plan: BuildPlan, is_stopped: bool, started_s: float) -> int:
    """Complete the store from the journals, say what came of the build, and return the exit status; rank 0 only."""
    from afmsim.build_store import complete_store, journaled_rows
    from afmsim.build_summary import log_summary

    rows = journaled_rows(store)
    table = complete_store(store, plan.sources, rows)
    built = [rows[index] for shard in plan.order for index in plan.shards[shard] if index in rows]
    log_summary(store, table, built, time.monotonic() - started_s)
    if is_stopped and any(row.status == "not done" for row in table):
        logger.warning("stopped by a signal; the same command continues")
        return EXIT_TO_BE_CONTINUED
    return 0 if all(row.status == "done" for row in table) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m afmsim.build",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--structures",
        type=Path,
        required=True,
        help="folder of .pdb, .ent, .cif (.gz) files, or a text list of paths",
    )
    add("--store", type=Path, required=True, help="the dataset, a Zarr v3 store; continued if begun")
    add(
        "--device",
        choices=("auto", "cpu", "gpu"),
        default="auto",
        help="where grids and views are made (default: auto)",
    )
    add(
        "--shard-size",
        type=int,
        help="proteins per shard of a new store (default: chosen from the length of the list)",
    )
    add(
        "--protein-timeout-s",
        type=float,
        default=600.0,
        help="time limit per protein in s (default: %(default)s)",
    )
    add(
        "--protein-memory-gb",
        type=float,
        default=16.0,
        help="memory limit of PyMOL in GB (default: %(default)s)",
    )
    add("--device-memory-gb", type=float, help="GPU memory that a rank may take in GB (default: what there is)")
    add("--grace-s", type=float, default=60.0, help="time for the shard in hand after SIGTERM or SIGUSR1 (default: 60)")
    add("--retry-failed", action="store_true", help="try the proteins again that failed before")
    add_setting_arguments(parser, BuildConfig)
    return parser


if __name__ == "__main__":
    sys.exit(main())
