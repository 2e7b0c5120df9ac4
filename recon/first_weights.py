"""The weights of an earlier run, from which another one starts."""

from typing import Any

from recon.checkpoint import load_snapshot
from recon.run_folder import RunError, RunFolder
from recon.split import Split
from recon.train_config import TrainConfig


def first_weights(earlier: RunFolder, config: TrainConfig, split: Split) -> dict[str, Any]:
    """
    Return the state of the network of an earlier run.

    Parameters
    ----------
    earlier
        Folder of that run.
    config, split
        Of the run that starts.

    Raises
    ------
    RunError
        There are no weights, those of another network, or some that have learned from proteins which validate or
        test here.
    """
    record = earlier.read_record()
    if not earlier.snapshot_path.exists():
        raise RunError(f"expected a trained run in {earlier.path} to start from, got one without a snapshot")
    if record.config.size != config.size:
        raise RunError(
            f"expected a run of size {config.size} to start from, got {earlier.path} of {record.config.size}"
        )
    leaked = sorted(set(record.split.train) & {*split.validation, *split.test})
    if leaked:
        raise RunError(
            f"{earlier.path} was trained on {len(leaked)} proteins that validate or test here, {leaked[0]} among them; "
            "start from a run with the same seed, fractions and clusters"
        )
    return load_snapshot(earlier.snapshot_path).model
