"""What a build makes, as one frozen value that is kept in the store beside the result."""

from dataclasses import asdict, dataclass, fields
from typing import Any


@dataclass(frozen=True)
class BuildConfig:
    """Settings that decide the bytes of a dataset; a field's comment is its help on the command line."""

    surface: str = "pymol"
    """solid that is voxelised: `pymol` (triangle mesh of PyMOL's surface)"""
    num_views: int = 25
    """virtual AFM views per protein"""
    grid_size: int = 256
    """fine voxels along the protein's longest side"""
    target_size: int = 32
    """voxels along an axis of the target grid; divides the grid size"""
    image_size: int = 224
    """pixels along an axis of a height map"""
    seed: int = 0
    """seed of the orientations, together with each protein's id"""
    assembly: str = ""
    """name of the biological assembly to apply where a file has one, such as 1; empty: the file as it is"""

    def __post_init__(self) -> None:
        if self.surface != "pymol":
            raise ValueError(f"expected surface pymol, got {self.surface!r}")
        for name in ("num_views", "grid_size", "target_size", "image_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} of at least 1, got {getattr(self, name)}")
        if self.grid_size % self.target_size or self.grid_size % 8:
            raise ValueError(
                f"expected a grid size that is a multiple of 8 and of the target size, got grid size {self.grid_size} "
                f"and target size {self.target_size}; for instance 256 and 32"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as plain values for JSON."""
        return asdict(self)

    def differences(self, stored: dict[str, Any]) -> list[str]:
        """Name each setting whose value in `stored` is another one."""
        return [
            f"{field.name} is {stored.get(field.name)!r} in the store and {getattr(self, field.name)!r} now"
            for field in fields(self)
            if stored.get(field.name) != getattr(self, field.name)
        ]
