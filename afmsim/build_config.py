"""What a build makes, as one frozen value that is kept in the store beside the result."""

from dataclasses import dataclass

from hpc.settings import setting


@dataclass(frozen=True)
class BuildConfig:
    """Settings that decide the bytes of a dataset."""

    surface: str = setting(
        "where the solid comes from: PyMOL's mesh, or the solvent-excluded solid of the atoms without a mesh",
        "pymol",
        ("pymol", "ses"),
    )
    rendering: str = setting(
        "what a view shows: height above the substrate, as an AFM does, or the thickness that a ray runs through, "
        "whose absorption is the look of the paper",
        "height",
        ("height", "density"),
    )
    num_views: int = setting("virtual AFM views per protein", 25)
    grid_size: int = setting("fine voxels along the longest side, a multiple of 8 and of the target size", 256)
    target_size: int = setting("voxels along an axis of the target grid", 32)
    image_size: int = setting("pixels along an axis of a height map", 224)
    seed: int = setting("seed of the orientations, together with each protein's id", 0)
    assembly: str = setting("biological assembly to apply where a file has it, such as 1; empty: the file as it is", "")

    def __post_init__(self) -> None:
        for name in ("num_views", "grid_size", "target_size", "image_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} of at least 1, got {getattr(self, name)}")
        if self.grid_size % self.target_size or self.grid_size % 8:
            raise ValueError(
                f"expected a grid size that is a multiple of 8 and of the target size, got grid size {self.grid_size} "
                f"and target size {self.target_size}; for instance 256 and 32"
            )
