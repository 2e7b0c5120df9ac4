"""
25 height maps of 224 x 224 pixels: our rays through the voxels against VTK's rasterizer (z-buffer) on the mesh.

    python benchmarks/height_maps.py --structures DIR --num 50

Both see the same body from the same directions; the table says how far the heights differ, in voxels, where both hit.
VTK draws on a graphics card where there is one and in software elsewhere.
"""

import argparse
from pathlib import Path

import numpy as np
from peers import median_s, once_s, print_ratios, structures_of_all_sizes

from afmsim.orientation import random_rotations
from afmsim.pymol_surface import SurfaceMesh, surface_mesh
from afmsim.render import height_maps, prepare_body
from afmsim.voxelize import GridPlacement, placement_of_mesh, voxelize_mesh

NUM_VIEWS, IMAGE_SIZE = 25, 224


def heights_of_vtk(
    mesh: SurfaceMesh, placement: GridPlacement, rotations: np.ndarray, edge_nm: float, image_size: int
) -> np.ndarray:
    """Return float32 (view, row, col): height above the lowest point in nm, 0 beside the body."""
    import pyvista

    polygons = np.concatenate([np.full((len(mesh.faces), 1), 3), mesh.faces], axis=1).ravel()
    body = pyvista.PolyData(mesh.vertices_nm - placement.center_xyz_nm, polygons)
    plotter = pyvista.Plotter(off_screen=True, window_size=(image_size, image_size))
    plotter.add_mesh(body, lighting=False)
    camera = plotter.camera
    camera.parallel_projection = True
    plotter.show(auto_close=False)
    images = []
    for rotation in rotations.astype(float):
        camera.position, camera.focal_point, camera.up = rotation[2] * edge_nm, (0, 0, 0), rotation[1]
        camera.parallel_scale = edge_nm / 2
        camera.clipping_range = (0.1 * edge_nm, 1.9 * edge_nm)
        plotter.render()
        depth = plotter.get_image_depth()  # negative distance from the camera, nan beside the body
        lowest_nm = (body.points @ rotation[2]).min()
        images.append(np.nan_to_num(depth + edge_nm - lowest_nm))
    plotter.close()
    return np.array(images, dtype=np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structures", type=Path, required=True, help="folder or list of structures")
    parser.add_argument("--num", type=int, default=50, help="structures of all sizes to take (default: %(default)s)")
    args = parser.parse_args()
    ours_s, prepared_s, vtk_s = [], [], []
    print("protein       atoms   rays (ms)   with preparation (ms)   VTK (ms)   median difference (voxels)")
    for structure in structures_of_all_sizes(args.structures, args.num):
        mesh = surface_mesh(structure.mmcif_text)
        placement = placement_of_mesh(mesh.vertices_nm)
        solid = voxelize_mesh(mesh.vertices_nm, mesh.faces, placement)
        rotations = random_rotations(NUM_VIEWS, 0, structure.protein_id)
        preparation_s, body = median_s(lambda: prepare_body(solid))
        edge_nm = body.field_of_view_voxels * placement.voxel_size_nm
        sizes = (placement.voxel_size_nm, edge_nm / IMAGE_SIZE, IMAGE_SIZE)
        seconds, heights_nm = median_s(lambda: height_maps(body, rotations, *sizes))
        ours_s.append(seconds)
        prepared_s.append(seconds + preparation_s)
        seconds, of_vtk = once_s(lambda: heights_of_vtk(mesh, placement, rotations, edge_nm, IMAGE_SIZE))
        vtk_s.append(seconds)
        is_hit = (heights_nm > 0) & (of_vtk > 0)
        assert is_hit.sum() > 0.97 * (heights_nm > 0).sum(), "VTK sees another body"
        difference = float(np.median(np.abs(heights_nm - of_vtk)[is_hit])) / placement.voxel_size_nm
        assert difference < 1, "the heights differ by more than a voxel"
        print(
            f"{structure.protein_id:10} {structure.num_atoms:>8} {ours_s[-1] * 1e3:>11.1f} "
            f"{prepared_s[-1] * 1e3:>23.1f} {vtk_s[-1] * 1e3:>10.1f} {difference:>28.2f}",
            flush=True,
        )
    print_ratios("rays, with preparation", prepared_s, {"VTK z-buffer": vtk_s, "rays alone": ours_s})


if __name__ == "__main__":
    main()
