"""The two image recipes say the same, name no version that constraints.txt does not, and build and run for real."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

REPOSITORY = Path(__file__).parent.parent
DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
APPTAINER = (REPOSITORY / "apptainer.def").read_text()
RECIPES = {"Dockerfile": DOCKERFILE, "apptainer.def": APPTAINER}
IMAGE_EXTRAS = ("build", "train", "gpu")


def commands(recipe: str) -> str:
    """Return the recipe without comments and with continued lines joined."""
    text = "\n".join(line for line in recipe.splitlines() if not line.lstrip().startswith("#"))
    return re.sub(r"\s*\\\n\s*", " ", text)


def found(pattern: str, recipe: str) -> str:
    match = re.search(pattern, commands(recipe), flags=re.MULTILINE)
    assert match is not None, f"no {pattern} in the recipe"
    return match.group(1).strip()


def pins() -> dict[str, str]:
    lines = [line for line in (REPOSITORY / "constraints.txt").read_text().splitlines() if line[:1] not in ("", "#")]
    assert all(re.fullmatch(r"[\w.\-]+==[\w.+!]+", line) for line in lines), "constraints.txt holds exact pins only"
    return {name.lower().replace("_", "-"): version for name, version in (line.split("==") for line in lines)}


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_pins_no_python_package_itself(name: str) -> None:
    assert not re.findall(r"[\w\]\"'](?:==|>=|<=|~=|!=)\s*\d\S*", commands(RECIPES[name]))


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_installs_from_pyproject_under_constraints(name: str) -> None:
    installed = re.findall(r"pip install (.+)", commands(RECIPES[name]))
    extras = ",".join(IMAGE_EXTRAS)
    assert installed == [f'--no-cache-dir --constraint constraints.txt --editable ".[{extras}]"']


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_names_no_package_index(name: str) -> None:
    assert not re.search(r"index-url|find-links|trusted-host|https?://", RECIPES[name])


@pytest.mark.parametrize("name", RECIPES)
def test_mpich_starts_without_cross_memory_copy(name: str) -> None:
    assert "MPIR_CVAR_CH4_CMA_ENABLE=0" in commands(RECIPES[name])


def test_every_requirement_of_the_image_is_pinned_within_its_bounds() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    lines = project["dependencies"] + [
        line for extra in IMAGE_EXTRAS for line in project["optional-dependencies"][extra]
    ]
    version_by_name = pins()
    for requirement in map(Requirement, lines):
        version = version_by_name.get(requirement.name.lower().replace("_", "-"))
        assert version is not None, f"{requirement} is not in constraints.txt"
        assert requirement.specifier.contains(version), f"constraints.txt has {version} for {requirement}"


def test_both_recipes_start_from_the_same_base() -> None:
    assert found(r"ARG BASE=(\S+)", DOCKERFILE) == found(r"^\s*BASE=(\S+)", APPTAINER)


def test_both_recipes_install_the_same_system_packages() -> None:
    pattern = r"apt-get install -y --no-install-recommends ([^&\n]+)"
    assert found(pattern, DOCKERFILE) == found(pattern, APPTAINER)


def test_both_images_hold_the_same_files() -> None:
    ignored = (REPOSITORY / ".dockerignore").read_text().splitlines()
    admitted = {line.removeprefix("!") for line in ignored if line.startswith("!")}
    files = found(r"%files\n((?:    .+\n)+)", APPTAINER).splitlines()
    assert {line.split()[0] for line in files} == admitted


@pytest.fixture(scope="module")
def container_steps() -> list[str]:
    """Run tests/containers.sh and return its lines, one per step."""
    if os.environ.get("CI") != "true":
        pytest.skip("building two images takes minutes and root: done where CI=true, as in .ci/run")
    missing = [program for program in ("buildah", "mmdebstrap") if shutil.which(program) is None]
    assert not missing, f"{', '.join(missing)} missing; .ci/install.sh installs them"
    assert os.geteuid() == 0, "images are built as root"
    script = REPOSITORY / "tests" / "containers.sh"
    done = subprocess.run([str(script), sys.executable], capture_output=True, text=True, timeout=1700)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@pytest.mark.container
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_docker_image_builds_and_makes_a_dataset_on_two_ranks(container_steps: list[str]) -> None:
    titles = [line.split("(")[0].split(None, 1)[1].strip() for line in container_steps if line.startswith("ok")]
    assert titles[:4] == [
        "base image from this machine's package sources",
        "Dockerfile built by buildah",
        "hpc.doctor in the image",
        "dataset of two structures by two ranks in the image",
    ]


@pytest.mark.container
@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_apptainer_image_makes_the_same_dataset_under_slurm(container_steps: list[str]) -> None:
    skipped = [line for line in container_steps if line.startswith("skipped")]
    if skipped:
        pytest.skip(skipped[0])
    assert container_steps[-1].startswith("ok      the same chunks and table from both images")
