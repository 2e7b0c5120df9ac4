"""
Height maps prepared for registration: surface points, distance to what a view allows, and support functions.

All lengths are in cells (a whole number of pixels, so that an image has at most `MAX_CELLS` of them). Each view has
a frame of its own: x grows with columns, y against rows, z upwards; the origin is the middle of the box around what
is seen, halfway between the substrate and the highest point.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import numba
import numpy as np

from recon.poses.pose_point_kernels import FitArrays
from recon.poses.rotation_sampling import upper_directions

MAX_CELLS = 64
MARGIN_CELLS = 4
"""Empty cells around the image in the distance grid."""
NUM_POINTS = 1024
NUM_DIRECTIONS = 128
SUPPORT_MAP_SIZE = 65
EXACT_ALLOWANCE_CELLS = 0.4
"""Exact heights differ so much between neighbouring pixels."""
BLUR_CELLS, BLUR_RADIUS_CELLS = 1.2, 4
LEAST_SHARE = 1e-3
"""Of a cell; less is taken for none."""
STEEPEST_SLOPE = 3.0
"""Steeper pixels lie on walls, whose normals a height map does not show."""


@dataclass(frozen=True)
class ViewStack:
    """The views of one protein, all arrays with the view as first axis."""

    cell_nm: float
    allowance: float
    """a point so far above a surface, in cells, does not break it"""
    heights: np.ndarray
    """float32 `(view, row, col)`, heights above the substrate in cells"""
    pixel_cells: float
    """edge of a pixel in cells"""
    centers: np.ndarray
    """float32 `(view, xyz)`: the origin of each view's frame, from the image's centre on the substrate"""
    points: np.ndarray
    """float32 `(view, point, xyz)`: surface points in the view's frame"""
    normals: np.ndarray
    """float32 `(view, point, xyz)`: outward unit normals; zero where the surface is too steep"""
    distance: Any
    """float32 `(view, z, y, x)`: signed distance to what the view allows, above 0 outside; where it was computed"""
    corners: np.ndarray
    """float32 `(view, xyz)`: the centre of `distance[view, 0, 0, 0]` in the view's frame"""
    supports: np.ndarray
    """float32 `(view, direction)`: how far the body reaches along each of the upper directions"""
    support_maps: np.ndarray
    """float32 `(view, y, x)`: the same over the direction's y and x from -1 to 1"""
    ceilings: np.ndarray
    """float32 `(view, row, col)`: the highest that a surface can be at a pixel and its eight neighbours"""

    @property
    def num_views(self) -> int:
        """Number of views."""
        return len(self.heights)


def fit_arrays(stack: ViewStack, num_points: int) -> FitArrays:
    """Return what the compiled loops read, with that many surface points per view."""
    return FitArrays(
        stack.points[:, :num_points].astype(np.float64),
        stack.normals[:, :num_points].astype(np.float64),
        stack.distance,
        stack.corners.astype(np.float64),
        stack.heights,
        stack.ceilings,
        stack.centers.astype(np.float64),
        stack.pixel_cells,
        STEEPEST_SLOPE,
    )


