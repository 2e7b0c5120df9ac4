"""From one structure file to a triangle mesh: the part of a build that runs isolated, since real files can crash it."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class MeshedStructure:
    """What the rest of the build needs of a structure."""

    num_chains: int
    num_atoms: int
    vertices_nm: np.ndarray
    """float64 (vertex, xyz), in the file's axes"""
    faces: np.ndarray
    """int32 (face, corner)"""
    surface_s: float
    """time spent on the surface alone"""


def mesh_structure(path: Path, assembly: str) -> MeshedStructure:
    """
    Read the protein of a structure file and mesh its surface with PyMOL.

    Raises
    ------
    afmsim.structure.StructureError
        The file cannot be read or holds no protein.
    """
    from afmsim.pymol_surface import surface_mesh
    from afmsim.structure import read_structure

    structure = read_structure(path, assembly=assembly or None)
    started_s = time.monotonic()
    mesh = surface_mesh(structure.mmcif_text)
    return MeshedStructure(
        structure.num_chains,
        structure.num_atoms,
        mesh.vertices_nm,
        mesh.faces,
        time.monotonic() - started_s,
    )
