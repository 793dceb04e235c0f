"""The flight tracker keeps what lies on one flight, from what comes before and after."""

from __future__ import annotations

from itertools import product
from math import exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracknet.tracking.flight import LEAST, FlightTracker, Prices
from tracknet.tracking.sightings import Sighting

SIZE = (1000, 2000)
PRICES = Prices()
MIDDLE = (1000.0, 500.0)


def sightings(*frames):
    """Make sightings of lists of ``(x, y, confidence)``."""
    made = []
    for number, found in enumerate(frames):
        table = np.array(found, float).reshape(-1, 3)
        made.append(Sighting(number, table[:, :2], table[:, 2], 1.0))
    return made


def chosen(*frames, threshold=0.5, fps=30.0, size=SIZE, prices=None, lag=300):
    told = list(FlightTracker(prices, lag).follow(sightings(*frames), size, fps, threshold))
    assert [sighting.frame for sighting, _ in told] == list(range(len(frames)))
    return [choice for _, choice in told]


def flight(count, x=400.0, y=500.0, step=9.0, confidence=0.9, first=0):
    """A ball that flies to the right."""
    return [[(x + step * (first + n), y, confidence)] for n in range(count)]


def confidence_of(odds):
    return 1 / (1 + exp(-odds))


def test_a_flight_is_kept_whole():
    assert chosen(*flight(12)) == [0] * 12


@pytest.mark.parametrize(("spare", "choice"), [(0.1, 0), (-0.1, None)])
def test_a_faint_ball_counts_where_its_flight_needs_it(spare, choice):
    # It is worth as much as it costs to fly on unseen for a frame.
    faint = confidence_of(-PRICES.missed + spare)
    frames = flight(11)
    frames[5] = [(400.0 + 9 * 5, 500.0, faint)]
    assert chosen(*frames) == [0] * 5 + [choice] + [0] * 5


def test_the_threshold_is_what_a_ball_has_to_beat():
    frames = flight(11)
    frames[5] = [(400.0 + 9 * 5, 500.0, confidence_of(-PRICES.missed - 0.5))]
    assert chosen(*frames, threshold=0.5)[5] is None
    assert chosen(*frames, threshold=0.3)[5] == 0  # log odds of -0.85


@pytest.mark.parametrize(("spare", "choice"), [(0.1, 0), (-0.1, None)])
def test_what_appears_in_the_middle_pays_for_coming_and_going(spare, choice):
    # Four frames at rest; each also spares a frame out of sight.
    value = confidence_of((2 * PRICES.appear + spare) / 4 - PRICES.hidden)
    nothing = [[]] * 9
    told = chosen(*nothing, *([[(*MIDDLE, value)]] * 4), *nothing)
    assert told == [None] * 9 + [choice] * 4 + [None] * 9


@pytest.mark.parametrize(("spare", "choice"), [(0.1, 0), (-0.1, None)])
@pytest.mark.parametrize("end", [False, True])
def test_it_may_fly_unseen_where_the_video_begins_and_ends(end, spare, choice):
    # That costs less for two frames than to come into sight, or to go, in the middle of the picture.
    value = confidence_of((PRICES.appear + 2 * PRICES.missed - 5 * PRICES.hidden + spare) / 3)
    frames = [*([[]] * 9), *([[(*MIDDLE, value)]] * 3), [], []]
    told = [None] * 9 + [choice] * 3 + [None] * 2
    assert chosen(*frames[:: 1 if end else -1]) == told[:: 1 if end else -1]


def test_a_ball_that_stays_fast_does_not_leap():
    step = (PRICES.fast + 0.1) * SIZE[0]
    frames = [[(100.0 + step * n, 500.0, 0.9)] for n in range(8)]
    assert chosen(*frames) == [0] * 8


@pytest.mark.parametrize("place", [(1000.0, 10.0), (10.0, 500.0), (1990.0, 500.0)])
def test_at_the_border_it_comes_and_goes(place):
    assert chosen([], [(*place, 0.6)], []) == [None, 0, None]


