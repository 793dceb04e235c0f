"""From heatmaps to ball positions.

A position is refined to below a cell by `centre_of_mass`: the point that is the centre of mass of the window
around itself. Unlike the plain centroid of a window around the highest cell, or of the cells above a
threshold, it does not lean towards the cell it started from, so that a symmetric peak of any width decodes to
its middle.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import ceil
from typing import Literal, NamedTuple

import numpy as np
import torch
from jsonargparse.typing import ClosedUnitInterval, PositiveInt
from scipy import ndimage
from torch import Tensor, nn
from torch.nn.functional import pad

from tracknet.data.geometry import resize_xy
from tracknet.errors import UsageError

MOST_CANDIDATES = 64
"""Candidates of a heatmap that are given, the first ones: a network that has not learned has thousands."""

_STEPS = 10
# A window moves by more than its centre of mass: plain steps crawl on peaks wider than the window.
_OVERSHOOT = 1.5
_WINDOW = 5
_LARGEST_WINDOW = 33
# Half a window, in cells, below which it does not shrink at the border: it must see some of the next cell.
_LEAST_ROOM = 0.75


class Detections(NamedTuple):
    """Balls found in heatmaps, one for each.

    Attributes:
        xy: Positions in input pixels, float32 ``[..., 2]``.
        confidence: Peak probability of the chosen candidate, float32 ``[...]`` in 0..1; 0 where there is
        nothing.
    """

    xy: Tensor
    confidence: Tensor


class HeatmapDecoder(nn.Module, ABC):
    """Finds one ball in each heatmap.

    A position is given for every heatmap, however low its confidence, so that confidences can be ranked;
    whoever asks calls the ball visible when ``confidence >= decoder.threshold``.

    Args:
        threshold: Confidence from which a ball counts as visible.
    """

    def __init__(self, threshold: ClosedUnitInterval = 0.5) -> None:
        super().__init__()
        self.threshold: float = threshold

    def forward(self, heatmaps: Tensor, input_size: tuple[int, int]) -> Detections:
        """Find the balls.

        Args:
            heatmaps: Ball probabilities, float ``[N, h, w]``.
            input_size: Height and width of the network's input.

        Returns:
            Positions in input pixels, ``[N, 2]``, and confidences, ``[N]``, on the device of the heatmaps.
        """
        if heatmaps.shape[0] == 0:
            return Detections(heatmaps.new_zeros((0, 2)).float(), heatmaps.new_zeros(0).float())
        cells, confidence = self.locate(heatmaps.detach())
        size = (heatmaps.shape[-2], heatmaps.shape[-1])
        xy = resize_xy(cells.float(), size, input_size)
        return Detections(xy, confidence.float().nan_to_num(0.0).clamp(0.0, 1.0))

    def candidates(
        self, heatmaps: Tensor, input_size: tuple[int, int], least: ClosedUnitInterval | None = None
    ) -> list[Detections]:
        """Find all balls that each heatmap may show, for a tracker to choose from.

        Args:
            heatmaps: Ball probabilities, float ``[N, h, w]``.
            input_size: Height and width of the network's input.
            least: Confidence from which something is a candidate; default the threshold.

        Returns:
            For each heatmap K positions in input pixels, ``[K, 2]``, and confidences, ``[K]``, that reach
            `least`; the decoder's own choice first, K = 0 where there is none, and `MOST_CANDIDATES` at most.
        """
        if len(heatmaps) == 0:
            return []
        size = (heatmaps.shape[-2], heatmaps.shape[-1])
        least = self.threshold if least is None else least
        owner, cells, confidence = self.locate_all(heatmaps.detach(), least)
        xy, confidence = resize_xy(cells.float(), size, input_size), confidence.float().clamp(0.0, 1.0)
        counts = torch.bincount(owner, minlength=len(heatmaps)).tolist()
        parts = zip(torch.split(xy, counts), torch.split(confidence, counts), strict=True)
        return [Detections(*part) for part in parts]

    def locate_all(self, heatmaps: Tensor, least: float) -> tuple[Tensor, Tensor, Tensor]:
        """Find the candidates in cells of the heatmap; here only the one that `locate` finds.

        Args:
            heatmaps: Ball probabilities, float ``[N, h, w]``, N at least 1.
            least: Confidence from which something is a candidate.

        Returns:
            Index of the heatmap of each candidate, rising, int64 ``[K]``; positions ``(x, y)`` in heatmap
            cells, ``[K, 2]``; confidences that reach `least`, ``[K]``. Within a heatmap best first.
        """
        cells, confidence = self.locate(heatmaps)
        owner = (confidence >= least).nonzero()[:, 0]
        return owner, cells[owner], confidence[owner]

    @abstractmethod
    def locate(self, heatmaps: Tensor) -> tuple[Tensor, Tensor]:
        """Find the balls in cells of the heatmap.

        Args:
            heatmaps: Ball probabilities, float ``[N, h, w]``, N at least 1.

        Returns:
            Positions ``(x, y)`` in heatmap cells, ``[N, 2]``, and confidences, ``[N]``.
        """


class PeakDecoder(HeatmapDecoder):
    """Highest cell, refined by the centre of mass around it; runs wholly on the device of the heatmaps.

    Args:
        threshold: Confidence from which a ball counts as visible.
        window: Width of the window for the centre of mass, odd, in heatmap cells; 1 gives the centre of the
            highest cell.

    Raises:
        UsageError: The window is even.

    Example:
        >>> decoder = PeakDecoder(window=3)
        >>> decoder(torch.tensor([[[0.0, 0.4, 0.8, 0.4, 0.0]]]), (2, 10))  # cells of 2x2 pixels
        Detections(xy=tensor([[4.5000, 0.5000]]), confidence=tensor([0.8000]))
    """

    def __init__(self, threshold: ClosedUnitInterval = 0.5, window: PositiveInt = _WINDOW) -> None:
        super().__init__(threshold)
        if window % 2 == 0:
            raise UsageError(f"PeakDecoder: window is {window}; expected an odd number of cells")
        self.window: int = window

    def locate(self, heatmaps: Tensor) -> tuple[Tensor, Tensor]:
        """Find the balls in cells of the heatmap; arguments as in `HeatmapDecoder.locate`."""
        cells, confidence = highest_cells(heatmaps)
        if self.window == 1:
            return cells, confidence
        half = torch.full_like(cells, self.window / 2)
        return centre_of_mass(heatmaps, cells, half, widest=self.window / 2), confidence

    def locate_all(self, heatmaps: Tensor, least: float) -> tuple[Tensor, Tensor, Tensor]:
        """Find the peaks: cells that reach `least` and are the highest within half a window around.

        Arguments and results as in `HeatmapDecoder.locate_all`; the highest comes first. Of equal cells so
        close to each other the first one counts.
        """
        around = _highest_around(heatmaps, self._around)
        peaks = ((heatmaps == around) & (heatmaps >= _least(least, heatmaps))).nonzero()
        values = heatmaps[peaks.unbind(dim=1)].float()
        place, value = peaks.cpu().numpy(), values.cpu().numpy()
        kept: list[int] = []
        half, taken = self._around // 2, np.zeros(heatmaps.shape, dtype=bool)
        counts = np.zeros(len(heatmaps), dtype=np.int64)
        for index in np.lexsort((-value, place[:, 0])):
            n, row, column = place[index]
            if counts[n] < MOST_CANDIDATES and not taken[n, row, column]:
                taken[n, max(0, row - half) : row + half + 1, max(0, column - half) : column + half + 1] = (
                    True
                )
                kept.append(int(index))
                counts[n] += 1
        chosen = torch.tensor(kept, dtype=torch.int64, device=heatmaps.device)
        owner, cells = peaks[chosen, 0], peaks[chosen][:, [2, 1]].float()
        if self.window > 1 and kept:
            cells = centre_of_mass(heatmaps, cells, torch.full_like(cells, self.window / 2), owner=owner)
        return owner, cells, values[chosen]

    @property
    def _around(self) -> int:
        """Width in cells of the square within which a peak is the highest cell."""
        return max(self.window, 3)


class ComponentDecoder(HeatmapDecoder):
    """Largest connected component above the threshold, as TrackNetV2, TrackNetV3 and WASB decode.

    Cells that reach the threshold and touch, diagonally too, form a candidate. Where no cell reaches the
    threshold, the highest cell stands in, with its low confidence.

    Args:
        threshold: Probability from which a cell belongs to a candidate, and confidence from which a ball
            counts as visible.
        select: ``area``: the candidate of the most cells. ``box``: that of the largest bounding box
            (TrackNetV2, TrackNetV3), which a streak of blur has. Both take the highest sum on a tie.
            ``score``: the candidate of the highest sum of probabilities (WASB).
        centre: ``weighted``: centre of mass around the candidate, within its bounding box and two cells more.
            ``box``: centre of its bounding box (TrackNetV2, TrackNetV3), not rounded.

    Example:
        >>> decoder = ComponentDecoder(centre="box")
        >>> decoder(torch.tensor([[[0.9, 0.0, 0.6, 0.7, 0.0]]]), (1, 5))
        Detections(xy=tensor([[2.5000, 0.0000]]), confidence=tensor([0.7000]))
    """

    def __init__(
        self,
        threshold: ClosedUnitInterval = 0.5,
        select: Literal["area", "box", "score"] = "area",
        centre: Literal["weighted", "box"] = "weighted",
    ) -> None:
        super().__init__(threshold)
        self.select: Literal["area", "box", "score"] = select
        self.centre: Literal["weighted", "box"] = centre

    def locate(self, heatmaps: Tensor) -> tuple[Tensor, Tensor]:
        """Find the balls in cells of the heatmap; arguments as in `HeatmapDecoder.locate`."""
        cells, confidence = highest_cells(heatmaps)
        owner, blobs = self._blobs(heatmaps, self.threshold, best_only=True)
        start, half = cells.cpu().numpy(), np.full((len(heatmaps), 2), _WINDOW / 2, dtype=np.float32)
        peak = confidence.cpu().numpy().copy()
        for n, blob in zip(owner, blobs, strict=True):
            start[n], half[n], peak[n] = blob.middle, blob.half, blob.peak
        return self._refined(heatmaps, start, half), torch.from_numpy(peak).to(heatmaps.device)

    def locate_all(self, heatmaps: Tensor, least: float) -> tuple[Tensor, Tensor, Tensor]:
        """Find all connected components, in the order of `select`; see `HeatmapDecoder.locate_all`."""
        owner, blobs = self._blobs(heatmaps, least, best_only=False)
        index = torch.tensor(owner, dtype=torch.int64, device=heatmaps.device)
        if not blobs:
            return index, heatmaps.new_zeros((0, 2)).float(), heatmaps.new_zeros(0).float()
        start = np.array([blob.middle for blob in blobs], np.float32)
        half = np.array([blob.half for blob in blobs], np.float32)
        peak = np.array([blob.peak for blob in blobs], np.float32)
        return index, self._refined(heatmaps, start, half, index), torch.from_numpy(peak).to(heatmaps.device)

    def _refined(
        self, heatmaps: Tensor, start: np.ndarray, half: np.ndarray, owner: Tensor | None = None
    ) -> Tensor:
        found = torch.from_numpy(start).to(heatmaps.device)
        if self.centre == "weighted":
            found = centre_of_mass(heatmaps, found, torch.from_numpy(half).to(heatmaps.device), owner=owner)
        return found

    def _blobs(self, heatmaps: Tensor, least: float, best_only: bool) -> tuple[list[int], list[_Blob]]:
        """Give the candidates, best first within each heatmap, and the index of the heatmap of each."""
        # A few hundred cells reach it: only they travel to the processor.
        above = (heatmaps >= _least(least, heatmaps)).nonzero()
        places = above.cpu().numpy()
        values = heatmaps[above.unbind(dim=1)].float().cpu().numpy()
        ends = np.searchsorted(places[:, 0], np.arange(len(heatmaps) + 1))
        owner: list[int] = []
        blobs: list[_Blob] = []
        for n in np.flatnonzero(np.diff(ends)):
            own = slice(ends[n], ends[n + 1])
            label, order = self._ranked(places[own, 1:], values[own])
            by_label, ends_of = np.argsort(label, kind="stable"), np.cumsum(np.bincount(label))
            for wanted in order[: 1 if best_only else MOST_CANDIDATES]:
                chosen = by_label[ends_of[wanted - 1] if wanted else 0 : ends_of[wanted]]
                at, weight = places[own][chosen, 2:0:-1], values[own][chosen]
                low, high = at.min(axis=0), at.max(axis=0)
                middle = (low + high) / 2 if self.centre == "box" else weight @ at / weight.sum()
                owner.append(int(n))
                blobs.append(_Blob(middle, (high - low + _WINDOW) / 2, float(weight.max())))
        return owner, blobs

    def _ranked(self, places: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Say to which candidate each cell ``(row, column)`` of one heatmap belongs, and which come first."""
        rows, columns = (places - places.min(axis=0)).T
        mask = np.zeros((rows.max() + 1, columns.max() + 1), dtype=bool)
        mask[rows, columns] = True
        labels, _ = ndimage.label(mask, structure=np.ones((3, 3), dtype=bool))
        label = labels[rows, columns] - 1
        area, score = np.bincount(label), np.bincount(label, weights=values)
        if self.select == "box":
            sides = [[axis.stop - axis.start for axis in box] for box in ndimage.find_objects(labels)]
            area = np.prod(sides, axis=1)
        order = np.lexsort((area, score) if self.select == "score" else (score, area))
        return label, order[::-1]


