"""``test --rectifier``: figures before and after gaps are filled."""

from __future__ import annotations

import csv

import av
import numpy as np
import pytest

from tracknet.data.datamodules import FlatVideoDataModule
from tracknet.data.labels import Labels, write_labels
from tracknet.errors import TrackNetError
from tracknet.evaluation.frame_pictures import FOUND, SCALE
from tracknet.tracking.error_analysis import ErrorAnalysis
from tracknet.tracking.flight import FlightTracker
from tracknet.tracking.online import OnlineTracker
from tracknet.tracking.rectification import CubicFill, LinearFill
from tracknet.tracking.trajectory_figures import TrajectoryFigures
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.loggers import RunLogger
from tracknet.training.rectifier import TrajectoryRectifier

SIZE = (64, 96)


@pytest.fixture
def figures(quiet_trainer):
    """The function that tests a tracker and gives what is logged."""

    def test(root, tracker, folder, *callbacks, logger=False, **names):
        data = FlatVideoDataModule(
            root,
            **(names or {"test": ["a"], "val": ["b"]}),
            batch_size=3,
            frames=tracker.frames,
            outputs=tracker.outputs,
            size=tracker.input_size,
        )
        trainer = quiet_trainer(folder, *callbacks, logger=logger)
        return trainer.test(tracker, datamodule=data, verbose=False)[0]

    return test


@pytest.fixture(scope="module")
def rallies(tmp_path_factory, write_rally):
    """A dot that is not in frames 4, 5 and 12 to 15, though the labels know where it would be."""
    root = tmp_path_factory.mktemp("hidden")
    gone = (4, 5, 12, 13, 14, 15)
    for name in ("a", "b", "c"):
        labels = write_rally(root, name, 21, SIZE, hidden=gone)
        write_labels(
            root / f"{name}.csv", Labels(labels.xy, np.ones(21, bool), labels.labelled), "trajectory", SIZE
        )
    return root


@pytest.mark.parametrize(("frames", "outputs"), [(3, 3), (3, 1)])
def test_filled_frames_become_hits(rallies, tmp_path, bright_network, frames, outputs, capsys, figures):
    tracker = HeatmapTracker(bright_network(frames, outputs=outputs), input_size=SIZE)
    found = figures(rallies, tracker, tmp_path, TrajectoryFigures(method=CubicFill(), max_gap=3))
    # 15 of 21 balls are found; a short gap of 2 is filled within the tolerance, the gap of 4 is too long.
    assert found["test/recall"] == pytest.approx(15 / 21)
    assert found["test/precision"] == 1
    assert found["test/rectified_recall"] == pytest.approx(17 / 21)
    assert found["test/rectified_precision"] == 1
    assert found["test/rectified_f1"] == pytest.approx(2 * (17 / 21) / (1 + 17 / 21))
    assert found["test/rectified_filled"] == 2
    said = capsys.readouterr().out
    assert "rectified: 2 frames filled; f1 0.8333 -> 0.8947" in said
    assert "(tracknetv2: d <= 4 px at 288x512)" in said


def test_frames_filled_without_a_ball_are_counted_against(tiny_rallies, tmp_path, bright_network, figures):
    tracker = HeatmapTracker(bright_network(3), input_size=SIZE)
    found = figures(tiny_rallies, tracker, tmp_path, TrajectoryFigures(method=LinearFill()))
    # Rally a: 19 balls, all found, and frames 4 and 5 without one.
    assert found["test/f1"] == 1
    assert found["test/rectified_precision"] == pytest.approx(19 / 21)
    assert found["test/rectified_recall"] == 1


def near(picture, x, y, colour):
    """How many pixels of a picture near a place, in its pixels, are about of a colour."""
    around = picture[max(y - 14, 0) : y + 15, max(x - 14, 0) : x + 15].astype(int)
    return int((np.abs(around - np.array(colour)).max(axis=-1) < 90).sum())


