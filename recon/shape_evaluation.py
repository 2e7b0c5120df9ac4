"""
Score methods that find the views' orientations themselves, on the proteins of a dataset.

A prediction lives in the frame of the first view, and is compared with the truth there: the true orientation of the
first view only says where the truth lies in that frame. All else that the dataset knows of orientations is used for
the pose error, and by the method `known`, the limit of carving.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from afmsim.dataset import Dataset
from hpc.atomic_file import atomic_write
from recon.carve import carve
from recon.pose_error import pose_errors_deg
from recon.register import Registration, register
from recon.scan_cleaning import ScanConditions, scanned_views
from recon.shape_metrics import aligned_overlap, overlap, surface_scores
from recon.true_poses import relative_to_first, true_poses
from recon.volume_frame import VolumeFrame, frame_of_view, occupancy_in_frame

if TYPE_CHECKING:
    from recon.carve_refiner import CarveRefiner

KNOWN, REGISTER, REFINE = "known", "register", "register+refine"
THRESHOLD = 0.5


@dataclass(frozen=True)
class ShapeScore:
    """One protein, seen with one number of views, by one method."""

    method: str
    views: int
    protein_id: str
    iou: float
    aligned_iou: float
    """IoU after the best rotation and shift"""
    chamfer_nm: float
    f_score: float
    """share of surfaces within 1 nm, harmonic mean of both ways"""
    pose_error_deg: float
    """median over the views; not a number for one view"""
    elapsed_s: float
    """of finding the poses and carving"""


@dataclass(frozen=True)
class ShapePrediction:
    """Predicted and true body in the first view's frame."""

    score: ShapeScore
    probability: np.ndarray
    """float32 `(z, y, x)`"""
    truth: np.ndarray
    """uint8 `(z, y, x)`"""
    voxel_size_nm: float


@dataclass(frozen=True)
class SeenProtein:
    """What a method may see of a protein, and what it is scored with."""

    protein_id: str
    heights_nm: np.ndarray
    """float32 `(view, row, col)`"""
    pixel_size_nm: float
    height_error_nm: float
    upper_nm: np.ndarray
    """float32 `(view, row, col)`: no surface lies above"""
    frame: VolumeFrame
    true_rotations: np.ndarray
    true_offsets_nm: np.ndarray
    """poses first view -> view"""
    truth: np.ndarray
    """uint8 `(z, y, x)` in the first view's frame"""


def see_protein(
    dataset: Dataset, protein_index: int, view_indices: np.ndarray, size: int, conditions: ScanConditions
) -> SeenProtein:
    """Read one protein's views as they are scanned, and turn its truth into the frame of the first of them."""
    fine = dataset.occupancy_fine(protein_index)
    heights_nm = dataset.heights_nm(protein_index, view_indices)
    views = scanned_views(heights_nm, float(dataset.pixel_size_nm[protein_index]), conditions, protein_index)
    rotations, offsets_nm = true_poses(dataset, protein_index, view_indices, fine)
    frame = frame_of_view(views.heights_nm[0], views.pixel_size_nm)
    voxel_size_nm = float(dataset.voxel_size_nm[protein_index])
    return SeenProtein(
        dataset.protein_ids[protein_index],
        views.heights_nm,
        views.pixel_size_nm,
        views.height_error_nm,
        views.upper_nm,
        frame,
        *relative_to_first(rotations, offsets_nm),
        occupancy_in_frame(fine, voxel_size_nm, rotations[0], offsets_nm[0], frame, size),
    )


def predictions(
    seen: SeenProtein, methods: Sequence[str], view_counts: Sequence[int], refiner: "CarveRefiner | None", poses: Path
) -> Iterator[ShapePrediction]:
    """
    Yield the prediction of each method for each number of views, which are the first ones of those seen.

    Poses that were found are kept in the folder `poses` and not looked for again.
    """
    for num_views in view_counts:
        if KNOWN in methods:
            yield _prediction(seen, KNOWN, num_views, _known_poses(seen, num_views), 0.0, None)
        if {REGISTER, REFINE} & set(methods):
            found, elapsed_s = _found_poses(seen, num_views, poses)
            for method in (REGISTER, REFINE):
                if method in methods:
                    network = refiner if method == REFINE else None
                    yield _prediction(seen, method, num_views, found, elapsed_s, network)


def _found_poses(seen: SeenProtein, num_views: int, folder: Path) -> tuple[Registration, float]:
    """Return the poses that registration finds and the seconds that it took, from the folder where they are there."""
    path = folder / f"{seen.protein_id}_{num_views:02d}.npz"
    if path.exists():
        with np.load(path) as kept:
            return Registration(kept["rotations"], kept["offsets_nm"], kept["confidence"]), float(kept["elapsed_s"])
    started = time.perf_counter()
    found = register(seen.heights_nm[:num_views], seen.pixel_size_nm, seen.height_error_nm, seen.upper_nm[:num_views])
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


def load_refiner_for(methods: Sequence[str], path: Path | None) -> "CarveRefiner | None":
    """
    Return the network that `methods` need, if any.

    Raises
    ------
    ValueError
        It is needed, and `path` does not lead to it.
    """
    if REFINE not in methods:
        return None
    if path is None:
        raise ValueError(f"the method {REFINE} needs --refiner; train one with python -m recon.train_carve_refiner")
    from recon.carve_refiner import load_refiner

    return load_refiner(path)


def _known_poses(seen: SeenProtein, num_views: int) -> Registration:
    rotations, offsets_nm = seen.true_rotations[:num_views], seen.true_offsets_nm[:num_views]
    return Registration(rotations, offsets_nm, np.ones(num_views))


def _prediction(
    seen: SeenProtein,
    method: str,
    num_views: int,
    found: Registration,
    elapsed_s: float,
    refiner: "CarveRefiner | None",
) -> ShapePrediction:
    """Carve with poses that are found, refine, score."""
    size = len(seen.truth)
    started = time.perf_counter()
    place = (seen.pixel_size_nm, found.rotations, found.offsets_nm, seen.frame, size)
    carved = carve(seen.heights_nm[:num_views], *place)
    probability = carved.share
    if refiner is not None:
        from recon.carve_refiner import refined_probability

        bound = None if seen.upper_nm is seen.heights_nm else carve(seen.upper_nm[:num_views], *place)
        probability = refined_probability(refiner, carved, num_views, bound)
    elapsed_s += time.perf_counter() - started
    body = (probability >= THRESHOLD).astype(np.uint8)
    voxel_size_nm = seen.frame.voxel_size_nm(size)
    surface = surface_scores(body, seen.truth, voxel_size_nm)
    errors_deg = pose_errors_deg(found.rotations, seen.true_rotations[:num_views], seen.truth)
    score = ShapeScore(
        method,
        num_views,
        seen.protein_id,
        overlap(body, seen.truth),
        aligned_overlap(body, seen.truth),
        surface.chamfer_nm,
        surface.f_score,
        float(np.median(errors_deg)) if num_views > 1 else float("nan"),
        elapsed_s,
    )
    return ShapePrediction(score, probability, seen.truth, voxel_size_nm)