@dataclass(frozen=True)
class _Blob:
    """One candidate: where to start looking for its middle, half the window for that, and its peak."""

    middle: np.ndarray
    half: np.ndarray
    peak: float


def _least(threshold: float, heatmaps: Tensor) -> float:
    """Give the value from which a cell counts: never 0, which would make everything one candidate."""
    return max(threshold, torch.finfo(heatmaps.dtype).tiny)


def _highest_around(heatmaps: Tensor, width: int) -> Tensor:
    """Give the highest value within the square around each cell; a fifth of the time of `max_pool2d`."""
    half = width // 2
    rows = pad(heatmaps, (half, half, half, half), value=-torch.inf)
    across = rows[:, :, : heatmaps.shape[2]].clone()
    for shift in range(1, width):
        torch.maximum(across, rows[:, :, shift : shift + heatmaps.shape[2]], out=across)
    highest = across[:, : heatmaps.shape[1]].clone()
    for shift in range(1, width):
        torch.maximum(highest, across[:, shift : shift + heatmaps.shape[1]], out=highest)
    return highest


def highest_cells(heatmaps: Tensor) -> tuple[Tensor, Tensor]:
    """Find the highest cell of each heatmap.

    Args:
        heatmaps: Float ``[N, h, w]``.

    Returns:
        Cells ``(x, y)``, float32 ``[N, 2]``, and their values, ``[N]``.
    """
    value, index = heatmaps.flatten(1).max(dim=1)
    width = heatmaps.shape[-1]
    return torch.stack([index % width, index.div(width, rounding_mode="floor")], dim=1).float(), value.float()


