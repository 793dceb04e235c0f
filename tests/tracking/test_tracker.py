"""Exactly one row a frame, in order, for any length; decoding ahead, but not too far."""

from __future__ import annotations

import threading
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tracknet.data.geometry import resize_xy
from tracknet.data.video import FrameSource, VideoInfo, VideoWriter, median_background, open_source
from tracknet.errors import TrackNetError, UsageError
from tracknet.evaluation.decoding import Detections
from tracknet.models import CompactTrackNet
from tracknet.tracking.tracker import BATCHES_AHEAD, track
from tracknet.training.lightning_module import HeatmapTracker

SIZE = (2, 4)


class NumberedFrames(FrameSource):
    """Frames twice as large as asked for, each filled with its own number."""

    def __init__(self, count, fails_after=None):
        self.path = Path("numbered.mp4")
        self.info = VideoInfo(width=2 * SIZE[1], height=2 * SIZE[0], fps=30.0, frames=None)
        self.total, self.fails_after, self.given = count, fails_after, 0
        self.passed = threading.Event()
        self.pass_at = -1

    def frames(self, size=None, threads=None):
        assert size == SIZE
        for number in range(self.total):
            if number == self.fails_after:
                raise TrackNetError("numbered.mp4: damaged")
            self.given += 1
            if number == self.pass_at:
                self.passed.set()
            yield np.full((*SIZE, 3), (number % 256, number // 256, 7), np.uint8)

    def sample(self, size, samples):
        return [np.full((*size, 3), value, np.uint8) for value in (10, 20, 90)]

    def files(self):
        return []

    def count(self):
        return self.total


class NumberReader:
    """Finds in each frame its number, as x; keeps the windows it saw."""

    input_size = SIZE
    threshold = 0.5

    def __init__(self, frames, outputs=None, needs_background=False):
        self.frames, self.outputs, self.needs_background = frames, outputs or frames, needs_background
        self.windows, self.backgrounds = [], []

    def detect(self, frames, background=None):
        assert frames.dtype == torch.uint8
        assert frames.shape[1:] == (self.frames, 3, *SIZE)
        assert (frames[:, :, 2] == 7).all()
        number = frames[:, :, 0, 0, 0].float() + 256 * frames[:, :, 1, 0, 0].float()
        self.windows += number.int().tolist()
        self.backgrounds.append(background)
        number = number[:, -self.outputs :]
        return Detections(torch.stack([number, torch.zeros_like(number)], dim=-1), torch.ones_like(number))


def tracked(source, detector, **options):
    return list(track(source, detector, progress=False, **options))


@given(
    count=st.integers(1, 40),
    length=st.integers(1, 9),
    shares=st.sampled_from(["all", "one", "some"]),
    batch_size=st.integers(1, 5),
)
def test_each_frame_has_its_own_position_once_and_in_order(count, length, shares, batch_size):
    outputs = {"all": length, "one": 1, "some": (length + 1) // 2}[shares]
    rows = tracked(NumberedFrames(count), NumberReader(length, outputs), batch_size=batch_size)
    assert [row.frame for row in rows] == list(range(count))
    # x = n at half the size lies at (n + 0.5) * 2 - 0.5 in the source.
    assert [row.x for row in rows] == [2 * n + 0.5 for n in range(count)]
    assert {row.y for row in rows} == {0.5}


@pytest.mark.parametrize("length", range(1, 6))
def test_all_lengths_of_short_videos(length):
    for outputs, count, batch_size in product(range(1, length + 1), range(1, 12), (1, 3)):
        rows = tracked(NumberedFrames(count), NumberReader(length, outputs), batch_size=batch_size)
        assert [(row.frame, row.x) for row in rows] == [(n, 2 * n + 0.5) for n in range(count)]


@pytest.mark.parametrize(
    ("count", "outputs", "windows"),
    [
        (6, 3, [[0, 1, 2], [3, 4, 5]]),
        (5, 3, [[0, 1, 2], [2, 3, 4]]),
        (3, 3, [[0, 1, 2]]),
        (2, 3, [[0, 1, 1]]),
        (1, 3, [[0, 0, 0]]),
        (3, 1, [[0, 0, 0], [0, 0, 1], [0, 1, 2]]),
    ],
)
def test_windows(count, outputs, windows):
    detector = NumberReader(3, outputs)
    tracked(NumberedFrames(count), detector)
    assert detector.windows == windows


def test_more_than_256_frames():
    rows = tracked(NumberedFrames(1000), NumberReader(8))
    assert [row.x for row in rows] == [2 * n + 0.5 for n in range(1000)]


def test_the_threshold_is_reached_at_equality_and_only_confidence_stays_below():
    class Unsure(NumberReader):
        threshold = 0.7

        def detect(self, frames, background=None):
            xy = torch.tensor([[[1.0, 1.0], [2.0, 1.0], [torch.nan, 1.0]]])
            return Detections(xy, torch.tensor([[0.7, 0.75, 0.69]]))

    rows = tracked(NumberedFrames(3), Unsure(3))
    assert [row[:4] for row in rows] == [(0, True, 2.5, 2.5), (1, True, 4.5, 2.5), (2, False, 0.0, 0.0)]
    assert [row.confidence for row in rows] == pytest.approx([0.7, 0.75, 0.69])


def test_the_background_is_the_median_and_goes_with_every_window():
    source, detector = NumberedFrames(5), NumberReader(2, needs_background=True)
    tracked(source, detector, batch_size=2)
    assert [b.shape for b in detector.backgrounds] == [(2, 3, *SIZE), (1, 3, *SIZE)]
    assert all((b[:, 0] == 2).all() and (b[:, 2] == 7).all() for b in detector.backgrounds)
    assert source.given == 5  # each frame is decoded once


def test_no_background_where_none_is_wanted():
    source, detector = NumberedFrames(5), NumberReader(2)
    tracked(source, detector)
    assert detector.backgrounds == [None]


def test_no_frames():
    with pytest.raises(TrackNetError, match=r"numbered.mp4: no frame can be decoded"):
        tracked(NumberedFrames(0), NumberReader(3))


def test_errors_of_the_decoder_come_through_after_the_rows_before():
    rows = []
    with pytest.raises(TrackNetError, match="damaged"):
        rows.extend(track(NumberedFrames(99, fails_after=10), NumberReader(2), batch_size=2, progress=False))
    # `extend` keeps what came before the error: two whole batches of four frames.
    assert [row.frame for row in rows] == list(range(8))


def test_frames_are_decoded_while_the_network_works():
    source = NumberedFrames(12)
    source.pass_at = 3  # the first frame of the second batch

    class Waiting(NumberReader):
        def detect(self, frames, background=None):
            assert source.passed.wait(20), "nothing was decoded while the detector worked"
            return super().detect(frames, background)

    assert len(tracked(source, Waiting(3), batch_size=1)) == 12


def test_decoding_is_a_bounded_number_of_frames_ahead():
    source = NumberedFrames(10_000)
    most = 0
    for row in track(source, NumberReader(4), batch_size=2, progress=False):
        most = max(most, source.given - row.frame)
        if row.frame == 2000:
            break
    assert most <= (1 + BATCHES_AHEAD) * 8


def test_closing_early_ends_the_thread():
    source = NumberedFrames(10_000)
    rows = track(source, NumberReader(4), progress=False)
    next(rows)
    assert any(thread.name.startswith("decode") for thread in threading.enumerate())
    rows.close()
    assert not any(thread.name.startswith("decode") for thread in threading.enumerate())
    assert source.given < 1000


def test_progress_is_told(capsys):
    list(track(NumberedFrames(7), NumberReader(3)))
    assert "tracking: 7 frames" in capsys.readouterr().err


def test_a_tracker_of_the_training_room_is_a_detector(tmp_path):
    from tracknet.models import CompactTrackNet
    from tracknet.training.lightning_module import HeatmapTracker

    values = np.random.default_rng(0).integers(0, 256, (7, 64, 96, 3), dtype=np.uint8)
    with VideoWriter(tmp_path / "noise.mp4", (64, 96), fps=30) as video:
        for frame in values:
            video.write(frame)
    torch.manual_seed(0)
    network = CompactTrackNet(frames=3, background="concat", stem=2, widths=(4, 4, 4))
    detector = HeatmapTracker(network, input_size=(32, 48)).eval()
    detector.decoder.threshold = 0.0
    source = open_source(tmp_path / "noise.mp4")
    rows = tracked(source, detector, batch_size=2)

    frames = torch.from_numpy(np.stack(list(source.frames((32, 48))))).permute(0, 3, 1, 2)
    background = torch.from_numpy(median_background(source, (32, 48))).permute(2, 0, 1)
    windows = torch.stack([frames[0:3], frames[3:6], frames[4:7]])
    found = detector.detect(windows, background.expand(3, -1, -1, -1))
    xy = resize_xy(found.xy, (32, 48), (64, 96))
    assert [row.frame for row in rows] == list(range(7))
    expected = [*xy[0].tolist(), *xy[1].tolist(), xy[2, 2].tolist()]
    assert np.array([[row.x, row.y] for row in rows]) == pytest.approx(np.array(expected), abs=1e-2)
    expected = [*found.confidence[0].tolist(), *found.confidence[1].tolist(), float(found.confidence[2, 2])]
    assert [row.confidence for row in rows] == pytest.approx(expected, abs=1e-5)


class Brightest:
    """Centre of what is bright."""

    frames = outputs = 3
    needs_background = False
    input_size = (48, 64)
    threshold = 0.5

    def detect(self, frames, background=None):
        weight = (frames.float().mean(dim=2) - 128).clamp(min=0)
        total = weight.sum(dim=(-2, -1))
        x = (weight.sum(dim=-2) * torch.arange(64.0)).sum(dim=-1) / total
        y = (weight.sum(dim=-1) * torch.arange(48.0)).sum(dim=-1) / total
        return Detections(torch.stack([x, y], dim=-1), (total > 0).float())


def test_a_square_in_a_video_is_found_to_a_fraction_of_a_pixel(tmp_path):
    # Pixels 8..15 by 16..23 of frame 0, moving 8 to the right with each frame; in the last one there is none.
    with VideoWriter(tmp_path / "square.mp4", (96, 128), fps=30, quality=5) as video:
        for number in range(11):
            frame = np.full((96, 128, 3), 30, np.uint8)
            if number < 10:
                frame[16:24, 8 + 8 * number : 16 + 8 * number] = 250
            video.write(frame)
    rows = tracked(open_source(tmp_path / "square.mp4"), Brightest())
    assert [row.frame for row in rows] == list(range(11))
    assert [row.visible for row in rows] == [True] * 10 + [False]
    assert [row.x for row in rows[:10]] == pytest.approx([11.5 + 8 * n for n in range(10)], abs=0.2)
    assert [row.y for row in rows[:10]] == pytest.approx([19.5] * 10, abs=0.2)


def test_a_tracker_in_training_finds_what_it_finds_otherwise_and_learns_nothing(tiny_rallies):
    torch.manual_seed(0)
    network = CompactTrackNet(3, "concat", 4, (8, 8, 8))
    tracker = HeatmapTracker(network, input_size=(64, 96))
    source = open_source(tiny_rallies / "d.mp4")
    for options in ({}, {"mode": "average", "flip": True}, {"mode": "causal"}):
        expected = list(track(source, tracker.eval(), progress=False, **options))
        before = {name: one.clone() for name, one in tracker.state_dict().items()}
        tracker.train()
        network.predictor.eval()
        assert list(track(source, tracker, progress=False, **options)) == expected
        assert all(torch.equal(one, before[name]) for name, one in tracker.state_dict().items())
        assert tracker.training
        assert not network.predictor.training


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "Average"}, "mode 'Average': expected one of single, average, triangular, causal; did you"),
        ({"batch_size": 0}, "batch_size 0, step None: expected whole numbers above 0"),
        ({"mode": "average", "lookahead": 1}, "a lookahead of 1 goes with the mode causal, not with average"),
        ({"mode": "average", "step": 0}, "batch_size 4, step 0: expected whole numbers above 0"),
    ],
)
def test_words_and_numbers_that_are_none(tiny_rallies, options, message):
    tracker = HeatmapTracker(CompactTrackNet(3, "none", 4, (8, 8, 8)), input_size=(64, 96))
    with pytest.raises(UsageError, match=message):
        track(open_source(tiny_rallies / "d.mp4"), tracker, **options)
