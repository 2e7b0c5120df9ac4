"""What a method is: something that sees views of a protein and answers with a body."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    from recon.shapes.seen_protein import SeenProtein

VIEW_FRAME = "view"
"""The answer lives on a grid as wide as the first view, in the frame of that view."""
PDB_FRAME = "pdb"
"""The answer lives on the stored grid, in the axes of the structure file."""
TURNED_FRAME = "turned"
"""The answer lives on the stored grid, turned about its middle by the first view: `recon.train --frame view`."""
THRESHOLD = 0.5


@dataclass(frozen=True)
class ShapeAnswer:
    """A predicted body, and what else a method says of it."""

    probability: np.ndarray
    """float32 `(z, y, x)` in 0..1"""
    frame: str
    """`VIEW_FRAME`, `PDB_FRAME` or `TURNED_FRAME`"""
    threshold: float = THRESHOLD
    """a voxel is inside from here on"""
    elapsed_s: float = float("nan")
    rotations: np.ndarray | None = None
    """`(view, 3, 3)`: rotations first view -> view, of a method that finds them"""


class ShapeMethod(Protocol):
    """A method as the table sees it."""

    @property
    def name(self) -> str:
        """One of `recon.shapes.shape_task.SHAPE_METHODS`."""

    @property
    def identity(self) -> str:
        """What its answers depend on beside the task, such as a digest of its weights."""

    def predict(self, seen: "SeenProtein", num_views: int) -> ShapeAnswer:
        """Answer from the first so many of the views."""
