"""What the network reads: images and bodies of all proteins of a store, held in memory where they fit."""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np


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
        from afmsim.dataset import open_dataset

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
        self.occupancy = np.stack([self.store.occupancy(index) for index in self.store_indices])
        """uint8 `(protein, z, y, x)`."""
        num_bytes = len(self.protein_ids) * self.num_views * input_size**2 * 4
        self._images = self._read_all() if num_bytes < _free_memory_bytes() / 2 else None

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
        if self._images is not None:
            return self._images[protein, view_indices]
        return self._read(protein, view_indices)

    @cached_property
    def view_rotations(self) -> np.ndarray:
        """float32 `(protein, view, 3, 3)`: left-multiply column xyz, stored axes -> view."""
        return np.stack([self.store.view_rotations(index) for index in self.store_indices])

    def occupancy_fine(self, protein: int) -> np.ndarray:
        """Return the fine grid of one protein, uint8 `(z, y, x)`."""
        return self.store.occupancy_fine(self.store_indices[protein])

    def packed_occupancy_fine(self, protein: int) -> np.ndarray:
        """Return the fine grid of one protein as it is stored, uint8 `(z, y, x / 8)`."""
        return self.store.packed_occupancy_fine(self.store_indices[protein])

    def indices_of(self, protein_ids: Sequence[str]) -> list[int]:
        """Return the positions of `protein_ids` in this data."""
        position = {protein_id: index for index, protein_id in enumerate(self.protein_ids)}
        return [position[protein_id] for protein_id in protein_ids]

    def _read(self, protein: int, view_indices: np.ndarray | None = None) -> np.ndarray:
        images = self.store.images(self.store_indices[protein], view_indices)
        return self.weights @ images @ self.weights.T  # (view, input row, input col)

    def _read_all(self) -> np.ndarray:
        shape = (len(self.protein_ids), self.num_views, self.input_size, self.input_size)
        images = np.empty(shape, dtype=np.float32)
        for protein in range(len(self.protein_ids)):
            images[protein] = self._read(protein)
        return images


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
