"""Compile CUDA source files for the GPU in use and start their kernels; with `array_backend` the only door to CuPy."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

# No fused multiply-add: a float has the same value as on the CPU.
COMPILE_OPTIONS = ("--std=c++17", "--fmad=false")
NUM_THREADS = 128


def source_text(source_path: Path) -> str:
    """Return a source with the files that it includes from its folder put in, since CuPy caches by the text alone."""
    folder, text = source_path.parent, source_path.read_text()
    return re.sub(r'^#include "(.+)"$', lambda match: (folder / match[1]).read_text(), text, flags=re.MULTILINE)


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
    return cupy.RawModule(code=source_text(source_path), options=COMPILE_OPTIONS)


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
