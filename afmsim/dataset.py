"""
The dataset: its schema, its table of proteins, and how it is read. The contract between `afmsim` and `recon`.

A dataset is one Zarr v3 group, written shard by shard (`hpc.zarr_store`), with `proteins.csv` beside the arrays: one
row per input file, failed ones included.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from afmsim.voxelize import GridPlacement, unpack_occupancy
from hpc.zarr_store import ArraySpec, StoreError, open_store

SCHEMA_VERSION = 1
TABLE_NAME = "proteins.csv"

VIEW_ARRAY_OF_RENDERING = {"height": "height", "density": "thickness"}
"""Name of the array of views for each value of the setting `rendering`."""

_VIEW_MEANINGS = {
    "height": "height above the substrate (view, row, col) in steps of height_scale_nm; 0 is substrate",
    "thickness": "way of a ray inside the protein (view, row, col) in steps of height_scale_nm; 0 beside it",
}

ABSORPTION_PER_NM = 0.2
"""Makes a picture of a thickness, 1 - exp(-absorption * thickness): a protein of 5 nm looks 63 % opaque."""

NOT_DONE, DONE, FAILED = 0, 1, 2
STATUS_WORDS = ("not done", "done", "failed")


@dataclass(frozen=True)
class ProteinRow:
    """One row of `proteins.csv`."""

    index: int
    protein_id: str
    source_file: str
    num_chains: int = 0
    num_atoms: int = 0
    cluster: str = ""
    status: str = STATUS_WORDS[NOT_DONE]
    reason: str = ""


TABLE_COLUMNS = tuple(field.name for field in fields(ProteinRow))


def array_specs(config: dict[str, Any]) -> list[ArraySpec]:
    """
    Return the arrays of a dataset; those with a chunk shape are sharded, the others small.

    Parameters
    ----------
    config
        The settings of the build, see `afmsim.build_config.BuildConfig`.
    """
    num_views, grid_size, image_size = config["num_views"], config["grid_size"], config["image_size"]
    target = (config["target_size"],) * 3
    fine = (grid_size, grid_size, grid_size // 8)
    view_array = VIEW_ARRAY_OF_RENDERING[config["rendering"]]
    return [
        ArraySpec("occupancy", "uint8", target, target, "target grid (z, y, x): 1 inside the protein"),
        ArraySpec("occupancy_fine", "uint8", fine, fine, "fine grid (z, y, x / 8): bits packed, little endian"),
        ArraySpec(
            view_array,
            "uint16",
            (num_views, image_size, image_size),
            (1, image_size, image_size),
            _VIEW_MEANINGS[view_array],
        ),
        ArraySpec("view_rotation", "float32", (num_views, 3, 3), (num_views, 3, 3), "world -> view, on column xyz"),
        ArraySpec("voxel_size_nm", "float32", meaning="edge of a voxel of the fine grid"),
        ArraySpec("pixel_size_nm", "float32", meaning="edge of a pixel of a height map"),
        ArraySpec("height_scale_nm", "float32", meaning="height of one stored step"),
        ArraySpec("center_xyz_nm", "float32", (3,), meaning="grid centre in the axes of the structure file"),
        ArraySpec("status", "uint8", meaning="0 not done, 1 done, 2 failed"),
    ]


def format_table(rows: Sequence[ProteinRow]) -> str:
    """Return `proteins.csv` as text."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(TABLE_COLUMNS)
    writer.writerows(astuple(row) for row in rows)
    return text.getvalue()


def read_table(store: Path) -> list[dict[str, str]]:
    """Return the rows of a store's `proteins.csv`, in the order of the arrays."""
    with (Path(store) / TABLE_NAME).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


