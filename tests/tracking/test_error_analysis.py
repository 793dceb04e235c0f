"""What ``tracknet test`` shows of a tracker's errors."""

from __future__ import annotations

import csv

import av
import numpy as np
import pytest
from lightning.pytorch import Trainer
from PIL import Image

from tracknet.data.datamodules import FlatVideoDataModule
from tracknet.evaluation.error_groups import error_groups
from tracknet.evaluation.errors import FrameResult
from tracknet.evaluation.frame_pictures import FOUND, LABELLED, SCALE, drawn_frame
from tracknet.evaluation.metrics import BallMetrics
from tracknet.tracking.error_analysis import ErrorAnalysis
from tracknet.tracking.error_plots import draw_errors, draw_groups
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.loggers import RunLogger

SIZE = (64, 96)


def a_test(root, folder, network, callback, **options):
    tracker = HeatmapTracker(network, input_size=SIZE, **options)
    data = FlatVideoDataModule(
        root,
        train=["a"],
        val=["b"],
        test=["c", "d"],
        frames=tracker.frames,
        outputs=tracker.outputs,
        size=SIZE,
        background=tracker.needs_background,
    )
    trainer = Trainer(
        accelerator="cpu",
        logger=RunLogger(folder, name="", version="run"),
        callbacks=[callback],
        enable_progress_bar=False,
    )
    [figures] = trainer.test(tracker, datamodule=data, verbose=False)
    return figures, trainer.datamodule.parts["test"]


