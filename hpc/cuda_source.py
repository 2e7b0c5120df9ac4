"""Compile CUDA source files for the GPU in use; with `array_backend` the only door to CuPy."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

# No fused multiply-add: a float has the same value as on the CPU.
COMPILE_OPTIONS = ("--std=c++17", "--fmad=false")


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
