"""
Write into a dataset which of its proteins are relatives, so that training and validation share none.

With --clusters, relatives are those of a file with one cluster per line, entities like 1ABC_1 separated by blanks: the
format of the sequence clusters that the Protein Data Bank publishes, of which those at 30 % identity are meant here.
Without it they are found in the sequences of the structure files: chains that share enough words of five residues,
which finds nearly all that are alike by half, and few at 30 %. In both ways complexes are relatives when any of their
chains are.

The result is the column `cluster` of the dataset's proteins.csv. Training that has begun refuses another split.
"""

import argparse
import logging
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from hpc.logs import set_up_logging
from hpc.progress import Progress

if TYPE_CHECKING:
    from afmsim.dataset import Dataset

logger = logging.getLogger(__name__)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of `python -m afmsim.cluster`."""
    parser = argparse.ArgumentParser(
        prog="python -m afmsim.cluster", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--store", type=Path, required=True, help="dataset to write into, a finished Zarr store")
    parser.add_argument("--clusters", type=Path, help="file of sequence clusters (default: compare the sequences)")
    parser.add_argument(
        "--structures",
        type=Path,
        help="folder or list that the dataset was built from (default: the one that the dataset names)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status."""
    arguments = build_parser().parse_args(argv)
    set_up_logging()
    try:
        write_clusters(arguments.store, arguments.clusters, arguments.structures)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"afmsim.cluster: {error}\n")
        return 2
    return 0


def write_clusters(store: Path, clusters: Path | None = None, structures: Path | None = None) -> list[str]:
    """
    Fill the column `cluster` of the store's proteins.csv; return it, one name per protein of the store.

    Raises
    ------
    ValueError
        There is no dataset, or its structure files are not where it says.
    OSError
        The file of clusters cannot be read.
    """
    from afmsim.dataset import TABLE_NAME, ProteinRow, format_table, open_dataset
    from afmsim.relatives import group_names, relatives_by_file, relatives_by_sequence
    from hpc.atomic_file import write_text_atomically

    dataset = open_dataset(store)
    if clusters is not None:
        groups, absent = relatives_by_file(dataset.protein_ids, clusters.read_text(encoding="utf-8").splitlines())
        if absent:
            logger.warning(
                "%s names %d of %d proteins; each of the others counts as a family by itself, such as %s",
                *(clusters, len(groups) - len(absent), len(groups), absent[0]),
            )
    else:
        groups = relatives_by_sequence(_sequences(dataset, structures or Path(dataset.attributes["structures"])))
    names = group_names(dataset.protein_ids, groups)
    rows = [
        ProteinRow(**{field.name: row[field.name] for field in fields(ProteinRow)} | {"cluster": name})  # type: ignore[arg-type]
        for row, name in zip(dataset.table, names, strict=True)
    ]
    write_text_atomically(store / TABLE_NAME, format_table(rows))
    sizes = Counter(names)
    logger.info("%s: %d proteins in %d clusters, %d in the largest", store, len(names), len(sizes), max(sizes.values()))
    return names


def _sequences(dataset: "Dataset", structures: Path) -> list[tuple[str, ...]]:
    """Return the sequences of the chains of each protein; one whose file cannot be used has none."""
    from afmsim.source_list import find_sources
    from afmsim.structure import StructureError, read_structure

    paths = {source.source_file: source.path for source in find_sources(structures)}
    missing = [row["source_file"] for row in dataset.table if row["source_file"] not in paths]
    if missing:
        raise ValueError(
            f"expected the {len(dataset.table)} structure files of {dataset.path} in {structures}, got a folder or "
            f"list without {len(missing)} of them, such as {missing[0]}; name the right one with --structures"
        )
    sequences: list[tuple[str, ...]] = []
    with Progress(len(dataset.table), "reading sequences") as progress:
        for row in dataset.table:
            try:
                sequences.append(read_structure(paths[row["source_file"]]).sequences)
            except StructureError:
                sequences.append(())
            progress.update(len(sequences))
    return sequences


if __name__ == "__main__":
    sys.exit(main())
