"""A dataset of small synthetic bodies, written as a build writes it, for tests of learning."""

from pathlib import Path

import numpy as np

from afmsim.dataset import DONE, FAILED, SCHEMA_VERSION, STATUS_WORDS, TABLE_NAME, ProteinRow, array_specs, format_table
from afmsim.orientation import random_rotations
from afmsim.voxelize import pack_occupancy
from hpc.zarr_store import create_store, open_store, write_shard, write_small

TARGET_SIZE = 32
GRID_SIZE = 64
VOXEL_SIZE_NM = 0.125


def write_tiny_store(
    path: Path,
    num_proteins: int = 6,
    num_views: int = 5,
    image_size: int = 32,
    has_failed_row: bool = True,
    shard_size: int = 0,
) -> Path:
    """Write `num_proteins` boxes of different shape, seen along the axes; the last row can be a failed one."""
    num_rows = num_proteins + has_failed_row
    sizes = {"num_views": num_views, "grid_size": GRID_SIZE, "target_size": TARGET_SIZE, "image_size": image_size}
    config = {"rendering": "height"} | sizes
    shard_size = shard_size or num_rows
    create_store(path, array_specs(config), num_rows, shard_size, {"schema_version": SCHEMA_VERSION, "config": config})
    group = open_store(path, "r+")
    occupancy = np.stack([box_occupancy(row) for row in range(num_rows)])
    heights = np.stack([box_heights(body, num_views, image_size) for body in occupancy])
    is_done = np.arange(num_rows) < num_proteins
    fine = [body.repeat(2, axis=0).repeat(2, axis=1).repeat(2, axis=2) for body in occupancy]
    arrays = {
        "occupancy": occupancy,
        "occupancy_fine": np.stack([pack_occupancy(body) for body in fine]),
        "view_rotation": np.stack([random_rotations(num_views, 0, protein_name(row)) for row in range(num_rows)]),
        "height": heights,
    }
    for name, values in arrays.items():
        for first in range(0, num_rows, shard_size):
            rows = range(first, min(first + shard_size, num_rows))
            write_shard(group, name, rows, values[rows.start : rows.stop])
    for name, value in (("voxel_size_nm", VOXEL_SIZE_NM), ("pixel_size_nm", 0.25), ("height_scale_nm", 0.25 / 1000)):
        write_small(group, name, np.full(num_rows, value, np.float32))
    write_small(group, "status", np.where(is_done, DONE, FAILED).astype(np.uint8))
    table = [
        ProteinRow(row, protein_name(row), f"{protein_name(row)}.cif", status=STATUS_WORDS[DONE if done else FAILED])
        for row, done in enumerate(is_done)
    ]
    (path / TABLE_NAME).write_text(format_table(table), encoding="utf-8")
    return path


def protein_name(row: int) -> str:
    return f"body{row:02d}"


def box_occupancy(row: int) -> np.ndarray:
    """A box in a corner that depends on the row, uint8 (z, y, x)."""
    rng = np.random.default_rng(row)
    size = rng.integers(10, 24, 3)
    start = rng.integers(0, TARGET_SIZE - size)
    body = np.zeros((TARGET_SIZE,) * 3, np.uint8)
    body[tuple(slice(first, first + edge) for first, edge in zip(start, size, strict=True))] = 1
    return body


def box_heights(body: np.ndarray, num_views: int, image_size: int) -> np.ndarray:
    """Thickness of a body along an axis that changes with the view, in stored steps, uint16 (view, row, col)."""
    rows = np.arange(image_size) * TARGET_SIZE // image_size
    thickness = [body.sum(axis=view % 3)[np.ix_(rows, rows)] for view in range(num_views)]
    return (np.stack(thickness) * 1000 + np.arange(num_views)[:, None, None]).astype(np.uint16)
