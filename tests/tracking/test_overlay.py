"""Marks lie where the ball is, touch nothing else, and the video keeps length, size and speed."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from tracknet.data.video import VideoWriter, open_source
from tracknet.errors import TrackNetError
from tracknet.tracking.overlay import COLOUR, BallPen, render_overlay
from tracknet.tracking.trajectory import TrajectoryRow

SIZE = (240, 320)
GREY = 120


def drawn(past, size=SIZE, caption=False):
    """Draw the last of some positions on grey; without the caption unless asked for."""
    frame = np.full((*size, 3), GREY, np.uint8)
    x, y = past[-1] or (0.0, 0.0)
    BallPen(size).draw(frame, past, TrajectoryRow(len(past) - 1, past[-1] is not None, x, y, 0.5))
    if not caption:
        frame[:35, :260] = GREY
    return frame


def changed(frame):
    return (frame != GREY).any(axis=-1)


def purple(frame, x, y):
    """How much redder and bluer than green a pixel is: the share of the marks' colour."""
    return float(frame[y, x, 0]) - float(frame[y, x, 1])


@pytest.mark.parametrize("ball", [(160.0, 120.0), (160.5, 120.25), (200.75, 90.5)])
def test_the_ring_is_centred_on_the_ball(ball):
    rows, columns = np.nonzero(changed(drawn([ball])))
    share = np.abs(drawn([ball]).astype(float) - GREY).sum(axis=-1)[rows, columns]
    assert np.average(columns, weights=share) == pytest.approx(ball[0], abs=0.1)
    assert np.average(rows, weights=share) == pytest.approx(ball[1], abs=0.1)


def test_the_ball_itself_stays_in_sight():
    frame = drawn([(150.0, 120.0), (155.0, 120.0), (160.0, 120.0)])
    rows, columns = np.nonzero(changed(frame))
    assert np.hypot(rows - 120, columns - 160).min() > 7
    assert tuple(frame[120, 171]) == COLOUR
    assert tuple(frame[109, 160]) == COLOUR


def test_only_pixels_near_the_marks_change():
    rows, columns = np.nonzero(changed(drawn([(160.0, 120.0)])))
    assert np.hypot(rows - 120, columns - 160).max() < 16
    assert np.hypot(rows - 120, columns - 160).min() > 6


def test_ring_and_trail_have_a_dark_edge():
    frame = drawn([(60.0, 120.0), (260.0, 120.0)])
    assert frame[120, 150, 0] > frame[120, 150, 1] + 50
    assert frame[118, 150].max() < GREY
    assert frame[122, 150].max() < GREY
    assert frame[106:109, 260].min(axis=-1).min() < 60


def test_the_trail_fades_with_age():
    frame = drawn([(40.0, 120.0), (110.0, 120.0), (180.0, 120.0), (250.0, 120.0)])
    assert purple(frame, 70, 120) < purple(frame, 140, 120) < purple(frame, 210, 120)


def test_joints_are_no_darker_than_the_line():
    frame = drawn([(40.0, 120.0), (100.0, 120.0), (160.0, 120.0), (250.0, 120.0)])
    assert purple(frame, 100, 120) <= purple(frame, 105, 120)


def test_the_trail_is_broken_where_there_was_no_ball():
    frame = drawn([(40.0, 120.0), (80.0, 120.0), None, (160.0, 120.0), (220.0, 120.0)])
    assert purple(frame, 60, 120) > 20
    assert not changed(frame)[:, 90:150].any()
    assert purple(frame, 190, 120) > 20


def test_a_lone_position_is_a_dot():
    frame = drawn([None, (160.0, 120.0), None])
    rows, columns = np.nonzero(changed(frame))
    assert (rows.mean(), columns.mean()) == (120, 160)
    assert np.hypot(rows - 120, columns - 160).max() < 5


def test_without_a_ball_there_is_only_the_caption():
    assert not changed(drawn([None])).any()
    frame = drawn([None], caption=True)
    rows, columns = np.nonzero(changed(frame))
    assert rows.max() < 35
    assert columns.max() < 260
    assert frame.max() > 230


def test_captions_differ_by_frame_and_confidence():
    def caption(row):
        frame = np.full((*SIZE, 3), GREY, np.uint8)
        BallPen(SIZE).draw(frame, [None], row)
        return frame.tobytes()

    rows = [
        TrajectoryRow(1, False, 0, 0, 0.5),
        TrajectoryRow(2, False, 0, 0, 0.5),
        TrajectoryRow(1, False, 0, 0, 0.6),
        TrajectoryRow(1, True, 0, 0, 0.5),
    ]
    assert len({caption(row) for row in rows}) == 4


