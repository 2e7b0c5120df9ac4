"""
The solid of a protein at 256^3: `--surface ses` from the atoms against PyMOL's surface and its voxelization.

    python benchmarks/solvent_surface.py --structures DIR --num 50

The same grid for both; the last column says how much they agree. SciPy's exact distance transform of the same atoms
stands beside, and must give the very same voxels but for rounding.
"""

import argparse
from pathlib import Path

import numpy as np
from peers import iou, median_s, once_s, print_ratios, structures_of_all_sizes
from scipy.ndimage import distance_transform_edt

from afmsim.pymol_surface import surface_mesh
from afmsim.solvent_surface import PROBE_RADIUS_NM, lag_voxels, placement_of_atoms, solvent_excluded_occupancy
from afmsim.structure import Structure
from afmsim.voxelize import GridPlacement, voxelize_mesh

MANY_ATOMS = 8_000


def solid_of_pymol(structure: Structure, placement: GridPlacement) -> np.ndarray:
    """Return uint8 (z, y, x)."""
    mesh = surface_mesh(structure.mmcif_text)
    return voxelize_mesh(mesh.vertices_nm, mesh.faces, placement)


def solid_of_scipy(structure: Structure, placement: GridPlacement) -> np.ndarray:
    """Return bool (z, y, x): a sphere of voxels per atom, then the distance transform; around all a margin."""
    edge_nm = placement.voxel_size_nm
    probe = PROBE_RADIUS_NM / edge_nm
    margin = int(probe) + 3
    first = margin + (placement.grid_size - 1) / 2
    centers_xyz = (structure.positions_nm - placement.center_xyz_nm) / edge_nm + first
    inside = np.zeros((placement.grid_size + 2 * margin,) * 3, dtype=bool)
    for (x, y, z), radius in zip(centers_xyz, structure.radii_nm / edge_nm + probe, strict=True):
        low = [int(np.ceil(at - radius)) for at in (z, y, x)]
        high = [int(np.floor(at + radius)) + 1 for at in (z, y, x)]
        along = [np.arange(a, b) - at for a, b, at in zip(low, high, (z, y, x), strict=True)]
        is_near = along[0][:, None, None] ** 2 + along[1][:, None] ** 2 + along[2] ** 2 <= radius**2
        inside[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] |= is_near
    threshold = probe + lag_voxels(probe, float(np.median(structure.radii_nm)) / edge_nm)
    solid = distance_transform_edt(inside) > threshold
    return solid[margin:-margin, margin:-margin, margin:-margin]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=Path, required=True, help="folder or list of structures")
    parser.add_argument("--num", type=int, default=50, help="structures of all sizes to take (default: %(default)s)")
    args = parser.parse_args()
    num_atoms, ours_s, pymol_s, scipy_s = [], [], [], []
    solid_of_pymol(structures_of_all_sizes(args.structures, 1)[0], GridPlacement(np.zeros(3), 1.0, 256))
    print("protein       atoms   ses (ms)   PyMOL (s)   SciPy (s)   ratio to PyMOL   IoU with PyMOL")
    for structure in structures_of_all_sizes(args.structures, args.num):
        positions_nm, radii_nm = structure.positions_nm, structure.radii_nm
        placement = placement_of_atoms(positions_nm, radii_nm)
        seconds, solid = median_s(lambda: solvent_excluded_occupancy(positions_nm, radii_nm, placement))
        ours_s.append(seconds)
        seconds, of_pymol = once_s(lambda: solid_of_pymol(structure, placement))
        pymol_s.append(seconds)
        seconds, of_scipy = once_s(lambda: solid_of_scipy(structure, placement))
        scipy_s.append(seconds)
        num_atoms.append(structure.num_atoms)
        assert (solid != of_scipy).mean() < 1e-4, "the distance transform gives another solid"
        print(
            f"{structure.protein_id:10} {structure.num_atoms:>8} {ours_s[-1] * 1e3:>10.1f} {pymol_s[-1]:>11.2f} "
            f"{scipy_s[-1]:>11.2f} {pymol_s[-1] / ours_s[-1]:>16.1f} {iou(solid, of_pymol):>16.4f}",
            flush=True,
        )
    print_ratios("ses", ours_s, {"PyMOL and voxelization": pymol_s, "SciPy distance transform": scipy_s})
    many = [index for index, count in enumerate(num_atoms) if count > MANY_ATOMS]
    if many:
        ratio = sum(pymol_s[index] for index in many) / sum(ours_s[index] for index in many)
        print(f"above {MANY_ATOMS} atoms ({len(many)} structures): PyMOL takes {ratio:.1f} times as long")


if __name__ == "__main__":
    main()
