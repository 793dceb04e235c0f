"""Ensembles, flip, the online tracker and the causal mode, on detectors whose heatmaps are known."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tracknet.data.video import FrameSource, VideoInfo, VideoWriter
from tracknet.errors import UsageError
from tracknet.evaluation.decoding import ComponentDecoder, Detections, PeakDecoder
from tracknet.tracking import finder
from tracknet.tracking import tracker as tracker_module
from tracknet.tracking.flight import FlightTracker
from tracknet.tracking.online import OnlineTracker
from tracknet.tracking.tracker import track

SIZE = (4, 8)


class Pictures(FrameSource):
    """Frames that are given as arrays, at the size that is asked for."""

    def __init__(self, pictures, fps=30.0, size=SIZE):
        self.path = Path("pictures.mp4")
        self.info = VideoInfo(size[1], size[0], fps, None)
        self.pictures, self.given, self.passes = pictures, 0, 0

    def frames(self, size=None, threads=None):
        self.passes += 1
        for picture in self.pictures:
            self.given += 1
            yield picture

    def sample(self, size, samples):
        return [np.full((*size, 3), 10, np.uint8)]

    def files(self):
        return []

    def count(self):
        return len(self.pictures)


def numbered(count):
    return Pictures([np.full((*SIZE, 3), number % 256, np.uint8) for number in range(count)])


class Detector:
    """What is common: one threshold, one size, a record of the windows that it saw."""

    threshold = 0.0
    input_size = SIZE

    def __init__(self, frames, outputs=None, needs_background=False, decoder=None):
        self.frames, self.outputs, self.needs_background = frames, outputs or frames, needs_background
        self.decoder = decoder or PeakDecoder(threshold=0.0, window=1)
        self.windows, self.backgrounds = [], []

    def heatmaps(self, frames, background=None):
        assert frames.dtype == torch.float32
        assert frames.shape[1:] == (self.frames, 3, *SIZE)
        self.windows += (frames[:, :, 0, 0, 0] * 255).round().int().tolist()
        self.backgrounds.append(background)
        return self.draw(frames[:, -self.outputs :], background)

    def detect(self, frames, background=None):
        raise AssertionError("this mode works with heatmaps")


class ByPlace(Detector):
    """Says with each output what its place in the window is worth, at the cell whose column is the frame."""

    def __init__(self, values, frames=None, **options):
        super().__init__(frames or len(values), len(values), **options)
        self.values = torch.tensor(values)

    def draw(self, frames, background):
        heatmaps = torch.zeros(len(frames), self.outputs, *SIZE)
        for b, k in product(range(len(frames)), range(self.outputs)):
            heatmaps[b, k, 0, int(frames[b, k, 0, 0, 0] * 255 + 0.5) % SIZE[1]] = self.values[k]
        return heatmaps


class Light(Detector):
    """Says that the ball is where a frame differs from the background, one cell to the right of it."""

    def draw(self, frames, background):
        assert background.dtype == torch.float32
        return (frames - background[:, None])[:, :, 0].abs().roll(1, -1)


def tracked(source, detector, **options):
    return list(track(source, detector, progress=False, **options))


@pytest.mark.parametrize("batch_size", [1, 2, 5])
@pytest.mark.parametrize(
    ("mode", "confidences"),
    [
        # Frame 1 is at place 1 of the first window and at place 0 of the second, frame 2 at all three places.
        ("average", [0.2, (0.5 + 0.2) / 2, (0.9 + 0.5 + 0.2) / 3, (0.9 + 0.5) / 2, 0.9]),
        ("triangular", [0.2, (2 * 0.5 + 0.2) / 3, (0.9 + 2 * 0.5 + 0.2) / 4, (0.9 + 2 * 0.5) / 3, 0.9]),
    ],
)
def test_ensembles_by_hand(mode, confidences, batch_size):
    source, detector = numbered(5), ByPlace([0.2, 0.5, 0.9])
    rows = tracked(source, detector, mode=mode, batch_size=batch_size)
    assert [row.frame for row in rows] == list(range(5))
    assert [row.x for row in rows] == [0, 1, 2, 3, 4]
    assert [row.confidence for row in rows] == pytest.approx(confidences)
    assert detector.windows == [[0, 1, 2], [1, 2, 3], [2, 3, 4]]
    assert (source.given, source.passes) == (5, 1)


def test_a_step_of_two_ends_with_a_full_window():
    detector = ByPlace([0.2, 0.5, 0.9])
    rows = tracked(numbered(6), detector, mode="average", step=2)
    assert detector.windows == [[0, 1, 2], [2, 3, 4], [3, 4, 5]]
    expected = [0.2, 0.5, (0.9 + 0.2) / 2, (0.5 + 0.2) / 2, (0.9 + 0.5) / 2, 0.9]
    assert [row.confidence for row in rows] == pytest.approx(expected)


def test_a_video_shorter_than_a_window():
    detector = ByPlace([0.2, 0.5, 0.9])
    assert [row.confidence for row in tracked(numbered(2), detector, mode="triangular")] == pytest.approx(
        [0.2, 0.5]
    )
    assert detector.windows == [[0, 1, 1]]


@settings(max_examples=60)
@given(
    count=st.integers(1, 24),
    length=st.integers(2, 7),
    short=st.integers(0, 3),
    step=st.integers(1, 7),
    batch_size=st.integers(1, 5),
    mode=st.sampled_from(["average", "triangular", "causal", "single"]),
)
def test_each_frame_has_exactly_one_row_of_its_own(count, length, short, step, batch_size, mode):
    outputs = max(2, length - short)
    detector = ByPlace([0.5] * outputs, frames=length)
    detector.detect = None if mode != "single" else detect_by(detector)
    options = {} if mode == "single" else {"step": min(step, outputs)}
    rows = tracked(numbered(count), detector, mode=mode, batch_size=batch_size, **options)
    assert [row.frame for row in rows] == list(range(count))
    assert [row.x for row in rows] == [number % SIZE[1] for number in range(count)]
    assert [row.confidence for row in rows] == pytest.approx([0.5] * count)


def detect_by(detector):
    """A `detect` made of the heatmaps, as trackers have it."""

    def detect(frames, background=None):
        heatmaps = detector.heatmaps(frames.float() / 255)
        found = detector.decoder(heatmaps.flatten(0, 1), SIZE)
        return Detections(
            found.xy.unflatten(0, heatmaps.shape[:2]), found.confidence.unflatten(0, heatmaps.shape[:2])
        )

    return detect


@pytest.mark.parametrize("mode", ["average", "triangular", "causal"])
def test_each_frame_is_decoded_and_converted_once(mode, monkeypatch):
    original, converted = finder.channels_first, []

    def counting(images, device):
        converted.extend(int(image[0, 0, 0]) for image in images)
        return original(images, device)

    monkeypatch.setattr(finder, "channels_first", counting)
    source = numbered(23)
    assert len(tracked(source, ByPlace([0.1] * 8), mode=mode, flip=True)) == 23
    assert converted == list(range(23))
    assert (source.given, source.passes) == (23, 1)


@pytest.mark.parametrize("mode", ["average", "causal"])
def test_a_detector_that_converts_by_itself_is_given_bytes(mode):
    class Graph(ByPlace):
        takes_bytes = True

        def heatmaps(self, frames, background=None):
            assert frames.dtype == background.dtype == torch.uint8
            return super().heatmaps(frames.float() / 255, background)

    plain, graph = (cls([0.1, 0.2], needs_background=True) for cls in (ByPlace, Graph))
    rows = [tracked(numbered(5), one, mode=mode, flip=True) for one in (plain, graph)]
    assert rows[0] == rows[1]


def bytes_of_pictures():
    """Bytes behind all tensors and arrays of the size of a picture, or of many of them."""
    gc.collect()
    storages = {}
    for thing in gc.get_objects():
        if type(thing) is torch.Tensor and thing.shape[-2:] == SIZE:
            storages[thing.untyped_storage().data_ptr()] = thing.untyped_storage().nbytes()
    return sum(storages.values())


@pytest.mark.parametrize("mode", ["average", "triangular", "causal"])
def test_what_an_ensemble_holds_does_not_grow_with_the_video(mode):
    held = {}
    for row in track(numbered(801), ByPlace([0.5] * 8), mode=mode, progress=False):
        if row.frame in (40, 400, 780):
            held[row.frame] = bytes_of_pictures()
    assert len(set(held.values())) == 1
    # Frames are 3 floats a pixel and heatmaps one: those of some windows of 8, not those of the video.
    assert 8 * 12 * 32 <= held[780] <= 60 * 12 * 32


def mirrored(source):
    return Pictures([picture[:, ::-1].copy() for picture in source.pictures])


@pytest.mark.parametrize("mode", ["single", "average", "triangular", "causal"])
def test_flip_finds_the_mirrored_ball_in_the_mirrored_video(mode):
    values = np.random.default_rng(3).integers(0, 256, (9, *SIZE, 3), dtype=np.uint8)
    source = Pictures(list(values))

    def places(video, **options):
        detector = Light(3, needs_background=True)
        return [(row.x, row.y, row.confidence) for row in tracked(video, detector, mode=mode, **options)]

    # The first frame of the causal mode is its own background: nothing is to be seen in it.
    first = 1 if mode == "causal" else 0
    here, there = places(source, flip=True)[first:], places(mirrored(source), flip=True)[first:]
    assert len(here) == 9 - first
    assert there == [(SIZE[1] - 1 - x, y, value) for x, y, value in here]


def test_without_flip_this_detector_does_not_see_mirrored_pictures_alike():
    pictures = [np.full((*SIZE, 3), 10, np.uint8) for _ in range(7)]
    for picture in pictures[:3]:
        picture[1, 2] = 110

    def columns(video, **options):
        rows = tracked(video, Light(3, needs_background=True), mode="average", **options)
        return [row.x for row in rows[:3]]

    source = Pictures(pictures)
    assert columns(source) == [3.0] * 3
    assert columns(mirrored(source)) == [6.0] * 3
    # With flip both columns beside it have half of the value, and the first of them is taken.
    assert columns(source, flip=True) == [1.0] * 3


class TwoDots(Detector):
    """A dot that moves one cell a frame in row 1, and a brighter one that jumps about in row 3."""

    threshold = 0.5

    def draw(self, frames, background):
        heatmaps = torch.zeros(len(frames), self.outputs, *SIZE)
        for b, k in product(range(len(frames)), range(self.outputs)):
            number = int(frames[b, k, 0, 0, 0] * 255 + 0.5)
            if number != 6:
                heatmaps[b, k, 1, number] = 0.6
            if number >= 3:
                heatmaps[b, k, 3, (5 * number) % 8] = 0.9
        return heatmaps


def test_the_online_tracker_stays_with_the_flight():
    decoder = PeakDecoder(window=1)
    alone = tracked(numbered(7), TwoDots(2, decoder=decoder), mode="average")
    assert [row.y for row in alone] == [1, 1, 1, 3, 3, 3, 3]
    # 300 px at 720 lines are 1.67 px at 4 lines: the other dot is out of reach in the frames 5 and 6.
    online = tracked(numbered(7), TwoDots(2, decoder=decoder), mode="average", tracker=OnlineTracker())
    assert [(row.x, row.y) for row in online[:6]] == [(number, 1) for number in range(6)]
    assert [row.confidence for row in online] == pytest.approx([0.6] * 6 + [0.0])
    assert [row.visible for row in online] == [True] * 6 + [False]


@pytest.mark.parametrize(("mode", "step"), [("single", None), ("average", 1), ("triangular", 2)])
def test_the_flight_tracker_takes_what_is_below_the_threshold(mode, step):
    class Fades(Detector):
        """A dot that rests, faint in frame 3; in the next one another one is brighter."""

        threshold = 0.5

        def draw(self, frames, background):
            heatmaps = torch.zeros(len(frames), self.outputs, *SIZE)
            for b, k in product(range(len(frames)), range(self.outputs)):
                number = int(frames[b, k, 0, 0, 0] * 255 + 0.5)
                heatmaps[b, k, 2, 4] = 0.3 if number == 3 else 0.8 + number / 100
                heatmaps[b, k, 0, 0] = 0.95 if number == 4 else 0.0
            return heatmaps

    detector = Fades(2, decoder=PeakDecoder(window=1))
    plain = tracked(numbered(8), detector, mode="average")
    assert [row.visible for row in plain] == [True] * 3 + [False] + [True] * 4
    assert [row.x for row in plain if row.visible] == [4, 4, 4, 0, 4, 4, 4]
    rows = tracked(numbered(8), detector, mode=mode, step=step, tracker=FlightTracker(lag=2))
    assert [(row.frame, row.x, row.y) for row in rows] == [(n, 4, 2) for n in range(8)]
    values = [0.8 + n / 100 for n in range(8)]
    assert [row.confidence for row in rows] == pytest.approx([*values[:3], 0.3, *values[4:]])


def test_frames_are_done_when_they_are_seen_and_not_when_their_rows_come(monkeypatch):
    told = []

    @contextmanager
    def progress(*args, **kwargs):
        yield SimpleNamespace(advance=told.append)

    monkeypatch.setattr(tracker_module, "track_progress", progress)
    detector = ByPlace([0.2, 0.3], decoder=ComponentDecoder(0.5))
    rows = track(numbered(20), detector, tracker=FlightTracker(lag=5), batch_size=2)
    assert next(rows).frame == 0
    assert told == [4, 4]  # ten frames are held before a row comes
    assert len(list(rows)) == 19
    assert sum(told) == 20


def test_without_candidates_the_confidence_is_that_of_the_highest_cell():
    detector = ByPlace([0.2, 0.3], decoder=ComponentDecoder(0.5))
    rows = tracked(numbered(3), detector, tracker=OnlineTracker())
    assert [row[:4] for row in rows] == [(n, False, 0.0, 0.0) for n in range(3)]
    assert [row.confidence for row in rows] == pytest.approx([0.2, 0.3, 0.3])


def test_causal_takes_the_last_output_of_the_window_that_ends_with_the_frame():
    detector = ByPlace([0.2, 0.5, 0.9])
    rows = tracked(numbered(4), detector, mode="causal", batch_size=4)
    assert detector.windows == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3]]
    assert [row.x for row in rows] == [0, 1, 2, 3]
    assert [row.confidence for row in rows] == pytest.approx([0.9] * 4)


def test_causal_with_a_step_takes_the_last_outputs_together():
    detector = ByPlace([0.2, 0.5, 0.9])
    rows = tracked(numbered(5), detector, mode="causal", step=2)
    # The last frame is judged at the end of the video, by a window of its own.
    assert detector.windows == [[0, 0, 1], [1, 2, 3], [2, 3, 4]]
    assert [(row.frame, row.x) for row in rows] == [(n, n) for n in range(5)]
    assert [row.confidence for row in rows] == pytest.approx([0.5, 0.9, 0.5, 0.9, 0.9])


def test_causal_has_the_background_so_far():
    detector = Light(2, needs_background=True)
    source = Pictures([np.full((*SIZE, 3), value, np.uint8) for value in (10, 40, 20)])
    tracked(source, detector, mode="causal")
    # The medians of 10; of 10 and 40; of 10, 40 and 20.
    seen = [float(background[0, 0, 0, 0] * 255) for background in detector.backgrounds]
    assert seen == pytest.approx([10, 25, 20])


class PositionsOnly:
    """As an exported engine: no heatmaps."""

    frames = outputs = 2
    needs_background = False
    input_size = SIZE
    threshold = 0.5

    def detect(self, frames, background=None):
        assert frames.dtype == torch.uint8
        number = frames[:, :, 0, 0, 0].float()
        return Detections(torch.stack([number, number], dim=-1), torch.ones_like(number))


@pytest.mark.parametrize("mode", ["single", "causal"])
def test_a_detector_of_positions_can_be_single_and_causal(mode):
    rows = tracked(numbered(5), PositionsOnly(), mode=mode)
    assert [(row.x, row.confidence) for row in rows] == [(n, 1.0) for n in range(5)]


@pytest.mark.parametrize(
    ("detector", "options", "message"),
    [
        (
            PositionsOnly(),
            {"mode": "average"},
            "an ensemble needs heatmaps, and this detector gives positions",
        ),
        (PositionsOnly(), {"flip": True}, "flip needs heatmaps"),
        (PositionsOnly(), {"tracker": OnlineTracker()}, "the online tracker needs heatmaps"),
        (PositionsOnly(), {"tracker": FlightTracker()}, "the flight tracker needs heatmaps"),
        (ByPlace([0.5] * 3), {"tracker": FlightTracker(), "mode": "causal"}, "looks at a whole video"),
        (ByPlace([0.5], frames=3), {"mode": "average"}, "one frame a window, so there is nothing to average"),
        (ByPlace([0.5] * 3), {"mode": "average", "step": 4}, "step is 4, but a window speaks of 3 frames"),
        (
            ByPlace([0.5] * 3),
            {"step": 2},
            "goes with the modes average, triangular and causal, not with single",
        ),
        (ByPlace([0.5] * 3), {"mode": "causal", "step": 4}, "step is 4, but a window speaks of 3 frames"),
        (
            ByPlace([0.5], frames=3),
            {"mode": "causal", "step": 2},
            "speaks of one frame: expected 1, or frames",
        ),
    ],
)
def test_what_does_not_go_together_is_told_before_the_work(detector, options, message):
    source = numbered(3)
    with pytest.raises(UsageError, match=message):
        track(source, detector, progress=False, **options)
    assert source.passes == 0


def test_a_tracker_of_the_training_room_in_all_modes(bright_network, dot, tmp_path):
    from tracknet.data.video import open_source
    from tracknet.training.lightning_module import HeatmapTracker

    with VideoWriter(tmp_path / "dot.mp4", (64, 96), fps=30, quality=4) as video:
        for number in range(11):
            video.write(dot((20 + 5 * number, 30 + number)))
    detector = HeatmapTracker(bright_network(frames=3), input_size=(64, 96)).eval()
    for mode in ("single", "average", "triangular", "causal"):
        for options in ({}, {"flip": True}, {"tracker": OnlineTracker()}, {"tracker": FlightTracker()}):
            if mode == "causal" and "tracker" in options and isinstance(options["tracker"], FlightTracker):
                continue
            rows = tracked(open_source(tmp_path / "dot.mp4"), detector, mode=mode, **options)
            assert [row.visible for row in rows] == [True] * 11
            assert [row.x for row in rows] == pytest.approx([20 + 5 * n for n in range(11)], abs=0.5)
            assert [row.y for row in rows] == pytest.approx([30 + n for n in range(11)], abs=0.5)


@pytest.mark.slow
def test_the_peak_memory_of_a_process_does_not_grow_with_the_video(grey_video):
    code = """
import resource, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from bright_network import BrightNetwork
from tracknet.data.video import open_source
from tracknet.tracking.tracker import track
from tracknet.training.lightning_module import HeatmapTracker
tracker = HeatmapTracker(BrightNetwork(frames=8, outputs=8), input_size=(144, 256)).eval()
rows = sum(1 for _ in track(open_source(Path(sys.argv[1])), tracker, mode="triangular", progress=False))
print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
    peaks = {}
    for count in (60, 900):
        path = grey_video(count, (144, 256))
        tests = str(Path(__file__).resolve().parents[1])
        done = subprocess.run(
            [sys.executable, "-c", code, str(path), tests],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
            check=True,
            capture_output=True,
            text=True,
        )
        rows, peaks[count] = map(int, done.stdout.split())
        assert rows == count
    # 840 frames more are 370 MB as float, 120 MB as heatmaps: 30 MB are what a process varies by.
    assert peaks[900] - peaks[60] < 30_000
