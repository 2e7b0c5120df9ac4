"""Fixtures and rules for all tests."""

import os
from pathlib import Path

import pytest

# Compiled parallel code and torch take the cores that are there; ranks started by tests share them.
os.environ.setdefault("OMP_NUM_THREADS", "2")

REPOSITORY = Path(__file__).parent.parent


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip GPU tests, visibly, where there is no CUDA device."""
    if "gpu" in item.keywords:
        from hpc.array_backend import has_gpu

        if not has_gpu():
            pytest.skip("no CUDA device")


@pytest.fixture(scope="session")
def example_structures() -> Path:
    """Folder of the real complexes that the project ships."""
    return REPOSITORY / "examples" / "structures"
