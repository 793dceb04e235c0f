"""Balls hidden in a training window, or brought there from another one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

HIDDEN = -1
"""In place of the number of a window: balls of none."""

_FADE = 3.0
"""Width in pixels over which what is erased or pasted goes over into what is around it."""


def with_balls_of(batch: dict[str, Tensor], sources: Sequence[int], reach: float) -> dict[str, Tensor]:
    """Let each window of a batch show the balls of another one, or none.

    What counts as a ball is a disc around its label that fades at its rim. Its own balls
    are painted over with the background; what the balls of the other window add to their background is then
    added here, and kept within 0..255.

    Args:
        batch: At least ``frames`` uint8 ``[B, L, 3, H, W]``, ``background`` uint8 ``[B, 3, H, W]``, ``xy``
            float32 ``[B, L, 2]`` in input pixels and ``visible`` bool ``[B, L]``; ``labelled`` bool
            ``[B, L]`` where there is one.
        sources: For each window the number of the window whose balls it shows, or `HIDDEN`; its own number
            leaves it as it is.
        reach: Radius of the discs in input pixels.

    Returns:
        A new batch; the tensors of the old one are left as they are. A frame is labelled where both windows
        are: a ball without a label could not be painted over.
    """
    frames, xy, visible = batch["frames"], batch["xy"], batch["visible"]
    light = batch["background"].movedim(1, -1)  # [B, H, W, 3]
    old = frames.movedim(2, -1)  # [B, L, H, W, 3]
    shown = frames.clone()
    new = shown.movedim(2, -1)
    origin = torch.tensor(sources, device=frames.device)
    own = torch.arange(len(frames), device=frames.device)
    hidden = origin == HIDDEN
    donor = torch.where(hidden, own, origin)
    changed = origin != own

    at, rows, columns, share = _discs(xy, visible & changed[:, None], frames.shape[-2:], reach)
    window, frame = at
    was = old[window, frame, rows, columns].float()
    new[window, frame, rows, columns] = _bytes(was.lerp(light[window, rows, columns].float(), share))

    come = visible[donor] & (changed & ~hidden)[:, None]
    at, rows, columns, share = _discs(xy[donor], come, frames.shape[-2:], reach)
    window, frame = at
    there = donor[window]
    added = old[there, frame, rows, columns].float() - light[there, rows, columns].float()
    is_now = new[window, frame, rows, columns].float()
    new[window, frame, rows, columns] = _bytes(is_now + share * added)

    moved = dict(batch)
    moved["frames"], moved["xy"] = shown, xy[donor]
    moved["visible"] = visible[donor] & ~hidden[:, None]
    if "labelled" in batch:
        moved["labelled"] = batch["labelled"] & batch["labelled"][donor]
    return moved


def _discs(
    xy: Tensor, chosen: Tensor, size: Sequence[int], reach: float
) -> tuple[tuple[Tensor, Tensor], Tensor, Tensor, Tensor]:
    """Give the pixels of the discs around chosen points: (window, frame), row, column and opacity ``[n, 1]``.

    Frames have a ball each at most, so that no pixel is named twice.
    """
    window, frame = chosen.nonzero(as_tuple=True)
    centre = xy[window, frame]  # [n, 2]
    half = math.ceil(reach + _FADE / 2)
    offsets = torch.arange(-half, half + 1, device=xy.device)
    columns = centre[:, 0].round().long()[:, None, None] + offsets[None, None, :]
    rows = centre[:, 1].round().long()[:, None, None] + offsets[None, :, None]
    distance = torch.hypot(columns - centre[:, 0, None, None], rows - centre[:, 1, None, None])
    share = ((reach + _FADE / 2 - distance) / _FADE).clamp(0, 1)
    inside = (rows >= 0) & (rows < size[0]) & (columns >= 0) & (columns < size[1])
    n, row, column = ((share > 0) & inside).nonzero(as_tuple=True)
    return (window[n], frame[n]), rows[n, row, 0], columns[n, 0, column], share[n, row, column, None]


def _bytes(grey: Tensor) -> Tensor:
    return (grey + 0.5).clamp_(0, 255).to(torch.uint8)
