"""Meshes with known truth, and slow plain references for the geometry kernels."""

from __future__ import annotations

from fractions import Fraction

import numpy

Mesh = tuple[numpy.ndarray, numpy.ndarray]


def icosphere(num_subdivisions: int, radius_nm: float = 1.0) -> Mesh:
    """A closed sphere of 20 * 4**num_subdivisions triangles, as float64 (vertex, xyz) and int32 (face, corner)."""
    golden = (1 + 5**0.5) / 2
    corners = [[-1, golden, 0], [1, golden, 0], [-1, -golden, 0], [1, -golden, 0]]
    points = numpy.array(corners + [c[-1:] + c[:-1] for c in corners] + [c[1:] + c[:1] for c in corners], float)
    faces = _hull_faces(points)
    for _ in range(num_subdivisions):
        points, faces = _subdivided(points, faces)
    return points / numpy.linalg.norm(points, axis=1, keepdims=True) * radius_nm, faces.astype(numpy.int32)


def _hull_faces(points: numpy.ndarray) -> numpy.ndarray:
    from scipy.spatial import ConvexHull

    return ConvexHull(points).simplices


def _subdivided(points: numpy.ndarray, faces: numpy.ndarray) -> Mesh:
    """Cut each triangle into four; neighbours share the new points."""
    edges = numpy.sort(faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2), axis=1)
    unique_edges, edge_of = numpy.unique(edges, axis=0, return_inverse=True)
    middle = len(points) + edge_of.reshape(-1, 3)
    points = points / numpy.linalg.norm(points, axis=1, keepdims=True)
    first, second, third = faces.T
    first_middle, second_middle, third_middle = middle.T
    parts = [
        (first, first_middle, third_middle),
        (second, second_middle, first_middle),
        (third, third_middle, second_middle),
        (first_middle, second_middle, third_middle),
    ]
    new_points = numpy.concatenate([points, points[unique_edges].mean(axis=1)])
    return new_points, numpy.concatenate([numpy.stack(part, axis=1) for part in parts])


def box(lowest_xyz: tuple[float, float, float], highest_xyz: tuple[float, float, float]) -> Mesh:
    """A closed box of 12 triangles."""
    corner_bits = numpy.array([[bit >> axis & 1 for axis in range(3)] for bit in range(8)])
    vertices = numpy.where(corner_bits, highest_xyz, lowest_xyz).astype(numpy.float64)
    quads = [(0, 2, 3, 1), (4, 5, 7, 6), (0, 1, 5, 4), (2, 6, 7, 3), (0, 4, 6, 2), (1, 3, 7, 5)]
    faces = [triangle for a, b, c, d in quads for triangle in ((a, b, c), (a, c, d))]
    return vertices, numpy.array(faces, dtype=numpy.int32)


def union(*meshes: Mesh) -> Mesh:
    """Bodies that do not overlap, as one mesh."""
    offsets = numpy.cumsum([0] + [len(vertices) for vertices, _ in meshes])
    vertices = numpy.concatenate([vertices for vertices, _ in meshes])
    faces = [faces + offset for (_, faces), offset in zip(meshes, offsets[:-1], strict=True)]
    return vertices, numpy.concatenate(faces).astype(numpy.int32)


def asymmetric_body() -> Mesh:
    """A lying bar with one bump at +x, +y and a taller one elsewhere: no mirror image of it is a rotation of it."""
    return union(
        box((-4.0, -3.0, -2.0), (4.0, 3.0, 0.0)),
        box((2.0, 1.0, 0.25), (4.0, 3.0, 1.5)),
        box((-4.0, 0.0, 0.25), (-2.5, 1.5, 3.0)),
        box((-1.0, -3.0, 0.25), (1.5, -2.0, 0.8)),
    )


def with_hole(mesh: Mesh, direction_xyz: tuple[float, float, float], num_faces: int) -> Mesh:
    """The mesh without the faces that lie farthest in a direction."""
    vertices, faces = mesh
    along = vertices[faces].mean(axis=1) @ numpy.array(direction_xyz)
    return vertices, faces[numpy.argsort(along)[:-num_faces]]


