"""The solvent-excluded solid of a protein straight from its atoms, on a grid, without a mesh.

A probe of water rolls over the van der Waals spheres; the solid is what it cannot reach. Its centre cannot enter the
spheres widened by the probe's radius (the solvent-accessible solid), so the solid is all that lies farther than the
probe's radius from the outside of those (Xu and Zhang, PLoS ONE 4, e8140, 2009). No surface, hence no hole: the solid
is closed by construction.

On the grid, "farther than a threshold from each outside voxel" is the threshold of an exact Euclidean distance
transform. The same voxels remain when the outside is dilated by a ball, which packed bits do 64 voxels at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy

from afmsim.voxelize import GridPlacement, placement_of_box

PROBE_RADIUS_NM = 0.14


@dataclass(frozen=True)
class AtomSpheres:
    """The van der Waals spheres of a protein."""

    positions_nm: numpy.ndarray
    """float64 ``(atom, xyz)``, in the axes of the structure file"""
    radii_nm: numpy.ndarray
    """float32 ``(atom,)``"""


@dataclass(frozen=True)
class BallRows:
    """A ball of voxels as runs along x: row ``(z, y)`` of an offset reaches ``half_width`` voxels to either side.

    Attributes
    ----------
    offsets_zy
        int32 ``(row, zy)``, sorted by half width.
    first_of_width
        int32 ``(half_width + 1,)``: where the rows of each half width begin, and the number of rows.
    """

    offsets_zy: numpy.ndarray
    first_of_width: numpy.ndarray

    @property
    def radius(self) -> int:
        """The largest half width, which is also the largest offset."""
        return len(self.first_of_width) - 2


def placement_of_atoms(positions_nm: numpy.ndarray, radii_nm: numpy.ndarray, grid_size: int = 256) -> GridPlacement:
    """Centre the grid on the atoms' spheres and let the longest side of their box span it exactly.

    The solid fills that box: where an outermost sphere touches it, the probe touches the sphere.

    Parameters
    ----------
    positions_nm
        ``(atom, xyz)`` centres in nm.
    radii_nm
        ``(atom,)`` van der Waals radii in nm.
    """
    positions_nm, radii_nm = _checked_atoms(positions_nm, radii_nm)
    reach_nm = radii_nm[:, None]
    return placement_of_box((positions_nm - reach_nm).min(axis=0), (positions_nm + reach_nm).max(axis=0), grid_size)


def solvent_excluded_occupancy(
    positions_nm: numpy.ndarray, radii_nm: numpy.ndarray, placement: GridPlacement, xp: ModuleType = numpy
) -> Any:
    """Mark the voxels whose centres a probe of 0.14 nm cannot reach.

    Memory: two grids of bits, a little larger than the result.

    Parameters
    ----------
    positions_nm, radii_nm
        ``(atom, xyz)`` centres and ``(atom,)`` van der Waals radii in nm, on the host.
    placement
        The grid, see `placement_of_atoms`; its size is a multiple of 8.
    xp
        numpy for the CPU, cupy for the GPU.

    Returns
    -------
    occupancy
        uint8 ``(z, y, x)``, 1 inside, an array of ``xp``.

    Raises
    ------
    ValueError
        For positions or radii that are not finite, no atom, or a grid that does not hold all atoms.
    """
    positions_nm, radii_nm = _checked_atoms(positions_nm, radii_nm)
    if placement.grid_size % 8:
        raise ValueError(f"The grid has {placement.grid_size} voxels per axis; expected a multiple of 8.")
    probe_voxels = PROBE_RADIUS_NM / placement.voxel_size_nm
    centers_xyz = (positions_nm - placement.center_xyz_nm) / placement.voxel_size_nm + (placement.grid_size - 1) / 2
    radii = radii_nm / placement.voxel_size_nm
    lowest, highest = (centers_xyz - radii[:, None]).min(), (centers_xyz + radii[:, None]).max()
    if lowest < -1 or highest > placement.grid_size:
        raise ValueError("The atoms reach beyond the grid; place it with placement_of_atoms.")
    ball = ball_rows(probe_voxels + lag_voxels(probe_voxels, float(numpy.median(radii))))
    spheres = numpy.concatenate([centers_xyz, (radii + probe_voxels)[:, None]], axis=1).astype(numpy.float32)
    if xp is numpy:
        from afmsim import solvent_surface_cpu

        return solvent_surface_cpu.solid_occupancy(spheres, ball, placement.grid_size)
    from afmsim import solvent_surface_gpu

    return solvent_surface_gpu.solid_occupancy(spheres, ball, placement.grid_size, xp)


def lag_voxels(probe_voxels: float, radius_voxels: float) -> float:
    """Return how much farther than the outside itself its nearest voxel centre lies, on average.

    A probe of radius ``p`` on an atom of radius ``r`` touches the outside, which is hollow there with radius
    ``p + r``, from within. When it dips in by ``h``, a cap of volume ``pi q h^2`` lies outside, where
    ``1 / q = 1 / p - 1 / (p + r)``. It finds the first of the outside's centres, one per unit of volume, when that
    volume is an exponential number of mean 1; the mean of ``h`` is then ``1 / (2 sqrt(q))``, all in voxels.
    """
    curvature = 1 / probe_voxels - 1 / (probe_voxels + radius_voxels)
    return 0.5 * float(numpy.sqrt(curvature))


def ball_rows(radius_voxels: float) -> BallRows:
    """Return the voxels within a distance of one, as runs along x."""
    reach = int(radius_voxels)
    along = numpy.arange(-reach, reach + 1)
    remaining = radius_voxels**2 - along[:, None] ** 2 - along[None, :] ** 2  # (z, y)
    z, y = numpy.nonzero(remaining >= 0)
    half_widths = numpy.sqrt(remaining[z, y]).astype(numpy.int32)
    order = numpy.argsort(half_widths, kind="stable")
    offsets_zy = numpy.stack([along[z], along[y]], axis=1)[order].astype(numpy.int32)
    first_of_width = numpy.searchsorted(half_widths[order], numpy.arange(reach + 2)).astype(numpy.int32)
    return BallRows(numpy.ascontiguousarray(offsets_zy), first_of_width)


def _checked_atoms(positions_nm: numpy.ndarray, radii_nm: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return float64 ``(atom, xyz)`` and ``(atom,)`` or say what is wrong with them."""
    positions_nm = numpy.asarray(positions_nm, dtype=numpy.float64)
    radii_nm = numpy.asarray(radii_nm, dtype=numpy.float64)
    if positions_nm.ndim != 2 or positions_nm.shape[1] != 3 or radii_nm.shape != positions_nm.shape[:1]:
        raise ValueError(
            f"Positions have shape {positions_nm.shape} and radii {radii_nm.shape}; expected (atom, xyz) and (atom,)."
        )
    if not len(radii_nm):
        raise ValueError("There are no atoms; give at least one.")
    if not (numpy.isfinite(positions_nm).all() and numpy.isfinite(radii_nm).all() and (radii_nm > 0).all()):
        raise ValueError("An atom has a position that is not finite or a radius that is not above 0.")
    return positions_nm, radii_nm
