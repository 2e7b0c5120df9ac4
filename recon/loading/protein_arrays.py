"""Arrays with one item per protein: held in memory, mapped from a file, or read item by item; processes share them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch


class ProteinArray:
    """
    One array of all proteins of a dataset.

    Sent to another process, such as a worker of the loader, it is shared and not copied: a mapped file is mapped there
    too, and what is held moves into shared memory.

    Parameters
    ----------
    read
        Reads or computes the item of one protein; can be pickled.
    """

    def __init__(
        self, num_proteins: int, item_shape: tuple[int, ...], dtype: Any, read: Callable[[int], np.ndarray]
    ) -> None:
        self.shape = (num_proteins, *item_shape)
        self.dtype = np.dtype(dtype)
        self.read = read
        self.held: np.ndarray | None = None
        """`(protein, ...)`, in memory or mapped; None where items are read when asked for."""

    @property
    def num_bytes(self) -> int:
        """Size of all items."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def hold(self) -> np.ndarray:
        """Return all items; they are read now, in the order of the store's shards, unless they are held already."""
        if self.held is None:
            held = np.empty(self.shape, self.dtype)
            for protein in range(len(held)):
                held[protein] = self.read(protein)
            self.held = held
        return self.held

    def __getitem__(self, protein: int) -> np.ndarray:
        return self.read(protein) if self.held is None else np.array(self.held[protein])  # not a view of a file

    def __getstate__(self) -> dict[str, Any]:
        shared: Any = self.held
        if isinstance(self.held, np.memmap):
            shared = {"filename": self.held.filename, "offset": self.held.offset}
        elif self.held is not None:
            shared = torch.from_numpy(self.held).share_memory_()  # type: ignore[no-untyped-call]
            self.held = shared.numpy()
        return self.__dict__ | {"held": shared}

    def __setstate__(self, state: dict[str, Any]) -> None:
        shared = state["held"]
        if isinstance(shared, dict):
            state["held"] = np.memmap(**shared, dtype=state["dtype"], mode="r", shape=state["shape"])
        elif shared is not None:
            state["held"] = shared.numpy()
        self.__dict__.update(state)
