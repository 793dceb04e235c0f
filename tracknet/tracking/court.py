"""Where on a court something is that a picture shows: four known points give the camera.

Court coordinates are metres, ``x`` across and ``y`` along the court and ``z`` up from it, from whatever place
the known points count from; picture coordinates have the centre of pixel *k* at *k*.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tracknet.errors import UsageError

Array = NDArray[np.float64]


def find_homography(plane: ArrayLike, picture: ArrayLike) -> Array:
    """Find the map from a plane to its picture.

    The normalised direct linear transformation: each point gives two linear equations for the nine entries of
    H, of which the right singular vector of the least singular value is the answer (Hartley and Zisserman,
    "Multiple View Geometry", 2nd ed., algorithm 4.2). Exact for four points, least squares for more.

    Args:
        plane: Points of the plane, ``[N, 2]``, N at least 4, no three of four on a line.
        picture: The same points in the picture, pixels, ``[N, 2]``.

    Returns:
        ``H [3, 3]`` with ``(u, v, w) = H (x, y, 1)`` and the pixel ``(u / w, v / w)``.

    Raises:
        UsageError: There are fewer than four pairs, unequal numbers, or points that fix no map.

    Example:
        >>> square = [(0, 0), (1, 0), (1, 1), (0, 1)]
        >>> find_homography(square, [(10, 20), (30, 20), (30, 60), (10, 60)]).round(6) + 0.0
        array([[20.,  0., 10.],
               [ 0., 40., 20.],
               [ 0.,  0.,  1.]])
    """
    a, b = np.asarray(plane, np.float64), np.asarray(picture, np.float64)
    if a.shape != b.shape or a.ndim != 2 or a.shape[1] != 2 or len(a) < 4:
        raise UsageError(
            f"court points: found {list(a.shape)} on the court and {list(b.shape)} in the picture; expected"
            " the same number of points (x, y) in both, four or more"
        )
    scale_a, scale_b = _normalising(a), _normalising(b)
    (x, y), (u, v) = _mapped(scale_a, a).T, _mapped(scale_b, b).T
    one, none = np.ones_like(x), np.zeros_like(x)
    rows = np.concatenate(
        [
            np.stack([x, y, one, none, none, none, -u * x, -u * y, -u], axis=1),
            np.stack([none, none, none, x, y, one, -v * x, -v * y, -v], axis=1),
        ]
    )
    _, values, vectors = np.linalg.svd(rows)
    solved = vectors[-1].reshape(3, 3)
    if values[7] < 1e-7 or abs(np.linalg.det(solved)) < 1e-9:
        raise UsageError("court points: three of the points lie on a line; expected corners of the court")
    found = np.linalg.inv(scale_b) @ solved @ scale_a
    homography: Array = found / found[2, 2]
    return homography


class CourtView:
    """A camera without lens distortion, known from points of the court that it shows.

    The homography H of the court gives the floor. With square pixels and the optical axis through the middle
    of the picture it also gives the focal length and where the camera stands (Zhang, "A flexible new
    technique for camera calibration", 2000): the first two columns of ``K^-1 H`` are the court's axes as the
    camera has them, perpendicular and of equal length. So heights above the court are known too.

    Args:
        court: Known points, metres, ``[N, 2]``, N at least 4, such as the corners of the court.
        picture: Where the picture shows them, pixels, ``[N, 2]``, in the same order.
        size: Height and width of the picture.

    Attributes:
        homography: From the court to the picture, ``[3, 3]``, see `find_homography`.
        focal: Focal length, pixels.

    Raises:
        UsageError: The points fix no camera.
    """

    def __init__(self, court: ArrayLike, picture: ArrayLike, size: tuple[int, int]) -> None:
        self.homography = find_homography(court, picture)
        centre = np.array([(size[1] - 1) / 2, (size[0] - 1) / 2])
        shift = np.array([[1, 0, -centre[0]], [0, 1, -centre[1]], [0, 0, 1]])
        across, along = (shift @ self.homography).T[:2]
        # Perpendicular axes say f^2 = -b[0] / a[0], axes of equal length f^2 = -b[1] / a[1]: least squares.
        a = np.array([across[2] * along[2], across[2] ** 2 - along[2] ** 2])
        b = np.array([across[:2] @ along[:2], across[:2] @ across[:2] - along[:2] @ along[:2]])
        squared = -(a @ b) / (a @ a) if a @ a else -1.0
        if not squared > 0:
            raise UsageError(
                "court points: no camera shows the court like that; expected the points in the same order in"
                " the picture and on the court, and a camera that does not look straight down"
            )
        self.focal = float(np.sqrt(squared))
        intrinsic = np.array([[self.focal, 0, centre[0]], [0, self.focal, centre[1]], [0, 0, 1]])
        right, away, place = (np.linalg.inv(intrinsic) @ self.homography).T
        length = (np.linalg.norm(right) + np.linalg.norm(away)) / 2
        length *= np.sign(self.homography[2] @ np.append(np.mean(np.asarray(court, float), axis=0), 1))
        right, away, place = right / length, away / length, place / length
        up = np.cross(right, away)
        self._projection = intrinsic @ np.stack([right, away, up, place], axis=1)  # [3, 4]

    @property
    def position(self) -> Array:
        """Where the camera stands, metres, ``[3]``."""
        place: Array = -np.linalg.solve(self._projection[:, :3], self._projection[:, 3])
        return place

    def to_picture(self, points: ArrayLike) -> Array:
        """Show points in the picture.

        Args:
            points: Metres, ``[..., 3]``, or ``[..., 2]`` on the floor.

        Returns:
            Pixels, ``[..., 2]``.
        """
        given = np.asarray(points, np.float64)
        return _mapped(self._projection if given.shape[-1] == 3 else self.homography, given)

    def to_court(self, pixels: ArrayLike, height: float = 0.0) -> Array:
        """Say where something is that a pixel shows.

        Args:
            pixels: Pixels, ``[..., 2]``.
            height: How high above the court it is, metres; a ball in flight that is taken for one on the
                floor seems farther away than it is.

        Returns:
            Metres across and along the court, ``[..., 2]``.
        """
        level = self._projection[:, [0, 1, 3]].copy()
        level[:, 2] += height * self._projection[:, 2]
        plane = level if height else self.homography
        return _mapped(np.linalg.inv(plane), np.asarray(pixels, np.float64))


def corners(width: float, length: float) -> list[tuple[float, float]]:
    """Give the corners of a court around its middle: near left, near right, far right, far left.

    Args:
        width: Its width, metres: tennis 10.97 (doubles), badminton 6.1, volleyball 9, table tennis 1.525.
        length: Its length, metres: tennis 23.77, badminton 13.4, volleyball 18, table tennis 2.74.
    """
    x, y = width / 2, length / 2
    return [(-x, -y), (x, -y), (x, y), (-x, y)]


def _mapped(matrix: Array, points: Array) -> Array:
    """Map points ``[..., n]`` by a matrix ``[3, n + 1]``."""
    seen = points @ matrix[:, :-1].T + matrix[:, -1]
    mapped: Array = seen[..., :2] / seen[..., 2:]
    return mapped


def _normalising(points: Array) -> Array:
    """Give the map that brings points around the origin, at a mean distance of the root of 2."""
    middle = points.mean(axis=0)
    spread = float(np.linalg.norm(points - middle, axis=1).mean())
    scale = np.sqrt(2) / spread if spread > 0 else 1.0
    rows: Sequence[Sequence[float]] = [
        [scale, 0, -scale * middle[0]],
        [0, scale, -scale * middle[1]],
        [0, 0, 1],
    ]
    return np.array(rows, np.float64)