def test_the_bottom_is_no_border():
    assert chosen([], [(1000.0, 995.0, 0.6)], []) == [None, None, None]


def test_a_racket_is_no_ball_while_the_ball_is_above_the_picture():
    up = [[(1000.0, 290.0 - 60 * n, 0.9)] for n in range(5)]
    racket = [[(600.0 + 3 * n, 700.0, 0.6)] for n in range(8)]
    down = [[(1010.0, 30.0 + 60 * n, 0.9)] for n in range(5)]
    assert chosen(*up, *racket, *down) == [0] * 5 + [None] * 8 + [0] * 5


def test_a_ball_that_is_fast_leaves_from_further_away():
    # At a place from which one that rests would have to pay.
    seen = [[(1000.0, 600.0 - 90 * n, 0.9)] for n in range(5)]
    assert chosen(*seen, [], []) == [0] * 5 + [None] * 2


def test_the_brighter_one_off_the_flight_loses():
    frames = flight(9)
    frames[4] = [(1500.0, 800.0, 0.95), (400.0 + 9 * 4, 500.0, 0.4)]
    assert chosen(*frames) == [0] * 4 + [1] + [0] * 4


def test_a_hit_turns_the_ball():
    there = flight(6)
    back = [[(400.0 + 9 * (5 - n), 500.0, 0.9)] for n in range(1, 6)]
    assert chosen(*there, *back) == [0] * 11


@pytest.mark.parametrize(("unseen", "goes_on"), [(PRICES.reach, True), (PRICES.reach + 1, False)])
def test_it_flies_on_unseen_for_some_frames(unseen, goes_on):
    # Three frames after it are too few to pay for coming into sight anew.
    frames = [*flight(3), *([[]] * unseen), *flight(3, first=3 + unseen, confidence=0.7)]
    after = [0] * 3 if goes_on else [None] * 3
    assert chosen(*frames, prices=Prices(missed=0.1))[-3:] == after


def test_speed_is_counted_by_the_second_and_by_the_height():
    # Back and forth, by steps within those of a ball.
    step = (PRICES.fast - 0.01) * SIZE[0]
    frames = [[(500.0 + step * (n % 2), 500.0, 0.9)] for n in range(6)]
    prices = Prices(leap=50.0)
    assert chosen(*frames, prices=prices) == [0] * 6
    assert None in chosen(*frames, prices=prices, fps=60.0)
    half = [[(x / 2, y / 2, value)] for ((x, y, value),) in frames]
    assert chosen(*half, prices=prices, size=(500, 1000)) == [0] * 6
    assert None in chosen(*frames, prices=prices, size=(500, 1000))


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_any_threshold_is_one(threshold):
    assert len(chosen(*flight(4), threshold=threshold)) == 4


def test_nothing_is_chosen_of_nothing():
    assert chosen() == []
    assert chosen([], [], []) == [None] * 3
    assert chosen([(*MIDDLE, LEAST / 2)]) == [None]


def test_a_threshold_below_the_least_confidence_counts():
    faint = flight(20, confidence=LEAST / 2)
    assert chosen(*faint, threshold=LEAST / 3) == [0] * 20
    assert chosen(*faint, threshold=LEAST) == [None] * 20


def test_the_index_is_that_of_the_sighting_whatever_its_order():
    frames = [[(10.0, 900.0, LEAST / 2), (400.0 + 9 * n, 500.0, 0.8)] for n in range(6)]
    assert chosen(*frames) == [1] * 6


def test_only_the_brightest_are_looked_at():
    crowd = [(50.0 * k, 900.0, 0.5) for k in range(20)]
    frames = [[*crowd, (400.0 + 9 * n, 500.0, 0.9)] for n in range(6)]
    assert chosen(*frames) == [20] * 6


@given(lag=st.integers(10, 60))
def test_a_clear_flight_is_the_same_with_any_lag(lag):
    frames = [*([[]] * 5), *flight(60, x=20.0, step=9.0), *([[]] * 20), *flight(30, x=20.0)]
    for frame in frames[::3]:
        frame.append((1500.0, 900.0, 0.3))
    assert chosen(*frames, lag=lag) == chosen(*frames)


