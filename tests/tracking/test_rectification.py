"""Which gaps are filled, on whole trajectories and on streams."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tracknet.errors import TrackNetError
from tracknet.models.inpaintnet import InpaintNet
from tracknet.tracking.rectification import (
    AccelerationFill,
    CubicFill,
    LearnedFill,
    LinearFill,
    fill_gaps,
    rectify,
)
from tracknet.tracking.trajectory import TrajectoryRow

SIZE = (100, 200)


def rows_of(text, y=50.0):
    """A ball (x) that moves by 2 px a frame, or none (.)."""
    return [
        TrajectoryRow(n, mark == "x", 2.0 * n, y, 0.9)
        if mark == "x"
        else TrajectoryRow(n, False, 0.0, 0.0, 0.1)
        for n, mark in enumerate(text)
    ]


def marks(rows):
    return "".join("f" if row.filled else "x" if row.visible else "." for row in rows)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("xx..xx", "xxffxx"),
        ("x.x.x", "xfxfx"),
        ("..xx.x..", "..xxfx.."),  # nothing tells where the ends lead
        ("xx...xx", "xxfffxx"),
        ("xx....xx", "xx....xx"),  # longer than 3
        ("x....x..x", "x....xffx"),
        ("......", "......"),
        ("", ""),
    ],
)
def test_gaps_up_to_the_limit_are_filled(text, expected):
    rows = list(rectify(rows_of(text), LinearFill(), SIZE, max_gap=3))
    assert marks(rows) == expected
    for row in rows:
        assert row.frame == rows.index(row)
        if row.filled:
            assert (row.visible, row.confidence) == (True, 0.1)
            assert (row.x, row.y) == pytest.approx((2.0 * row.frame, 50.0))


@pytest.mark.parametrize(
    ("before", "after", "expected"), [(4, 50, "x..x"), (50, 5, "x..x"), (6, 5.5, "xffx")]
)
def test_a_ball_that_left_at_the_top_is_not_invented(before, after, expected):
    rows = rows_of("x..x")
    rows[0], rows[3] = rows[0]._replace(y=before), rows[3]._replace(y=after)
    assert marks(rectify(rows, LinearFill(), SIZE, top=0.05)) == expected


def test_frames_in_which_the_curve_leaves_the_picture_stay_empty():
    # y = 60 + 20 t - 2 t^2 in frames 0 to 10: below the lower edge, 99.5, from t = 2.9 to 7.1.
    t = np.arange(11)
    y = 60 + 20 * t - 2 * t**2
    rows = [TrajectoryRow(n, n < 2 or n > 8, 10.0, float(y[n]), 1.0) for n in t]
    assert marks(rectify(rows, AccelerationFill(), SIZE)) == "xxf.....fxx"


@pytest.mark.parametrize("reason", [KeyboardInterrupt(), TrackNetError("damaged")])
def test_rows_held_back_come_out_before_an_error(reason):
    def source():
        yield from rows_of("xx.xx..")
        raise reason

    got = []
    with pytest.raises(type(reason)):
        got.extend(rectify(source(), CubicFill(), SIZE))
    assert marks(got) == "xxfxx.."


def test_the_stream_is_read_no_further_than_it_must_be():
    taken = 0

    def source():
        nonlocal taken
        for row in rows_of("x" * 100):
            taken += 1
            yield row

    next(rectify(source(), AccelerationFill(), SIZE, max_gap=5))
    assert taken == 5 + AccelerationFill.context


torch.manual_seed(0)
METHODS = [LinearFill(), AccelerationFill(), CubicFill(), LearnedFill(InpaintNet().eval())]


@settings(max_examples=60)
@given(
    method=st.sampled_from(METHODS),
    balls=st.lists(
        st.one_of(st.none(), st.tuples(st.floats(0, 199), st.floats(0, 99))),
        max_size=70,
    ),
    max_gap=st.integers(1, 20),
)
def test_streams_give_what_whole_trajectories_give(method, balls, max_gap):
    rows = [
        TrajectoryRow(n, ball is not None, *(ball or (0.0, 0.0)), 0.5 if ball else 0.0)
        for n, ball in enumerate(balls)
    ]
    found = list(rectify(rows, method, SIZE, max_gap))
    assert [row.frame for row in found] == list(range(len(rows)))
    for row, raw in zip(found, rows, strict=True):
        if raw.visible or not row.filled:
            assert row == raw
    xy = np.array([(row.x, row.y) for row in rows], float).reshape(-1, 2)
    visible = np.array([row.visible for row in rows], bool)
    positions, filled = fill_gaps(xy, visible, method, SIZE, max_gap)
    assert [row.filled for row in found] == filled.tolist()
    np.testing.assert_array_equal(np.array([row[2:4] for row in found], float).reshape(-1, 2), positions)


def test_learned_positions_are_in_pixels_of_the_source():
    fill = LearnedFill(InpaintNet().eval())
    for weight in fill.network.parameters():
        torch.nn.init.zeros_(weight)
    rows = list(rectify(rows_of("xxx..xxx"), fill, SIZE))
    # A network of zeros says sigmoid(0), the middle of the picture.
    assert [row[2:4] for row in rows if row.filled] == [(100.0, 50.0), (100.0, 50.0)]
