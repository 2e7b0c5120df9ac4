"""The doctor says what works, and its exit status is that of the worst part."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hpc import doctor
from hpc.doctor import ABSENT, FAILED, OK, Finding, file_system_of, main

MOUNTS = """\
overlay / overlay rw 0 0
proc /proc proc rw 0 0
scratch:/vol /scratch nfs4 rw 0 0
lustre /scratch/fast lustre rw 0 0
tmpfs /scratch\\040two tmpfs rw 0 0
"""


def use_checks(monkeypatch: pytest.MonkeyPatch, *findings: Finding) -> None:
    monkeypatch.setattr(doctor, "CHECKS", tuple(lambda finding=finding: finding for finding in findings))


@pytest.mark.mpi
def test_every_part_of_the_development_environment_is_healthy() -> None:
    done = subprocess.run([sys.executable, "-m", "hpc.doctor", "--json"], capture_output=True, text=True, timeout=300)
    state_by_part = {finding["part"]: finding["state"] for finding in json.loads(done.stdout)}
    assert done.returncode == 0, done.stdout
    assert all(state_by_part[part] == OK for part in ("python", "packages", "mpi", "pymol", "store", "disk"))
    assert FAILED not in state_by_part.values()


def test_what_is_absent_does_not_fail(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    use_checks(monkeypatch, Finding("store", OK, "written"), Finding("gpu", ABSENT, "no CUDA device"))
    assert main([]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "store      ok      written",
        "gpu        absent  no CUDA device",
    ]


def test_one_failed_part_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    use_checks(monkeypatch, Finding("mpi", FAILED, "no mpiexec"), Finding("store", OK, "written"))
    assert main(["--json"]) == 1


def test_a_child_that_hangs_is_a_failure_with_its_time_limit() -> None:
    passed, output = doctor._run([sys.executable, "-c", "import time; time.sleep(60)"], timeout_s=0.2)
    assert (passed, output) == (False, "no answer in 0.2 s")


def test_inside_a_job_a_child_does_not_see_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("PMI_RANK", "1")
    monkeypatch.setenv("SLURM_CONF", "/etc/slurm/slurm.conf")
    program = "import os; print(*(os.environ.get(n) for n in ('SLURM_JOB_ID', 'PMI_RANK', 'SLURM_CONF')))"
    assert doctor._run([sys.executable, "-c", program], timeout_s=30.0) == (
        True,
        "None None /etc/slurm/slurm.conf\n",
    )


def test_missing_packages_are_absent_or_fail_by_what_needs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_installed", lambda _module: False)
    states = [check().state for check in (doctor.check_mpi, doctor.check_gpu, doctor.check_pymol)]
    assert states == [ABSENT] * 3
    assert doctor.check_store().state == FAILED


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/home/me", "overlay"),
        ("/scratch/me", "nfs4"),
        ("/scratch/fast/me", "lustre"),
        ("/scratch two/me", "tmpfs"),
        ("/scratch_other", "overlay"),
    ],
)
def test_a_folder_lies_on_the_deepest_mount_above_it(folder: str, kind: str) -> None:
    assert file_system_of(Path(folder), MOUNTS) == kind


@pytest.mark.gpu
def test_the_gpu_is_named_where_there_is_one() -> None:
    finding = doctor.check_gpu()
    assert finding.state == OK, finding.detail
    assert "GiB" in finding.detail
