"""Run CUDA source files on the CPU: the host compiler builds the very same file behind a small header."""

from __future__ import annotations

import ctypes
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy

SHIM_DIR = Path(__file__).parent
# As on the GPU, no fused multiply-add.
COMPILER = ["g++", "-std=c++17", "-O2", "-Wall", "-Wextra", "-Werror", "-ffp-contract=off", "-shared", "-fPIC"]

LETTERS = {numpy.int32: "i", numpy.float32: "f", numpy.float64: "d"}
C_TYPES: dict[str, Any] = {"i": ctypes.c_int, "f": ctypes.c_float, "d": ctypes.c_double}


class NumpyAsCupy(ModuleType):
    """NumPy under another identity, so that functions take their GPU path on host arrays."""

    def __init__(self) -> None:
        super().__init__("numpy_as_cupy")

    def __getattr__(self, name: str) -> Any:
        return getattr(numpy, name)


class HostModule:
    """Stands for a ``cupy.RawModule``."""

    def __init__(self, source_path: Path, build_dir: Path) -> None:
        source = source_path.read_text()
        names = re.findall(r"__global__ void (\w+)\(", source)
        exports = "\n".join(f"EXPORT_KERNEL({name})" for name in names)
        wrapper = build_dir / f"{source_path.stem}.cpp"
        wrapper.write_text(f'#include "cuda_shim.h"\n#include "{source_path}"\n{exports}\n')
        library_path = build_dir / f"{source_path.stem}.so"
        options = ["-DWITH_BARRIERS"] if "__syncthreads" in source else []
        subprocess.run([*COMPILER, *options, f"-I{SHIM_DIR}", str(wrapper), "-o", str(library_path)], check=True)
        self._library = ctypes.CDLL(str(library_path))

    def get_function(self, name: str) -> Callable[[tuple, tuple, tuple], None]:
        signature = getattr(self._library, f"signature_{name}")
        signature.restype = ctypes.c_char_p
        letters = signature().decode()

        def start(num_blocks: tuple[int, ...], num_threads: tuple[int, ...], arguments: tuple) -> None:
            assert "".join(_letter_of(argument) for argument in arguments) == letters, name
            sizes = [*num_blocks, *[1] * (3 - len(num_blocks)), *num_threads, *[1] * (3 - len(num_threads))]
            assert min(sizes) > 0, "CUDA refuses an empty launch"
            values = [_value_of(argument) for argument in arguments]
            pointers = (ctypes.c_void_p * len(values))(*[ctypes.addressof(value) for value in values])
            launch = getattr(self._library, f"launch_{name}")
            launch.restype = ctypes.c_bool
            assert launch((ctypes.c_uint * 6)(*sizes), pointers), (
                f"{name}: threads ended while others wait at a barrier"
            )

        return start


def _letter_of(argument: Any) -> str:
    if isinstance(argument, numpy.ndarray):
        assert argument.flags.c_contiguous
        return "p"
    return LETTERS[type(argument)]


def _value_of(argument: Any) -> Any:
    if isinstance(argument, numpy.ndarray):
        return ctypes.c_void_p(argument.ctypes.data)
    return C_TYPES[LETTERS[type(argument)]](argument)
