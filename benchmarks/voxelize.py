"""
Solid voxelization at 256^3 against trimesh's voxelized().fill() and VTK's, on PyMOL's meshes of real structures.

    python benchmarks/voxelize.py --structures DIR --num 50

All three must mark the same solid. trimesh also marks every voxel that the surface touches: with one layer of voxels
taken off it is as large as ours. Where PyMOL's mesh has a hole, trimesh fills nothing, which the table says.
"""

import argparse
from pathlib import Path

import numpy as np
from peers import iou, median_s, once_s, print_ratios, structures_of_all_sizes
from scipy.ndimage import binary_erosion

from afmsim.pymol_surface import SurfaceMesh, surface_mesh
from afmsim.voxelize import GridPlacement, placement_of_mesh, voxelize_mesh


def fill_with_trimesh(mesh: SurfaceMesh, placement: GridPlacement) -> np.ndarray:
    """Return bool (x, y, z), cut to the body."""
    return mesh.to_trimesh().voxelized(placement.voxel_size_nm).fill().matrix


def fill_with_vtk(mesh: SurfaceMesh, placement: GridPlacement) -> np.ndarray:
    """Return uint8 (z, y, x) at the same voxel centres."""
    import pyvista

    polygons = np.concatenate([np.full((len(mesh.faces), 1), 3), mesh.faces], axis=1).ravel()
    size, edge_nm = placement.grid_size, placement.voxel_size_nm
    origin_nm = placement.center_xyz_nm - (size - 1) / 2 * edge_nm
    grid = pyvista.ImageData(dimensions=(size,) * 3, spacing=(edge_nm,) * 3, origin=origin_nm)
    mask = pyvista.PolyData(mesh.vertices_nm, polygons).voxelize_binary_mask(reference_volume=grid)
    return (np.asarray(mask["mask"]) > 0).astype(np.uint8).reshape((size,) * 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=Path, required=True, help="folder or list of structures")
    parser.add_argument("--num", type=int, default=50, help="structures of all sizes to take (default: %(default)s)")
    args = parser.parse_args()
    ours_s, trimesh_s, vtk_s = [], [], []
    print("protein       atoms     faces   ours (ms)   trimesh (s)   VTK (s)   IoU with VTK   trimesh / ours")
    for structure in structures_of_all_sizes(args.structures, args.num):
        mesh = surface_mesh(structure.mmcif_text)
        placement = placement_of_mesh(mesh.vertices_nm)
        seconds, solid = median_s(lambda: voxelize_mesh(mesh.vertices_nm, mesh.faces, placement))
        ours_s.append(seconds)
        seconds, filled = once_s(lambda: fill_with_trimesh(mesh, placement))
        trimesh_s.append(seconds)
        seconds, masked = once_s(lambda: fill_with_vtk(mesh, placement))
        vtk_s.append(seconds)
        ratio = binary_erosion(filled).sum() / solid.sum()
        is_closed = mesh.to_trimesh().is_watertight
        assert not is_closed or 0.95 < ratio < 1.05, "trimesh and we do not mark the same solid"
        agreement = iou(solid, masked)
        print(
            f"{structure.protein_id:10} {structure.num_atoms:>8} {len(mesh.faces):>9} {ours_s[-1] * 1e3:>11.1f} "
            f"{trimesh_s[-1]:>13.2f} {vtk_s[-1]:>9.2f} {agreement:>14.4f} {ratio:>15.3f}"
            f"{'' if is_closed else '   (open mesh)'}",
            flush=True,
        )
        assert not is_closed or agreement > 0.98, "VTK and we do not mark the same solid"
    print_ratios("ours", ours_s, {"trimesh voxelized().fill()": trimesh_s, "VTK": vtk_s})


if __name__ == "__main__":
    main()
