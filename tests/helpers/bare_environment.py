"""A virtual environment that holds what the package itself requires, and none of its extras."""

import sys
import venv
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]


def make_bare_environment(folder: Path) -> Path:
    """
    Make it from what is installed here, without a network; return its interpreter.

    The project itself is found through a path file, as an editable installation is.
    """
    venv.create(folder, with_pip=False, symlinks=True)
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    site_packages = folder / "lib" / version / "site-packages"
    for one in required_distributions("afm-recon"):
        for name in _top_level_names(one):
            link = site_packages / name
            if not link.exists():
                link.symlink_to(Path(str(one.locate_file(name))))
    (site_packages / "afm_recon.pth").write_text(f"{ROOT}\n")
    return folder / "bin" / "python"


def required_distributions(name: str) -> list[Distribution]:
    """Return what a package requires without its extras, and what those require in turn."""
    found: dict[str, Distribution] = {}
    waiting = _requirements(distribution(name))
    while waiting:
        required = waiting.pop()
        if required not in found:
            found[required] = distribution(required)
            waiting += _requirements(found[required])
    return list(found.values())


def _requirements(one: Distribution) -> list[str]:
    requirements = [Requirement(line) for line in one.requires or []]
    return [each.name for each in requirements if not each.marker or each.marker.evaluate({"extra": ""})]


def _top_level_names(one: Distribution) -> set[str]:
    """Return the files and folders of a distribution right below site-packages."""
    tops = {file.parts[0] for file in one.files or ()}
    return {name for name in tops if name not in ("..", "__pycache__", "bin")}