def test_hours_do_not_wear_it_out():
    rally = [*flight(40, x=20.0), *([[]] * 60)]
    told = chosen(*(rally * 30), lag=50)
    assert told == chosen(*rally) * 30


def test_rows_come_when_the_lag_is_over():
    taken = []

    def source():
        for sighting in sightings(*flight(25)):
            taken.append(sighting.frame)
            yield sighting

    rows = FlightTracker(lag=5).follow(source(), SIZE, 30.0, 0.5)
    assert [next(rows)[0].frame for _ in range(6)] == list(range(6))
    assert taken[-1] == 14  # ten frames are held, of which five are given


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_was_seen_before_the_end_is_judged(error):
    def source():
        yield from sightings(*flight(25))
        raise error

    rows = FlightTracker(lag=10).follow(source(), SIZE, 30.0, 0.5)
    assert [next(rows)[1] for _ in range(25)] == [0] * 25
    with pytest.raises(error):
        next(rows)


CANDIDATE = st.tuples(st.integers(0, 1999), st.integers(0, 999), st.floats(0.05, 0.99))


@given(
    frames=st.lists(st.lists(CANDIDATE, max_size=4), max_size=20),
    lag=st.integers(1, 8),
    threshold=st.floats(0, 1),
)
def test_every_frame_is_answered(frames, lag, threshold):
    for found, choice in zip(frames, chosen(*frames, lag=lag, threshold=threshold), strict=True):
        assert choice is None or 0 <= choice < len(found)


@given(frames=st.lists(st.lists(CANDIDATE, max_size=2), min_size=1, max_size=5))
def test_no_other_flight_earns_more(frames):
    """Without prices for turning and leaping, where the search is exact: against all flights one by one."""
    prices = Prices(turn=0.0, leap=0.0, reach=1, ahead=0)
    best = max(earned(frames, way, prices) for way in product(*([None, *range(len(f))] for f in frames)))
    told = earned(frames, chosen(*frames, prices=prices), prices)
    assert told == pytest.approx(best, abs=1e-9)


def earned(frames, choices, prices):
    """Say what a flight earns, in the way that is best for it where a frame is empty."""
    odds = [0.0 if c is None else log(f[c][2] / (1 - f[c][2])) for f, c in zip(frames, choices, strict=True)]
    places = [None if c is None else np.array(f[c][:2]) for f, c in zip(frames, choices, strict=True)]
    best = [-np.inf] * len(frames)  # of the flights up to a frame with the ball
    hidden = [0.0] * len(frames)  # and to one without, where the ball is out of sight
    for n, place in enumerate(places):
        before = hidden[n - 1] if n else 0.0
        hidden[n] = before - prices.hidden
        if n and places[n - 1] is not None:
            hidden[n] = max(hidden[n], best[n - 1] - leaving(places, n - 1, prices) - prices.hidden)
        if place is None:
            continue
        hidden[n] = -np.inf
        best[n] = before - (0.0 if n == 0 or free(place, prices.edge) else prices.appear)
        if n <= prices.reach:  # in flight since before the first frame
            best[n] = max(best[n], -prices.missed * n)
        for gap in range(1, prices.reach + 2):
            if n - gap < 0:
                break
            if places[n - gap] is not None:
                best[n] = max(best[n], best[n - gap] - prices.missed * (gap - 1))
                break
        best[n] += odds[n]
    seen = [n for n, place in enumerate(places) if place is not None]
    unseen = len(places) - 1 - seen[-1] if seen else len(places)
    goes_on = best[seen[-1]] - prices.missed * unseen if seen and unseen <= prices.reach else -np.inf
    return max(hidden[-1], goes_on)


def free(place, edge):
    x, y = (place + 0.5) / SIZE[0]
    return min(y, 3 * min(x, SIZE[1] / SIZE[0] - x)) < edge


def leaving(places, n, prices):
    return 0.0 if free(places[n], prices.edge) else prices.appear
