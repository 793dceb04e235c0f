"""A contact sheet of single errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tracknet.data.cached_clip import LabelledClip
from tracknet.evaluation.errors import FrameResult, Stretch
from tracknet.evaluation.frame_pictures import FONT, draw_rings, enlarged, words_for

_TILE, _ZOOM, _COLUMNS, _ROWS = 72, 3, 5, 4


def contact_sheet(
    stretches: Sequence[Stretch],
    results: Mapping[tuple[int, int], FrameResult],
    clips: Sequence[LabelledClip],
) -> Image.Image:
    """Put single errors side by side: of each stretch in turn, the middle of its longest rows of errors.

    Args:
        stretches: The worst first.
        results: Results by clip and frame.
        clips: The clips.

    Returns:
        The picture; each tile shows the surroundings of the labelled ball, or of the found one, enlarged.
    """
    queues = [_middles(stretch, results) for stretch in stretches]
    rounds = max(map(len, queues), default=0)
    chosen = [queue[k] for k in range(rounds) for queue in queues if k < len(queue)][: _COLUMNS * _ROWS]
    side, caption = _TILE * _ZOOM, 34
    rows = -(-len(chosen) // _COLUMNS)
    sheet = Image.new("RGB", (_COLUMNS * (side + 6) + 6, rows * (side + caption + 6) + 6), (24, 24, 24))
    pen, font = ImageDraw.Draw(sheet), ImageFont.truetype(FONT, 12)
    for place, result in enumerate(chosen):
        left = 6 + place % _COLUMNS * (side + 6)
        top = 6 + place // _COLUMNS * (side + caption + 6)
        cached = clips[result.clip].cached
        sheet.paste(_tile(cached.frames[cached.row(result.frame)], result), (left, top))
        away = "" if np.isnan(result.distance) else f", {result.distance:.0f} px off"
        pen.text((left, top + side + 2), f"{clips[result.clip].name}, frame {result.frame}", font=font)
        words = f"{words_for(result)}{away}, {result.confidence:.2f}"
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


def _tile(frame: np.ndarray, result: FrameResult) -> Image.Image:
    labelled = not np.isnan(result.label_x)
    x, y = (result.label_x, result.label_y) if labelled else (result.x, result.y)
    height, width = frame.shape[1:]
    left = min(max(round(x) - _TILE // 2, 0), max(width - _TILE, 0))
    top = min(max(round(y) - _TILE // 2, 0), max(height - _TILE, 0))
    picture = enlarged(frame[:, top : top + _TILE, left : left + _TILE], _ZOOM)
    draw_rings(ImageDraw.Draw(picture), result, _ZOOM, (left, top))
    return picture
