"""
Views of training proteins, rendered when they are needed, in orientations that never come again.

A network that has learned from them meets stored views when it is scored, so the two must look alike: an online view
is rendered at the stored size from the stored fine grid, rounded to the stored steps and only then averaged down.
Rendered at the network's size it would be sharper, for a pixel's height would be that of one ray.
"""

from typing import Any

import numpy as np
import torch

from afmsim.orientation import random_rotations
from afmsim.render import height_maps, prepare_body, thickness_maps
from afmsim.voxelize import unpack_occupancy
from hpc.array_backend import array_module, has_gpu
from recon.loading.training_data import ProteinData

_RENDERERS = {"height": height_maps, "density": thickness_maps}


def online_rotations(seed: int, epoch: int, protein_id: str, repeat: int, num_views: int) -> np.ndarray:
    """Draw the orientations of one training sample, float32 `(view, 3, 3)`; other ones than any stored view has."""
    return random_rotations(num_views, seed, f"training\0{epoch}\0{repeat}\0{protein_id}")


class OnlineViews:
    """
    Renders views where the network is trained.

    Raises
    ------
    ValueError
        The device is a GPU and CuPy, which renders there, finds none.
    """

    def __init__(self, data: ProteinData, device: torch.device) -> None:
        if device.type != "cpu" and not has_gpu():
            raise ValueError(
                "expected CuPy with a GPU for --render-online, got a GPU that only torch sees; "
                "pip install -c constraints.txt -e '.[gpu]', or train on stored views"
            )
        self._data = data
        self._xp: Any = np if device.type == "cpu" else array_module("gpu", device.index or 0)
        self._weights = torch.from_numpy(data.weights).to(device)

    def images(self, protein: int, packed: torch.Tensor, rotations: np.ndarray) -> torch.Tensor:
        """
        Return float32 `(view, row, col)`, 0..1, of the network's input size.

        Parameters
        ----------
        protein
            Index into the data.
        packed
            uint8 `(z, y, x / 8)`, on the device: its fine grid.
        rotations
            float32 `(view, 3, 3)`: stored axes -> view.
        """
        store, index = self._data.store, self._data.store_indices[protein]
        body = prepare_body(unpack_occupancy(self._xp.from_dlpack(packed), self._xp), self._xp)
        assert body is not None, "a finished protein has a body"
        sizes_nm = float(store.voxel_size_nm[index]), float(store.pixel_size_nm[index])
        views_nm = _RENDERERS[store.rendering](body, rotations, *sizes_nm, store.image_size, self._xp)
        step_nm = store.height_scale_nm[index]
        images = torch.from_dlpack(store.as_images(index, self._xp.rint(views_nm / step_nm) * step_nm))
        return (self._weights @ images @ self._weights.T).half().float()  # as stored views are held
