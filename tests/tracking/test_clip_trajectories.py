"""Trajectories out of batches of windows are those that `track` makes of the videos."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tracknet.data.video import open_source
from tracknet.errors import TrackNetError
from tracknet.evaluation.decoding import ComponentDecoder, Detections, PeakDecoder
from tracknet.tracking.clip_trajectories import ClipTrajectories, filled_rows
from tracknet.tracking.rectification import LinearFill
from tracknet.tracking.tracker import track
from tracknet.tracking.trackers import choose_tracker
from tracknet.tracking.trajectory import TrajectoryRow, read_trajectory
from tracknet.tracking.writer import TrajectoryWriter
from tracknet.training.lightning_module import HeatmapTracker

SIZE = (64, 96)
ALONE = SimpleNamespace(world_size=1)


def batch(clip, frames, counted=None):
    """One window of frames of a clip of the input's size."""
    return {
        "clip": torch.tensor([clip]),
        "frame": torch.tensor([frames]),
        "counted": torch.tensor([counted or [True] * len(frames)]),
        "source_size": torch.tensor([SIZE]),
    }


def found(places, confidences):
    return {"xy": torch.tensor([places]), "confidence": torch.tensor([confidences])}


def test_the_threshold_is_that_of_the_decoder_and_is_reached_at_equality():
    trajectories, module = ClipTrajectories(), SimpleNamespace(threshold=0.25, input_size=SIZE)
    trajectories.begin(module)
    told = found([(1.0, 2.0), (3.0, 4.0), (5.0, 6.0)], [0.25, 0.125, 1.0])
    trajectories.add(module, batch(1, [4, 5, 6], [True, True, False]), told, told["xy"])
    rows = trajectories.rows(ALONE, module)
    assert rows == {1: [TrajectoryRow(4, True, 1.0, 2.0, 0.25), TrajectoryRow(5, False, 0.0, 0.0, 0.125)]}
    assert trajectories.rows(ALONE, module) == {}


class Counts:
    """A tracker that says which frames it follows."""

    def least(self, threshold):
        return None

    def __init__(self):
        self.parts = []

    def follow(self, sightings, size, fps, threshold):
        self.parts.append([sighting.frame for sighting in sightings])
        return iter([])


def test_no_flight_goes_on_across_frames_that_are_left_out():
    tracker, module = Counts(), SimpleNamespace(threshold=0.25, input_size=SIZE)
    trajectories = ClipTrajectories(tracker)
    trajectories.begin(module)
    assert module.candidates_from == 0.25
    for clip, frames in ((1, [7, 8]), (0, [4, 5]), (1, [5, 6]), (0, [8, 9])):
        none = [Detections(torch.zeros(0, 2), torch.zeros(0))] * 2
        told = found([(0.0, 0.0)] * 2, [0.1] * 2) | {"candidates": none}
        trajectories.add(module, batch(clip, frames), told, told["xy"])
    trajectories.rows(ALONE, module)
    assert tracker.parts == [[4, 5], [8, 9], [5, 6, 7, 8]]
    assert module.candidates_from is None


def test_a_model_without_candidates_is_told_so():
    trajectories = ClipTrajectories(choose_tracker("flight"))
    told = found([(0.0, 0.0)], [0.1])
    with pytest.raises(TrackNetError, match=r"FlightTracker chooses among candidates.* use --tracker none"):
        trajectories.add(None, batch(0, [4]), told, told["xy"])


def test_frames_that_the_data_leave_out_lengthen_a_gap():
    # As in packed data of which only stretches around labels are kept.
    seen = {0: 0.0, 1: 10.0, 3: 30.0, 4: 40.0, 20: 100.0, 21: 110.0}
    rows = [TrajectoryRow(n, n in seen, seen.get(n, 0.0), 50.0, 0.0) for n in (0, 1, 2, 3, 4, 5, 19, 20, 21)]
    filled = filled_rows(rows, LinearFill(), (100, 200), 4)
    assert [row.frame for row in filled if row.filled] == [2]
    assert filled[2] == TrajectoryRow(2, True, 20.0, 50.0, 0.0, filled=True)
    assert [row for row in filled if not row.filled] == [row for row in rows if row.frame != 2]


@pytest.mark.parametrize("name", ["none", "online", "flight"])
@pytest.mark.parametrize(
    ("frames", "outputs", "mode", "step"),
    [(3, 3, "single", None), (3, 1, "single", None), (7, 7, "average", 2), (4, 4, "triangular", None)],
)
@pytest.mark.parametrize("decoder", [PeakDecoder(), ComponentDecoder()])
def test_predict_writes_what_track_writes(
    distracted, tmp_path, bright_network, name, frames, outputs, mode, step, decoder, predicted
):
    tracker = HeatmapTracker(
        bright_network(frames, outputs=outputs),
        decoder=decoder,
        input_size=SIZE,
        eval_mode=mode,
        eval_step=step,
    )
    writer = TrajectoryWriter(tmp_path / "out")
    writer.choose_with(choose_tracker(name))
    names = {"test": ["rally"], "val": ["rally"], "train": ["other"]}
    predicted(distracted, tracker, writer, tmp_path, **names, eval_step=tracker.eval_step)
    source = open_source(distracted / "rally.mp4")
    rows = list(track(source, tracker, mode=mode, step=step, tracker=choose_tracker(name), progress=False))
    written = read_trajectory(tmp_path / "out" / "rally.csv")
    assert [row.visible for row in written] == [row.visible for row in rows]
    told = [(row.x, row.y, row.confidence) for row in rows]
    assert np.array([row[2:5] for row in written]) == pytest.approx(np.array(told), abs=0.0051)
    # They are not the same rows whoever chooses.
    middle = [row for row in written if 17 < row.frame < 22]
    assert any(row.visible for row in middle) == (name != "flight")
