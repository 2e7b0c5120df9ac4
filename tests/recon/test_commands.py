import subprocess
import sys

import pytest

COMMANDS = (
    "recon.train",
    "recon.evaluate",
    "recon.launch",
    "recon.report",
    "recon.train_carve_refiner",
    "recon.train_scan_restorer",
    "recon.shape_figures",
)
HEAVY = ("torch", "zarr", "matplotlib", "scipy", "numba", "cupy", "submitit", "pymol2", "mpi4py", "numpy")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_imports_nothing_heavy(command):
    program = (
        f"import sys, {command} as module\n"
        "try:\n    module.main(['--help'])\nexcept SystemExit as end:\n    assert end.code == 0\n"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "assert not heavy, heavy\n"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert f"python -m {command}" in result.stdout


def test_learning_needs_neither_pymol_nor_mpi():
    program = (
        "import sys, recon.trainer, recon.train, recon.evaluation, recon.launch\n"
        "import recon.jobs.watch, recon.reporting.report_page\n"
        "assert not {'pymol2', 'pymol', 'mpi4py'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