@pytest.mark.parametrize(("frames", "outputs"), [(3, 3), (3, 1)])
def test_the_analysis_of_errors_shows_what_is_filled(
    rallies, tmp_path, bright_network, frames, outputs, capsys, figures
):
    tracker = HeatmapTracker(bright_network(frames, outputs=outputs), input_size=SIZE)
    callbacks = ErrorAnalysis(worst=1, frames=21), TrajectoryFigures(method=CubicFill(), max_gap=3)
    logger = RunLogger(tmp_path, name="", version="run")
    told = figures(rallies, tracker, tmp_path, *callbacks, logger=logger)
    with (tmp_path / "run" / "test_frames.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["frame"] for row in rows if row["filled"] == "1"] == ["4", "5"]
    assert {row["filled"] for row in rows} == {"0", "1"}
    hits = sum(row["type"] == "tp" for row in rows)
    assert hits == round(told["test/rectified_recall"] * 21) == told["test/tp"] + 2
    for row in rows[4:6]:
        assert row["type"] == "tp"
        assert 0 < float(row["distance"]) < 4
        assert float(row["confidence"]) < tracker.threshold
    said = capsys.readouterr().out
    assert " of single frames" in said
    assert "frame by frame (2 filled): " in said
    [video] = (tmp_path / "run" / "worst").glob("*.mp4")
    with av.open(str(video)) as opened:
        pictures = [frame.to_ndarray(format="rgb24") for frame in opened.decode(video=0)]
    for k, filled in ((3, False), (4, True), (12, None)):
        x, y = (round(float(rows[k][c]) * SCALE) for c in "xy")
        ring = near(pictures[k], x, y, FOUND)
        assert (ring > 60) == (filled is False)
        assert (ring > 10) == (filled is not None)


def test_only_trackers_have_trajectories():
    with pytest.raises(TrackNetError, match="this is no tracker"):
        TrajectoryFigures(method=LinearFill()).on_test_start(None, TrajectoryRectifier())


def test_a_tracker_is_judged_beside_the_single_frames(distracted, tmp_path, bright_network, capsys, figures):
    tracker = HeatmapTracker(bright_network(3), input_size=SIZE)
    names = {"test": ["rally"], "val": ["rally"], "train": ["other"]}
    logger = RunLogger(tmp_path, name="", version="run")
    callbacks = ErrorAnalysis(worst=1, frames=40), TrajectoryFigures(FlightTracker())
    found = figures(distracted, tracker, tmp_path, *callbacks, logger=logger, **names)
    # Another dot shines in the four frames in which the ball is above the picture.
    assert found["test/fp2"] == 4
    assert found["test/tracked_precision"] == 1
    assert found["test/tracked_recall"] > found["test/recall"]
    assert "test/rectified_f1" not in found
    with (tmp_path / "run" / "test_frames.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["type"] for row in rows[18:22]] == ["tn"] * 4
    assert all(float(row["confidence"]) > tracker.threshold for row in rows[18:22])
    said = capsys.readouterr().out
    assert f"tracked: f1 {found['test/f1']:.4f} -> {found['test/tracked_f1']:.4f}, precision" in said
    assert " of single frames" in said
    assert "frame by frame (tracked): " in said
    # What was asked of the model is asked no more.
    assert tracker.candidates_from is None


def test_gaps_are_filled_in_what_the_tracker_chose(distracted, tmp_path, bright_network, capsys, figures):
    tracker = HeatmapTracker(bright_network(3), input_size=SIZE)
    names = {"test": ["rally"], "val": ["rally"], "train": ["other"]}
    both = TrajectoryFigures(FlightTracker(), LinearFill(), 7)
    found = figures(distracted, tracker, tmp_path, both, **names)
    tracked = found["test/tracked_f1"]
    said = capsys.readouterr().out
    assert f"f1 {found['test/f1']:.4f} -> {tracked:.4f}" in said
    assert f"rectified: 0 frames filled; f1 {tracked:.4f} -> {tracked:.4f}" in said  # above the picture


def test_two_trackers_that_want_other_candidates_cannot_share_a_run(
    bright_network, distracted, tmp_path, figures
):
    tracker = HeatmapTracker(bright_network(3), input_size=SIZE)
    names = {"test": ["rally"], "val": ["rally"], "train": ["other"]}
    both = TrajectoryFigures(FlightTracker()), TrajectoryFigures(OnlineTracker())
    with pytest.raises(TrackNetError, match=r"candidates from 0\.5, another tracker of this run from 0\.05"):
        figures(distracted, tracker, tmp_path, *both, **names)
    # What was asked of the model before it broke off is asked no more.
    assert tracker.candidates_from is None
    alone = figures(distracted, tracker, tmp_path, both[1], **names)
    assert alone["test/tracked_precision"] < 1


def test_batches_alone_will_do(distracted, tmp_path, bright_network, quiet_trainer):
    tracker = HeatmapTracker(bright_network(3), input_size=SIZE)
    data = FlatVideoDataModule(
        distracted, test=["rally"], val=["rally"], train=["other"], frames=3, outputs=3, size=SIZE
    )
    data.prepare_data()
    data.setup("test")
    trainer = quiet_trainer(tmp_path, TrajectoryFigures(FlightTracker(), LinearFill()))
    found = trainer.test(tracker, dataloaders=data.test_dataloader(), verbose=False)[0]
    assert found["test/tracked_precision"] == 1
