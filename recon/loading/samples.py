"""What the network is given: views of a protein and the body that it should find, in the axes of the run."""

from typing import NamedTuple

import numpy as np
import torch

from recon.loading.online_views import OnlineViews
from recon.loading.target_frame import turned_target, turned_targets
from recon.loading.training_data import ProteinData

ARRAY_OF_FRAME = {"pdb": "occupancy", "view": "occupancy_shares", "inertia": "occupancy_in_principal_axes"}
"""By frame, the array that targets come from."""


def arrays_of(frame: str, is_online: bool) -> list[str]:
    """Return the arrays of `ProteinData` that training reads most."""
    of_views = ["occupancy_fine"] if is_online else ["images"]
    return [ARRAY_OF_FRAME[frame], *of_views, *(["view_rotation"] if frame == "view" else [])]


class Reading(NamedTuple):
    """What is read of one sample, or of a batch of them with one more leading axis; a sample is computed from it."""

    views: torch.Tensor
    """Images, float32 `(view, row, col)`, or the fine grid that they are rendered from, uint8 `(z, y, x / 8)`."""
    solid: torch.Tensor
    """uint8 `(z, y, x)`: the target, or the body that is turned to be one."""
    rotations: torch.Tensor
    """float32 `(view, 3, 3)`: stored axes -> view; zeros where nothing asks for them."""
    protein: torch.Tensor
    """int64 `()`: index into `ProteinData`."""


class Sample(NamedTuple):
    """One sample, or a batch of them with one more leading axis."""

    images: torch.Tensor
    """float32 `(view, 1, row, col)`."""
    occupancy: torch.Tensor
    """uint8 `(z, y, x)`."""
    protein: torch.Tensor
    """int64 `()`: index into `ProteinData`."""


class SampleMaker:
    """
    Makes samples in two steps: `read` where data is loaded, `finish` where the network is trained.

    Parameters
    ----------
    data
        The proteins.
    frame
        One of `recon.train_config.FRAMES`: the axes of the targets.
    """

    def __init__(self, data: ProteinData, frame: str = "pdb") -> None:
        self.data = data
        self._is_turned = frame == "view"
        self._online: OnlineViews | None = None
        self._solids = data.arrays[ARRAY_OF_FRAME[frame]]
        data.hold(ARRAY_OF_FRAME[frame])

    def read(self, protein: int, view_indices: np.ndarray) -> Reading:
        """Read a protein with its stored views `view_indices`."""
        rotations = np.zeros((len(view_indices), 3, 3), dtype=np.float32)
        if self._is_turned:
            rotations = self.data.view_rotations[protein, view_indices]
        return self._reading(protein, self.data.images(protein, view_indices), rotations)

    def read_unrendered(self, protein: int, rotations: np.ndarray) -> Reading:
        """Read a protein of which views are rendered when it is finished, at `rotations` `(view, 3, 3)`."""
        return self._reading(protein, self.data.arrays["occupancy_fine"][protein], rotations)

    def finish(self, batch: Reading, device: torch.device) -> Sample:
        """Compute a batch on a device."""
        views, solids, rotations, proteins = (part.to(device, non_blocking=True) for part in batch)
        if views.dtype == torch.uint8:
            views = self._rendered(views, batch)
        return Sample(
            images=views.unsqueeze(2),  # (sample, view, 1, row, col)
            occupancy=self._targets(solids, rotations),
            protein=proteins,
        )

    def stack(self, readings: list[Reading], num_views: int) -> Reading:
        """Return one batch of readings, none at all included."""
        if readings:
            return Reading(*(torch.stack(parts) for parts in zip(*readings, strict=True)))
        size, solid = self.data.input_size, self._solids.shape[-1]
        return Reading(
            views=torch.empty(0, num_views, size, size),
            solid=torch.empty(0, solid, solid, solid, dtype=torch.uint8),
            rotations=torch.empty(0, num_views, 3, 3),
            protein=torch.empty(0, dtype=torch.int64),
        )

    def target(self, protein: int, first_view: int) -> np.ndarray:
        """Return the target of a protein that is seen by `first_view` first, uint8 `(z, y, x)`."""
        if not self._is_turned:
            return self._solids[protein]
        rotation = self.data.view_rotations[protein, first_view]
        return turned_target(self._solids[protein], rotation, self.data.target_size)

    def _reading(self, protein: int, views: np.ndarray, rotations: np.ndarray) -> Reading:
        return Reading(
            views=torch.from_numpy(views),
            solid=torch.from_numpy(self._solids[protein]),
            rotations=torch.from_numpy(rotations),
            protein=torch.tensor(protein),
        )

    def _rendered(self, packed: torch.Tensor, batch: Reading) -> torch.Tensor:
        """Return float32 `(sample, view, row, col)` on the device of `packed`."""
        if self._online is None:
            self._online = OnlineViews(self.data, packed.device)
        samples = zip(batch.protein.tolist(), packed, batch.rotations.numpy(), strict=True)
        return torch.stack([self._online.images(*sample) for sample in samples])

    def _targets(self, solids: torch.Tensor, rotations: torch.Tensor) -> torch.Tensor:
        """Return uint8 `(sample, z, y, x)`."""
        size = self.data.target_size
        if not self._is_turned:
            return solids
        if solids.device.type != "cpu":
            return turned_targets(solids, rotations[:, 0], size)
        targets = np.empty((len(solids), size, size, size), dtype=np.uint8)
        for sample, (solid, of_views) in enumerate(zip(solids.numpy(), rotations.numpy(), strict=True)):
            targets[sample] = turned_target(solid, of_views[0], size)
        return torch.from_numpy(targets)
