"""What an AFM tip makes of a surface: the apex touches nothing before some other part of the tip does."""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy


@dataclass(frozen=True)
class Tip:
    """A sphere at the end of a cone that touches it.

    Attributes
    ----------
    radius_nm
        Radius of the sphere.
    half_angle_deg
        Angle between the cone's axis and its side.
    """

    radius_nm: float
    half_angle_deg: float = 10.0

    def __post_init__(self) -> None:
        if not (self.radius_nm >= 0 and 0 < self.half_angle_deg < 90):
            raise ValueError(
                f"Got a tip of radius {self.radius_nm} nm and half angle {self.half_angle_deg} degrees; "
                "expected a radius of at least 0 nm and an angle between 0 and 90 degrees."
            )

    def height_nm(self, distance_nm: numpy.ndarray) -> numpy.ndarray:
        """Return the height of the tip's surface above its apex, at distances from its axis.

        The sphere ``r - sqrt(r^2 - d^2)`` up to where the cone touches it, ``d = r cos(a)``, and the cone behind.
        """
        angle = numpy.deg2rad(self.half_angle_deg)
        joint_nm = self.radius_nm * numpy.cos(angle)
        within = numpy.minimum(distance_nm, joint_nm)
        sphere_nm = self.radius_nm - numpy.sqrt(self.radius_nm**2 - within**2)
        return sphere_nm + numpy.maximum(distance_nm - joint_nm, 0) / numpy.tan(angle)


def scan(height_nm: Any, tip: Tip, pixel_size_nm: float, xp: ModuleType = numpy) -> Any:
    """Return the image that a tip takes of a surface: its grey dilation by the tip turned over.

    The apex at a pixel rests at the largest of ``height(pixel + offset) - tip height(offset)`` over the offsets of the
    pixel grid (Villarrubia, J. Res. NIST 102, 425, 1997). The surface around an image is the substrate.

    Parameters
    ----------
    height_nm
        float32 ``(view, row, col)``, at least 0.
    xp
        numpy for the CPU, cupy for the GPU.

    Returns
    -------
    image_nm
        float32 ``(view, row, col)``, an array of ``xp``.
    """
    height_nm = xp.ascontiguousarray(height_nm, dtype=xp.float32)
    if height_nm.ndim != 3 or not pixel_size_nm > 0:
        raise ValueError(
            f"Got heights of shape {tuple(height_nm.shape)} and pixels of {pixel_size_nm} nm; "
            "expected (view, row, col) and a size above 0 nm."
        )
    if height_nm.size == 0:
        return height_nm.copy()
    offsets, tip_height_nm = _footprint(tip, pixel_size_nm, float(height_nm.max()), max(height_nm.shape[1:]))
    if xp is numpy:
        from afmsim import tip_cpu

        return tip_cpu.dilate(height_nm, offsets, tip_height_nm)
    from afmsim import tip_gpu

    return tip_gpu.dilate(height_nm, offsets, tip_height_nm, xp)


def _footprint(
    tip: Tip, pixel_size_nm: float, highest_nm: float, image_size: int
) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Return the offsets int32 ``(offset, row and col)`` that can matter, and the tip there, float32, lowest first."""
    along = numpy.arange(1 - image_size, image_size)
    distance_nm = numpy.hypot(along[:, None], along) * pixel_size_nm
    tip_height_nm = tip.height_nm(distance_nm).astype(numpy.float32)
    row, col = numpy.nonzero((tip_height_nm < highest_nm) | (distance_nm == 0))
    order = numpy.argsort(tip_height_nm[row, col], kind="stable")
    offsets = numpy.stack([along[row], along[col]], axis=1)[order].astype(numpy.int32)
    return numpy.ascontiguousarray(offsets), tip_height_nm[row, col][order]
