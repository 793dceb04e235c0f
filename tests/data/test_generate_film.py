"""Painting, and whether the label of a painted ball is where the ball is."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from tracknet.data.generate.baseline import background_difference_baseline
from tracknet.data.generate.film import Film, plan_cuts
from tracknet.data.generate.lettering import banner, letters
from tracknet.data.generate.paint import Canvas, Layer
from tracknet.data.generate.sports import GAMES, game_of
from tracknet.data.generate.venue import draw_venue

SIZE = (180, 320)


def canvas(height: int = 40, width: int = 60) -> Canvas:
    return Canvas(np.zeros((height, width, 3), np.float32))


def seed(number: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(number)


def middle_of(weight: np.ndarray) -> tuple[float, float]:
    rows, columns = np.indices(weight.shape)
    return float((weight * columns).sum() / weight.sum()), float((weight * rows).sum() / weight.sum())


@pytest.mark.parametrize("centre", [(20.0, 15.0), (20.3, 15.8), (31.5, 22.25)])
def test_a_disc_has_its_area_and_its_middle(centre):
    paper = canvas()
    paper.capsule(centre, centre, 6.0, (1.0, 1.0, 1.0))
    weight = paper.pixels[..., 0]
    assert weight.sum() == pytest.approx(np.pi * 36, rel=0.02)
    assert middle_of(weight) == pytest.approx(centre, abs=0.02)


def test_a_limb_has_round_ends_and_a_thin_one_is_faint():
    paper = canvas()
    paper.capsule((15.0, 20.0), (45.0, 20.0), 5.0, (1.0, 1.0, 1.0))
    assert paper.pixels[..., 0].sum() == pytest.approx(30 * 10 + np.pi * 25, rel=0.02)
    paper = canvas()
    paper.capsule((15.0, 20.0), (45.0, 20.0), 0.1, (1.0, 1.0, 1.0))
    assert paper.pixels.max() == pytest.approx(0.2)


def test_what_lies_outside_the_picture_is_cut_off():
    paper = canvas()
    paper.capsule((-50.0, 5.0), (-40.0, 5.0), 3.0, (1.0, 1.0, 1.0))
    paper.ellipse((30.0, 90.0), (5.0, 5.0), (1.0, 1.0, 1.0), 1.0)
    paper.sweep(np.array([[90.0, 5.0]]), np.array([[95.0, 5.0]]), 3.0, (1.0, 1.0, 1.0))
    paper.layer(Layer(50, 0, np.ones((5, 5), np.float32), np.ones(3, np.float32)))
    assert not paper.pixels.any()
    paper.layer(Layer(-3, 58, np.ones((5, 5), np.float32), np.ones(3, np.float32)))
    assert paper.pixels[..., 0].sum() == 2 * 2


def test_a_swept_line_is_the_mean_of_its_moments():
    both, one = canvas(), canvas()
    starts, ends = np.array([[10.0, 10.0], [10.0, 30.0]]), np.array([[20.0, 10.0], [20.0, 30.0]])
    both.sweep(starts, ends, 2.0, (1.0, 1.0, 1.0))
    one.sweep(starts[:1], ends[:1], 2.0, (1.0, 1.0, 1.0))
    assert both.pixels.sum() == pytest.approx(one.pixels.sum(), rel=1e-4)
    assert both.pixels[10, 15, 0] == pytest.approx(0.5)
    ring = canvas()
    ring.sweep(np.array([[30.0, 20.0]]), np.array([[30.0, 20.0]]), 8.0, (1.0, 1.0, 1.0), rim=1.0)
    assert ring.pixels[20, 30, 0] == pytest.approx(0.15)
    assert ring.pixels[20, 38, 0] > 0.4


def test_a_layer_moves_by_parts_of_a_pixel():
    opacity = np.zeros((3, 3), np.float32)
    opacity[1, 1] = 1
    paper = canvas()
    layer = Layer(10, 20, opacity, np.ones((3, 3, 3), np.float32)).shifted(1.25, -0.5)
    paper.layer(layer)
    assert middle_of(paper.pixels[..., 0]) == pytest.approx((22.25, 10.5))
    assert paper.pixels[..., 0].sum() == pytest.approx(1)
    assert layer.shifted(0.0, 0.0) is layer


def test_a_ball_shows_as_much_as_is_in_the_picture_and_not_covered():
    paper = canvas()
    assert paper.ball_shown == 0
    still = np.array([[30.0, 20.0]])
    paper.ball(still, np.array([4.0]), (255.0, 255.0, 255.0))
    assert paper.ball_shown == pytest.approx(1)
    # Covers the ball's right half: columns 30 and on, the middle one by half.
    half = np.ones((40, 30), np.float32)
    half[:, 0] = 0.5
    paper.lay(0, 30, half, np.zeros(3, np.float32))
    assert paper.ball_shown == pytest.approx(0.5, abs=1e-3)
    paper.lay(0, 0, np.full((5, 5), 1, np.float32), np.zeros(3, np.float32))  # beside it
    assert paper.ball_shown == pytest.approx(0.5, abs=1e-3)
    paper.forget_ball()
    assert paper.ball_shown == 0
    paper.ball(np.array([[-0.5, 20.0]]), np.array([4.0]), (255.0, 255.0, 255.0))
    assert paper.ball_shown == pytest.approx(0.5, abs=0.01)
    for place in ([-30.0, 20.0], [1e5, 20.0]):
        paper.ball(np.array([place]), np.array([4.0]), (255.0, 255.0, 255.0))
        assert paper.ball_shown == 0


def test_a_moving_ball_is_painted_as_a_streak_around_its_middle():
    paper = canvas()
    moments = np.linspace(0, 1, 12)[:, None]
    centres = np.array([10.2, 12.6]) + moments * np.array([30.0, 10.0])
    paper.ball(centres, np.full(12, 2.0), (1.0, 1.0, 1.0))
    assert middle_of(paper.pixels[..., 0]) == pytest.approx((25.2, 17.6), abs=0.02)
    assert paper.pixels.max() < 0.5


def test_letters_fit_into_their_banner():
    assert letters("TO", 2).shape == (10, 14)
    wide, narrow = banner("VELA", 200, 20), banner("VELA", 20, 20)
    assert wide.shape == (20, 200)
    assert wide.sum() == 4 * narrow.sum() > 0


@pytest.mark.parametrize("game", GAMES, ids=lambda game: game.name)
def test_labels_are_the_middle_of_the_painted_ball(game):
    """The same rally with a white and with a black ball differs by the ball alone."""
    venue = replace(draw_venue(game, SIZE, seed(1)), noise=0.0, flicker=0.0, gain=(1.0, 1.0, 1.0), light=1.0)
    white, black = (
        Film(replace(venue, ball=colour), 20, 30.0, seed(2)) for colour in ((255.0,) * 3, (0.0,) * 3)
    )
    checked = 0
    for one, other in zip(white, black, strict=True):
        assert (one.xy, one.visible) == (other.xy, other.visible)
        weight = (one.pixels.astype(float) - other.pixels).sum(axis=2)
        # What covers part of a ball moves its middle: look at those that show whole.
        if one.visible and weight.sum() > 0.97 * 3 * 255 * np.pi * (game.least_pixels / 4) ** 2:
            assert middle_of(weight) == pytest.approx(one.xy, abs=0.3)
            checked += 1
    assert checked >= 5


@pytest.mark.parametrize("game", GAMES, ids=lambda game: game.name)
def test_frames_are_reproducible_and_mostly_show_the_ball(game):
    venue = draw_venue(game, SIZE, seed(4))
    first, second = (list(Film(venue, 24, 30.0, seed(5))) for _ in range(2))
    assert all((a.pixels == b.pixels).all() and a.xy == b.xy for a, b in zip(first, second, strict=True))
    assert first[0].pixels.dtype == np.uint8
    assert first[0].pixels.shape == (*SIZE, 3)
    assert all(0 <= shown.xy[0] <= 319 and 0 <= shown.xy[1] <= 179 for shown in first)
    assert all(shown.xy == (0.0, 0.0) for shown in first if not shown.visible)
    other = next(iter(Film(venue, 24, 30.0, seed(6))))
    assert (other.pixels != first[0].pixels).any()


def test_venues_of_other_seeds_look_different():
    one, other = (draw_venue(GAMES[0], SIZE, seed(number)) for number in (1, 2))
    assert draw_venue(GAMES[0], SIZE, seed(1)).court == one.court
    assert one.court != other.court
    assert one.kits != other.kits
    assert one.camera.focal != other.camera.focal


def test_a_cut_shows_no_ball_and_play_goes_on_after_it(monkeypatch):
    monkeypatch.setattr("tracknet.data.generate.film.plan_cuts", lambda *_: [(6, 10)])
    venue = replace(draw_venue(game_of("tennis"), SIZE, seed(1)), shake=0.0, pan=0.0)
    for number in range(3):  # of a player or of the stands, as chance has it
        shown = list(Film(venue, 16, 30.0, seed(number)))
        changed = [np.abs(a.pixels.astype(int) - b.pixels).mean() > 15 for a, b in itertools.pairwise(shown)]
        assert np.flatnonzero(changed).tolist() == [5, 9]
        visible = np.array([frame.visible for frame in shown])
        assert not visible[6:10].any()
        assert visible[:6].any()
        assert visible[10:].any()


def test_cuts_keep_their_distance():
    for number in range(40):
        cuts = plan_cuts(600, 30.0, np.random.default_rng(number))
        borders = [0, *(border for cut in cuts for border in cut), 600]
        assert all(12 <= last - first <= 27 for first, last in cuts)
        assert all(b - a >= 15 for a, b in zip(borders[::2], borders[1::2], strict=True))
    assert plan_cuts(20, 30.0, np.random.default_rng(0)) == []


def test_the_baseline_finds_a_small_bright_disc_and_nothing_in_an_empty_picture():
    paper = canvas(360, 640)
    paper.capsule((300.25, 120.75), (300.25, 120.75), 2.5, (200.0, 200.0, 200.0))
    paper.capsule((100.0, 200.0), (100.0, 260.0), 20.0, (255.0, 255.0, 255.0))  # a player: too large
    paper.capsule((400.0, 200.0), (460.0, 200.0), 0.6, (255.0, 255.0, 255.0))  # a line: too long
    frames = np.stack([paper.pixels.astype(np.uint8), np.zeros((360, 640, 3), np.uint8)])
    xy, confidence = background_difference_baseline(frames, np.zeros((360, 640, 3), np.uint8))
    assert xy.dtype == confidence.dtype == np.float32
    np.testing.assert_allclose(xy[0], [300.25, 120.75], atol=0.1)
    assert confidence[0] == pytest.approx(0.5 + 200 / 510)
    assert confidence[1] == 0
