"""What the carve refiner learns from: carved volumes of training proteins with their truth, made once, then turned."""

from collections.abc import Iterator, Sequence
from types import EllipsisType

import numpy as np
import torch

from afmsim.dataset import Dataset
from recon.carve import carve
from recon.carve_refiner import NUM_CHANNELS, evidence_channels
from recon.scan_cleaning import ScanConditions, quickly_scanned_views
from recon.true_poses import relative_to_first, true_poses
from recon.volume_frame import frame_of_view, occupancy_in_frame

VIEW_COUNTS = (1, 2, 3, 3, 4, 5, 5, 6, 8, 8, 10, 15, 25)
"""Numbers of views that are drawn; those that are asked for most come twice."""
PERTURBED_SHARE = 0.3
"""Share of the samples whose poses are made wrong, so that the network does not trust them blindly."""
MAX_ERROR_DEG, MAX_ERROR_VOXELS = 1.5, 0.3
TIP_VIEW_COUNTS = (1, 3, 5, 8, 8, 8, 8, 8)
TIP_MAX_ERROR_DEG, TIP_MAX_ERROR_VOXELS = 3.0, 0.6
"""The same where a tip blurs what poses are found by."""


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
    samples = [
        sample
        for protein in proteins
        for sample in _samples_of_protein(dataset, protein, samples_per_protein, seed, conditions)
    ]
    evidence, occupancy = zip(*samples, strict=True)
    return torch.stack(evidence), torch.stack(occupancy)


def _samples_of_protein(
    dataset: Dataset, protein: int, num_samples: int, seed: int, conditions: ScanConditions
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield evidence and truth, each in the frame of the first of some views."""
    rng = np.random.default_rng([seed, protein])
    counts = VIEW_COUNTS if conditions.tip is None else TIP_VIEW_COUNTS
    size = dataset.target_size
    indices = rng.permutation(dataset.num_views)[: max(counts)]
    fine = dataset.occupancy_fine(protein)
    pixel_size_nm, voxel_size_nm = float(dataset.pixel_size_nm[protein]), float(dataset.voxel_size_nm[protein])
    views = quickly_scanned_views(dataset.heights_nm(protein, indices), pixel_size_nm, conditions, protein)
    all_rotations, all_offsets_nm = true_poses(dataset, protein, indices, fine)
    for _ in range(num_samples):
        chosen = rng.permutation(len(indices))[: int(rng.choice(counts))]
        rotations, offsets_nm = all_rotations[chosen], all_offsets_nm[chosen]
        frame = frame_of_view(views.heights_nm[chosen[0]], views.pixel_size_nm)
        truth = occupancy_in_frame(fine, voxel_size_nm, rotations[0], offsets_nm[0], frame, size)
        rotations, offsets_nm = relative_to_first(rotations, offsets_nm)
        rotations, offsets_nm = _perturbed(rotations, offsets_nm, frame.voxel_size_nm(size), conditions, rng)
        place = (views.pixel_size_nm, rotations, offsets_nm, frame, size)
        carved = carve(views.heights_nm[chosen], *place)
        bound = None if conditions.tip is None else carve(views.upper_nm[chosen], *place)
        channels = evidence_channels(carved, len(chosen), bound)
        yield torch.from_numpy(channels).half(), torch.from_numpy(truth)


def _perturbed(
    rotations: np.ndarray,
    offsets_nm: np.ndarray,
    voxel_size_nm: float,
    conditions: ScanConditions,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Make all poses but the first wrong by a little: some samples of clean views, all samples under a tip."""
    from scipy.spatial.transform import Rotation

    most_deg, most_voxels = MAX_ERROR_DEG, MAX_ERROR_VOXELS
    if conditions.tip is not None:
        most_deg, most_voxels = TIP_MAX_ERROR_DEG, TIP_MAX_ERROR_VOXELS
    elif rng.random() >= PERTURBED_SHARE:
        return rotations, offsets_nm
    turns = np.radians(rng.uniform(0, most_deg)) * rng.standard_normal((len(rotations), 3)) / np.sqrt(3)
    shifts = voxel_size_nm * rng.uniform(0, most_voxels) * rng.standard_normal(offsets_nm.shape) / np.sqrt(3)
    turns[0] = shifts[0] = 0
    return Rotation.from_rotvec(turns).as_matrix() @ rotations, offsets_nm + shifts


def batches(
    evidence: torch.Tensor, occupancy: torch.Tensor, batch_size: int, rng: np.random.Generator
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Yield all samples once in random order, each batch turned about z by a random quarter; never mirrored."""
    order = rng.permutation(len(evidence))
    for start in range(0, len(order), batch_size):
        chosen = torch.from_numpy(order[start : start + batch_size])
        quarter = int(rng.integers(4))
        box = _box_of_evidence(evidence[chosen])
        turned = (torch.rot90(part[chosen][box].float(), quarter, dims=(-2, -1)) for part in (evidence, occupancy))
        yield next(turned), next(turned)


def _box_of_evidence(evidence: torch.Tensor) -> tuple[slice | EllipsisType, ...]:
    """Return the box, edges a multiple of four, outside of which all is proven empty in every sample: most is."""
    widest_share = NUM_CHANNELS if evidence.shape[1] > NUM_CHANNELS else 0  # of the upper bound, or of the heights
    is_left = (evidence[:, widest_share] > 0).any(dim=0)
    slices: list[slice | EllipsisType] = [...]
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        hit = torch.nonzero(is_left.any(dim=others[1]).any(dim=others[0])).flatten()
        first, last = (int(hit[0]), int(hit[-1])) if len(hit) else (0, 3)
        slices.append(slice(first // 4 * 4, (last // 4 + 1) * 4))
    return tuple(slices)
