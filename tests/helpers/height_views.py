"""Height maps of bodies in known poses, small and quick, for tests of registration and carving."""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from afmsim.orientation import random_rotations
from afmsim.render import field_of_view_nm, render_heights

EXAMPLES = Path(__file__).parents[2] / "examples" / "structures"
GRID_SIZE = 96


@dataclass(frozen=True)
class PlantedViews:
    """A body and its views; each image is moved by whole pixels, which the method is not told."""

    body: np.ndarray
    """uint8 (z, y, x)"""
    voxel_size_nm: float
    heights_nm: np.ndarray
    pixel_size_nm: float
    rotations: np.ndarray
    """world -> view, about the body's grid centre"""
    offsets_nm: np.ndarray
    """x and y only: what the images were moved by"""


def planted_views(
    body: np.ndarray, voxel_size_nm: float, num_views: int, seed: int = 0, image_size: int = 72
) -> PlantedViews:
    """Take views from random directions, each off the image's centre by up to four pixels."""
    rotations = random_rotations(num_views, seed, "planted").astype(np.float64)
    pixel_size_nm = field_of_view_nm(body, voxel_size_nm) / (image_size - 8)
    heights_nm = render_heights(body, rotations, voxel_size_nm, pixel_size_nm, image_size)
    moves = np.random.default_rng(seed).integers(-4, 5, (num_views, 2))  # (view, right and up)
    moved = [np.roll(view, (-up, right), axis=(0, 1)) for view, (right, up) in zip(heights_nm, moves, strict=True)]
    offsets_nm = np.concatenate([moves * pixel_size_nm, np.zeros((num_views, 1))], axis=1)
    return PlantedViews(body, voxel_size_nm, np.stack(moved), pixel_size_nm, rotations, offsets_nm)


@lru_cache
def real_body(name: str) -> tuple[np.ndarray, float]:
    """Return the solvent-excluded solid of a real complex and its voxel size."""
    from afmsim.solvent_surface import placement_of_atoms, solvent_excluded_occupancy
    from afmsim.structure import read_structure

    structure = read_structure(EXAMPLES / f"{name}.pdb.gz")
    placement = placement_of_atoms(structure.positions_nm, structure.radii_nm, GRID_SIZE)
    body = solvent_excluded_occupancy(structure.positions_nm, structure.radii_nm, placement)
    return body, placement.voxel_size_nm


def ring_body(num_units: int = 6, size: int = 64) -> np.ndarray:
    """Return a ring of equal balls that are thicker at the bottom, a body with that many rotations onto itself."""
    angle = 2 * np.pi * np.arange(num_units) / num_units
    centers = np.stack([np.cos(angle), np.sin(angle), np.zeros(num_units)], axis=1) * size * 0.3
    grid = np.indices((size,) * 3)[::-1].reshape(3, -1).T - (size - 1) / 2  # (voxel, xyz)
    radius = size * np.where(grid[:, 2] < 0, 0.16, 0.12)
    distance = np.linalg.norm(grid[:, None] - centers[None], axis=2).min(axis=1)
    return (distance <= radius).reshape((size,) * 3).astype(np.uint8)


def sphere_heights(radius: float, image_size: int, pixel_size: float) -> np.ndarray:
    """Return the height map of a sphere on the substrate, float64 (row, col): the closed form."""
    axis = (np.arange(image_size) - (image_size - 1) / 2) * pixel_size
    squares = radius**2 - axis[:, None] ** 2 - axis[None, :] ** 2
    return np.where(squares > 0, radius + np.sqrt(np.maximum(squares, 0)), 0)