def random_tetrahedra(num_bodies: int, rng: numpy.random.Generator, extent: float) -> Mesh:
    """Closed bodies that may cross each other: parity is defined for any of them."""
    faces = numpy.array([(0, 1, 2), (0, 3, 1), (1, 3, 2), (2, 3, 0)], dtype=numpy.int32)
    return union(*[(rng.uniform(-extent, extent, (4, 3)), faces) for _ in range(num_bodies)])


def parity_reference(lattice: numpy.ndarray, faces: numpy.ndarray, grid_size: int, ray_axis: int) -> numpy.ndarray:
    """uint8 (z, y, x) of a closed mesh by exact fractions, one ray after the other along an axis.

    The ray is moved by two different infinitesimal steps, so that it meets no edge and no vertex: a number is the
    triple of its real part and the parts in the first and the second infinitesimal, compared in this order.
    """
    col_axis, row_axis = (axis for axis in range(3) if axis != ray_axis)
    inside = numpy.zeros((grid_size,) * 3, dtype=numpy.uint8)  # (x, y, z), ray axis moved to the front
    for row in range(grid_size):
        for col in range(grid_size):
            for face in faces:
                corners = [[int(value) for value in lattice[vertex]] for vertex in face]
                depth = _crossing_depth(corners, ray_axis, col_axis, row_axis, col * 1024, row * 1024)
                if depth is not None:
                    first_behind = min(max(-(-depth // 1024), 0), grid_size)
                    inside[int(first_behind) :, col, row] ^= 1
    return numpy.ascontiguousarray(numpy.moveaxis(inside, (0, 1, 2), (ray_axis, col_axis, row_axis)).T)


def _crossing_depth(
    corners: list[list[int]], ray_axis: int, col_axis: int, row_axis: int, col: int, row: int
) -> Fraction | None:
    weights = []
    for from_corner, to_corner in ((1, 2), (2, 0), (0, 1)):
        start, end = corners[from_corner], corners[to_corner]
        d_col, d_row = end[col_axis] - start[col_axis], end[row_axis] - start[row_axis]
        at_ray = d_col * (row - start[row_axis]) - d_row * (col - start[col_axis])
        weights.append((at_ray, -d_row, d_col))
    if not (all(weight > (0, 0, 0) for weight in weights) or all(weight < (0, 0, 0) for weight in weights)):
        return None
    total = sum(weight[0] for weight in weights)
    if total == 0:
        return None
    return Fraction(sum(weight[0] * corner[ray_axis] for weight, corner in zip(weights, corners, strict=True)), total)


def z_buffer_heights(
    mesh: Mesh, rotation: numpy.ndarray, center_xyz: numpy.ndarray, pixel_size: float, image_size: int
):
    """Height above the lowest vertex and hit mask, float64 and bool (row, col), triangle by triangle."""
    vertices, faces = mesh
    points = (vertices - center_xyz) @ numpy.asarray(rotation, dtype=numpy.float64).T
    half_size = (image_size - 1) / 2
    pixel_x = (numpy.arange(image_size) - half_size)[None, :] * pixel_size
    pixel_y = -(numpy.arange(image_size) - half_size)[:, None] * pixel_size
    surface = numpy.full((image_size, image_size), -numpy.inf)
    for first, second, third in points[faces]:
        total = _cross(second[:2] - first[:2], third[:2] - first[:2])
        if abs(total) < 1e-12:
            continue
        weight_2 = ((pixel_x - first[0]) * (third[1] - first[1]) - (pixel_y - first[1]) * (third[0] - first[0])) / total
        weight_3 = (
            (second[0] - first[0]) * (pixel_y - first[1]) - (second[1] - first[1]) * (pixel_x - first[0])
        ) / total
        is_inside = (weight_2 >= 0) & (weight_3 >= 0) & (weight_2 + weight_3 <= 1)
        z = first[2] + weight_2 * (second[2] - first[2]) + weight_3 * (third[2] - first[2])
        surface = numpy.where(is_inside & (z > surface), z, surface)
    is_hit = numpy.isfinite(surface)
    return numpy.where(is_hit, surface - points[:, 2].min(), 0.0), is_hit


def _cross(first: numpy.ndarray, second: numpy.ndarray) -> float:
    return float(first[0] * second[1] - first[1] * second[0])
