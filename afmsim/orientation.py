"""Random orientations of a protein on the substrate."""

from __future__ import annotations

import hashlib

import numpy


def random_rotations(num_views: int, seed: int, protein_id: str) -> numpy.ndarray:
    """Draw rotations uniformly from SO(3), one per view.

    The random numbers of a view come from (seed, protein_id, view) alone, so that a view is the same whatever the
    number of views, the order of the proteins or the number of ranks. A normalised 4D Gaussian is a uniform unit
    quaternion (Muller, Commun. ACM 2, 19, 1959).

    Returns
    -------
    view_rotations
        float32 ``(view, 3, 3)``: left-multiply column xyz, world -> view.
    """
    from scipy.spatial.transform import Rotation

    quaternions = [_gaussian_quaternion(seed, protein_id, view) for view in range(num_views)]
    matrices = Rotation.from_quat(numpy.array(quaternions).reshape(-1, 4)).as_matrix()  # normalises
    return matrices.astype(numpy.float32)


def _gaussian_quaternion(seed: int, protein_id: str, view: int) -> numpy.ndarray:
    """Return four independent normal numbers that belong to this view of this protein."""
    digest = hashlib.sha256(f"{seed}\0{protein_id}\0{view}".encode()).digest()
    return numpy.random.default_rng(int.from_bytes(digest)).standard_normal(4)
