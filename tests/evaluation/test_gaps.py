"""Curves through gaps, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from tracknet.evaluation.gaps import acceleration_curve, cubic_curve, find_gaps, linear_curve


def seen(text):
    return np.array([mark == "x" for mark in text])


def along(curve, frames):
    t = np.arange(frames, dtype=float)
    return np.stack([curve(t), 3 * t + 1], axis=1)


def test_gaps_lie_between_two_balls():
    assert find_gaps(seen("..xx...x.x..")) == [(4, 7), (8, 9)]
    assert find_gaps(seen("....")) == []
    assert find_gaps(seen("")) == []


def test_linear_by_hand():
    xy = np.array([[0, 0], [7, 7], [7, 7], [7, 7], [8, -4]], float)
    filled = linear_curve(xy, seen("x...x"), 1, 4)
    assert filled.tolist() == [[2, -1], [4, -2], [6, -3]]


@pytest.mark.parametrize("gap", range(1, 16))
@pytest.mark.parametrize("curve", [acceleration_curve, cubic_curve])
def test_a_parabola_is_continued_exactly(curve, gap):
    truth = along(lambda t: 0.5 * t**2 - 7 * t + 100, gap + 6)
    visible = np.ones(gap + 6, bool)
    visible[3 : 3 + gap] = False
    hidden = np.where(visible[:, None], truth, -999.0)
    np.testing.assert_allclose(curve(hidden, visible, 3, 3 + gap), truth[3 : 3 + gap], atol=1e-8)


def test_a_cubic_is_continued_exactly():
    truth = along(lambda t: 0.02 * t**3 - t**2, 14)
    np.testing.assert_allclose(cubic_curve(truth, seen("xx..........xx"), 2, 12), truth[2:12], atol=1e-8)


def test_acceleration_from_one_side():
    # Through (1, 1) and (4, 16), nearest to (0, 0): the parabola t^2.
    truth = along(lambda t: t**2, 5)
    np.testing.assert_allclose(acceleration_curve(truth, seen("xx..x"), 2, 4), truth[2:4])
    np.testing.assert_allclose(acceleration_curve(truth[::-1], seen("x..xx"), 1, 3), truth[::-1][1:3])


def test_acceleration_is_the_least_squares_one():
    # The line through the ends is 0; the outer balls lie where the bend (t - 1)(t - 4) is 4: mean 3 -> 3/4.
    xy = np.array([[2, 0], [0, 0], [9, 9], [9, 9], [0, 0], [4, 0]], float)
    filled = acceleration_curve(xy, seen("xx..xx"), 2, 4)
    np.testing.assert_allclose(filled, [[-1.5, 0], [-1.5, 0]], atol=1e-12)


def test_second_balls_too_far_away_do_not_count():
    xy = np.array([[50, 50], [0, 0], [0, 0], [0, 0], [0, 0], [9, 9], [2, 4], [0, 0]], float)
    assert acceleration_curve(xy, seen("x...x.x."), 5, 6).tolist() == [[1, 2]]
    assert cubic_curve(xy, seen("x...x.x."), 5, 6).tolist() == [[1, 2]]


def test_a_cubic_without_four_balls_is_a_parabola():
    truth = along(lambda t: t**2, 6)
    np.testing.assert_allclose(cubic_curve(truth, seen("xx...x"), 2, 5), truth[2:5], atol=1e-9)
