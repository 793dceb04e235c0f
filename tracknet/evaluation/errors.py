"""What a tracker got wrong: frame by frame, over the threshold, and where the errors lie together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tracknet.evaluation.metrics import KINDS, BallMetrics, precision_recall_f1


class FrameResult(NamedTuple):
    """What became of one frame.

    Attributes:
        clip: Index of the clip.
        frame: Number of the frame in its clip.
        kind: ``tp``, ``fp1``, ``fp2``, ``tn`` or ``fn``, see `tracknet.evaluation.metrics`.
        distance: From the best position to the labelled one, in pixels of the metric's space, also where the
            confidence is too low to count; NaN without a labelled ball.
        confidence: Confidence in 0..1 that there is a ball.
        x: Column of the best position, in pixels of the network's input.
        y: Its row.
        label_x: Column of the labelled ball, in pixels of the network's input; NaN without one.
        label_y: Its row.
        visibility: As labelled: 0 no ball, 1 visible, 2 partly hidden, 3 hidden.
        filled: Whether the position comes from the frames around it.
    """

    clip: int
    frame: int
    kind: str
    distance: float
    confidence: float
    x: float
    y: float
    label_x: float
    label_y: float
    visibility: int = 1
    filled: bool = False

    @property
    def found(self) -> bool:
        """Whether the position counts as that of a ball."""
        return self.kind in ("tp", "fp1", "fp2")

    @property
    def wrong(self) -> bool:
        """Whether the frame is an error."""
        return self.kind in ("fp1", "fp2", "fn")


def frame_results(
    batch: Mapping[str, Tensor],
    xy: Tensor,
    confidence: Tensor,
    threshold: float,
    metrics: BallMetrics,
    known: Tensor,
) -> list[FrameResult]:
    """Say what became of the frames that a batch of windows speaks for.

    Args:
        batch: A batch of `WindowDataset`, on the device of the rest.
        xy: Best positions in input pixels, ``[B, L_out, 2]``.
        confidence: Confidences, ``[B, L_out]``.
        threshold: Confidence from which a ball counts as found.
        metrics: How a position is judged.
        known: Which of the frames that count are wanted, bool ``[B, L]``.

    Returns:
        The results, window by window.
    """
    last = slice(-confidence.shape[1], None)
    label, visible = batch["xy"][:, last], batch["visible"][:, last]
    size = (batch["frames"].shape[-2], batch["frames"].shape[-1])
    square = metrics.square_distances(xy, label, size, batch["source_size"])
    kinds = metrics.kinds(square, confidence >= threshold, visible)
    nowhere = torch.full_like(square, torch.nan)
    columns = [
        batch["clip"][:, None].expand_as(confidence),
        batch["frame"][:, last],
        kinds.int().argmax(dim=-1),
        square.sqrt().where(visible, nowhere),
        confidence,
        xy[..., 0],
        xy[..., 1],
        label[..., 0].where(visible, nowhere),
        label[..., 1].where(visible, nowhere),
        batch["visibility"][:, last],
    ]
    wanted = (batch["counted"] & known)[:, last]
    rows = zip(*(column[wanted].tolist() for column in columns), strict=True)
    return [FrameResult(clip, frame, KINDS[kind], *numbers) for clip, frame, kind, *numbers in rows]


class Place(NamedTuple):
    """What a trajectory says of one frame.

    Attributes:
        x: Column in pixels of the network's input; without a meaning where there is no ball.
        y: Row.
        visible: Whether there is a ball.
        confidence: Confidence in 0..1 that there is one.
        filled: Whether the position comes from the frames around it.
    """

    x: float
    y: float
    visible: bool
    confidence: float
    filled: bool = False


def on_trajectory(
    results: Sequence[FrameResult],
    places: Mapping[tuple[int, int], Place],
    metrics: BallMetrics,
    input_size: tuple[int, int],
    source_sizes: Sequence[tuple[int, int]],
) -> list[FrameResult]:
    """Judge frames by a trajectory instead of by what was found in each by itself.

    Args:
        results: Frames as they were found.
        places: What the trajectory says, by clip and frame; others may be among them.
        metrics: How a position is judged.
        input_size: Height and width of the network's input.
        source_sizes: Height and width of each clip's source.

    Returns:
        The same frames in the same order. Where the trajectory has no ball, the best position stays.
    """
    if not results:
        return []
    told = [places[one.clip, one.frame] for one in results]
    best = [(p.x, p.y) if p.visible else (one.x, one.y) for p, one in zip(told, results, strict=True)]
    label = torch.tensor([[(one.label_x, one.label_y)] for one in results])
    sources = torch.tensor([source_sizes[one.clip] for one in results])
    square = metrics.square_distances(torch.tensor(best)[:, None], label, input_size, sources)
    seen = torch.tensor([[place.visible] for place in told])
    kinds = metrics.kinds(square, seen, label[..., 0].isfinite())
    return [
        one._replace(
            kind=KINDS[kind], distance=distance, x=x, y=y, confidence=place.confidence, filled=place.filled
        )
        for one, place, (x, y), kind, distance in zip(
            results,
            told,
            best,
            kinds[:, 0].int().argmax(dim=-1).tolist(),
            square[:, 0].sqrt().tolist(),
            strict=True,
        )
    ]


class Stretch(NamedTuple):
    """Consecutive frames of a clip.

    Attributes:
        clip: Index of the clip.
        start: First frame.
        end: One past the last frame.
        errors: Errors among them.
    """

    clip: int
    start: int
    end: int
    errors: int


@dataclass(frozen=True)
class ThresholdCurve:
    """Figures at every threshold that makes a difference, from the highest down.

    Attributes:
        threshold: Confidences, ``[n]``, falling.
        precision: TP / (TP + FP1 + FP2), ``[n]``.
        recall: TP / frames with a ball, ``[n]``. FP1 stays in the divisor whatever the metric's convention:
            with it out, the area under the curve would mean nothing.
        f1: F1 in the metric's own convention, ``[n]``.
    """

    threshold: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray

    @property
    def average_precision(self) -> float:
        """Area under precision over recall, each step with its own precision (WASB's AP); 0 without balls."""
        return float((np.diff(self.recall, prepend=0.0) * self.precision).sum())

    @property
    def best(self) -> tuple[float, float]:
        """Threshold of the highest F1, and that F1; 0 and 0 without frames."""
        if not len(self.f1):
            return 0.0, 0.0
        place = int(self.f1.argmax())
        return float(self.threshold[place]), float(self.f1[place])


def threshold_curve(results: Sequence[FrameResult], metrics: BallMetrics) -> ThresholdCurve:
    """Count hits and misses at every threshold.

    Args:
        results: All frames that count.
        metrics: Whose tolerance and conventions count.

    Returns:
        The curve; frames of equal confidence are counted at once.

    Example:
        >>> def frame(number, distance, confidence):
        ...     return FrameResult(0, number, "tp", distance, confidence, 0, 0, 0, 0)
        >>> results = [frame(0, 1.0, 0.9), frame(1, 9.0, 0.8), frame(2, 1.0, 0.7)]
        >>> curve = threshold_curve(results, BallMetrics())
        >>> print(curve.precision.round(2), curve.recall.round(2))
        [1.   0.5  0.67] [0.33 0.33 0.67]
    """
    ordered = sorted(results, key=lambda result: -result.confidence)
    confidence = np.array([result.confidence for result in ordered])
    distance = np.array([result.distance for result in ordered])
    # Comparisons with NaN, where there is no ball, are false.
    hits = (distance < metrics.tolerance if metrics.strict else distance <= metrics.tolerance).cumsum()
    seen = np.isfinite(distance).cumsum()
    balls = int(seen[-1]) if len(ordered) else 0
    last = np.append(np.diff(confidence) < 0, True) if len(ordered) else np.zeros(0, bool)
    detections = np.arange(1, len(ordered) + 1)
    kinds = np.stack((hits, seen - hits, detections - seen, balls - seen), axis=-1)[last]
    counts = torch.from_numpy(kinds).double()
    precision, recall, _ = precision_recall_f1(counts, "visible")
    _, _, f1 = precision_recall_f1(counts, metrics.recall)
    return ThresholdCurve(confidence[last], precision.numpy(), recall.nan_to_num(0.0).numpy(), f1.numpy())


def speeds(results: Sequence[FrameResult]) -> np.ndarray:
    """Give the speed of the labelled ball in each frame.

    Args:
        results: Frames in order of clip and frame.

    Returns:
        Pixels of the input a frame since the frame before, ``[n]``; NaN where one of both has no ball.
    """
    found = np.full(len(results), np.nan)
    for k in range(1, len(results)):
        a, b = results[k - 1], results[k]
        if (a.clip, a.frame + 1) == (b.clip, b.frame):
            found[k] = np.hypot(b.label_x - a.label_x, b.label_y - a.label_y)
    return found


def worst_stretches(results: Sequence[FrameResult], length: int, count: int) -> list[Stretch]:
    """Find where the errors lie together.

    Args:
        results: All frames that count.
        length: Frames of a stretch; those at the ends of a clip may be shorter.
        count: How many to find.

    Returns:
        Stretches, the most errors first; each error counts in one of them. Fewer where the errors are fewer.
    """
    wrong = {(result.clip, result.frame) for result in results if result.wrong}
    ends: dict[int, int] = {}
    for result in results:
        ends[result.clip] = max(ends.get(result.clip, 0), result.frame + 1)
    found: list[Stretch] = []
    while wrong and len(found) < count:
        best = max(
            (_around(clip, frame, wrong, length, ends[clip]) for clip, frame in sorted(wrong)),
            key=lambda stretch: stretch.errors,
        )
        found.append(best)
        wrong -= {(best.clip, frame) for frame in range(best.start, best.end)}
    return found


def _around(clip: int, first: int, wrong: set[tuple[int, int]], length: int, end: int) -> Stretch:
    """Give the stretch that begins with an error, moved so that its errors are in the middle."""
    errors = [frame for frame in range(first, first + length) if (clip, frame) in wrong]
    start = max(0, min(first - (length - (errors[-1] + 1 - first)) // 2, end - length))
    inside = sum((clip, frame) in wrong for frame in range(start, start + length))
    return Stretch(clip, start, min(start + length, end), inside)
