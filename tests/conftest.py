"""Fixtures and rules for all tests."""

import os
import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest

from hpc import cuda_source
from tests.helpers.cpu_shim import HostModule, NumpyAsCupy

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


@pytest.fixture(scope="session")
def host_modules(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], HostModule]:
    """Builds CUDA source files for the CPU, each once."""
    if shutil.which("g++") is None:
        pytest.skip("no g++ on this machine to build the kernels for the CPU")
    build_dir = tmp_path_factory.mktemp("cpu_shim")
    return cache(lambda source_path: HostModule(source_path, build_dir))


@pytest.fixture(params=["shim", pytest.param("cupy", marks=pytest.mark.gpu)])
def xp(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """An array module that makes the public functions take their GPU path."""
    if request.param == "cupy":
        import cupy

        return cupy
    monkeypatch.setattr(cuda_source, "load_kernels", request.getfixturevalue("host_modules"))
    return NumpyAsCupy()
