"""What the table of all methods is asked for; light, so that a login node can send it to another machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recon.poses.scan_options import TIP_HALF_ANGLE_DEG
from recon.train_config import TrainConfig

MEAN_SHAPE, PAPER, VIEW = "mean-shape", "paper", "view"
KNOWN, REGISTER, REFINE = "known", "register", "register+refine"
SHAPE_METHODS = (MEAN_SHAPE, PAPER, VIEW, KNOWN, REGISTER, REFINE)
"""In the order of the table; predictions of the last one that is asked for are shown."""

ALL = "all"
SPLITS = (ALL, "train", "validation", "test")


@dataclass(frozen=True)
class ShapeTask:
    """What is scored."""

    store: Path
    methods: Sequence[str]
    view_counts: Sequence[int]
    split: str = ALL
    refiner: Path | None = None
    paper_runs: Sequence[Path] = ()
    """runs of recon.train for the method paper; for each number of views the one trained nearest to it"""
    view_runs: Sequence[Path] = ()
    """the same for the method view"""
    target_size: int = 32
    validation_fraction: float = TrainConfig.validation_fraction
    test_fraction: float = TrainConfig.test_fraction
    max_proteins: int | None = None
    exclude: Path | None = None
    noise_sigma_nm: float = 0.0
    tip_radius_nm: float | None = None
    """of the blunt tip that scans all views, if any"""
    tip_half_angle_deg: float = TIP_HALF_ANGLE_DEG
    restorer: Path | None = None
    """weights of recon.train_scan_restorer for the tip, instead of those of the package"""
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        if unknown := [name for name in self.methods if name not in SHAPE_METHODS]:
            raise ValueError(f"got the method {unknown[0]!r}, expected some of {', '.join(SHAPE_METHODS)}")
        if self.split not in SPLITS:
            raise ValueError(f"got the split {self.split!r}, expected one of {', '.join(SPLITS)}")
        if self.target_size < 4:
            raise ValueError(f"expected a target size of at least 4 voxels per axis, got {self.target_size}")
        if self.max_proteins is not None and self.max_proteins < 1:
            raise ValueError(f"expected at least 1 protein to score, got --max-proteins {self.max_proteins}")
        for name, runs in ((PAPER, self.paper_runs), (VIEW, self.view_runs)):
            if name in self.methods and not runs:
                raise ValueError(f"the method {name} needs --{name}-run, a run of recon.train")

    @property
    def has_tip(self) -> bool:
        """Whether a blunt tip scans the views."""
        return self.tip_radius_nm is not None

    @property
    def ordered_methods(self) -> list[str]:
        """The methods in the order of the table, each once."""
        return [name for name in SHAPE_METHODS if name in self.methods]

    @property
    def ordered_view_counts(self) -> list[int]:
        """The numbers of views, ascending, each once."""
        return sorted(set(self.view_counts))
