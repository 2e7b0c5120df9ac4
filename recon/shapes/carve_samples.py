"""What the carve refiner learns from: carved volumes of training proteins with their truth, made once, then turned."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from types import EllipsisType

import numpy as np
import torch

from afmsim.dataset import Dataset
from hpc.progress import Progress
from recon.carve import carve
from recon.poses.scan_cleaning import CleanViews, ScanConditions, quickly_scanned_views
from recon.poses.true_poses import relative_to_first, true_poses
from recon.register import register
from recon.shapes.carve_refiner import NUM_CHANNELS, evidence_channels, num_channels
from recon.shapes.carving_method import views_to_carve
from recon.shapes.volume_frame import frame_of_view, occupancy_in_frame

VIEW_COUNTS = (1, 2, 3, 3, 4, 5, 5, 6, 8, 8, 10, 15, 25)
"""Numbers of views that are drawn; those that are asked for most come twice."""
PERTURBED_SHARE = 0.3
"""Share of the samples whose poses are made wrong, so that the network does not trust them blindly."""
MAX_ERROR_DEG, MAX_ERROR_VOXELS = 1.5, 0.3
TIP_VIEW_COUNTS = (1, 3, 5, 8, 8, 8, 8, 8)
"""The same under a tip, where all poses are those that registration finds: their errors hang together."""


def make_samples(
    dataset: Dataset, proteins: Sequence[int], samples_per_protein: int, seed: int, conditions: ScanConditions
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Carve each protein several times, each time in the frame of another view and with another number of views.

    Returns
    -------
    evidence, occupancy
        float16 `(sample, channel, z, y, x)` and uint8 `(sample, z, y, x)`.
    """
    size = dataset.target_size
    num_samples = len(proteins) * samples_per_protein
    evidence = torch.empty(
        (num_samples, num_channels(conditions.tip is not None), size, size, size), dtype=torch.float16
    )
    occupancy = torch.empty((num_samples, size, size, size), dtype=torch.uint8)
    with Progress(len(proteins), "proteins") as progress:
        for position, protein in enumerate(proteins):
            rng = np.random.default_rng([seed, protein])
            posed = _posed_views(dataset, protein, conditions, rng)
            for repeat in range(samples_per_protein):
                sample = position * samples_per_protein + repeat
                channels, truth = _make_sample(dataset, protein, posed, rng)
                evidence[sample] = torch.from_numpy(channels)
                occupancy[sample] = torch.from_numpy(truth)
            progress.update(position + 1)
    return evidence, occupancy


@dataclass(frozen=True)
class _PosedViews:
    """Views of one protein that samples are drawn from."""

    views: CleanViews
    true_poses: tuple[np.ndarray, np.ndarray]
    """rotations `(view, 3, 3)` and offsets in nm `(view, xyz)` from the axes of the body"""
    found_poses: tuple[np.ndarray, np.ndarray] | None
    """the same by registration, from a frame of its own; none if samples take the true ones"""
    fine: np.ndarray
    """true body uint8 `(z, y, x)` on the fine grid"""


def _posed_views(dataset: Dataset, protein: int, conditions: ScanConditions, rng: np.random.Generator) -> _PosedViews:
    """Scan views of a protein; under a tip no more than needed, which is slow, and those that registration fits."""
    has_tip = conditions.tip is not None
    indices = rng.permutation(dataset.num_views)[: max(TIP_VIEW_COUNTS)] if has_tip else np.arange(dataset.num_views)
    fine = dataset.occupancy_fine(protein)
    views = quickly_scanned_views(
        dataset.heights_nm(protein, indices), float(dataset.pixel_size_nm[protein]), conditions, protein
    )
    if not has_tip:
        return _PosedViews(views, true_poses(dataset, protein, indices, fine), None, fine)
    found = register(views.heights_nm, views.pixel_size_nm, views.height_error_nm, upper_nm=views.upper_nm)
    fitting = views_to_carve(found)
    true = true_poses(dataset, protein, indices[fitting], fine)
    return _PosedViews(_some_of(views, fitting), true, (found.rotations[fitting], found.offsets_nm[fitting]), fine)