class Dataset:
    """A dataset that is read; each method takes a protein's index in the arrays."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._group = open_store(self.path)
        found = self._group.attrs.get("schema_version")
        if found != SCHEMA_VERSION:
            raise StoreError(
                f"{path} has dataset schema {found}, expected {SCHEMA_VERSION}; rebuild it with this version"
            )
        self.attributes: dict[str, Any] = dict(self._group.attrs)
        self.config: dict[str, Any] = self.attributes["config"]
        self.rendering: str = self.config["rendering"]
        self.num_views: int = self.config["num_views"]
        self.grid_size: int = self.config["grid_size"]
        self.target_size: int = self.config["target_size"]
        self.image_size: int = self.config["image_size"]
        self.table = read_table(self.path)
        self.protein_ids = [row["protein_id"] for row in self.table]
        self.status = self._group["status"][:]
        self.voxel_size_nm = self._group["voxel_size_nm"][:]
        self.pixel_size_nm = self._group["pixel_size_nm"][:]
        self.height_scale_nm = self._group["height_scale_nm"][:]
        self._reads_whole_shards = False
        self._shards: dict[str, tuple[int, np.ndarray]] = {}

    @property
    def done_indices(self) -> np.ndarray:
        """Indices of the proteins that are done, ascending."""
        return np.flatnonzero(self.status == DONE)

    @contextmanager
    def whole_shards(self) -> Iterator[None]:
        """
        Read whole shards while the block works: fewer and larger requests, for whoever reads all proteins in order.

        Of each array, the last shard is kept in memory.
        """
        self._reads_whole_shards = True
        try:
            yield
        finally:
            self._reads_whole_shards = False
            self._shards.clear()

    def _item(self, name: str, protein_index: int) -> np.ndarray:
        """Return one protein's item of a sharded array."""
        array = self._group[name]
        if not self._reads_whole_shards:
            return array[protein_index]  # type: ignore[no-any-return]
        number, place = divmod(protein_index, array.shards[0])
        if self._shards.get(name, (-1,))[0] != number:
            self._shards[name] = number, array[number * array.shards[0] : (number + 1) * array.shards[0]]
        return self._shards[name][1][place]

    def occupancy(self, protein_index: int) -> np.ndarray:
        """Return the target grid, uint8 `(z, y, x)`."""
        return self._item("occupancy", protein_index)

    def occupancy_fine(self, protein_index: int) -> np.ndarray:
        """Return the fine grid, uint8 `(z, y, x)`, unpacked."""
        return unpack_occupancy(self.packed_occupancy_fine(protein_index))  # type: ignore[no-any-return]

    def packed_occupancy_fine(self, protein_index: int) -> np.ndarray:
        """Return the fine grid as it is stored, uint8 `(z, y, x / 8)`, see `afmsim.voxelize.pack_occupancy`."""
        return self._item("occupancy_fine", protein_index)

    def heights_nm(self, protein_index: int, view_indices: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """
        Return height maps, float32 `(view, row, col)` in nm, of all views or of those named.

        Raises
        ------
        hpc.zarr_store.StoreError
            The dataset was built with another rendering.
        """
        if self.rendering != "height":
            raise StoreError(
                f"expected a dataset of height maps, got {self.path} with --rendering {self.rendering}; "
                "build one with --rendering height"
            )
        return self.views_nm(protein_index, view_indices)

    def views_nm(self, protein_index: int, view_indices: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """Return the views, heights or thicknesses as the dataset has them, float32 `(view, row, col)` in nm."""
        name = VIEW_ARRAY_OF_RENDERING[self.rendering]
        if view_indices is None:
            stored = self._item(name, protein_index)
        else:
            stored = np.stack([self._group[name][protein_index, int(view)] for view in view_indices])
        return stored.astype(np.float32) * self.height_scale_nm[protein_index]  # type: ignore[no-any-return]

    def images(self, protein_index: int, view_indices: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """Return the views as images, float32 `(view, row, col)` from 0 to 1, see `as_images`."""
        return self.as_images(protein_index, self.views_nm(protein_index, view_indices))  # type: ignore[no-any-return]

    def as_images(self, protein_index: int, views_nm: Any) -> Any:
        """
        Turn views of a protein, float32 `(view, row, col)` in nm, into images from 0 to 1; NumPy or CuPy.

        Heights are shares of the field of view; thicknesses are absorbed, 1 - exp(-absorption * thickness).
        """
        if self.rendering == "height":
            return views_nm / np.float32(self.field_of_view_nm(protein_index))
        return -np.expm1(-ABSORPTION_PER_NM * views_nm)

    def view_rotations(self, protein_index: int) -> np.ndarray:
        """Return the rotations world -> view, float32 `(view, 3, 3)`."""
        return self._item("view_rotation", protein_index)

    def placement(self, protein_index: int) -> GridPlacement:
        """Return where the fine grid lies in the axes of the structure file."""
        center_xyz_nm = self._group["center_xyz_nm"][protein_index].astype(np.float64)
        return GridPlacement(center_xyz_nm, float(self.voxel_size_nm[protein_index]), self.grid_size)

    def field_of_view_nm(self, protein_index: int) -> float:
        """Return the edge of a height map in nm."""
        return float(self.pixel_size_nm[protein_index]) * self.image_size


def open_dataset(path: Path) -> Dataset:
    """
    Open the dataset at `path` for reading.

    Raises
    ------
    hpc.zarr_store.StoreError
        There is no dataset, or one of another schema.
    """
    return Dataset(path)
