"""Rotations spread evenly over SO(3), and directions spread evenly over the upper half of the sphere."""

import numpy as np

# The positive real root of psi**4 = psi + 4 (Alexa 2022, section 4).
_PSI = 1.533751168755204288118041
_GOLDEN_ANGLE_RAD = np.pi * (3 - np.sqrt(5))


def even_rotations(num_rotations: int) -> np.ndarray:
    """
    Return rotations of low discrepancy by the super-Fibonacci spiral.

    M. Alexa, "Super-Fibonacci Spirals: Fast, Low-Discrepancy Sampling of SO(3)", CVPR 2022, algorithm 1.

    Returns
    -------
    numpy.ndarray
        float32 `(rotation, 3, 3)`: left-multiply column xyz.
    """
    from scipy.spatial.transform import Rotation

    step = np.arange(num_rotations) + 0.5
    share = step / num_rotations
    alpha = 2 * np.pi * step / np.sqrt(2)
    beta = 2 * np.pi * step / _PSI
    low, high = np.sqrt(share), np.sqrt(1 - share)
    quaternions = np.stack([low * np.sin(alpha), low * np.cos(alpha), high * np.sin(beta), high * np.cos(beta)], axis=1)
    return Rotation.from_quat(quaternions).as_matrix().astype(np.float32)


def upper_directions(num_directions: int) -> np.ndarray:
    """Return unit vectors with z above 0 on a Fibonacci spiral, float32 `(direction, xyz)`."""
    step = np.arange(num_directions) + 0.5
    z = 1 - step / num_directions
    radius = np.sqrt(1 - z**2)
    angle = _GOLDEN_ANGLE_RAD * step
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), z], axis=1).astype(np.float32)
