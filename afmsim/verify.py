"""
Check a dataset: every chunk there, every checksum right, counts as in proteins.csv.

    python -m afmsim.verify --store dataset.zarr
    python -m afmsim.verify --store dataset.zarr --repair

Damage is named by protein. With --repair the shards that hold damage are built again, and nothing else.

Exit status: 0 the dataset is whole (after the repair); 1 it is not; 2 the command cannot be carried out.
"""

import argparse
import logging
import sys
import time
from pathlib import Path

logger = logging.getLogger(__name__)


def main(argv: list[str] | None = None) -> int:
    """Check, and if asked for repair, the dataset that the command line names; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m afmsim.verify", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", type=Path, required=True, help="dataset to check")
    parser.add_argument("--repair", action="store_true", help="build the damaged shards again")
    parser.add_argument("--structures", type=Path, help="structures to repair from (default: those of the build)")
    args = parser.parse_args(argv)

    from hpc.logs import set_up_logging

    set_up_logging()
    try:
        problems = find_damage(args.store)
        if args.repair and problems:
            _repair(args.store, args.structures, set(problems))
            problems = find_damage(args.store)
    except ValueError as error:
        logger.error("%s", error)
        return 2
    logger.info("%s: %s", args.store, f"{len(problems)} proteins damaged" if problems else "whole")
    return 1 if problems else 0


def find_damage(store: Path) -> dict[int, str]:
    """
    Return what is wrong with each damaged protein, by its index, and log it by its id.

    A protein that no build has finished yet is no damage; one that the table calls done and the arrays do not is.
    """
    from afmsim.dataset import STATUS_WORDS, array_specs, open_dataset
    from hpc.progress import Progress
    from hpc.shard_check import damaged_items
    from hpc.work_plan import shard_ranges
    from hpc.zarr_store import open_store

    dataset = open_dataset(store)
    words = [row["status"] for row in dataset.table]
    problems = {
        index: f"status is {STATUS_WORDS[status]} in the arrays and {word} in proteins.csv"
        for index, (status, word) in enumerate(zip(dataset.status, words, strict=True))
        if STATUS_WORDS[status] != word
    }
    group = open_store(store)
    sharded = [group[spec.name] for spec in array_specs(dataset.config) if spec.chunk_shape]
    shards = shard_ranges(len(words), dataset.attributes["shard_size"])
    with Progress(len(words), "proteins checked") as progress:
        for items in shards:
            if any(words[index] != STATUS_WORDS[0] for index in items):
                for array in sharded:
                    for index, problem in damaged_items(store, array, items).items():
                        problems.setdefault(index, problem)
            progress.update(items.stop)
    for index, problem in sorted(problems.items()):
        logger.warning("damaged: %s: %s", dataset.protein_ids[index], problem)
    return problems


def _repair(store: Path, structures: Path | None, damaged: set[int]) -> None:
    """Take the damaged proteins back in the journals and let the build do what is left."""
    from afmsim import build
    from afmsim.build_store import JOURNAL_FOLDER
    from afmsim.dataset import NOT_DONE, open_dataset
    from hpc.journal import Journal

    dataset = open_dataset(store)
    with Journal(store / JOURNAL_FOLDER / f"{time.time_ns():020d}" / "rank_0000.jsonl") as journal:
        journal.append({"rows": [{"index": index, "status": NOT_DONE} for index in sorted(damaged)]})
    arguments = ["--structures", str(structures or dataset.attributes["structures"]), "--store", str(store)]
    for name, value in dataset.config.items():
        arguments.append(f"--{name.replace('_', '-')}={value}")
    build.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
