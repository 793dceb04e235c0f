"""What a tracker got wrong, counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tracknet.evaluation.errors import FrameResult, Stretch, speeds, threshold_curve, worst_stretches
from tracknet.evaluation.metrics import KINDS, BallMetrics

NAN = math.nan


def frame(number, kind="tn", distance=NAN, confidence=0.5, clip=0, label=(NAN, NAN)):
    return FrameResult(clip, number, kind, distance, confidence, 0.0, 0.0, *label)


def test_every_threshold_is_counted():
    results = [
        frame(0, distance=1.0, confidence=0.9),
        frame(1, distance=4.0, confidence=0.8),
        frame(2, confidence=0.7),
        frame(3, distance=9.0, confidence=0.7),
        frame(4, distance=2.0, confidence=0.1),
    ]
    curve = threshold_curve(results, BallMetrics())
    # The two of confidence 0.7 count at once.
    assert curve.threshold.tolist() == [0.9, 0.8, 0.7, 0.1]
    assert curve.precision.tolist() == [1, 1, 2 / 4, 3 / 5]
    assert curve.recall.tolist() == [1 / 4, 2 / 4, 2 / 4, 3 / 4]
    # Recall of detected balls: 1/4, 2/4, 2/3, 3/3.
    assert curve.f1 == pytest.approx([2 / 5, 4 / 6, 2 / (1 / 0.5 + 3 / 2), 2 / (5 / 3 + 1)])
    assert curve.average_precision == pytest.approx(0.25 + 0.25 + 0 + 0.25 * 0.6)
    assert curve.best == (0.1, pytest.approx(0.75))
    # d < 4 and recall of all visible balls.
    strict = threshold_curve(results, BallMetrics(strict=True, recall="visible"))
    assert strict.precision.tolist() == [1, 1 / 2, 1 / 4, 2 / 5]
    assert strict.f1 == pytest.approx([2 / 5, 2 / 6, 2 / 8, 4 / 9])


@given(
    st.lists(
        st.tuples(st.booleans(), st.floats(0, 12), st.sampled_from([0.1, 0.3, 0.5, 0.7])),
        min_size=1,
        max_size=30,
    ),
    st.sampled_from(["tracknetv1", "tracknetv2", "wasb"]),
)
def test_the_curve_agrees_with_the_metric_at_every_threshold(frames, preset):
    size = (720, 1280)
    visible = torch.tensor([[ball for ball, _, _ in frames]])
    away = torch.tensor([[[d, 0.0] for _, d, _ in frames]])
    confidence = torch.tensor([[c for _, _, c in frames]])
    metrics = BallMetrics(preset, space="source")
    square = metrics.square_distances(away, torch.zeros_like(away), size, torch.tensor([size]))
    results = [
        frame(k, distance=math.sqrt(square[0, k]) if ball else NAN, confidence=c)
        for k, (ball, _, c) in enumerate(frames)
    ]
    curve = threshold_curve(results, metrics)
    for at, f1 in zip(curve.threshold, curve.f1, strict=True):
        metrics.reset()
        metrics.update(
            away,
            confidence.double() >= torch.tensor(at).float().double(),
            torch.zeros_like(away),
            visible,
            torch.ones_like(visible),
            size,
            torch.tensor([size]),
        )
        assert metrics.compute()["f1"].item() == pytest.approx(f1, abs=1e-6)


def test_a_curve_without_frames_or_without_balls():
    empty = threshold_curve([], BallMetrics())
    assert (empty.best, empty.average_precision) == ((0.0, 0.0), 0.0)
    none = threshold_curve([frame(0), frame(1, confidence=0.2)], BallMetrics())
    assert (none.recall.tolist(), none.f1.tolist(), none.average_precision) == ([0, 0], [0, 0], 0.0)


def test_speed_needs_two_frames_in_a_row():
    results = [
        frame(0, label=(1.0, 1.0)),
        frame(1, label=(4.0, 5.0)),
        frame(2),
        frame(3, label=(4.0, 5.0)),
        frame(5, label=(4.0, 6.0)),
        frame(6, clip=1, label=(0.0, 0.0)),
    ]
    assert np.array_equal(speeds(results), [NAN, 5.0, NAN, NAN, NAN, NAN], equal_nan=True)


def wrong(clip, *numbers, length):
    return [frame(k, kind="fn" if k in numbers else "tn", clip=clip) for k in range(length)]


def test_the_worst_come_first():
    results = [*wrong(0, 10, 12, 13, 30, length=100), *wrong(1, 4, 5, 6, 7, length=9)]
    assert worst_stretches(results, length=8, count=9) == [
        # Four errors at 4 to 7, in the middle as far as the clip goes.
        Stretch(1, 1, 9, 4),
        Stretch(0, 8, 16, 3),
        Stretch(0, 27, 35, 1),
    ]
    assert worst_stretches(results, length=8, count=1) == [Stretch(1, 1, 9, 4)]
    assert worst_stretches(results, length=50, count=1) == [Stretch(0, 0, 50, 4)]
    # A clip shorter than a stretch.
    assert worst_stretches(wrong(0, 1, length=3), length=8, count=2) == [Stretch(0, 0, 3, 1)]
    assert worst_stretches(wrong(0, length=3), length=8, count=2) == []


@given(st.sets(st.integers(0, 39), max_size=20), st.integers(1, 12), st.integers(1, 40))
def test_enough_stretches_hold_every_error(numbers, length, count):
    found = worst_stretches(wrong(0, *numbers, length=40), length, 40)
    covered = [k for stretch in found for k in range(stretch.start, stretch.end) if k in numbers]
    assert set(covered) == numbers
    assert all(stretch.end - stretch.start == length for stretch in found)
    assert worst_stretches(wrong(0, *numbers, length=40), length, count) == found[:count]


def test_only_three_kinds_are_errors():
    assert [kind for kind in KINDS if frame(0, kind=kind).wrong] == ["fp1", "fp2", "fn"]
