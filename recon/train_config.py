"""The settings of one training run."""

from dataclasses import asdict, dataclass
from typing import Any

from hpc.settings import setting

FRAMES = ("pdb", "view", "inertia")
"""The axes of the structure file; of a sample's first view; the body's principal axes."""

NOT_DECIDING = ("store", "loader_workers", "stage", "compile")
"""Settings with which a run may go on that was started with others."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """
    Settings of a training run, kept in its config.json.

    The paper's text lost its batch size, epochs, learning rate and split; the values here are defaults we
    chose: those of the public Pix2Vox code (hzxie/Pix2Vox, config.py), and the paper's 80/20 split of what is
    not kept for the test.
    """

    store: str = setting("dataset to train on, a Zarr store", "dataset.zarr")
    views: int = setting("number of views of each protein that the network sees at a time")
    size: str = setting("network: A is the paper's, with refiner; F is small and fast", "A", ("A", "F"))
    frame: str = setting(
        "axes of the target: those of the structure file, as in the paper; of each sample's first view, which the "
        "network cannot tell from the others where there are several; or the body's principal axes",
        "pdb",
        FRAMES,
    )
    render_online: bool = setting(
        "train on views rendered when they are needed, in orientations that never come again, rather than on the "
        "stored ones, which then only validate",
        False,
    )
    input_size: int = setting("edge of the images that the network sees, in pixels", 224)
    loader_workers: int = setting("processes of each rank that load data ahead; 0: the training loads it itself", 0)
    stage: str = setting(
        "folder on each node's own disk to which what a run reads is copied once; auto: $SLURM_TMPDIR where that is "
        "set; none: read the dataset itself",
        "auto",
    )
    compile: bool = setting("compile the network with torch.compile, which takes minutes before the first step", False)
    epochs: int = setting("number of passes over the training proteins", 250)
    single_view_epochs: int = setting(
        "first epochs, in which each sample is one view, decoded without merger and refiner: quicker, and the "
        "order in which Pix2Vox's author trains (hzxie/Pix2Vox issues 60 and 80)",
        0,
    )
    repeats: int = setting("times that each protein comes in an epoch, each time with other views", 4)
    batch_size: int = setting("samples (a sample is one protein with its views) in one optimizer step", 64)
    learning_rate: float = setting("learning rate of Adam", 1e-3)
    merger_learning_rate: float = setting("learning rate of Adam for the merger of views", 1e-4)
    learning_rate_drop_epoch: int = setting("epoch after which the learning rates are halved", 150)
    validation_fraction: float = setting("share of the proteins, without those of the test, that validates", 0.2)
    test_fraction: float = setting("share of the proteins that is kept for the test; 0 for no test", 0.1)
    train_proteins: int = setting("train on so many of the training proteins, to see what more bring; 0 for all", 0)
    start_from: str = setting("run whose weights are the first ones, such as one of single views; empty for none", "")
    precision: str = setting(
        "of convolutions and products; auto is bfloat16 on a GPU and float32 on a CPU, where bfloat16 halves a step on "
        "cores that have it (avx512_bf16, amx_bf16) and is very slow on others",
        "auto",
        ("auto", "float32", "bfloat16"),
    )
    seed: int = setting("seed of weights, split, order and views", 0)

    def __post_init__(self) -> None:
        if self.size not in ("A", "F"):
            raise ValueError(f"expected size A or F, got {self.size!r}")
        if self.precision not in ("auto", "float32", "bfloat16"):
            raise ValueError(f"expected precision auto, float32 or bfloat16, got {self.precision!r}")
        if self.frame not in FRAMES:
            raise ValueError(f"expected a frame of {', '.join(FRAMES)}, got {self.frame!r}")
        for name in ("views", "input_size", "epochs", "repeats", "batch_size", "learning_rate_drop_epoch"):
            if getattr(self, name) < 1:
                raise ValueError(f"expected {name} of at least 1, got {getattr(self, name)}")
        for name in ("single_view_epochs", "train_proteins", "loader_workers"):
            if getattr(self, name) < 0:
                raise ValueError(f"expected {name} of 0 or more, got {getattr(self, name)}")
        for name in ("learning_rate", "merger_learning_rate"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"expected a finite {name} above 0, got {getattr(self, name)}")
        if not 0 < self.validation_fraction < 1:
            raise ValueError(f"expected a validation_fraction between 0 and 1, got {self.validation_fraction}")
        if not 0 <= self.test_fraction < 1:
            raise ValueError(f"expected a test_fraction of 0 or more and below 1, got {self.test_fraction}")

    def deciding(self) -> dict[str, Any]:
        """Return the settings that decide a run: a dataset may move, and its proteins tell whether it is the same."""
        return {name: value for name, value in asdict(self).items() if name not in NOT_DECIDING}
