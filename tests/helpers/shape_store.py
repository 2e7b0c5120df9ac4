"""A dataset of real complexes with true height maps, small, for tests of methods that find orientations."""

from pathlib import Path

import numpy as np

from afmsim.dataset import (
    DONE,
    SCHEMA_VERSION,
    STATUS_WORDS,
    TABLE_NAME,
    VIEW_ARRAY_OF_RENDERING,
    ProteinRow,
    array_specs,
    format_table,
)
from afmsim.orientation import random_rotations
from afmsim.render import field_of_view_nm, height_maps, prepare_body, thickness_maps
from afmsim.voxelize import downsample_majority, pack_occupancy
from hpc.zarr_store import create_store, open_store, write_shard, write_small
from tests.helpers.height_views import GRID_SIZE, real_body

TARGET_SIZE = 32
IMAGE_SIZE = 64
HEIGHT_STEP_NM = 0.01


def write_shape_store(path: Path, names: tuple[str, ...], num_views: int, rendering: str = "height") -> Path:
    """Write real complexes as a build writes them."""
    config = {
        "num_views": num_views,
        "grid_size": GRID_SIZE,
        "target_size": TARGET_SIZE,
        "image_size": IMAGE_SIZE,
        "rendering": rendering,
    }
    specs = array_specs(config)
    create_store(path, specs, len(names), len(names), {"schema_version": SCHEMA_VERSION, "config": config})
    group = open_store(path, "r+")
    bodies = [real_body(name) for name in names]
    rotations = np.stack([random_rotations(num_views, 0, name) for name in names])
    pixel_sizes_nm = [field_of_view_nm(*body) / IMAGE_SIZE for body in bodies]
    render = {"height": height_maps, "density": thickness_maps}[rendering]
    views_nm = np.stack(
        [
            render(prepare_body(body), turns, voxel_size_nm, pixel_size_nm, IMAGE_SIZE)
            for (body, voxel_size_nm), turns, pixel_size_nm in zip(bodies, rotations, pixel_sizes_nm, strict=True)
        ]
    )
    rows = range(len(names))
    write_shard(group, "occupancy", rows, np.stack([downsample_majority(body, TARGET_SIZE) for body, _ in bodies]))
    write_shard(group, "occupancy_fine", rows, np.stack([pack_occupancy(body) for body, _ in bodies]))
    write_shard(group, VIEW_ARRAY_OF_RENDERING[rendering], rows, np.rint(views_nm / HEIGHT_STEP_NM).astype(np.uint16))
    write_shard(group, "view_rotation", rows, rotations)
    write_small(group, "voxel_size_nm", np.array([size for _, size in bodies], np.float32))
    write_small(group, "pixel_size_nm", np.array(pixel_sizes_nm, np.float32))
    write_small(group, "height_scale_nm", np.full(len(names), HEIGHT_STEP_NM, np.float32))
    write_small(group, "status", np.full(len(names), DONE, np.uint8))
    table = [ProteinRow(row, name, f"{name}.pdb.gz", status=STATUS_WORDS[DONE]) for row, name in enumerate(names)]
    (path / TABLE_NAME).write_text(format_table(table), encoding="utf-8")
    return path
