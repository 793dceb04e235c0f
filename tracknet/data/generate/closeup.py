"""What a broadcast shows between two points: a player or the stands, near by, and no ball."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from tracknet.data.generate.figure import Looks
from tracknet.data.generate.paint import Canvas, Pixels


class CloseUp:
    """A short view of a player or of the stands.

    Args:
        scenery: The venue's picture, ``[H', W', 3]``, at least as large as the frames.
        size: Frames, ``(height, width)``.
        looks: The player who may be shown.
        rng: What is shown, and how it moves.
    """

    def __init__(
        self, scenery: Pixels, size: tuple[int, int], looks: Looks, rng: np.random.Generator
    ) -> None:
        height, width = size
        zoom = float(rng.uniform(2.5, 4.0))
        rows, columns = int(height / zoom) + 4, int(width / zoom) + 4
        # The upper part of the picture is boards and stands, which is what is behind a player.
        top = int(rng.integers(0, max(1, scenery.shape[0] // 2 - rows)))
        left = int(rng.integers(0, max(1, scenery.shape[1] - columns)))
        piece = scenery[top : top + rows, left : left + columns]
        self._player = looks if rng.random() < 0.75 else None
        blur = 1.5 if self._player else 0.4
        piece = ndimage.gaussian_filter(piece, (blur, blur, 0)).astype(np.float32)
        enlarged = ndimage.zoom(piece, ((height + 24) / rows, (width + 24) / columns, 1), order=1)
        self._picture: Pixels = enlarged.astype(np.float32)
        self._middle = (float(rng.uniform(0.3, 0.7)) * width, float(rng.uniform(0.35, 0.5)) * height)
        self._unit = float(rng.uniform(0.22, 0.34)) * height
        self._drift, self._phase = float(rng.uniform(-0.8, 0.8)), float(rng.uniform(0, 6.28))

    def paint(self, canvas: Canvas, frame: int) -> None:
        """Paint the view as it is some frames after the cut."""
        x = int(np.clip(12 + self._drift * frame, 0, 24))
        canvas.pixels[:] = self._picture[12 : 12 + canvas.height, x : x + canvas.width]
        if self._player is None:
            return
        looks, unit = self._player, self._unit
        nod = float(np.sin(0.25 * frame + self._phase))
        head = (self._middle[0] - 1.5 * self._drift * frame + 0.04 * unit * nod, self._middle[1])
        neck = (head[0] - 0.04 * unit * nod, head[1] + 0.55 * unit)
        hips = (neck[0], neck[1] + 3.0 * unit)
        for side in (-1, 1):
            shoulder = (neck[0] + side * 0.75 * unit, neck[1] + 0.35 * unit)
            elbow = (shoulder[0] + side * 0.25 * unit, shoulder[1] + 1.3 * unit + 0.08 * unit * nod)
            canvas.capsule(shoulder, elbow, 0.26 * unit, looks.skin, soft=2.0)
            canvas.capsule(
                shoulder, (shoulder[0], shoulder[1] + 0.4 * unit), 0.33 * unit, looks.shirt, soft=2.0
            )
            canvas.capsule(neck, shoulder, 0.3 * unit, looks.shirt, soft=2.0)
        canvas.capsule((neck[0], neck[1] + 0.6 * unit), hips, 0.85 * unit, looks.shirt, soft=2.0)
        canvas.capsule(head, neck, 0.24 * unit, looks.skin, soft=2.0)
        crown = (head[0], head[1] - 0.16 * unit)
        canvas.capsule(crown, crown, 0.44 * unit, looks.hair, soft=2.0)
        canvas.capsule(head, (head[0], head[1] + 0.18 * unit), 0.36 * unit, looks.skin, soft=2.0)
        for side in (-1, 1):
            eye = (head[0] + side * 0.15 * unit, head[1] + 0.02 * unit)
            canvas.capsule(eye, eye, 0.04 * unit, (40.0, 35.0, 32.0), soft=1.5)
