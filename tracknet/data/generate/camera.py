"""A pinhole camera above a court, and how it shakes and pans."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Camera:
    """A camera without lens distortion, level with the horizon.

    World coordinates are metres (x right, y away, z up, from the middle of the net); pixel coordinates have
    the centre of pixel k at k.

    Attributes:
        size: Picture ``(height, width)``.
        position: Where it stands, ``[3]``.
        axes: Its right, down and forward directions as rows, ``[3, 3]``.
        focal: Focal length in pixels.
    """

    size: tuple[int, int]
    position: Array
    axes: Array
    focal: float

    @property
    def centre(self) -> Array:
        """The principal point ``(x, y)``: the middle of the picture."""
        return np.array([(self.size[1] - 1) / 2, (self.size[0] - 1) / 2])

    def project(self, points: Array) -> tuple[Array, Array]:
        """Show points in the picture.

        Args:
            points: World coordinates, ``[..., 3]``.

        Returns:
            Pixels ``[..., 2]`` and the depth along the line of sight ``[...]``, metres. Points behind the
            camera are drawn up to 0.1 m before it.
        """
        seen = (points - self.position) @ self.axes.T
        depth = np.maximum(seen[..., 2], 0.1)
        pixels: Array = seen[..., :2] * (self.focal / depth[..., None]) + self.centre
        return pixels, depth

    def scale(self, depth: Array) -> Array:
        """Pixels per metre at a depth."""
        return self.focal / depth

    def rays(self, top: int, left: int, height: int, width: int) -> Array:
        """Directions into which the pixels of a block look, world coordinates, ``[height, width, 3]``.

        Args:
            top: First row; may be negative, outside the picture.
            left: First column.
            height: Rows.
            width: Columns.
        """
        x = (np.arange(left, left + width) - self.centre[0]) / self.focal
        y = (np.arange(top, top + height) - self.centre[1]) / self.focal
        right, down, forward = self.axes
        directions: Array = x[None, :, None] * right + y[:, None, None] * down + forward
        return directions


def watch(
    size: tuple[int, int],
    *,
    distance: float,
    height: float,
    azimuth: float,
    near: tuple[float, float],
    far: tuple[float, float],
) -> Camera:
    """Place a camera so that two points of the middle line appear at given heights of the picture.

    Args:
        size: Picture ``(height, width)``.
        distance: Metres from the middle of the net, on the ground.
        height: Metres above the floor.
        azimuth: Direction from which it looks, radians; 0 is behind the near baseline, positive to the right.
        near: A ``y`` on the middle line of the court, nearer to the camera, and the share of the picture's
            height, from the top, at which it appears.
        far: The same for a point farther away.

    Returns:
        The camera, with tilt and focal length solved for.
    """
    position = np.array([distance * np.sin(azimuth), -distance * np.cos(azimuth), height])
    ground = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    rows = np.array([near[1], far[1]]) * size[0] - (size[0]) / 2
    along = np.array([distance + near[0] * np.cos(azimuth), distance + far[0] * np.cos(azimuth)])
    below = np.arctan2(height, along)  # angle below the horizon
    tilts = np.linspace(0.0, 1.2, 4801)
    seen = np.tan(below[None, :] - tilts[:, None])  # [tilts, 2], row / focal
    focal = (rows[0] - rows[1]) / (seen[:, 0] - seen[:, 1])
    best = int(np.argmin(np.abs(focal * seen[:, 1] - rows[1])))
    tilt = float(tilts[best])
    right = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    forward = ground * np.cos(tilt) + np.array([0.0, 0.0, -np.sin(tilt)])
    down = np.cross(forward, right)
    return Camera(size, position, np.stack([right, down, forward]), float(focal[best]))


def sway(frames: int, rng: np.random.Generator, *, shake: float, pan: float) -> Array:
    """How far the picture is moved in each frame.

    Args:
        frames: How many frames.
        rng: Where the motion comes from.
        shake: Standard deviation of a quick unrest, pixels.
        pan: Largest distance of a slow turn to the sides, pixels.

    Returns:
        Offsets ``(x, y)`` to add to every pixel position, ``[frames, 2]``.
    """
    time = np.arange(frames)
    moved = np.zeros((frames, 2))
    if shake:
        for period in (7.0, 17.0, 41.0):
            phase = rng.uniform(0, 2 * np.pi, 2)
            moved += shake * 0.7 * np.sin(2 * np.pi * time[:, None] / period + phase)
    if pan:
        turn = 2 * np.pi * (time / rng.uniform(140, 320) + rng.uniform())
        moved[:, 0] += pan * np.sin(turn)
        moved[:, 1] += 0.2 * pan * np.sin(turn / 1.3)
    return moved
