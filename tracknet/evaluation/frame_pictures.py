"""Pictures of frames with the labelled ball beside the found one."""

from __future__ import annotations

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tracknet.evaluation.errors import FrameResult

SCALE = 2
"""Enlargement of the network's picture in the videos."""

LABELLED = (60, 255, 90)
FOUND = (255, 60, 220)
"""RGB of the two rings: green for the label, magenta for what was found, as in overlay videos."""

WORDS = {
    "tp": "found",
    "fp1": "wrong place",
    "fp2": "found where none is",
    "tn": "rightly none",
    "fn": "missed",
}

_DASHES = 8

FONT = f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf"
"""The font that matplotlib carries: there whatever the system and the version of Pillow."""


def drawn_frame(frame: np.ndarray, result: FrameResult | None) -> np.ndarray:
    """Draw one frame of a video.

    Args:
        frame: RGB, uint8 ``[3, H, W]``.
        result: What became of it; None for a frame that does not count.

    Returns:
        RGB, uint8 ``[H * SCALE, W * SCALE, 3]``, with a ring at the labelled ball, another at the found one,
        and a caption.
    """
    picture = enlarged(frame, SCALE)
    pen = ImageDraw.Draw(picture)
    words = "not labelled"
    if result is not None:
        draw_rings(pen, result, SCALE, (0.0, 0.0))
        words = f"frame {result.frame}: {words_for(result)}, confidence {result.confidence:.2f}"
    font = ImageFont.truetype(FONT, 16)
    pen.rectangle((6, 6, 14 + pen.textlength(words, font), 30), fill=(0, 0, 0))
    wrong = result is not None and result.wrong
    pen.text((10, 8), words, font=font, fill=(255, 190, 90) if wrong else (255, 255, 255))
    return np.asarray(picture)


def words_for(result: FrameResult) -> str:
    """Say what became of a frame, and whether it was filled."""
    return WORDS[result.kind] + (", filled" if result.filled else "")


def enlarged(frame: np.ndarray, factor: int) -> Image.Image:
    """Give a frame, uint8 ``[3, H, W]``, as a picture that many times as large."""
    picture = Image.fromarray(np.ascontiguousarray(frame.transpose(1, 2, 0)))
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.BICUBIC)


def draw_rings(
    pen: ImageDraw.ImageDraw, result: FrameResult, scale: int, corner: tuple[float, float]
) -> None:
    """Draw rings at the labelled ball and at the found one; that of a filled position is dashed.

    Args:
        pen: Pen of the picture.
        result: What became of the frame.
        scale: Enlargement of the picture.
        corner: Where the picture begins in the frame, ``(x, y)`` in pixels of the frame.
    """
    marks = [(result.label_x, result.label_y, LABELLED, 7.0, False)]
    if result.found:
        marks.append((result.x, result.y, FOUND, 5.0, result.filled))
    for x, y, colour, radius, dashed in marks:
        if not np.isnan(x):
            # The centre of pixel k is k: half a pixel in from its enlarged edge.
            across, down = (x - corner[0] + 0.5) * scale, (y - corner[1] + 0.5) * scale
            r = radius * scale
            box = (across - r, down - r, across + r, down + r)
            if dashed:
                for degrees in np.arange(_DASHES) * 360 / _DASHES:
                    pen.arc(box, degrees - 10, degrees + 10, fill=colour, width=2)
            else:
                pen.ellipse(box, outline=colour, width=2)
