"""What the network reads: images and bodies of all proteins of a store."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from afmsim.dataset import open_dataset
from afmsim.voxelize import unpack_occupancy
from recon.loading.protein_arrays import ProteinArray
from recon.loading.target_frame import body_shares, principal_rotation, shares_size, turned_target


class ProteinData:
    """
    Images and target bodies of the finished proteins of a store.

    Parameters
    ----------
    store_path
        The dataset.
    input_size
        Edge of the images in pixels; the stored ones are averaged down by area.

    Raises
    ------
    ValueError
        The store has no finished protein, or smaller images than `input_size`.
    """

    def __init__(self, store_path: Path, input_size: int) -> None:
        self.store = open_dataset(store_path)
        if input_size > self.store.image_size:
            raise ValueError(
                f"got input size {input_size}, expected at most {self.store.image_size}, the image size of "
                f"{store_path}; choose a smaller --input-size or build the dataset with larger images"
            )
        self.store_indices = [int(index) for index in self.store.done_indices]
        if not self.store_indices:
            raise ValueError(f"got {store_path} without any finished protein; build the dataset first")
        self.protein_ids: list[str] = [self.store.protein_ids[index] for index in self.store_indices]
        self.clusters: list[str] = [self.store.table[index]["cluster"] for index in self.store_indices]
        self.num_views: int = self.store.num_views
        self.image_size: int = self.store.image_size
        self.target_size: int = self.store.target_size
        self.input_size = input_size
        self.weights = area_weights(self.store.image_size, input_size)
        """float32 `(input pixel, stored pixel)`."""
        grid, num_views, target = self.store.grid_size, self.num_views, (self.target_size,) * 3
        shapes: dict[str, tuple[tuple[int, ...], type, Callable[[int], np.ndarray]]] = {
            "images": ((num_views, input_size, input_size), np.float16, self._read_images),
            "occupancy": (target, np.uint8, self._read_occupancy),
            "occupancy_shares": ((shares_size(grid, self.target_size),) * 3, np.uint8, self._read_shares),
            "occupancy_in_principal_axes": (target, np.uint8, self._turn_to_principal_axes),
            "occupancy_fine": ((grid, grid, grid // 8), np.uint8, self._read_packed),
            "view_rotation": ((num_views, 3, 3), np.float32, self._read_rotations),
        }
        self.arrays = {name: ProteinArray(len(self.protein_ids), *shape) for name, shape in shapes.items()}
        """By name. Rounding `images` to float16 moves no height by a stored step in fields of view up to 40 nm."""

    @property
    def occupancy(self) -> np.ndarray:
        """uint8 `(protein, z, y, x)`: the stored targets."""
        return self.hold("occupancy")

    @property
    def view_rotations(self) -> np.ndarray:
        """float32 `(protein, view, 3, 3)`: left-multiply column xyz, stored axes -> view."""
        return self.hold("view_rotation")

    def hold(self, name: str) -> np.ndarray:
        """Return an array of all proteins, `(protein, ...)`, which is read into memory unless it is held already."""
        with self.store.whole_shards():
            return self.arrays[name].hold()

    def hold_images(self) -> None:
        """Read all images into memory if they fit; else they are read when asked for."""
        if self.arrays["images"].num_bytes < _free_memory_bytes() / 2:
            self.hold("images")

    @property
    def target_voxel_size_nm(self) -> np.ndarray:
        """float64 `(protein,)`: edge of one voxel of `occupancy`."""
        fine = np.asarray(self.store.voxel_size_nm, dtype=np.float64)[self.store_indices]
        return fine * self.store.grid_size / self.target_size

    @property
    def field_of_view_nm(self) -> np.ndarray:
        """float64 `(protein,)`: edge of the images."""
        pixel_size_nm = np.asarray(self.store.pixel_size_nm, dtype=np.float64)[self.store_indices]
        return pixel_size_nm * self.image_size

    def images(self, protein: int, view_indices: np.ndarray) -> np.ndarray:
        """Return float32 `(view, row, col)`, 0..1: views of one protein, see `afmsim.dataset.Dataset.images`."""
        held = self.arrays["images"].held
        images = self._read_images(protein, view_indices) if held is None else held[protein, view_indices]
        return np.asarray(images, dtype=np.float32)

    def occupancy_fine(self, protein: int) -> np.ndarray:
        """Return the fine grid of one protein, uint8 `(z, y, x)`."""
        return unpack_occupancy(self.arrays["occupancy_fine"][protein])  # type: ignore[no-any-return]

    def indices_of(self, protein_ids: Sequence[str]) -> list[int]:
        """Return the positions of `protein_ids` in this data."""
        position = {protein_id: index for index, protein_id in enumerate(self.protein_ids)}
        return [position[protein_id] for protein_id in protein_ids]

    def _read_images(self, protein: int, view_indices: np.ndarray | None = None) -> np.ndarray:
        images = self.store.images(self.store_indices[protein], view_indices)
        return (self.weights @ images @ self.weights.T).astype(np.float16)  # (view, input row, input col)

    def _read_occupancy(self, protein: int) -> np.ndarray:
        return self.store.occupancy(self.store_indices[protein])

    def _read_packed(self, protein: int) -> np.ndarray:
        return self.store.packed_occupancy_fine(self.store_indices[protein])

    def _read_rotations(self, protein: int) -> np.ndarray:
        return self.store.view_rotations(self.store_indices[protein])

    def _read_shares(self, protein: int) -> np.ndarray:
        return body_shares(self.occupancy_fine(protein), self.target_size)

    def _turn_to_principal_axes(self, protein: int) -> np.ndarray:
        shares = self._read_shares(protein)
        return turned_target(shares, principal_rotation(shares), self.target_size)


def area_weights(num_pixels: int, num_averaged: int) -> np.ndarray:
    """
    Return the matrix that averages a line of pixels down by area.

    Returns
    -------
    numpy.ndarray
        float32 `(averaged, pixel)`: the share of each averaged pixel that each pixel covers; rows sum to 1.
    """
    width = num_pixels / num_averaged
    pixel = np.arange(num_pixels)[None, :]
    averaged = np.arange(num_averaged)[:, None]
    covered = np.minimum(pixel + 1, (averaged + 1) * width) - np.maximum(pixel, averaged * width)
    return (np.clip(covered, 0, None) / width).astype(np.float32)


def _free_memory_bytes() -> int:
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
