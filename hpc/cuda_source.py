"""Compile CUDA source files for the GPU in use and start their kernels; with `array_backend` the only door to CuPy."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

# No fused multiply-add: a float has the same value as on the CPU.
COMPILE_OPTIONS = ("--std=c++17", "--fmad=false")
NUM_THREADS = 128


@cache
def load_kernels(source_path: Path) -> Any:
    """Return the ``cupy.RawModule`` of a CUDA source file, compiled at its first use.

    ``load_kernels(path).get_function(name)((num_blocks,), (num_threads,), arguments)`` starts a kernel; scalar
    arguments are numpy scalars of the kernel's types.

    Raises
    ------
    RuntimeError
        If CuPy is not installed.
    """
    try:
        import cupy
    except ImportError as error:
        raise RuntimeError(
            f"CuPy is not installed, which the GPU kernels of {source_path.name} need; "
            "install the gpu extra or choose the CPU."
        ) from error
    return cupy.RawModule(code=source_path.read_text(), options=COMPILE_OPTIONS)


class Kernels:
    """The kernels of one source file, started in blocks of 128 threads; scalar arguments are numpy scalars."""

    def __init__(self, source_path: Path) -> None:
        self._module = load_kernels(source_path)

    def start(self, name: str, num_threads: int, arguments: tuple[Any, ...], num_shares: int = 1) -> None:
        """Start a kernel with at least `num_threads` threads in x and `num_shares` blocks in y."""
        self.start_blocks(name, -(-num_threads // NUM_THREADS), arguments, num_shares)

    def start_blocks(self, name: str, num_blocks: int, arguments: tuple[Any, ...], num_shares: int = 1) -> None:
        """Start a kernel with `num_blocks` blocks in x and `num_shares` in y."""
        self._module.get_function(name)((num_blocks, num_shares), (NUM_THREADS,), arguments)
