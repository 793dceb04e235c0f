"""``predict``: one row a frame, in order, for each test clip."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from lightning.pytorch import Trainer
from torch.utils.data import DataLoader

from tracknet.data.labels import read_labels
from tracknet.errors import TrackNetError
from tracknet.tracking.rectification import CubicFill
from tracknet.tracking.sightings import Sighting
from tracknet.tracking.trajectory import read_trajectory
from tracknet.tracking.writer import TrajectoryWriter
from tracknet.training.lightning_module import HeatmapTracker

SIZE = (64, 96)
FRAMES = {"a": 21, "b": 19, "c": 20, "d": 17}


def written(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(("frames", "outputs"), [(3, 3), (8, 8), (3, 1), (30, 30)])
def test_one_row_a_frame_in_order_for_each_test_clip(
    tiny_rallies, tmp_path, bright_network, frames, outputs, capsys, predicted
):
    tracker = HeatmapTracker(bright_network(frames, outputs=outputs), input_size=SIZE)
    predicted(tiny_rallies, tracker, TrajectoryWriter(tmp_path / "out"), tmp_path)
    assert written(tmp_path / "out") == ["a.csv", "c.csv", "d.csv"]
    for name in ("a", "c", "d"):
        rows = read_trajectory(tmp_path / "out" / f"{name}.csv")
        assert [row.frame for row in rows] == list(range(FRAMES[name]))
        labels, _ = read_labels(tiny_rallies / f"{name}.csv", FRAMES[name], SIZE)
        # Frames without a label get a row too: the dot is there all the same.
        seen = labels.visible | ~labels.labelled
        assert [row.visible for row in rows] == seen.tolist()
        found = np.array([[row.x, row.y] for row in rows])
        assert np.abs(found - labels.xy)[labels.visible].max() < 0.2
        assert (found[~seen] == 0).all()
        assert all((row.confidence >= 0.5) == row.visible for row in rows)
    assert f"trajectories of 3 clips: {tmp_path / 'out'}" in capsys.readouterr().out


def test_positions_are_in_pixels_of_the_source(tmp_path, write_rally, bright_network, predicted):
    truth = write_rally(tmp_path / "data", "rally", 10, size=(128, 192), sigma=3.0)
    tracker = HeatmapTracker(bright_network(), input_size=SIZE)
    write_rally(tmp_path / "data", "other", 4, size=(128, 192))
    names = {"test": ["rally"], "train": ["other"], "val": ["rally"]}
    predicted(tmp_path / "data", tracker, TrajectoryWriter(tmp_path / "out"), tmp_path, **names)
    rows = read_trajectory(tmp_path / "out" / "rally.csv")
    found = np.array([[row.x, row.y] for row in rows])
    assert np.abs(found - truth.xy).max() < 0.3


def test_clips_in_folders_and_the_folder_of_the_run(tiny_rallies, tmp_path, bright_network, predicted):
    for part, name in (("train", "b"), ("val", "c"), ("test", "d")):
        (tmp_path / "data" / part).mkdir(parents=True)
        for suffix in ("mp4", "csv"):
            shutil.copy(tiny_rallies / f"{name}.{suffix}", tmp_path / "data" / part)
    tracker = HeatmapTracker(bright_network(), input_size=SIZE)
    parts = {"test": None, "train": None, "val": None}
    predicted(tmp_path / "data", tracker, TrajectoryWriter(), tmp_path / "run", **parts)
    assert written(tmp_path / "run") == ["predictions/test/d.csv"]


def test_gaps_are_filled_and_marked_in_pixels_of_the_source(
    tmp_path, write_rally, bright_network, capsys, predicted
):
    gone = (4, 5, 12, 13, 14, 15)
    truth = write_rally(tmp_path / "data", "rally", 21, size=(128, 192), sigma=3.0, hidden=gone)
    write_rally(tmp_path / "data", "other", 4, size=(128, 192))
    tracker = HeatmapTracker(bright_network(), input_size=SIZE)
    writer = TrajectoryWriter(tmp_path / "out")
    writer.fill_with(CubicFill(), max_gap=3)
    names = {"test": ["rally"], "train": ["other"], "val": ["rally"]}
    predicted(tmp_path / "data", tracker, writer, tmp_path, **names)
    rows = read_trajectory(tmp_path / "out" / "rally.csv")
    assert [row.frame for row in rows if row.filled] == [4, 5], "a gap of four is too long"
    assert [row.frame for row in rows if not row.visible] == [12, 13, 14, 15]
    found = np.array([[row.x, row.y] for row in rows])
    assert np.abs(found - truth.xy)[[4, 5]].max() < 1
    assert "(2 frames filled)" in capsys.readouterr().out


def test_an_earlier_file_is_replaced_whole(tiny_rallies, tmp_path, bright_network, predicted):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.csv").write_text("mine\n" * 500)
    tracker = HeatmapTracker(bright_network(), input_size=SIZE)
    writer = TrajectoryWriter(tmp_path / "out")
    predicted(tiny_rallies, tracker, writer, tmp_path, test=["a"])
    first = (tmp_path / "out" / "a.csv").read_text()
    assert len(first.splitlines()) == 22
    # What an interrupted run has left behind does not come back.
    writer._trajectories._seen[7][0] = Sighting(0, np.ones((1, 2)), np.ones(1), 1.0)
    predicted(tiny_rallies, tracker, writer, tmp_path, test=["a"])
    assert written(tmp_path / "out") == ["a.csv"]
    assert (tmp_path / "out" / "a.csv").read_text() == first


def test_it_needs_data_that_names_the_clips(bright_network, tmp_path):
    tracker = HeatmapTracker(bright_network(), input_size=SIZE)
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        callbacks=[TrajectoryWriter()],
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    with pytest.raises(TrackNetError, match="TrajectoryWriter needs a RallyDataModule"):
        trainer.predict(tracker, dataloaders=DataLoader([0]))
