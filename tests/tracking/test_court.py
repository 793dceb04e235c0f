"""Courts: the camera from four corners, and what it says of the ball."""

from __future__ import annotations

import numpy as np
import pytest

from tracknet.data.generate.camera import watch
from tracknet.errors import UsageError
from tracknet.tracking.court import CourtView, corners, find_homography

SIZE = (720, 1280)
TENNIS = corners(10.97, 23.77)


@pytest.fixture(params=[0.0, 0.3])
def camera(request):
    """A camera behind the near end of a tennis court, or to the side of that."""
    return watch(SIZE, distance=28, height=9, azimuth=request.param, near=(-11.9, 0.8), far=(11.9, 0.3))


def shown(camera, points):
    pixels, _ = camera.project(np.asarray(points, float))
    return pixels


def on_floor(points):
    return [(*point, 0.0) for point in points]


def test_the_camera_is_found_from_four_corners(camera):
    view = CourtView(TENNIS, shown(camera, on_floor(TENNIS)), SIZE)
    assert view.focal == pytest.approx(camera.focal, rel=1e-6)
    assert view.position == pytest.approx(camera.position, abs=1e-5)
    ball = [(1.0, -3.0, 2.5), (-4.0, 9.0, 0.3)]
    assert view.to_picture(ball) == pytest.approx(shown(camera, ball), abs=1e-6)
    assert view.to_picture((2.0, 5.0)) == pytest.approx(shown(camera, (2.0, 5.0, 0.0)))
    for point in ball:
        place = view.to_court(shown(camera, point), height=point[2])
        assert place == pytest.approx(point[:2], abs=1e-6)
    # A ball in flight seems farther away than it is.
    assert view.to_court(shown(camera, ball[0]))[1] > -3.0 + 1


def test_more_points_make_up_for_a_hand_that_shakes(camera):
    rng = np.random.default_rng(0)
    many = [(x, y) for x in (-5.485, -4.115, 0, 4.115, 5.485) for y in (-11.885, -6.4, 6.4, 11.885)]
    pixels = shown(camera, on_floor(many)) + rng.normal(0, 1, (len(many), 2))
    view = CourtView(many, pixels, SIZE)
    places = [(3.0, -9.0), (-2.0, 8.0)]
    assert view.to_court(shown(camera, on_floor(places))) == pytest.approx(np.array(places), abs=0.15)


def test_a_homography_of_hand():
    # (x, y) -> (x / (1 + y), y / (1 + y))
    plane = [(0, 0), (2, 0), (2, 1), (0, 1)]
    picture = [(0, 0), (2, 0), (1, 0.5), (0, 0.5)]
    expected = [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    assert find_homography(plane, picture) == pytest.approx(np.array(expected, float), abs=1e-9)


@pytest.mark.parametrize(
    ("court", "picture", "said"),
    [
        (TENNIS[:3], [(0, 0), (1, 0), (1, 1)], "four or more"),
        (TENNIS, [(0, 0), (1, 0), (1, 1)], r"found \[4, 2\] on the court and \[3, 2\] in the picture"),
        ([(0, 0), (1, 1), (2, 2), (3, 3)], [(0, 0), (1, 0), (1, 1), (0, 1)], "lie on a line"),
        (TENNIS, [(100, 500), (300, 100), (500, 500), (300, 200)], "same order"),
        (corners(1, 1), [(0, 9), (9, 9), (9, 0), (0, 0)], "straight down"),
    ],
)
def test_points_that_fix_no_camera(court, picture, said):
    with pytest.raises(UsageError, match=said):
        CourtView(court, picture, SIZE)
