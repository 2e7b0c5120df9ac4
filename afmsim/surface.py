"""From one structure file to what its solid is made of: the part of a build that runs isolated from its rank."""

import time
from dataclasses import dataclass
from pathlib import Path

from afmsim.pymol_surface import SurfaceMesh
from afmsim.solvent_surface import AtomSpheres


@dataclass(frozen=True)
class StructureSurface:
    """What the rest of the build needs of a structure."""

    num_chains: int
    num_atoms: int
    shape: SurfaceMesh | AtomSpheres
    surface_s: float
    """time spent in PyMOL"""


def read_surface(path: Path, kind: str, assembly: str) -> StructureSurface:
    """
    Read the protein of a structure file; mesh its surface with PyMOL, or leave the surface to the grid.

    Parameters
    ----------
    kind
        "pymol" for a mesh, "ses" for the atoms.
    assembly
        Biological assembly to apply where the file has it; empty for the file as it is.

    Raises
    ------
    afmsim.structure.StructureError
        The file cannot be read or holds no protein.
    """
    from afmsim.pymol_surface import surface_mesh
    from afmsim.structure import read_structure

    structure = read_structure(path, assembly=assembly or None)
    if kind == "ses":
        spheres = AtomSpheres(structure.positions_nm, structure.radii_nm)
        return StructureSurface(structure.num_chains, structure.num_atoms, spheres, surface_s=0.0)
    started_s = time.monotonic()
    mesh = surface_mesh(structure.mmcif_text)
    return StructureSurface(structure.num_chains, structure.num_atoms, mesh, time.monotonic() - started_s)
