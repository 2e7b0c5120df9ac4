"""The methods that find each view's pose, carve, and refine where they have a network for it."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np

from hpc.atomic_file import atomic_write
from recon.carve import CarvedVolume, carve
from recon.register import Registration, register
from recon.shapes.seen_protein import SeenProtein
from recon.shapes.shape_method import VIEW_FRAME, ShapeAnswer

FindPoses = Callable[[SeenProtein, int], tuple[Registration, float]]
"""Protein and number of views -> poses and the seconds that they took."""
Refine = Callable[[CarvedVolume, int, CarvedVolume | None], np.ndarray]
"""Carved volume, number of views and what their upper bounds carve, if any -> probability float32 `(z, y, x)`."""


@dataclass(frozen=True)
class CarvingMethod:
    """Find poses, carve, refine."""

    name: str
    find_poses: FindPoses
    refine: Refine | None = None
    identity: str = ""

    def predict(self, seen: SeenProtein, num_views: int) -> ShapeAnswer:
        """Carve with those of the first views that fit each other, in the frame of the first one."""
        found, elapsed_s = self.find_poses(seen, num_views)
        started = time.perf_counter()
        views = views_to_carve(found)
        place = (seen.pixel_size_nm, found.rotations[views], found.offsets_nm[views], seen.frame, len(seen.truth))
        carved = carve(seen.heights_nm[views], *place)
        probability = carved.share
        if self.refine:
            upper_nm = seen.upper_of(views)
            bound = None if upper_nm is None else carve(upper_nm, *place)
            probability = self.refine(carved, len(views), bound)
        elapsed_s += time.perf_counter() - started
        return ShapeAnswer(probability, VIEW_FRAME, elapsed_s=elapsed_s, rotations=found.rotations)


def views_to_carve(found: Registration) -> np.ndarray:
    """Return the indices of the views that fit each other; the first one alone where it is not among them."""
    return np.flatnonzero(found.is_accepted) if found.is_accepted[0] else np.array([0])


def known_poses(seen: SeenProtein, num_views: int) -> tuple[Registration, float]:
    """Return the true poses, which cost no time."""
    rotations, offsets_nm = seen.true_rotations[:num_views], seen.true_offsets_nm[:num_views]
    return Registration(rotations, offsets_nm, np.ones(num_views)), 0.0


@dataclass(frozen=True)
class KeptPoses:
    """Registration whose results are kept in a folder and not looked for again."""

    folder: Path
    xp: ModuleType = np
    """numpy, or cupy to register on the GPU"""

    def __call__(self, seen: SeenProtein, num_views: int) -> tuple[Registration, float]:
        """Return the poses that registration finds and the seconds that it took."""
        path = self.folder / f"{seen.protein_id}_{num_views:02d}.npz"
        if path.exists():
            with np.load(path) as kept:
                return Registration(kept["rotations"], kept["offsets_nm"], kept["confidence"]), float(kept["elapsed_s"])
        started = time.perf_counter()
        views = slice(num_views)
        found = register(
            seen.heights_nm[views], seen.pixel_size_nm, seen.height_error_nm, self.xp, seen.upper_of(views)
        )
        elapsed_s = time.perf_counter() - started
        with atomic_write(path) as temporary:
            np.savez(
                temporary,
                rotations=found.rotations,
                offsets_nm=found.offsets_nm,
                confidence=found.confidence,
                elapsed_s=elapsed_s,
            )
        return found, elapsed_s
