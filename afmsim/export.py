"""
Write what a dataset holds in formats that other programs open.

    python -m afmsim.export --store dataset.zarr --format png --out DIR

png: one 16-bit greyscale picture per view, `DIR/<protein>/view_00.png`. Heights are white at the protein's greatest
height; the text fields height_nm_at_white and pixel_size_nm say what a grey value and a pixel stand for. Views of a
dataset with --rendering density are white where nothing passes; the field absorption_per_nm says how that is counted.

obj, ply: the surface of the fine grid, `DIR/<protein>.ply`, by marching cubes, in nm and in the axes of the structure.
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from afmsim.dataset import Dataset

_WHITE = 65535


def main(argv: list[str] | None = None) -> int:
    """Export what the command line asks for; return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m afmsim.export",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--store", type=Path, required=True, help="dataset to read")
    parser.add_argument("--format", choices=("png", "obj", "ply"), required=True, help="what to write")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--protein", nargs="*", metavar="ID", help="proteins to write (default: all that are done)")
    args = parser.parse_args(argv)

    from afmsim.dataset import open_dataset
    from hpc.logs import set_up_logging
    from hpc.progress import Progress

    set_up_logging()
    try:
        dataset = open_dataset(args.store)
        indices = _chosen(dataset, args.protein)
    except ValueError as error:
        sys.stderr.write(f"afmsim.export: {error}\n")
        return 2
    with Progress(len(indices), "proteins") as progress:
        for number, index in enumerate(indices):
            if args.format == "png":
                write_png_views(dataset, index, args.out)
            else:
                write_surface(dataset, index, args.out, args.format)
            progress.update(number + 1)
    return 0


def _chosen(dataset: "Dataset", protein_ids: list[str] | None) -> list[int]:
    done = {dataset.protein_ids[index]: int(index) for index in dataset.done_indices}
    if protein_ids is None:
        return list(done.values())
    unknown = [protein_id for protein_id in protein_ids if protein_id not in done]
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: not among the {len(done)} finished proteins; see proteins.csv")
    return [done[protein_id] for protein_id in protein_ids]


def write_png_views(dataset: "Dataset", protein_index: int, folder: Path) -> None:
    """Write every view of one protein as a 16-bit PNG below `folder`."""
    import numpy as np
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    from afmsim.dataset import ABSORPTION_PER_NM
    from hpc.atomic_file import atomic_write

    text = PngInfo()
    text.add_text("pixel_size_nm", f"{float(dataset.pixel_size_nm[protein_index]):.6f}")
    if dataset.rendering == "height":
        images = dataset.heights_nm(protein_index)
        white = float(images.max())
        text.add_text("height_nm_at_white", f"{white:.4f}")
    else:
        images, white = dataset.images(protein_index), 1.0
        text.add_text("absorption_per_nm", f"{ABSORPTION_PER_NM:g}")
    for view, image in enumerate(images):
        grey = np.rint(image * (_WHITE / white)).astype(np.uint16)
        with atomic_write(folder / dataset.protein_ids[protein_index] / f"view_{view:02d}.png") as temporary:
            Image.fromarray(grey).save(temporary, pnginfo=text)


def write_surface(dataset: "Dataset", protein_index: int, folder: Path, suffix: str) -> None:
    """Write the surface of one protein's fine grid as an OBJ or PLY file below `folder`."""
    from afmsim.isosurface import surface_of_occupancy
    from hpc.atomic_file import atomic_write

    mesh = surface_of_occupancy(dataset.occupancy_fine(protein_index), dataset.placement(protein_index))
    with atomic_write(folder / f"{dataset.protein_ids[protein_index]}.{suffix}") as temporary:
        mesh.to_trimesh().export(temporary)


if __name__ == "__main__":
    sys.exit(main())
