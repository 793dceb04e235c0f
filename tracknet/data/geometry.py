"""Where a point lies when an image changes its size.

The centre of pixel ``k`` has the coordinate ``k``; the image of width ``W`` covers ``[-0.5, W - 0.5]``.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import torch

Points = TypeVar("Points", np.ndarray, torch.Tensor)


def resize_xy(xy: Points, from_size: tuple[int, int], to_size: tuple[int, int]) -> Points:
    """Move points with an image that is resized.

    ``x' = (x + 0.5) * W' / W - 0.5``, and likewise for y.

    Args:
        xy: Points ``(x, y)`` in pixels of the old size, shape ``[..., 2]``.
        from_size: Old size ``(height, width)``.
        to_size: New size ``(height, width)``.

    Returns:
        The points in pixels of the new size, of the same type and shape.

    Example:
        >>> resize_xy(np.array([[0.5, 0.5]]), (2, 2), (1, 1))
        array([[0., 0.]])
    """
    scale = (to_size[1] / from_size[1], to_size[0] / from_size[0])
    if isinstance(xy, torch.Tensor):
        factor = torch.tensor(scale, dtype=xy.dtype, device=xy.device)
        moved: Points = (xy + 0.5) * factor - 0.5
        return moved
    points: Points = (xy + 0.5) * np.asarray(scale, dtype=xy.dtype) - 0.5
    return points
