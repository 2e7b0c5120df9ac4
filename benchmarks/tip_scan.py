"""
Height maps under a tip: our grey dilation against SciPy's, on views of real structures.

    python benchmarks/tip_scan.py --store dataset.zarr --num 10

SciPy is given the same tip as a structuring element, as small as it may be; both must give the same images.
"""

import argparse
from pathlib import Path

import numpy as np
from peers import median_s, once_s, print_ratios
from scipy.ndimage import grey_dilation

from afmsim.dataset import open_dataset
from afmsim.tip import Tip, scan


def scan_with_scipy(height_nm: np.ndarray, tip: Tip, pixel_size_nm: float) -> np.ndarray:
    """Return (view, row, col)."""
    reach = next(n for n in range(1, 10_000) if tip.height_nm(np.array(n * pixel_size_nm)) > height_nm.max())
    along = np.arange(-reach, reach + 1) * pixel_size_nm
    structure = -tip.height_nm(np.hypot(along[:, None], along))
    return np.array([grey_dilation(view, structure=structure, mode="constant", cval=0) for view in height_nm])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True, help="dataset of height maps")
    parser.add_argument("--num", type=int, default=10, help="proteins to take (default: %(default)s)")
    parser.add_argument("--num-views", type=int, default=2, help="views of each (default: %(default)s)")
    parser.add_argument("--tip-radius-nm", type=float, default=1.0, help="(default: %(default)s)")
    args = parser.parse_args()
    dataset, tip = open_dataset(args.store), Tip(args.tip_radius_nm)
    ours_s, scipy_s = [], []
    done = dataset.done_indices
    for index in done[np.unique(np.linspace(0, len(done) - 1, args.num).astype(int))]:
        height_nm = dataset.heights_nm(index, range(args.num_views))
        pixel_size_nm = float(dataset.pixel_size_nm[index])
        seconds, image_nm = median_s(lambda: scan(height_nm, tip, pixel_size_nm))
        ours_s.append(seconds)
        seconds, expected_nm = once_s(lambda: scan_with_scipy(height_nm, tip, pixel_size_nm))
        scipy_s.append(seconds)
        np.testing.assert_allclose(image_nm, expected_nm, atol=1e-4)
    print(f"{args.num_views} views of {dataset.image_size} x {dataset.image_size} pixels, a tip of {tip.radius_nm} nm")
    print_ratios("ours", ours_s, {"SciPy grey_dilation": scipy_s})


if __name__ == "__main__":
    main()
