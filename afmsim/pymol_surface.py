"""PyMOL's molecular surface of a protein as a welded triangle mesh: the only door to PyMOL and to trimesh."""

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from afmsim.structure import angstrom_to_nm

if TYPE_CHECKING:
    import trimesh

_OBJECT_NAME = "protein"

# No rotation, camera and origin at zero, wide clipping planes: PyMOL exports camera coordinates, here the file's own.
_IDENTITY_VIEW = (1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, -1000, 1000, 1)


class SurfaceError(RuntimeError):
    """PyMOL makes no surface of the given atoms."""


@dataclass(frozen=True)
class SurfaceMesh:
    """Triangles whose shared corners are shared vertices."""

    vertices_nm: np.ndarray
    """float64 (vertex, xyz), in the axes of the structure file"""
    faces: np.ndarray
    """int32 (face, corner), counter-clockwise seen from outside"""

    def to_trimesh(self) -> "trimesh.Trimesh":
        """Return the same vertices and faces as a trimesh object."""
        import trimesh

        return trimesh.Trimesh(self.vertices_nm, self.faces, process=False)


def surface_mesh(mmcif_text: str, surface_quality: int = 0) -> SurfaceMesh:
    """
    Return PyMOL's solvent-excluded surface (probe radius 1.4 angstrom) of all atoms of an mmCIF text.

    The text is read as mmCIF whatever it holds: no file name takes part, whose suffix could make PyMOL run a script.

    Parameters
    ----------
    surface_quality
        PyMOL's setting: 0 is its default, 1 has about four times the triangles.

    Raises
    ------
    SurfaceError
        PyMOL cannot read the text or makes no surface of it.
    """
    pymol = _pymol()
    cmd = pymol.cmd
    cmd.delete("all")
    try:
        cmd.load_raw(mmcif_text, "cif", _OBJECT_NAME)
        cmd.set("surface_quality", surface_quality)
        cmd.hide("everything")
        cmd.show("surface")
        cmd.set_view(_IDENTITY_VIEW)
        _, obj_text = cmd.get_mtl_obj()
    except pymol.CmdException as error:
        reason = str(error).strip().removeprefix("Error: ")
        raise SurfaceError(f"PyMOL cannot read the mmCIF text ({reason}); expected one of afmsim.structure") from None
    finally:
        cmd.delete("all")
    vertices_angstrom, faces = weld(triangles_of_obj(obj_text))
    if not len(faces):
        raise SurfaceError("PyMOL makes no surface; expected an mmCIF text with atoms")
    return SurfaceMesh(angstrom_to_nm(vertices_angstrom), faces)


@cache
def _pymol() -> Any:
    """Start the one PyMOL of this process, headless and silent."""
    try:
        import pymol2
    except ImportError as error:
        raise SurfaceError(f"PyMOL cannot be imported ({error}); install the extra named build") from None
    pymol = pymol2.PyMOL()
    pymol.start()
    pymol.cmd.feedback("disable", "all", "everything")
    pymol.cmd.set("auto_zoom", 0)
    # All atoms take part: otherwise PyMOL leaves out residues that it takes for ligands.
    pymol.cmd.set("surface_mode", 1)
    return pymol


def triangles_of_obj(obj_text: str) -> np.ndarray:
    """
    Return the triangles `(face, corner, xyz)` of an OBJ text in which each face follows three vertices of its own.

    This is how PyMOL writes OBJ; normals and indices add nothing, so the vertex lines alone are converted.
    """
    content = np.frombuffer(obj_text.encode("ascii"), dtype=np.uint8)
    line_ends = np.flatnonzero(content == ord("\n")) + 1
    line_starts = np.concatenate([[0], line_ends[:-1]]) if len(line_ends) else np.zeros(0, dtype=np.int64)
    is_vertex = (content[line_starts] == ord("v")) & (content[line_starts + 1] == ord(" "))
    is_kept = np.repeat(is_vertex, np.diff(line_starts, append=line_ends[-1:]))
    numbers = content[: len(is_kept)][is_kept].tobytes().replace(b"v", b" ")
    return np.fromstring(numbers.decode("ascii"), dtype=np.float64, sep=" ").reshape(-1, 3, 3)


def weld(triangles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """
    Join equal corners of triangles `(face, corner, xyz)` and drop triangles that are left with less than three.

    Returns
    -------
    vertices, faces
        float64 `(vertex, xyz)` in the order of x, y, z, and int32 `(face, corner)`.
    """
    corners = triangles.reshape(-1, 3)
    order = np.lexsort((corners[:, 2], corners[:, 1], corners[:, 0]))
    sorted_corners = corners[order]
    is_new = np.ones(len(corners), dtype=bool)
    is_new[1:] = (sorted_corners[1:] != sorted_corners[:-1]).any(axis=1)
    vertex_of_corner = np.empty(len(corners), dtype=np.int32)
    vertex_of_corner[order] = np.cumsum(is_new) - 1
    faces = vertex_of_corner.reshape(-1, 3)
    is_triangle = (faces != np.roll(faces, 1, axis=1)).all(axis=1)
    return sorted_corners[is_new], faces[is_triangle]
