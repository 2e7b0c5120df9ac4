"""A tiny dataset and a run trained on it, made once for all tests of learning."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from recon.train_config import TrainConfig
from tests.helpers.tiny_store import write_tiny_store


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Have torch compute in one thread, where results are the same to the bit."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_store(tmp_path_factory.mktemp("data") / "tiny.zarr")


@pytest.fixture(scope="session")
def tiny_config(tiny_store: Path) -> TrainConfig:
    return TrainConfig(store=str(tiny_store), views=2, size="F", input_size=32, epochs=2, repeats=1, batch_size=3)


@pytest.fixture(scope="session")
def tiny_runs(tmp_path_factory: pytest.TempPathFactory, tiny_config: TrainConfig) -> Path:
    """Folder with one trained and scored run, `views_02`."""
    from recon.evaluate import evaluate
    from recon.train import train

    runs = tmp_path_factory.mktemp("runs")
    train(tiny_config, runs / "views_02", "cpu")
    evaluate(runs / "views_02", [1, 2, 5], device_name="cpu")
    return runs
