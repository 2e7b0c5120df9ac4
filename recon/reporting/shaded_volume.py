"""Pictures of voxel bodies: the surface seen along an axis, lit from the upper left."""

import numpy as np

PIXELS_PER_VOXEL = 4
_SMOOTHING_VOXELS = 0.6
_LIGHT_DIRECTION = np.array([-0.45, 0.45, 0.77])  # to the light: left, up, towards the viewer
_AMBIENT = 0.35


def seen_from_top(volume: np.ndarray) -> np.ndarray:
    """Turn `(z, y, x)` into `(depth, row, col)` as seen from +z: columns grow with x, rows with -y."""
    return volume[::-1, ::-1, :]


def seen_from_front(volume: np.ndarray) -> np.ndarray:
    """Turn `(z, y, x)` into `(depth, row, col)` as seen from -y: columns grow with x, rows with -z."""
    return volume.transpose(1, 0, 2)[:, ::-1, :]


def shaded_picture(body: np.ndarray, color_rgb: tuple[float, float, float]) -> np.ndarray:
    """
    Draw the surface of a body, orthographic, with parts farther away darker.

    Parameters
    ----------
    body
        0/1 `(depth, row, col)`, the viewer before depth 0.
    color_rgb
        Colour of the lit surface, each part in 0..1.

    Returns
    -------
    numpy.ndarray
        float32 `(row, col, rgba)`, `PIXELS_PER_VOXEL` of them per voxel, transparent where there is no body.
    """
    depth = _surface_depth(body)  # (row, col), nan where there is no body
    is_hit = np.isfinite(depth)
    filled = np.where(is_hit, depth, float(len(body)))
    down, right = np.gradient(filled * PIXELS_PER_VOXEL)
    # The surface's normal towards the viewer; depth grows away from the viewer, rows grow downwards.
    length = np.sqrt(right**2 + down**2 + 1)
    normal = np.stack([right, -down, np.ones_like(right)]) / length
    lit = np.clip(np.tensordot(_LIGHT_DIRECTION, normal, axes=1), 0, 1)
    nearness = 1 - 0.45 * np.clip(filled / len(body), 0, 1)
    shade = (_AMBIENT + (1 - _AMBIENT) * lit) * nearness
    picture = np.zeros((*depth.shape, 4), dtype=np.float32)
    picture[..., :3] = shade[..., None] * np.asarray(color_rgb)
    picture[..., 3] = is_hit
    return picture


def _surface_depth(body: np.ndarray) -> np.ndarray:
    """Return the depth of the first surface in voxels, float64 `(row, col)`, nan where there is none."""
    from scipy.ndimage import gaussian_filter, zoom

    # A shell of empty voxels, so that the surface is closed also where the body touches the border.
    soft = gaussian_filter(np.pad(body.astype(np.float32), 1), _SMOOTHING_VOXELS)
    fine = zoom(soft, PIXELS_PER_VOXEL, order=1, grid_mode=True, mode="nearest")[:, PIXELS_PER_VOXEL:-PIXELS_PER_VOXEL]
    fine = fine[:, :, PIXELS_PER_VOXEL:-PIXELS_PER_VOXEL]  # (depth, row, col)
    is_inside = fine >= 0.5
    first = is_inside.argmax(axis=0)
    behind = np.take_along_axis(fine, first[None], axis=0)[0]
    before = np.take_along_axis(fine, np.maximum(first - 1, 0)[None], axis=0)[0]
    step_back = np.clip((behind - 0.5) / np.maximum(behind - before, 1e-6), 0, 1)
    depth = (first - step_back) / PIXELS_PER_VOXEL - 1
    return np.where(is_inside.any(axis=0), depth, np.nan)
