"""What the carve refiner learns from: carved volumes of training proteins with their truth, made once, then turned."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from afmsim.dataset import Dataset
from recon.carve import carve
from recon.poses.true_poses import relative_to_first, true_poses
from recon.shapes.carve_refiner import NUM_CHANNELS, evidence_channels
from recon.shapes.volume_frame import frame_of_view, occupancy_in_frame

VIEW_COUNTS = (1, 2, 3, 3, 4, 5, 5, 6, 8, 8, 10, 15, 25)
"""Numbers of views that are drawn; those that are asked for most come twice."""
PERTURBED_SHARE = 0.3
"""Share of the samples whose poses are made wrong, so that the network does not trust them blindly."""
MAX_ERROR_DEG, MAX_ERROR_VOXELS = 1.5, 0.3


def make_samples(
    dataset: Dataset, proteins: Sequence[int], samples_per_protein: int, seed: int
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
    evidence = torch.empty((num_samples, NUM_CHANNELS, size, size, size), dtype=torch.float16)
    occupancy = torch.empty((num_samples, size, size, size), dtype=torch.uint8)
    for position, protein in enumerate(proteins):
        rng = np.random.default_rng([seed, protein])
        fine = dataset.occupancy_fine(protein)
        heights_nm = dataset.heights_nm(protein)
        for repeat in range(samples_per_protein):
            sample = position * samples_per_protein + repeat
            num_views = min(int(rng.choice(VIEW_COUNTS)), dataset.num_views)
            views = rng.permutation(dataset.num_views)[:num_views]
            channels, truth = _make_sample(dataset, protein, fine, heights_nm[views], views, rng)
            evidence[sample] = torch.from_numpy(channels)
            occupancy[sample] = torch.from_numpy(truth)
    return evidence, occupancy


def _make_sample(
    dataset: Dataset,
    protein: int,
    fine: np.ndarray,
    heights_nm: np.ndarray,
    views: np.ndarray,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Return evidence and truth in the frame of the first of some views."""
    size, pixel_size_nm = dataset.target_size, float(dataset.pixel_size_nm[protein])
    rotations, offsets_nm = true_poses(dataset, protein, views, fine)
    frame = frame_of_view(heights_nm[0], pixel_size_nm)
    truth = occupancy_in_frame(fine, float(dataset.voxel_size_nm[protein]), rotations[0], offsets_nm[0], frame, size)
    rotations, offsets_nm = relative_to_first(rotations, offsets_nm)
    if rng.random() < PERTURBED_SHARE:
        rotations, offsets_nm = _perturbed(rotations, offsets_nm, frame.voxel_size_nm(size), rng)
    carved = carve(heights_nm, pixel_size_nm, rotations, offsets_nm, frame, size)
    return evidence_channels(carved, len(views)), truth


def _perturbed(
    rotations: np.ndarray, offsets_nm: np.ndarray, voxel_size_nm: float, rng: np.random.Generator
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
    """Yield all samples once in random order, each batch turned about z by a random quarter; never mirrored."""
    order = rng.permutation(len(evidence))
    for start in range(0, len(order), batch_size):
        chosen = torch.from_numpy(order[start : start + batch_size])
        quarter = int(rng.integers(4))
        turned = (torch.rot90(part[chosen].float(), quarter, dims=(-2, -1)) for part in (evidence, occupancy))
        yield next(turned), next(turned)