@pytest.mark.parametrize("ball", [(0.0, 0.0), (319.0, 239.0), (-3.0, 100.0), (325.0, 245.0), (-9e3, 9e5)])
def test_marks_are_cut_off_at_the_border(ball):
    frame = drawn([(160.0, 120.0), ball], caption=True)
    assert frame.shape == (*SIZE, 3)
    assert changed(frame).any()


def test_marks_grow_with_the_frame():
    small = changed(drawn([(160.0, 120.0)])).sum()
    large = np.full((2160, 3840, 3), GREY, np.uint8)
    BallPen((2160, 3840)).draw(large, [(2000.0, 1000.0)], TrajectoryRow(0, True, 2000.0, 1000.0, 0.5))
    assert 7 < changed(large[500:]).sum() / small < 11


def test_a_frame_smaller_than_the_caption():
    frame = np.full((16, 24, 3), GREY, np.uint8)
    BallPen((16, 24)).draw(frame, [(12.0, 8.0)], TrajectoryRow(0, True, 12.0, 8.0, 0.5))
    assert changed(frame).any()


@pytest.fixture
def grey_video(tmp_path):
    with VideoWriter(tmp_path / "grey.mp4", SIZE, fps=25) as video:
        for _ in range(6):
            video.write(np.full((*SIZE, 3), GREY, np.uint8))
    return open_source(tmp_path / "grey.mp4")


def moving(count):
    return [TrajectoryRow(k, k != 3, 60.0 + 40 * k, 120.0, 0.9) for k in range(count)]


def test_the_video_has_the_marks_of_each_frame(grey_video, tmp_path, capsys):
    path = tmp_path / "out" / "grey_overlay.mp4"
    render_overlay(grey_video, iter(moving(6)), path, trail=1)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.average_rate) == ("h264", 25)
        assert (stream.height, stream.width) == SIZE
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(frames) == 6
    marked = [np.nonzero((np.abs(f.astype(int) - GREY) > 40).any(axis=-1)[60:])[1] for f in frames]
    # Ring of radius 11 and its outline around x = 60 + 40 k, and the trail of one frame before.
    assert [columns.max() for columns in marked] == pytest.approx([74, 114, 154, 141, 234, 274], abs=2)
    assert [columns.min() for columns in marked] == pytest.approx([46, 58, 98, 139, 206, 218], abs=3)
    assert "overlay: 6 frames" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (1, "the video goes on where the trajectory ends, after 1 frame;"),
        (5, "the video goes on where the trajectory ends, after 5 frames"),
        (7, "the trajectory goes on where the video ends, after 6 frames"),
    ],
)
def test_a_trajectory_of_another_video_is_refused(grey_video, tmp_path, count, message):
    with pytest.raises(TrackNetError, match=message):
        render_overlay(grey_video, moving(count), tmp_path / "overlay.mp4", progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["grey.mp4"]


def test_the_source_frames_are_not_drawn_into(grey_video, tmp_path, monkeypatch):
    frame = np.full((*SIZE, 3), GREY, np.uint8)
    frame.setflags(write=False)
    monkeypatch.setattr(type(grey_video), "timed_frames", lambda self: iter([(0.0, frame)]))
    render_overlay(grey_video, moving(1), tmp_path / "overlay.mp4", progress=False)
    assert not changed(frame).any()


def test_the_ring_of_a_filled_frame_is_dashed():
    frame = np.full((*SIZE, 3), GREY, np.uint8)
    BallPen(SIZE).draw(frame, [(160.0, 120.0)], TrajectoryRow(0, True, 160.0, 120.0, 0.1, filled=True))
    angles = np.arange(16) * np.pi / 8
    around = [
        tuple(frame[round(120 + 11 * np.sin(a)), round(160 + 11 * np.cos(a))]) == COLOUR for a in angles
    ]
    assert around == [True, False] * 8


def test_pixels_that_are_not_square_stay_so(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", SIZE, fps=25, pixel=Fraction(64, 45)) as video:
        video.write(np.full((*SIZE, 3), GREY, np.uint8))
    source = open_source(tmp_path / "a.mp4")
    assert source.info.pixel == Fraction(64, 45)
    render_overlay(source, moving(1), tmp_path / "o.mp4", progress=False)
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(64, 45)


def test_frames_are_shown_when_those_of_the_source_are(tmp_path):
    seconds = [0.0, 0.02, 0.1, 0.11, 3.5, 3.55]
    with VideoWriter(tmp_path / "phone.mp4", SIZE, fps=25) as video:
        for second in seconds:
            video.write(np.full((*SIZE, 3), GREY, np.uint8), second)
    source = open_source(tmp_path / "phone.mp4")
    render_overlay(source, moving(6), tmp_path / "o.mp4", progress=False)
    assert [second for second, _ in open_source(tmp_path / "o.mp4").timed_frames()] == pytest.approx(seconds)
