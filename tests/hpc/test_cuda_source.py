"""All CUDA sources are compiled by NVRTC for every supported architecture; the shim keeps the rules of barriers."""

import ctypes
from importlib import metadata
from pathlib import Path

import numpy
import pytest

import afmsim
import recon
from hpc.cuda_source import COMPILE_OPTIONS, source_text
from tests.helpers.cpu_shim import HostModule

KERNEL_PATHS = sorted(
    path for package in (afmsim, recon) for path in Path(package.__file__).parent.rglob("kernels/*.cu")
)
REVERSE = """
extern "C" __global__ void reverse(int *values, int num_waiting) {
    __shared__ int kept[128];
    kept[threadIdx.x] = values[threadIdx.x];
    if ((int)threadIdx.x < num_waiting) __syncthreads();
    values[threadIdx.x] = kept[blockDim.x - 1 - threadIdx.x];
}
"""


@pytest.mark.parametrize("num_waiting", [128, 0, 100])
def test_the_shim_waits_at_barriers_and_tells_where_some_threads_do_not(tmp_path, num_waiting):
    source = tmp_path / "reverse.cu"
    source.write_text(REVERSE)
    reverse = HostModule(source, tmp_path).get_function("reverse")
    values = numpy.arange(128, dtype=numpy.int32)
    arguments = ((1,), (128,), (values, numpy.int32(num_waiting)))
    if num_waiting == 100:
        with pytest.raises(AssertionError, match="others wait at a barrier"):
            reverse(*arguments)
        return
    reverse(*arguments)
    assert (values == numpy.arange(128)[::-1]).all() == (num_waiting == 128)


@pytest.mark.parametrize("capability", [70, 75, 80, 86, 89, 90])
@pytest.mark.parametrize("source_path", KERNEL_PATHS, ids=lambda path: path.name)
def test_nvrtc_compiles_the_kernels_without_a_warning(source_path, capability):
    status, log = compile_with_nvrtc(source_path, [*COMPILE_OPTIONS, f"--gpu-architecture=compute_{capability}"])
    assert status == 0, log
    # That a later compiler drops compute_70 says nothing about the kernels.
    assert [line for line in log.splitlines() if line and "Architectures prior to" not in line] == []


def test_nvrtc_refuses_a_wrong_kernel(tmp_path):
    wrong = tmp_path / "wrong.cu"
    wrong.write_text('extern "C" __global__ void wrong(int *values) { values[0] = nothing; }')
    status, log = compile_with_nvrtc(wrong, [*COMPILE_OPTIONS, "--gpu-architecture=compute_80"])
    assert status != 0
    assert "nothing" in log


def nvrtc_library():
    """The library of the wheel nvidia-cuda-nvrtc-cu12, without CuPy, which needs a driver to tell the device."""
    try:
        files = metadata.files("nvidia-cuda-nvrtc-cu12") or []
    except metadata.PackageNotFoundError:
        pytest.skip("nvidia-cuda-nvrtc-cu12 is not installed")
    is_compiler = [file for file in files if file.name.startswith("libnvrtc.so") and "alt" not in file.name]
    return ctypes.CDLL(str(is_compiler[0].locate()))


def compile_with_nvrtc(source_path, options):
    """Return NVRTC's status, 0 for success, and its log with all warnings."""
    library = nvrtc_library()
    program = ctypes.c_void_p()
    source = source_text(source_path).encode()
    created = library.nvrtcCreateProgram(
        ctypes.byref(program), ctypes.c_char_p(source), source_path.name.encode(), 0, None, None
    )
    assert created == 0
    encoded = [option.encode() for option in options]
    status = library.nvrtcCompileProgram(program, len(encoded), (ctypes.c_char_p * len(encoded))(*encoded))
    log_size = ctypes.c_size_t()
    assert library.nvrtcGetProgramLogSize(program, ctypes.byref(log_size)) == 0
    log = ctypes.create_string_buffer(log_size.value)
    assert library.nvrtcGetProgramLog(program, log) == 0
    assert library.nvrtcDestroyProgram(ctypes.byref(program)) == 0
    return status, log.value.decode()
