"""What a threshold on the difference from the background finds: the least that a network has to beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

THRESHOLD = 30
"""Grey levels by which a pixel must differ from the background in its most different channel."""


def background_difference_baseline(
    frames: NDArray[np.uint8], background: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Look for the ball without learning: the small round thing that differs most from the background.

    Pixels that differ from the background are joined into components. Of those that are as large as a ball or
    its streak, and not longer than a streak, the one with the greatest contrast is taken.

    Args:
        frames: RGB, uint8 ``[N, H, W, 3]``.
        background: Median of the frames, uint8 ``[H, W, 3]``.

    Returns:
        Ball ``(x, y)`` in pixels, float32 ``[N, 2]``, and confidence, float32 ``[N]``: 0 where nothing was
        found, otherwise 0.5 to 1, growing with the contrast.
    """
    xy = np.zeros((len(frames), 2), dtype=np.float32)
    confidence = np.zeros(len(frames), dtype=np.float32)
    for index, frame in enumerate(frames):
        found = _clearest(np.abs(frame.astype(np.int16) - background).max(axis=-1))
        if found is not None:
            xy[index], confidence[index] = found
    return xy, confidence


def _clearest(difference: NDArray[np.int16]) -> tuple[tuple[float, float], float] | None:
    """Centre and confidence of the best component of a difference image, if there is one."""
    parts, count = ndimage.label(difference > THRESHOLD, structure=np.ones((3, 3)))
    scale = difference.shape[0] / 360
    area = np.bincount(parts.ravel(), minlength=count + 1)
    best, best_score = None, 0.0
    for label, place in enumerate(ndimage.find_objects(parts), start=1):
        if not 4 * scale**2 <= area[label] <= 60 * scale**2:
            continue
        longer = max(place[0].stop - place[0].start, place[1].stop - place[1].start)
        if area[label] < 0.2 * longer**2:
            continue
        score = float(difference[place][parts[place] == label].max())
        if score > best_score:
            best, best_score = (label, place), score
    if best is None:
        return None
    label, place = best
    weight = np.where(parts[place] == label, difference[place], 0).astype(np.float64)
    rows, columns = np.indices(weight.shape)
    total = weight.sum()
    x = place[1].start + float((columns * weight).sum() / total)
    y = place[0].start + float((rows * weight).sum() / total)
    return (x, y), min(1.0, 0.5 + float(weight.max()) / 510)