def prepare_views(
    heights_nm: np.ndarray,
    pixel_size_nm: float,
    height_error_nm: float = 0.0,
    xp: ModuleType = np,
    upper_nm: np.ndarray | None = None,
) -> ViewStack:
    """
    Prepare the views of one protein.

    Parameters
    ----------
    heights_nm
        float `(view, row, col)`, square images of one scale; 0 is substrate.
    pixel_size_nm
        Edge of a pixel.
    height_error_nm
        Points so far above a surface do not break it.
    xp
        What computes the distance grids: numpy on the CPU, cupy on the GPU.
    upper_nm
        float `(view, row, col)`: what no surface lies above, where heights are a guess; points break only that.

    Raises
    ------
    ValueError
        The images are not square, or one of them shows nothing above the substrate.
    """
    _check_heights(heights_nm)
    pixels_per_cell = -(-heights_nm.shape[1] // MAX_CELLS)
    cell_nm = pixel_size_nm * pixels_per_cell
    heights = np.ascontiguousarray(heights_nm / cell_nm, dtype=np.float32)
    bounds = heights if upper_nm is None else np.asarray(upper_nm / cell_nm, dtype=np.float32)
    pixel_cells = 1 / pixels_per_cell
    distance, corner = allowed_distances(heights, pixels_per_cell, xp)
    prepare = partial(_prepare_view, pixel_cells=pixel_cells, corner=corner)
    with _threads() as threads:
        views = list(threads.map(prepare, heights, bounds))
    center, points, normals, corners, *supports_and_ceilings = (np.stack(parts) for parts in zip(*views, strict=True))
    allowance = EXACT_ALLOWANCE_CELLS + height_error_nm / cell_nm
    return ViewStack(
        cell_nm, allowance, heights, pixel_cells, center, points, normals, distance, corners, *supports_and_ceilings
    )


def _threads() -> ThreadPoolExecutor:
    """Return as many threads as compiled loops take."""
    return ThreadPoolExecutor(numba.get_num_threads())


def _check_heights(heights_nm: np.ndarray) -> None:
    if heights_nm.ndim != 3 or heights_nm.shape[1] != heights_nm.shape[2]:
        raise ValueError(f"got heights of shape {heights_nm.shape}, expected square images (view, row, col)")
    empty = np.flatnonzero(~(heights_nm > 0).any(axis=(1, 2)))
    if len(empty):
        raise ValueError(f"view {empty[0]} shows nothing above the substrate; leave it out or lower the threshold")


def _prepare_view(
    heights: np.ndarray, bound: np.ndarray, pixel_cells: float, corner: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Return centre, points, normals, corner, supports, support map and ceiling of one view."""
    from scipy.ndimage import maximum_filter

    x, y = pixel_positions(heights.shape[0], pixel_cells)
    row, col = np.nonzero(heights > 0)
    surface = np.stack([x[col], y[row], heights[row, col]], axis=1)  # (pixel, xyz)
    center = (surface.min(axis=0) + surface.max(axis=0)) / 2
    center[2] = heights.max() / 2
    surface = (surface - center).astype(np.float32)
    chosen = np.random.default_rng(0).permutation(len(surface))[np.arange(NUM_POINTS) % len(surface)]
    normals = _normals(heights, pixel_cells, row[chosen], col[chosen])
    supports, support_map = _support_functions(surface)
    ceiling = maximum_filter(bound, size=3)
    arrays = (center, surface[chosen], normals, corner - center, supports, support_map, ceiling)
    return tuple(np.asarray(array, dtype=np.float32) for array in arrays)


def pixel_positions(image_size: int, pixel_size: float) -> tuple[np.ndarray, np.ndarray]:
    """Return x of the columns and y of the rows, from the image's centre."""
    x = (np.arange(image_size) - (image_size - 1) / 2) * pixel_size
    return x, -x


def _normals(heights: np.ndarray, pixel_cells: float, row: np.ndarray, col: np.ndarray) -> np.ndarray:
    """Return outward unit normals `(point, xyz)` at some pixels, zero on walls."""
    down, right = (slope[row, col] for slope in np.gradient(heights, pixel_cells))
    normals = np.stack([-right, down, np.ones_like(right)], axis=-1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    normals[np.hypot(down, right) > STEEPEST_SLOPE] = 0
    return normals


def allowed_distances(heights: np.ndarray, pixels_per_cell: int, xp: ModuleType = np) -> tuple[Any, np.ndarray]:
    """
    Return the signed distances to the space between substrate and surface, and where their grids begin.

    The space's share of each cell is blurred by a Gaussian; at a plane the blurred share is a normal distribution
    of the distance, whose inverse gives the distance back. It is exact for planes and smooth at edges, and saturates
    at about three widths of the Gaussian.

    Parameters
    ----------
    heights
        float32 `(view, row, col)` in cells.

    Returns
    -------
    distance, corner_xyz
        float32 `(view, z, y, x)` in cells, above 0 outside, an array of `xp`; and the centre of the first cell from
        the image's centre on the substrate, float64 `(xyz,)`.
    """
    num_cells = -(-heights.shape[1] // pixels_per_cell)
    num_levels = int(np.ceil(heights.max())) + 2 * MARGIN_CELLS
    half_image = heights.shape[1] / pixels_per_cell / 2
    corner_xy = -half_image - MARGIN_CELLS + 0.5
    shift_y = num_cells - 2 * half_image  # padding below the image
    corner = np.array([corner_xy, corner_xy - shift_y, 0.5 - MARGIN_CELLS])
    width = float(np.sqrt(BLUR_CELLS**2 + 1 / 12))  # of the Gaussian and of the cell itself
    if xp is np:
        distance = partial(_allowed_distance, pixels_per_cell=pixels_per_cell, num_levels=num_levels, width=width)
        with _threads() as threads:
            return np.stack(list(threads.map(distance, heights))), corner
    from recon.poses import view_stack_gpu

    weights = np.exp(-0.5 * (np.arange(-BLUR_RADIUS_CELLS, BLUR_RADIUS_CELLS + 1) / BLUR_CELLS) ** 2)
    shape = (num_levels, num_cells + 2 * MARGIN_CELLS, num_cells + 2 * MARGIN_CELLS)
    distances = view_stack_gpu.allowed_distances(
        heights, pixels_per_cell, shape, MARGIN_CELLS, weights / weights.sum(), LEAST_SHARE, width, xp
    )
    return distances, corner


def _allowed_distance(heights: np.ndarray, pixels_per_cell: int, num_levels: int, width: float) -> np.ndarray:
    """Return float32 `(z, y, x)` of one view."""
    from scipy.ndimage import gaussian_filter
    from scipy.special import ndtri

    num_cells = -(-heights.shape[0] // pixels_per_cell)
    padded = np.pad(heights, (0, num_cells * pixels_per_cell - heights.shape[0]))[::-1]  # rows grow with y
    size = num_cells + 2 * MARGIN_CELLS
    bottom = np.arange(num_levels) - float(MARGIN_CELLS)
    columns = padded.reshape(num_cells, pixels_per_cell, num_cells, pixels_per_cell).transpose(1, 3, 0, 2)
    share = np.zeros((num_levels, size, size), dtype=np.float32)
    inner = share[:, MARGIN_CELLS:-MARGIN_CELLS, MARGIN_CELLS:-MARGIN_CELLS]
    for heights_of_cells in columns.reshape(-1, num_cells, num_cells):
        inner[MARGIN_CELLS:] += np.clip(heights_of_cells - bottom[MARGIN_CELLS:, None, None], 0, 1)
    blurred = gaussian_filter(share / pixels_per_cell**2, BLUR_CELLS, radius=BLUR_RADIUS_CELLS)
    return (-width * ndtri(np.clip(blurred, LEAST_SHARE, 1 - LEAST_SHARE))).astype(np.float32)


def _support_functions(surface: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the support function over the upper directions, and as a map over the direction's y and x."""
    from scipy.spatial import ConvexHull

    corners = surface
    if len(surface) > 100:
        corners = surface[ConvexHull(surface, qhull_options="QJ").vertices]
    axis = np.linspace(-1, 1, SUPPORT_MAP_SIZE)
    y, x = np.meshgrid(axis, axis, indexing="ij")
    radius = np.maximum(np.hypot(x, y), 1)
    directions = np.stack([x / radius, y / radius, np.sqrt(np.clip(1 - x**2 - y**2, 0, 1))], axis=-1)
    support_map = (directions @ corners.T).max(axis=-1)
    return (upper_directions(NUM_DIRECTIONS) @ corners.T).max(axis=-1), support_map
