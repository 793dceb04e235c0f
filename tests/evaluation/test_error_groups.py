"""Groups of frames, counted by hand and by the metric."""

from __future__ import annotations

import math

import pytest
import torch

from tracknet.evaluation.error_groups import error_groups, group_figures
from tracknet.evaluation.errors import FrameResult
from tracknet.evaluation.metrics import BallMetrics

NAN = math.nan


def frame(number, kind="tp", distance=1.0, visibility=1, clip=0, x=0.0, filled=False):
    ball = visibility > 0
    places = (x, 0.0) if ball else (NAN, NAN)
    return FrameResult(
        clip, number, kind, distance if ball else NAN, 0.9, 0.0, 0.0, *places, visibility, filled
    )


def test_frames_are_grouped_by_visibility_speed_and_clip():
    results = [
        frame(0),
        frame(1, x=1.0, visibility=2),  # as fast as the bound: of the class that begins there
        frame(2, kind="tn", visibility=0),
        frame(3, x=5.0),  # nothing before it that it could have a speed from
        frame(4, x=80.0, clip=0, kind="fp1", distance=9.0, filled=True),
        frame(0, clip=2),
    ]
    found = {(g.by, g.name): g.places for g in error_groups(results, ["a", "none", "b"], BallMetrics())}
    assert found == {
        ("visibility", "no ball"): [2],
        ("visibility", "visible"): [0, 3, 4, 5],
        ("visibility", "partly hidden"): [1],
        ("speed", "1 to 2"): [1],
        ("speed", "32 up"): [4],
        ("clip", "a"): [0, 1, 2, 3, 4],
        ("clip", "b"): [5],
    }


@pytest.mark.parametrize("preset", ["tracknetv1", "tracknetv2"])
def test_figures_are_those_of_the_metric(preset):
    results = [
        frame(0, distance=1.0),
        frame(1, distance=2.0),
        frame(2, "fp1", 30.0, filled=True),
        frame(3, "fp2", visibility=0),
        frame(4, "fn"),
        frame(5, "tn", visibility=0),
    ]
    metrics = BallMetrics(preset, space="source")
    figures = group_figures(results, metrics)
    assert figures[:7] == (6, 1, 2, 1, 1, 1, 1)
    assert (figures.median_distance, figures.p90_distance) == pytest.approx((2.0, 24.4))
    away = torch.tensor([[[1.0, 0], [2, 0], [30, 0], [0, 0], [0, 0], [0, 0]]])
    detected = torch.tensor([[True, True, True, True, False, False]])
    visible = torch.tensor([[True, True, True, False, True, False]])
    size = torch.tensor([[64, 96]])
    metrics.update(away, detected, torch.zeros(1, 6, 2), visible, torch.ones_like(visible), (64, 96), size)
    computed = metrics.compute()
    for name in ("precision", "recall", "f1"):
        assert getattr(figures, name) == pytest.approx(float(computed[name]))


def test_what_cannot_be_divided_is_not_told():
    none = group_figures([frame(0, "tn", visibility=0)], BallMetrics())
    assert all(math.isnan(figure) for figure in none[7:])
    wrong = group_figures([frame(0, "fp2", visibility=0)], BallMetrics())
    assert (wrong.precision, wrong.f1) == (0.0, 0.0)
    assert math.isnan(wrong.recall)
