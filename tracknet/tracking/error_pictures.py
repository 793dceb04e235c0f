"""Pictures of single frames with the labelled ball beside the found one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tracknet.data.windows import LabelledClip
from tracknet.evaluation.errors import FrameResult, Stretch

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

_TILE, _ZOOM, _COLUMNS, _ROWS = 72, 3, 5, 4
_FONT = f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf"


def drawn_frame(frame: np.ndarray, result: FrameResult | None, threshold: float) -> np.ndarray:
    """Draw one frame of a video.

    Args:
        frame: RGB, uint8 ``[3, H, W]``.
        result: What became of it; None for a frame that does not count.
        threshold: Confidence from which a ball counts as found.

    Returns:
        RGB, uint8 ``[H * SCALE, W * SCALE, 3]``, with a ring at the labelled ball, another at the found one,
        and a caption.
    """
    picture = _enlarged(frame, SCALE)
    pen = ImageDraw.Draw(picture)
    words = "not labelled"
    if result is not None:
        _rings(pen, result, threshold, SCALE, (0.0, 0.0))
        words = f"frame {result.frame}: {WORDS[result.kind]}, confidence {result.confidence:.2f}"
    font = ImageFont.truetype(_FONT, 16)
    pen.rectangle((6, 6, 14 + pen.textlength(words, font), 30), fill=(0, 0, 0))
    wrong = result is not None and result.wrong
    pen.text((10, 8), words, font=font, fill=(255, 190, 90) if wrong else (255, 255, 255))
    return np.asarray(picture)


def contact_sheet(
    stretches: Sequence[Stretch],
    results: Mapping[tuple[int, int], FrameResult],
    clips: Sequence[LabelledClip],
    threshold: float,
) -> Image.Image:
    """Put single errors side by side: of each stretch in turn, the middle of its longest rows of errors.

    Args:
        stretches: The worst first.
        results: Results by clip and frame.
        clips: The clips.
        threshold: Confidence from which a ball counts as found.

    Returns:
        The picture; each tile shows the surroundings of the labelled ball, or of the found one, enlarged.
    """
    queues = [_middles(stretch, results) for stretch in stretches]
    rounds = max(map(len, queues), default=0)
    chosen = [queue[k] for k in range(rounds) for queue in queues if k < len(queue)][: _COLUMNS * _ROWS]
    side, caption = _TILE * _ZOOM, 34
    rows = -(-len(chosen) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * (side + 6) + 6, rows * (side + caption + 6) + 6), (24, 24, 24))
    pen, font = ImageDraw.Draw(sheet), ImageFont.truetype(_FONT, 12)
    for place, result in enumerate(chosen):
        left = 6 + place % _COLUMNS * (side + 6)
        top = 6 + place // _COLUMNS * (side + caption + 6)
        cached = clips[result.clip].cached
        sheet.paste(_tile(cached.frames[cached.row(result.frame)], result, threshold), (left, top))
        away = "" if np.isnan(result.distance) else f", {result.distance:.0f} px off"
        pen.text((left, top + side + 2), f"{clips[result.clip].name}, frame {result.frame}", font=font)
        words = f"{WORDS[result.kind]}{away}, {result.confidence:.2f}"
        pen.text((left, top + side + 17), words, font=font, fill=(255, 190, 90))
    return sheet


def _middles(stretch: Stretch, results: Mapping[tuple[int, int], FrameResult]) -> list[FrameResult]:
    inside = [
        results[stretch.clip, frame]
        for frame in range(stretch.start, stretch.end)
        if (stretch.clip, frame) in results
    ]
    rows = [list(row) for kind, row in groupby(inside, key=lambda result: result.kind)]
    rows = sorted((row for row in rows if row[0].wrong), key=len, reverse=True)
    return [row[len(row) // 2] for row in rows]


def _tile(frame: np.ndarray, result: FrameResult, threshold: float) -> Image.Image:
    labelled = not np.isnan(result.label_x)
    x, y = (result.label_x, result.label_y) if labelled else (result.x, result.y)
    height, width = frame.shape[1:]
    left = min(max(round(x) - _TILE // 2, 0), max(width - _TILE, 0))
    top = min(max(round(y) - _TILE // 2, 0), max(height - _TILE, 0))
    picture = _enlarged(frame[:, top : top + _TILE, left : left + _TILE], _ZOOM)
    _rings(ImageDraw.Draw(picture), result, threshold, _ZOOM, (left, top))
    return picture


def _enlarged(frame: np.ndarray, factor: int) -> Image.Image:
    picture = Image.fromarray(np.ascontiguousarray(frame.transpose(1, 2, 0)))
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.BICUBIC)


def _rings(
    pen: ImageDraw.ImageDraw, result: FrameResult, threshold: float, scale: int, corner: tuple[float, float]
) -> None:
    marks = [(result.label_x, result.label_y, LABELLED, 7.0)]
    if result.confidence >= threshold:
        marks.append((result.x, result.y, FOUND, 5.0))
    for x, y, colour, radius in marks:
        if not np.isnan(x):
            # The centre of pixel k is k: half a pixel in from its enlarged edge.
            across, down = (x - corner[0] + 0.5) * scale, (y - corner[1] + 0.5) * scale
            r = radius * scale
            pen.ellipse((across - r, down - r, across + r, down + r), outline=colour, width=2)