@pytest.mark.parametrize("outputs", [3, 1])
def test_each_frame_is_told(tiny_rallies, tmp_path, bright_network, capsys, outputs):
    # A tolerance that some frames miss.
    metrics = BallMetrics(tolerance=0.11)
    figures, clips = a_test(
        tiny_rallies,
        tmp_path,
        bright_network(outputs=outputs),
        ErrorAnalysis(worst=2, frames=5),
        metrics=metrics,
    )
    run = tmp_path / "run"
    with (run / "test_frames.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    frames = [(clip.name, str(k)) for clip in clips for k in np.flatnonzero(clip.labels.labelled)]
    assert [(row["clip"], row["frame"]) for row in rows] == frames
    for kind in ("tp", "fp1", "fp2", "tn", "fn"):
        assert sum(row["type"] == kind for row in rows) == figures[f"test/{kind}"]
    assert {row["type"] for row in rows} >= {"tp", "fp1", "tn"}
    for row in rows:
        assert (row["distance"] == "") == (row["label_x"] == "") == (row["type"] in ("tn", "fp2"))
        if row["type"] in ("tp", "fp1"):
            # Positions have three decimals; distances are at 288x512, positions at 64x96.
            away = [
                (float(row[c]) - float(row[f"label_{c}"])) * s for c, s in (("x", 512 / 96), ("y", 288 / 64))
            ]
            assert float(row["distance"]) == pytest.approx(np.hypot(*away), abs=0.02)
            assert (row["type"] == "tp") == (float(row["distance"]) <= 0.11)
    for name in ("test_errors.png", "test_groups.png"):
        with Image.open(run / name) as picture:
            assert picture.format == "PNG"
    with (run / "test_groups.csv").open(newline="") as file:
        groups = list(csv.DictReader(file))
    assert list(dict.fromkeys(group["by"] for group in groups)) == ["visibility", "speed", "clip"]
    assert [group["group"] for group in groups if group["by"] == "clip"] == [clip.name for clip in clips]
    for by in ("visibility", "clip"):
        for kind in ("tp", "fp1", "fp2", "tn", "fn"):
            found = sum(int(group[kind]) for group in groups if group["by"] == by)
            assert found == figures[f"test/{kind}"]
    none = groups[0]
    assert (none["group"], none["recall"], none["median_distance"]) == ("no ball", "", "")
    videos = sorted((run / "worst").glob("*.mp4"))
    assert [video.name[:3] for video in videos] == ["01_", "02_"]
    with av.open(str(videos[0])) as video:
        shown = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
    assert len(shown) == 5
    assert shown[0].shape == (SIZE[0] * SCALE, SIZE[1] * SCALE, 3)
    with Image.open(run / "worst" / "contact_sheet.png") as picture:
        assert picture.width > 1000
    out = capsys.readouterr().out
    assert "highest F1" in out
    assert str(run / "worst") in out
    assert f"by visibility, speed and clip: {run / 'test_groups.csv'}, {run / 'test_groups.png'}" in out


def test_nothing_wrong_and_nothing_wished(tiny_rallies, tmp_path, bright_network):
    figures, _ = a_test(tiny_rallies, tmp_path, bright_network(), ErrorAnalysis())
    assert figures["test/f1"] == 1
    assert (tmp_path / "run" / "test_frames.csv").is_file()
    assert not (tmp_path / "run" / "worst").exists()


def colour_at(picture, x, y):
    """The strongest mark of a colour near a place."""
    return picture[y - 2 : y + 3, x - 2 : x + 3].reshape(-1, 3).tolist()


def test_label_and_find_have_rings_of_their_own():
    frame = np.full((3, 64, 96), 40, np.uint8)
    result = FrameResult(0, 7, "fp1", 60.0, 0.8, 70.0, 50.0, 20.0, 40.0)
    picture = drawn_frame(frame, result)
    assert picture.shape == (128, 192, 3)
    # Radius 7 px around (20, 40) and 5 px around (70, 50), both twice as large, to their right.
    assert list(LABELLED) in colour_at(picture, 41 + 14, 81)
    assert list(FOUND) in colour_at(picture, 141 + 10, 101)
    # Where no ball was found only the label is drawn.
    assert list(FOUND) not in colour_at(drawn_frame(frame, result._replace(kind="fn")), 151, 101)
    assert (drawn_frame(frame, None)[60:] == 40).all()


def test_bars_by_visibility_and_clip():
    far = (10.0, 0.9, 0, 0, 1, 1)
    near = (1.0, 0.9, 0, 0, 1, 1)
    none = (np.nan, 0.9, 0, 0, np.nan, np.nan)
    results = [
        FrameResult(0, 0, "tp", *near, 1),
        FrameResult(0, 1, "fp1", *far, 2),
        FrameResult(0, 2, "tp", *near, 2),
        FrameResult(1, 0, "fp2", *none, 0),
        FrameResult(1, 1, "tp", *near, 1),
    ]
    drawn = {}
    for recall in ("detected", "visible"):
        metrics = BallMetrics(recall=recall)
        figure = draw_errors(results, results, metrics, 0.5, error_groups(results, ["easy", "hard"], metrics))
        hidden, clip = figure.axes[4:]
        assert [bar.get_text() for bar in hidden.get_xticklabels()] == ["visible\n2", "partly hidden\n2"]
        # Found, wrong place, missed; the bars of both groups after one another.
        assert [bar.get_height() for bar in hidden.patches] == [1, 0.5, 0, 0.5, 0, 0]
        names = [label.get_text() for label in clip.get_yticklabels()]
        drawn[recall] = dict(zip(names, (bar.get_width() for bar in clip.patches), strict=True))
    assert drawn["detected"] == pytest.approx({"easy": 4 / 5, "hard": 2 / 3})
    assert drawn["visible"] == pytest.approx({"easy": 4 / 6, "hard": 2 / 3})


def test_lines_of_each_group():
    nowhere = FrameResult(0, 0, "fp2", np.nan, 0.6, 0, 0, np.nan, np.nan, 0)
    results = [
        nowhere,
        *(FrameResult(0, k, "tp", 2.0, 0.9, 0, 0, 3.0 * k, 1, 1) for k in (1, 2)),
        FrameResult(0, 3, "fp1", 10.0, 0.8, 0, 0, 9.0, 1, 2),
        FrameResult(0, 4, "fn", 1.0, 0.1, 0, 0, 12.0, 1, 2),
        nowhere._replace(clip=1),
    ]
    metrics = BallMetrics()
    figure = draw_groups(results, results, metrics, error_groups(results, ["_a_$b$", "empty"], metrics))
    drawn = [{line.get_label(): line for line in axis.get_lines()} for axis in figure.axes]
    # A name that begins with _ is there, and a clip without a ball has no line.
    assert [list(lines) for lines in drawn[::2]] == [
        ["AP 1.000, 2 balls: visible", "AP 0.250, 2 balls: partly hidden"],
        ["AP 0.556, 3 balls: 2 to 4"],
        ["AP 0.650, 4 balls: _a_$b$"],
    ]
    hidden = figure.axes[1].get_lines()[1]
    # Of two balls one is found, 10 px off; the other is within no distance.
    assert hidden.get_xdata()[1] == 10.0
    assert hidden.get_ydata().tolist() == [0.0, 0.5, 0.5]
