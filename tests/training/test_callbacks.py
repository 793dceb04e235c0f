"""What a run leaves for a person: pictures, curves, tables and lines."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from PIL import Image

from tracknet.data.datamodules import FlatVideoDataModule
from tracknet.evaluation.metrics import KINDS, BallMetrics
from tracknet.models import CompactTrackNet
from tracknet.training.callbacks import HeatmapImages, ProgressLines, Report, experiment
from tracknet.training.callbacks.monitoring import heatmap_images, progress_lines
from tracknet.training.checkpoints import load_tracker
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.loggers import RunLogger

SIZE = (64, 96)


class Trained(HeatmapTracker):
    """Trained by plain descent, with notes of the weights that are seen."""

    rate = 0.1

    def configure_optimizers(self):
        self.validated, self.drawn, self.trained = [], [], []
        return torch.optim.SGD(self.parameters(), lr=self.rate)

    def weight(self):
        return float(next(self.network.parameters()).detach().flatten()[0])

    def training_step(self, batch, batch_idx):
        self.trained.append(self.weight())
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx):
        if hasattr(self, "validated") and not self.trainer.sanity_checking:
            self.validated.append(self.weight())
        super().validation_step(batch, batch_idx)

    def heatmaps(self, frames, background=None):
        if hasattr(self, "drawn"):
            self.drawn.append((self.weight(), self.training))
        return super().heatmaps(frames, background)


class Fast(Trained):
    rate = 200.0


def a_trainer(folder, *callbacks, **options):
    return Trainer(
        **{
            "default_root_dir": folder,
            "accelerator": "cpu",
            "max_epochs": 2,
            "limit_train_batches": 2,
            "logger": RunLogger(folder, name="", version="run"),
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": any(isinstance(one, ModelCheckpoint) for one in callbacks),
            "num_sanity_val_steps": 1,
            "log_every_n_steps": 1,
            "callbacks": list(callbacks),
        }
        | options
    )


def rallies(root, tracker, **options):
    return FlatVideoDataModule(
        root,
        **{
            "val": ["a", "c"],
            "batch_size": 4,
            "frames": tracker.frames,
            "outputs": tracker.outputs,
            "size": SIZE,
            "background": tracker.needs_background,
        }
        | options,
    )


@pytest.fixture
def drawings(monkeypatch):
    """What `HeatmapImages` draws, instead of pictures, which take a second each."""
    told = []

    def draw(batch, heatmaps, xy, confidence, threshold, names):
        told.append((batch, heatmaps, xy, confidence, names))
        return np.zeros((4, 4, 3), np.uint8)

    monkeypatch.setattr(heatmap_images, "draw_heatmaps", draw)
    return told


# HeatmapImages ---------------------------------------------------------------------------------------


def test_the_same_windows_are_drawn_every_so_many_epochs(tiny_rallies, tmp_path, bright_network, drawings):
    tracker = Trained(bright_network(), input_size=SIZE)
    trainer = a_trainer(tmp_path, HeatmapImages(windows=3, every_n_epochs=2), max_epochs=5)
    trainer.fit(tracker, datamodule=rallies(tiny_rallies, tracker))
    assert len(drawings) == 3
    for batch, heatmaps, xy, confidence, names in drawings:
        # 7 windows of each clip: spread over both of them.
        first = batch["frame"][:, 0]
        assert list(zip(batch["clip"].tolist(), first.tolist(), strict=True)) == [(0, 9), (0, 18), (1, 9)]
        assert torch.equal(batch["frame"], drawings[0][0]["frame"])
        assert heatmaps.shape == (3, 3, *SIZE)
        assert (xy.shape, confidence.shape) == ((3, 3, 2), (3, 3))
        assert names == ["a", "c"]
        assert (confidence >= 0.5).tolist() == batch["visible"].tolist()


def test_fewer_windows_than_wished(tiny_rallies, tmp_path, bright_network, drawings):
    tracker = Trained(bright_network(30, outputs=30), input_size=SIZE)
    trainer = a_trainer(tmp_path, HeatmapImages(windows=9), max_epochs=1, limit_train_batches=1)
    trainer.fit(tracker, datamodule=rallies(tiny_rallies, tracker))
    assert [batch["clip"].tolist() for batch, *_ in drawings] == [[0, 1]]


@pytest.mark.parametrize("averaging_first", [True, False])
def test_what_is_drawn_is_what_is_validated(
    tiny_rallies, tmp_path, bright_network, drawings, averaging_first
):
    callbacks = [EMAWeightAveraging(decay=0.5), HeatmapImages(windows=1)]
    torch.manual_seed(1)
    tracker = Trained(bright_network(), input_size=SIZE)
    tracker.rate = 1000.0  # an average is not a step again by the rounding of float32
    trainer = a_trainer(tmp_path, *(callbacks if averaging_first else reversed(callbacks)))
    trainer.fit(tracker, datamodule=rallies(tiny_rallies, tracker, val=["b"]))
    validated = list(dict.fromkeys(tracker.validated))
    assert len(validated) == 2
    assert [weight for weight, _ in tracker.drawn] == validated, "the network runs once for a picture"
    assert not any(training for _, training in tracker.drawn)
    # The averaged weights, not those of a step.
    assert not set(validated) & set(tracker.trained)


def test_nothing_is_drawn_without_a_logger_or_for_another_module(tiny_rallies, tmp_path, drawings):
    class Other(LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def training_step(self, batch, batch_idx):
            return self.layer(batch["xy"].float().mean().reshape(1)).sum()

        def validation_step(self, batch, batch_idx):
            pass

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    data = FlatVideoDataModule(tiny_rallies, val=["b"], size=SIZE)
    callbacks = (HeatmapImages(), Report(), ProgressLines())
    a_trainer(tmp_path, *callbacks, max_epochs=1).fit(Other(), datamodule=data)
    tracker = Trained(CompactTrackNet(3, "none", 4, (8, 8, 8)), input_size=SIZE)
    a_trainer(tmp_path, *callbacks, max_epochs=1, logger=False).fit(tracker, datamodule=data)
    assert drawings == []


def a_drawn_batch(frames):
    return {
        "frames": torch.randint(0, 256, (4, frames, 3, *SIZE), dtype=torch.uint8),
        "xy": torch.full((4, frames, 2), 30.0),
        "visible": torch.tensor([True, True, False, False])[:, None].expand(4, frames),
        "clip": torch.tensor([0, 1, 0, 9]),
        "frame": torch.arange(frames).expand(4, frames),
    }


@pytest.mark.parametrize("outputs", [3, 1])
def test_a_picture_of_heatmaps(outputs, monkeypatch):
    figures = []
    monkeypatch.setattr(heatmap_images, "render", lambda figure: figures.append(figure) or "picture")
    confidence = torch.tensor([0.9, 0.1, 0.9, 0.1])[:, None].expand(4, outputs)
    heatmaps = confidence[..., None, None].expand(4, outputs, 32, 48)
    xy = torch.tensor([33.0, 34.0]).expand(4, outputs, 2)
    picture = heatmap_images.draw_heatmaps(a_drawn_batch(3), heatmaps, xy, confidence, 0.5, ["one", "two"])
    assert picture == "picture"
    axes = np.array(figures[0].axes).reshape(4, 3)
    # The middle frame of three outputs, the last one of one.
    frame = 1 if outputs == 3 else 2
    assert [axis.get_title() for axis in axes[:, 0]] == [
        f"{name}, frame {frame}" for name in ("one", "two", "one", "9")
    ]
    assert [axis.get_title() for axis in axes[:, 2]] == [
        "off by 5.0 px",
        "missed (circle: label)",
        "no ball, but one found (cross)",
        "no ball, none found",
    ]
    marks = [[line.get_xydata().tolist() for line in axis.lines] for axis in axes[:, 0]]
    assert marks == [[[[30.0, 30.0]], [[33.0, 34.0]]], [[[30.0, 30.0]]], [[[33.0, 34.0]]], []]
    # A heatmap of half the size covers the frame.
    assert axes[0, 1].images[0].get_extent() == [-0.5, 95.5, 63.5, -0.5]
    assert [axis.get_xlim() for axis in axes[:3, 2]] == [(6.0, 54.0), (6.0, 54.0), (9.0, 57.0)]


def test_a_picture_is_pixels():
    confidence = torch.full((4, 3), 0.9)
    picture = heatmap_images.draw_heatmaps(
        a_drawn_batch(3), torch.rand(4, 3, *SIZE), torch.full((4, 3, 2), 20.0), confidence, 0.5, []
    )
    assert picture.dtype == np.uint8
    assert picture.shape == (1100, 1300, 3)
    assert len(np.unique(picture)) > 50


# Weight averaging ------------------------------------------------------------------------------------


def test_the_best_checkpoint_holds_the_averaged_weights_that_were_validated(tiny_rallies, tmp_path):
    torch.manual_seed(1)
    tracker = Fast(CompactTrackNet(3, "concat", 4, (8, 8, 8)), input_size=SIZE)
    best = ModelCheckpoint(tmp_path, monitor="val/loss", filename="best")
    trainer = a_trainer(tmp_path, EMAWeightAveraging(decay=0.7), best, max_epochs=3, limit_train_batches=4)
    logged = []
    best_end = best.on_validation_end

    def noted(trainer, pl_module):
        if not trainer.sanity_checking:
            logged.append({k: float(v) for k, v in trainer.callback_metrics.items() if k.startswith("val/")})
        best_end(trainer, pl_module)

    best.on_validation_end = noted
    trainer.fit(tracker, datamodule=rallies(tiny_rallies, tracker))
    expected = min(logged, key=lambda figures: figures["val/loss"])
    assert len({figures["val/loss"] for figures in logged}) == 3

    found = load_tracker(tmp_path / "best.ckpt")
    [figures] = a_trainer(tmp_path, logger=False).validate(
        found, datamodule=rallies(tiny_rallies, found), verbose=False
    )
    assert figures == pytest.approx(expected, rel=1e-5, nan_ok=True)
    content = torch.load(tmp_path / "best.ckpt", weights_only=True)
    averaged, current = content["state_dict"], content["current_model_state"]
    assert not torch.equal(averaged["network.predictor.bias"], current["network.predictor.bias"])
    assert torch.equal(found.state_dict()["network.predictor.bias"], averaged["network.predictor.bias"])


# Report ----------------------------------------------------------------------------------------------


def test_report_after_training_and_test(tiny_rallies, tmp_path, bright_network, capsys):
    tracker = Trained(bright_network(), input_size=SIZE)
    data = rallies(tiny_rallies, tracker, train=["a", "b"], val=["c"], test=["d", "c"])
    trainer = a_trainer(tmp_path, Report())
    trainer.fit(tracker, datamodule=data)
    run = tmp_path / "run"
    with Image.open(run / "curves.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (1320, 480))

    capsys.readouterr()
    [figures] = trainer.test(tracker, datamodule=data, verbose=False)
    told = json.loads((run / "test.json").read_text())
    assert told["metric"] == "tracknetv2: d <= 4 px at 288x512"
    assert told["clips"] == 2
    counts = {"tp": 32, "fp1": 0, "fp2": 0, "tn": 3, "fn": 0}
    assert {name: told[name] for name in counts} == counts
    assert all(type(told[name]) is int for name in counts)
    for name in (*experiment.FIGURES, *KINDS):
        assert told[name] == pytest.approx(figures[f"test/{name}"], rel=1e-6)
    with (run / "test_clips.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["clip"] for row in rows] == data.clip_names("test") == ["c", "d"]
    assert [(int(row["tp"]), int(row["tn"])) for row in rows] == [(16, 2), (16, 1)]
    for name in counts:
        assert sum(int(row[name]) for row in rows) == told[name]
    assert [row["f1"] for row in rows] == ["1.0000", "1.0000"]
    with Image.open(run / "test.png") as picture:
        assert picture.format == "PNG"
    out = capsys.readouterr().out
    assert "test figures (tracknetv2: d <= 4 px at 288x512):" in out
    assert "tp 32  fp1 0  fp2 0  tn 3  fn 0" in out
    assert str(run / "test_clips.csv") in out


def test_the_curves_are_drawn_when_training_is_stopped(tiny_rallies, tmp_path, bright_network):
    class Stop(Callback):
        def on_train_epoch_start(self, trainer, pl_module):
            if trainer.current_epoch == 1:
                raise KeyboardInterrupt

    tracker = Trained(bright_network(), input_size=SIZE)
    trainer = a_trainer(tmp_path, Report(), Stop(), max_epochs=3)
    with pytest.raises((KeyboardInterrupt, SystemExit)):
        trainer.fit(tracker, datamodule=rallies(tiny_rallies, tracker, train=["a", "b"], val=["c"]))
    with Image.open(tmp_path / "run" / "curves.png") as picture:
        assert picture.format == "PNG"


def test_report_follows_the_metrics_of_the_tracker(tiny_rallies, tmp_path, bright_network):
    metrics = BallMetrics("wasb", tolerance=0.01, recall="visible")
    tracker = Trained(bright_network(outputs=1), metrics=metrics, input_size=SIZE)
    trainer = a_trainer(tmp_path, Report())
    [figures] = trainer.test(
        tracker, datamodule=rallies(tiny_rallies, tracker, test=["a", "d"]), verbose=False
    )
    told = json.loads((tmp_path / "run" / "test.json").read_text())
    assert told["metric"] == "changed wasb: d < 0.01 px at source size, recall of visible balls"
    assert {name: told[name] for name in KINDS} == {name: figures[f"test/{name}"] for name in KINDS}
    assert told["fp1"] > 25
    with (tmp_path / "run" / "test_clips.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["fp1"]) for row in rows) == told["fp1"]


def test_where_nothing_is_hit_no_error_is_told(tiny_rallies, tmp_path, bright_network, capsys):
    tracker = Trained(bright_network(right=8), input_size=SIZE)
    trainer = a_trainer(tmp_path, Report(), ProgressLines(), max_epochs=1)
    data = rallies(tiny_rallies, tracker, test=["a", "d"])
    trainer.fit(tracker, datamodule=data)
    trainer.test(tracker, datamodule=data, verbose=False)
    assert json.loads((tmp_path / "run" / "test.json").read_text())["rmse"] is None
    with (tmp_path / "run" / "test_clips.csv").open(newline="") as file:
        assert [row["rmse"] for row in csv.DictReader(file)] == ["", ""]
    out = capsys.readouterr().out
    assert "rmse none (tracknetv2" in out
    assert "accuracy 0.0" in out
    assert "rmse none\n" in out


def test_report_without_its_own_data_or_logger(tiny_rallies, tmp_path, bright_network, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tracker = Trained(bright_network(), input_size=SIZE)
    data = rallies(tiny_rallies, tracker)
    trainer = a_trainer(tmp_path, Report(), logger=False)
    trainer.fit(tracker, datamodule=data)
    assert list(tmp_path.iterdir()) == []
    data.setup("test")
    trainer = a_trainer(tmp_path, Report(), logger=False)
    trainer.test(tracker, dataloaders=data.test_dataloader(), verbose=False)
    assert list(tmp_path.iterdir()) == []


def curves(tmp_path, text):
    (tmp_path / "metrics.csv").write_text(text)
    return experiment.draw_curves(tmp_path / "metrics.csv", "tracknetv2")


def test_curves_are_those_of_the_table(tmp_path):
    figure = curves(
        tmp_path,
        "epoch,step,train/loss_step,val/f1,val/loss\n0,0,0.5,,\n0,1,0.25,,\n0,1,,0.5,0.3\n1,3,,0.75,0.2\n1,5,,0.6,0.4\n",
    )
    loss, score = figure.axes
    drawn = {line.get_label(): line.get_xydata().tolist() for line in (*loss.lines, *score.lines)}
    assert drawn["train/loss_step"] == [[0, 0.5], [1, 0.25]]
    assert drawn["val/loss"] == [[1, 0.3], [3, 0.2], [5, 0.4]]
    assert drawn["val/f1"] == [[1, 0.5], [3, 0.75], [5, 0.6]]
    assert score.get_title() == "validation, best F1 0.7500 (tracknetv2)"


@pytest.mark.parametrize("text", ["", "step,train/loss_step\n0,0.5\n", "step,val/f1\n0,\n"])
def test_no_curves_without_a_validation(tmp_path, text):
    assert curves(tmp_path, text) is None


def test_bars_of_clips_are_as_long_as_their_frames():
    clips = [
        {"tp": 5, "tn": 1, "fp1": 2, "fp2": 0, "fn": 3, "f1": 0.625},
        {"tp": 0, "tn": 0, "fp1": 0, "fp2": 0, "fn": 0, "f1": 0.0},
    ]
    [axis] = experiment.draw_clips(["one", "two"], clips, "wasb").axes
    bars = [[bar.get_width() for bar in kind] for kind in axis.containers]
    assert bars == [[5, 0], [1, 0], [2, 0], [0, 0], [3, 0]]
    assert [text.get_text() for text in axis.texts] == [" F1 0.625", " F1 0.000"]
    assert axis.texts[0].get_position()[0] == 11


# ProgressLines ---------------------------------------------------------------------------------------


def test_lines_tell_figures_and_the_way_to_go(tiny_rallies, tmp_path, bright_network, capsys, monkeypatch):
    clock = iter(range(0, 100_000, 10))
    monkeypatch.setattr(progress_lines.time, "monotonic", lambda: float(next(clock)))
    tracker = Trained(bright_network(), input_size=SIZE)
    trainer = a_trainer(tmp_path, ProgressLines(every_n_seconds=15), limit_train_batches=4)
    trainer.fit(tracker, datamodule=rallies(tiny_rallies, tracker))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    validations = [line for line in lines if ": val " in line]
    assert len(validations) == 2
    assert validations[0].startswith(
        "epoch 1, step 4/8: val F1 1.0000  P 1.0000  R 1.0000  accuracy 1.0000  rmse "
    )
    assert "(tracknetv2: d <= 4 px at 288x512)" in validations[0]
    assert validations[1].startswith("epoch 2, step 8/8: val F1 1.0000")
    assert validations[1].endswith(" 0:00 left")
    steps = [line for line in lines if line not in validations]
    assert steps
    assert all(", loss " in line and " steps/s, " in line and line.endswith(" left") for line in steps)


def test_no_lines_of_steps_in_a_terminal(tiny_rallies, tmp_path, bright_network, capsys, monkeypatch):
    clock = iter(range(0, 100_000, 60))
    monkeypatch.setattr(progress_lines.time, "monotonic", lambda: float(next(clock)))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    tracker = Trained(bright_network(), input_size=SIZE)
    trainer = a_trainer(tmp_path, ProgressLines(), max_epochs=1)
    data = rallies(tiny_rallies, tracker)
    trainer.fit(tracker, datamodule=data)
    # Not a line for this one, which is part of no training.
    trainer.validate(tracker, datamodule=data, verbose=False)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert [": val " in line for line in lines] == [True]
