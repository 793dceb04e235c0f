"""How generated balls fly, bounce and are aimed, and how a camera sees them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracknet.data.generate.camera import Camera, sway, watch
from tracknet.data.generate.flight import GRAVITY, STEP, Aerodynamics, Surface, aim, fly

VACUUM = Aerodynamics(drag=0.0, restitution=1.0, grip=1.0)
SHUTTLE = Aerodynamics(drag=GRAVITY / 6.8**2, restitution=0.0, grip=0.0)
FLOOR = Surface(0.0, 100.0, 100.0)


def test_without_air_a_ball_follows_a_parabola():
    path, velocity = fly((0.0, 1.0, 2.0), (3.0, -2.0, 5.0), 1.0, VACUUM)
    time = STEP * np.arange(len(path))
    assert len(path) == 241
    np.testing.assert_allclose(path[:, 0], 3 * time, atol=1e-9)
    np.testing.assert_allclose(path[:, 1], 1 - 2 * time, atol=1e-9)
    np.testing.assert_allclose(path[:, 2], 2 + 5 * time - GRAVITY / 2 * time**2, atol=1e-9)
    assert velocity == pytest.approx((3.0, -2.0, 5.0 - GRAVITY))


def test_a_falling_shuttlecock_follows_the_exact_solution_with_drag():
    path, velocity = fly((0.0, 0.0, 50.0), (0.0, 0.0, 0.0), 2.0, SHUTTLE)
    limit = 6.8
    time = STEP * np.arange(len(path))
    np.testing.assert_allclose(
        path[:, 2], 50 - limit**2 / GRAVITY * np.log(np.cosh(GRAVITY * time / limit)), atol=1e-6
    )
    assert velocity[2] == pytest.approx(-limit * math.tanh(GRAVITY * 2 / limit), abs=1e-6)


def test_a_bounce_leaves_the_square_of_the_restitution_of_the_height():
    air = Aerodynamics(drag=0.0, restitution=0.5, grip=0.25)
    path, velocity = fly((0.0, 0.0, 1.0), (2.0, 0.0, 0.0), 0.8, air, surface=FLOOR)
    touch = math.sqrt(2 / GRAVITY)
    after = path[round(touch / STEP) + 1 :]
    assert after[:, 2].max() == pytest.approx(0.25, abs=2e-3)
    assert velocity[0] == pytest.approx(0.5)
    assert path[:, 2].min() >= 0


def test_a_ball_without_restitution_stays_on_the_floor():
    path, velocity = fly((0.0, 0.0, 1.0), (4.0, 0.0, 0.0), 1.5, SHUTTLE, surface=FLOOR)
    np.testing.assert_array_equal(path[-10:, 2], 0.0)
    np.testing.assert_array_equal(path[-10:, 0], path[-1, 0])
    assert velocity == (0.0, 0.0, 0.0)


def test_a_ball_beside_the_table_falls_to_below_it():
    table = Surface(0.76, 0.7625, 1.37)
    path, _ = fly((0.9, 0.0, 1.0), (0.0, 0.0, 0.0), 0.3, VACUUM, surface=table)
    assert path[-1, 2] < 0.76
    path, _ = fly((0.7, 0.0, 1.0), (0.0, 0.0, 0.0), 0.3, VACUUM, surface=table)
    assert path[:, 2].min() >= 0.76


def test_topspin_shortens_and_backspin_lengthens_a_flight():
    def reach(spin: float) -> float:
        path, _ = fly(
            (0.0, 0.0, 1.0),
            (0.0, 20.0, 4.0),
            5.0,
            Aerodynamics(0.02, 1.0, 1.0),
            spin=(-spin, 0.0, 0.0),
            until=lambda position, velocity: position[2] < 0,
        )
        return float(path[-1, 1])

    assert reach(0.3) < reach(0.0) - 1
    assert reach(-0.1) > reach(0.0) + 1


@settings(max_examples=25)
@given(
    x=st.floats(-3, 3),
    y=st.floats(1, 6.5),
    height=st.floats(0.3, 2.5),
    seconds=st.floats(1.0, 1.8),
    spin=st.floats(-0.3, 0.3),
)
def test_aim_brings_a_shuttlecock_to_its_target(x, y, height, seconds, spin):
    start, target, turn = (0.5, -5.0, 2.0), (x, y, height), (spin, 0.0, spin)
    velocity, missed = aim(start, target, seconds, SHUTTLE, turn)
    path, _ = fly(start, velocity, seconds, SHUTTLE, turn)
    assert missed < 0.01
    np.testing.assert_allclose(path[-1], target, atol=0.011)


def test_aim_tells_how_far_a_target_out_of_reach_is_missed():
    _, missed = aim((0.0, -6.7, 1.0), (0.0, 60.0, 1.0), 0.3, SHUTTLE)
    assert missed > 10


def test_a_camera_shows_a_point_before_it_where_the_pinhole_says():
    camera = Camera((100, 200), np.zeros(3), np.eye(3)[[0, 2, 1]] * [[1], [-1], [1]], 50.0)
    pixels, depth = camera.project(np.array([[1.0, 10.0, 2.0], [0.0, 5.0, 0.0]]))
    np.testing.assert_allclose(pixels, [[99.5 + 5, 49.5 - 10], [99.5, 49.5]])
    np.testing.assert_allclose(depth, [10.0, 5.0])
    np.testing.assert_allclose(camera.scale(depth), [5.0, 10.0])


@pytest.mark.parametrize("azimuth", [0.0, 0.4, -0.2])
def test_watch_puts_both_ends_of_the_court_at_the_wanted_heights(azimuth):
    camera = watch((360, 640), distance=23.0, height=8.0, azimuth=azimuth, near=(-6.7, 0.88), far=(6.7, 0.4))
    if azimuth == 0.0:
        pixels, _ = camera.project(np.array([[0.0, -6.7, 0.0], [0.0, 6.7, 0.0]]))
        np.testing.assert_allclose(pixels, [[319.5, 0.88 * 360], [319.5, 0.4 * 360]], atol=1.0)
    np.testing.assert_allclose(camera.axes @ camera.axes.T, np.eye(3), atol=1e-12)
    # A point to the right is shown to the right, a higher one higher.
    spots, _ = camera.project(np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))
    assert spots[1, 0] > spots[0, 0] + 10
    assert spots[2, 1] < spots[0, 1] - 10


def test_rays_pass_through_what_their_pixels_show():
    camera = watch((90, 160), distance=20.0, height=8.0, azimuth=0.2, near=(-6, 0.9), far=(6, 0.4))
    rays = camera.rays(-2, 5, 95, 100)
    pixels, _ = camera.project(camera.position + 17 * rays)
    np.testing.assert_allclose(pixels[0, 0], [5, -2], atol=1e-9)
    np.testing.assert_allclose(pixels[94, 99], [104, 92], atol=1e-9)


def test_a_fixed_camera_stays_and_a_panning_one_moves_slowly():
    rng = np.random.default_rng(0)
    assert not sway(50, rng, shake=0.0, pan=0.0).any()
    slow = sway(300, rng, shake=0.0, pan=10.0)
    assert 3 < np.abs(slow[:, 0]).max() <= 10
    assert np.abs(np.diff(slow, axis=0)).max() < 0.5
    restless = sway(300, rng, shake=1.0, pan=0.0)
    assert 0.4 < restless.std() < 1.5