def _some_of(views: CleanViews, chosen: np.ndarray) -> CleanViews:
    upper_nm = None if views.upper_nm is None else views.upper_nm[chosen]
    return replace(views, heights_nm=views.heights_nm[chosen], upper_nm=upper_nm)


def _make_sample(
    dataset: Dataset, protein: int, posed: _PosedViews, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return evidence and truth in the frame of the first of some views."""
    size = dataset.target_size
    num_views = int(rng.choice(VIEW_COUNTS if posed.found_poses is None else TIP_VIEW_COUNTS))
    chosen = rng.permutation(len(posed.views.heights_nm))[:num_views]
    views = _some_of(posed.views, chosen)
    rotations, offsets_nm = (part[chosen] for part in posed.true_poses)
    frame = frame_of_view(views.heights_nm[0], views.pixel_size_nm)
    voxel_size_nm = float(dataset.voxel_size_nm[protein])
    truth = occupancy_in_frame(posed.fine, voxel_size_nm, rotations[0], offsets_nm[0], frame, size)
    if posed.found_poses is not None:
        rotations, offsets_nm = relative_to_first(*(part[chosen] for part in posed.found_poses))
    else:
        rotations, offsets_nm = relative_to_first(rotations, offsets_nm)
        if rng.random() < PERTURBED_SHARE:
            rotations, offsets_nm = _perturbed(rotations, offsets_nm, frame.voxel_size_nm(size), rng)
    place = (views.pixel_size_nm, rotations, offsets_nm, frame, size)
    carved = carve(views.heights_nm, *place)
    bound = None if views.upper_nm is None else carve(views.upper_nm, *place)
    return evidence_channels(carved, len(chosen), bound), truth


def _perturbed(
    rotations: np.ndarray,
    offsets_nm: np.ndarray,
    voxel_size_nm: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Make all poses but the first wrong by a little."""
    from scipy.spatial.transform import Rotation

    turns = np.radians(rng.uniform(0, MAX_ERROR_DEG)) * rng.standard_normal((len(rotations), 3)) / np.sqrt(3)
    shifts = voxel_size_nm * rng.uniform(0, MAX_ERROR_VOXELS) * rng.standard_normal(offsets_nm.shape) / np.sqrt(3)
    turns[0] = shifts[0] = 0
    return Rotation.from_rotvec(turns).as_matrix() @ rotations, offsets_nm + shifts


def batches(
    evidence: torch.Tensor, occupancy: torch.Tensor, batch_size: int, rng: np.random.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """
    Yield all samples once in random order, each batch turned about z by a random quarter; never mirrored.

    Samples under a tip, whose bodies fill little of the frame, are cut to where some evidence is left.
    """
    has_bound = evidence.shape[1] > NUM_CHANNELS
    order = rng.permutation(len(evidence))
    for start in range(0, len(order), batch_size):
        chosen = torch.from_numpy(order[start : start + batch_size])
        quarter = int(rng.integers(4))
        box = _box_of_bound(evidence[chosen, NUM_CHANNELS]) if has_bound else (...,)
        turned = (torch.rot90(part[chosen][box].float(), quarter, dims=(-2, -1)) for part in (evidence, occupancy))
        yield next(turned), next(turned)


def _box_of_bound(share: torch.Tensor) -> tuple[slice | EllipsisType, ...]:
    """Return the box, edges a multiple of four, outside of which the bound has no share left in any sample."""
    is_left = (share > 0).any(dim=0)
    slices: list[slice | EllipsisType] = [...]
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        hit = torch.nonzero(is_left.any(dim=others[1]).any(dim=others[0])).flatten()
        first, last = (int(hit[0]), int(hit[-1])) if len(hit) else (0, 3)
        slices.append(slice(first // 4 * 4, (last // 4 + 1) * 4))
    return tuple(slices)
