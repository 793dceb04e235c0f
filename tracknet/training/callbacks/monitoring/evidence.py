"""What can be learnt from heatmap peaks and labels that never meet: thresholds, shifts, offsets, scales."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tracknet.data.faults import plural
from tracknet.data.geometry import resize_xy
from tracknet.evaluation.metrics import BallMetrics

SHIFTS = tuple(range(-5, 6))
"""Frames by which labels are tried earlier and later."""

_LEAST_SHARE = 0.4
_LEAST_BALLS = 5


@dataclass(frozen=True)
class Evidence:
    """What a network says of N frames, and what the labels say, in pixels of the network's input.

    Attributes:
        clip: Numbers of the clips, int64 ``[N]``.
        frame: Numbers of the frames, int64 ``[N]``; no frame of a clip twice.
        found: Where the heatmap is highest, whatever its height, float ``[N, 2]``.
        height: Confidence there, float ``[N]`` in 0..1.
        xy: Labelled positions, ``[N, 2]``; anything where no ball is visible.
        visible: Whether a ball is labelled, bool ``[N]``.
        source_size: Height and width of the video of each frame, int64 ``[N, 2]``.
        input_size: Height and width of the network's input.
        metric: How a position is judged.
        threshold: Confidence from which a ball counts as found.
    """

    clip: Tensor
    frame: Tensor
    found: Tensor
    height: Tensor
    xy: Tensor
    visible: Tensor
    source_size: Tensor
    input_size: tuple[int, int]
    metric: BallMetrics
    threshold: float

    def near(self, xy: Tensor) -> Tensor:
        """Say where a ball at these positions, ``[N, 2]``, would be hit by the peak, bool ``[N]``."""
        square = self.metric.square_distances(
            self.found[:, None], xy[:, None], self.input_size, self.source_size
        )[:, 0]
        limit = self.metric.tolerance**2
        return square < limit if self.metric.strict else square <= limit

    def share(self, xy: Tensor, known: Tensor | None = None) -> float:
        """Give the share of visible balls that would be hit if they were at these positions.

        Args:
            xy: Positions, ``[N, 2]``.
            known: Which of them are known, bool ``[N]``; None for those of visible balls.
        """
        known = self.visible if known is None else known
        return float((self.near(xy) & known).sum() / known.sum().clamp(min=1))

    def shifted(self, frames: int) -> tuple[Tensor, Tensor]:
        """Give the labels that many frames later: positions ``[N, 2]`` and where there are any, ``[N]``."""
        rows = {
            key: row
            for row, key in enumerate(zip(self.clip.tolist(), self.frame.tolist(), strict=True))
            if self.visible[row]
        }
        places = [
            rows.get((clip, frame + frames), -1)
            for clip, frame in zip(self.clip.tolist(), self.frame.tolist(), strict=True)
        ]
        place = torch.tensor(places, dtype=torch.int64)
        return self.xy[place.clamp(min=0)], place >= 0

    def shift_shares(self) -> list[float]:
        """Give the share of hits for each of `SHIFTS`; 0 where too few labels are left to say."""
        shares = []
        for frames in SHIFTS:
            xy, known = self.shifted(frames)
            shares.append(self.share(xy, known) if known.sum() >= _LEAST_BALLS else 0.0)
        return shares

    def recall_at(self, threshold: float) -> float:
        """Give the share of visible balls that would be found with another threshold."""
        found = self.near(self.xy) & self.visible & (self.height >= threshold)
        return float(found.sum() / self.visible.sum().clamp(min=1))

    def alarms_at(self, threshold: float) -> float:
        """Give the share of frames without a ball, or with one elsewhere, that would get one."""
        wrong = ~(self.near(self.xy) & self.visible)
        return float((wrong & (self.height >= threshold)).sum() / wrong.sum().clamp(min=1))


@dataclass(frozen=True)
class Finding:
    """Why no ball is found.

    Attributes:
        cause: ``targets``, ``loss``, ``learning_rate``, ``threshold``, ``time`` or ``space``.
        words: The same in words, with what to do.
    """

    cause: str
    words: str


def threshold_finding(evidence: Evidence) -> Finding | None:
    """Say whether a lower threshold would find the balls, and which."""
    reachable = evidence.recall_at(0.0)
    right = evidence.height[evidence.near(evidence.xy) & evidence.visible]
    if reachable < _LEAST_SHARE or float((right >= evidence.threshold).float().mean()) > 0.1:
        return None
    told = [
        f"{value:.2g} would find {evidence.recall_at(value):.0%} of the balls "
        f"(false ones in {evidence.alarms_at(value):.0%} of the other frames)"
        for value in (float(torch.quantile(right, q)) * 0.99 for q in (0.5, 0.1))
    ]
    return Finding(
        "threshold",
        f"the threshold is too high: at {reachable:.0%} of the balls the heatmap is highest, but by "
        f"{float(right.median()):.2g} in the middle, below decoder.init_args.threshold="
        f"{evidence.threshold:g}; {'; '.join(told)}",
    )


def place_findings(evidence: Evidence) -> list[Finding]:
    """Say whether labels and peaks agree once the labels are moved in time or space.

    Only the move that explains most is told, and only where the peaks are high enough to mean something.
    """
    peaks = evidence.height[evidence.visible]
    # A network that has learnt nothing follows bright spots, too, from some distance and without confidence.
    if len(peaks) < _LEAST_BALLS or float(peaks.median()) < min(evidence.threshold, 0.5) / 2:
        return []
    # Of moves that explain as much, the first one counts.
    moves = [*_times(evidence), *_places(evidence)]
    best = max(moves, key=lambda move: round(move[0], 1), default=None)
    if best is None or best[0] < max(_LEAST_SHARE, 2 * evidence.share(evidence.xy)):
        return []
    return [Finding(best[1], f"{best[2]} (then {best[0]:.0%} of the balls are met)")]


def _times(evidence: Evidence) -> list[tuple[float, str, str]]:
    shares = evidence.shift_shares()
    best = max(range(len(SHIFTS)), key=lambda place: (shares[place], -abs(SHIFTS[place])))
    frames = SHIFTS[best]
    if not frames:
        return []
    late = "late" if frames > 0 else "early"
    return [
        (
            shares[best],
            "time",
            f"the labels are shifted in time: the heatmaps of frame t show the ball of label t{frames:+d}, "
            "so the "
            f"labels come {plural(abs(frames), 'frame')} too {late}; subtract {frames} "
            "from the frame numbers of the label files, or look whether they count from 1",
        )
    ]


def _places(evidence: Evidence) -> list[tuple[float, str, str]]:
    seen = evidence.visible
    found, label = evidence.found[seen], evidence.xy[seen]
    height, width = evidence.input_size
    offset = (found - label).median(dim=0).values
    moves = [
        (
            evidence.share(evidence.xy + offset),
            "space",
            f"the labels are off by a constant: the peaks lie {float(offset[0]):+.1f} px right and "
            f"{float(offset[1]):+.1f} px below them (at {width}x{height}); look at the corner that positions "
            "are counted from, at crops and at letterbox borders",
        ),
        (
            evidence.share(_swapped(evidence)),
            "space",
            "x and y of the labels are swapped; exchange the columns of the label files",
        ),
    ]
    # Shares of the picture, with its corner as zero.
    scale = ((found + 0.5) / (label + 0.5)).median(dim=0).values
    moves.append(
        (
            evidence.share((evidence.xy + 0.5) * scale - 0.5),
            "space",
            f"the labels have the wrong scale: the peaks lie at {float(scale[0]):.3g} times their x and "
            f"{float(scale[1]):.3g} times their y; were they made at another size of the video?",
        )
    )
    return moves


def _swapped(evidence: Evidence) -> Tensor:
    moved = evidence.xy.clone()
    for height, width in {(height, width) for height, width in evidence.source_size.tolist()}:
        source = (height, width)
        rows = (evidence.source_size == evidence.source_size.new_tensor(source)).all(dim=1)
        there = resize_xy(evidence.xy[rows], evidence.input_size, source).flip(-1)
        moved[rows] = resize_xy(there, source, evidence.input_size)
    return moved