def centre_of_mass(
    heatmaps: Tensor,
    start: Tensor,
    half: Tensor,
    widest: float | None = None,
    owner: Tensor | None = None,
) -> Tensor:
    """Move points to where they are the centre of mass of the window around themselves.

    Each heatmap is taken as constant within a cell, and cells that the window covers in part weigh in part.
    At the border the window shrinks on both sides alike, so that the missing half of a peak hardly pushes the
    point inwards (by up to half a cell along each axis). Points move by no more than half a window.

    Args:
        heatmaps: Ball probabilities, float ``[N, h, w]``.
        start: Points ``(x, y)`` in cells, float32 ``[K, 2]``.
        half: Half the width and the height of the windows in cells, float32 ``[K, 2]``.
        widest: The largest value of `half`; without it the tensor is looked into, which an exported graph
            cannot do.
        owner: Index of the heatmap of each point, int64 ``[K]``; default one point in each, K = N.

    Returns:
        The points moved, float32 ``[K, 2]``; those in an empty window stay where they are.
    """
    count, height, width = heatmaps.shape
    half = half.clamp(max=_LARGEST_WINDOW / 2)
    # A point may move by half a window, and sees half a window from there.
    widest = float(half.max()) if widest is None else min(widest, _LARGEST_WINDOW / 2)
    reach = 2 * ceil(widest) + 1
    offsets = torch.arange(-reach, reach + 1, device=heatmaps.device)
    cells = start.round().long()[:, :, None] + offsets  # columns and rows, [K, 2, offsets]
    columns, rows = cells[:, 0].clamp(0, width - 1), cells[:, 1].clamp(0, height - 1)
    n = torch.arange(count, device=heatmaps.device) if owner is None else owner
    patch = heatmaps[n[:, None, None], rows[:, :, None], columns[:, None, :]].float()
    last = start.new_tensor([width - 0.5, height - 0.5])
    inner, lowest, highest = last - 0.5, start - half, start + half
    left, right = (cells - 0.5).clamp(min=-0.5), torch.minimum(cells + 0.5, last[:, None])
    xy, nothing = start, torch.zeros_like(start)
    # Both axes at once: every operation of a step is a kernel to start, and ten nodes of an exported graph.
    for _ in range(_STEPS):
        room = torch.minimum(half, torch.minimum(xy + 0.5, last - xy)).clamp(min=_LEAST_ROOM)
        low = torch.maximum(left, (xy - room)[:, :, None])
        high = torch.minimum(right, (xy + room)[:, :, None])
        share = (high - low).clamp(min=0.0)
        along_x = (patch * share[:, 1, :, None]).sum(dim=1)
        along_y = (patch * share[:, 0, None, :]).sum(dim=2)
        weight = torch.stack([along_x, along_y], dim=1) * share
        moments = (weight * ((low + high) / 2)).sum(dim=2)
        step = (moments / weight[:, :1].sum(dim=2) - xy) * _OVERSHOOT
        moved = xy + torch.where(step.isfinite(), step, nothing)
        moved = torch.maximum(torch.minimum(moved, highest), lowest)
        xy = torch.maximum(torch.minimum(moved, inner), nothing)
    return xy
