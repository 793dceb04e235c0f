"""How the windows that see a frame agree on it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from tracknet.errors import UsageError

Weighting = Literal["average", "triangular"]
"""How much each place in a window counts in an ensemble."""


def check_step(step: int, outputs: int, name: str = "step") -> None:
    """Refuse a step from window to window that would leave frames out.

    Args:
        step: Frames from one window to the next.
        outputs: Frames that a window speaks of.
        name: Name of the option.

    Raises:
        UsageError: It is not in 1..outputs.
    """
    if not 1 <= step <= outputs:
        speaks, wanted = ("one frame", "1") if outputs == 1 else (f"{outputs} frames", f"1 to {outputs}")
        raise UsageError(
            f"{name} is {step}, but a window speaks of {speaks}: expected {wanted}, "
            "or frames would be left out"
        )


def place_weights(weighting: Weighting, outputs: int) -> list[int]:
    """Say how much each place of a window counts.

    Args:
        weighting: ``average``: all the same. ``triangular``: the middle the most, as it sees as much of the
            past as of the future (1, 2, .., 2, 1).
        outputs: Frames that a window speaks of.

    Returns:
        One positive weight a place; an ensemble divides by the sum of those that it has for a frame.

    Example:
        >>> place_weights("triangular", 5)
        [1, 2, 3, 2, 1]
    """
    if weighting == "average":
        return [1] * outputs
    return [min(k + 1, outputs - k) for k in range(outputs)]


class Ensemble:
    """Averages the heatmaps that several windows give for each frame, in a ring of L_out heatmaps.

    Windows come with rising starts; a frame is done when no later window can speak of it.

    Args:
        weights: Weight of each place of a window, see `place_weights`.
        first: Number of the first frame that the first window speaks of.
    """

    def __init__(self, weights: Sequence[float], first: int = 0) -> None:
        self._weights = list(weights)
        self._sums: deque[Tensor] = deque()
        self._shares: deque[float] = deque()
        self._first = first

    def add(self, start: int, heatmaps: Tensor, alone: int = 1) -> list[Tensor]:
        """Take what one window gives.

        Args:
            start: Number of the first frame that it speaks of, above that of the window before.
            heatmaps: Ball probabilities of that frame and those after it, ``[count, h, w]``.
            alone: So many of the first of these no later window speaks of.

        Returns:
            The averaged heatmaps ``[h, w]`` of the frames that are done now, following on those given before.
        """
        done = self._take(start - self._first)
        for k, (heatmap, weight) in enumerate(zip(heatmaps, self._weights, strict=False)):
            if k == len(self._sums):
                self._sums.append(heatmap * weight)
                self._shares.append(weight)
            else:
                self._sums[k] += heatmap * weight
                self._shares[k] += weight
        return done + self._take(alone)

    def finish(self) -> list[Tensor]:
        """Give the heatmaps of the frames that were still waiting for windows, after the last one."""
        return self._take(len(self._sums))

    def _take(self, count: int) -> list[Tensor]:
        self._first += count
        return [self._sums.popleft() / self._shares.popleft() for _ in range(count)]


class WindowEnsemble:
    """Averages the heatmaps of overlapping windows that come in batches, clip after clip.

    Where a window shares no frame with the one before (another clip, a part that was left out), the average
    begins anew; the frames that a window counts are those that no later window speaks of (see
    `tracknet.data.windows.WindowDataset` with ``eval_step``).

    Args:
        weighting: How much each place in a window counts.
        outputs: Frames that a window speaks of.
    """

    def __init__(self, weighting: Weighting, outputs: int) -> None:
        self._weights = place_weights(weighting, outputs)
        self._ensemble = Ensemble(self._weights)
        self._before: tuple[int, int, int] | None = None

    def merge(self, heatmaps: Tensor, clips: Tensor, frames: Tensor, counted: Tensor) -> Tensor:
        """Take a batch of windows, in order.

        Args:
            heatmaps: Ball probabilities ``[B, L_out, h, w]``.
            clips: Number of each window's clip, ``[B]``.
            frames: Numbers of the frames that each window speaks of, ``[B, L_out]``; one that is shorter
                repeats its last frame.
            counted: The frames that each window counts, its first ones or none, bool ``[B, L_out]``.

        Returns:
            The averaged heatmaps of the counted frames, ``[B, L_out, h, w]``; the others are as given.
        """
        merged = heatmaps.clone()
        # One answer from the device for the whole batch.
        rows = torch.stack([clips, frames[:, 0], frames[:, -1], counted.sum(dim=1)], dim=1).tolist()
        for row, (clip, first, last, alone) in enumerate(rows):
            if not self._goes_on(clip, first):
                self._ensemble = Ensemble(self._weights, first)
            done = self._ensemble.add(first, heatmaps[row, : last - first + 1], alone)
            for place, heatmap in enumerate(done[len(done) - alone :]):
                merged[row, place] = heatmap
            self._before = clip, first, last
        return merged

    def _goes_on(self, clip: int, first: int) -> bool:
        """Say whether a window shares frames with the one before."""
        if self._before is None:
            return False
        before, begin, end = self._before
        return clip == before and begin < first <= end
