"""Callbacks that watch a training: figures in real logs, notices in words, batches that are saved."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn

from tracknet.data.datamodules import FlatVideoDataModule
from tracknet.data.video import open_source
from tracknet.errors import TrackNetError
from tracknet.models import CompactTrackNet
from tracknet.training.callbacks import (
    ClipVideos,
    GradientNorms,
    InputDrift,
    MemoryUse,
    NonFiniteGuard,
    Throughput,
    TrainingNotices,
)
from tracknet.training.callbacks.monitoring import memory_use, nonfinite, replay, throughput
from tracknet.training.callbacks.monitoring.input_drift import appearance
from tracknet.training.callbacks.monitoring.replay import RandomState, Recorded, run_again
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.loggers import RunLogger

SIZE = (64, 96)


class Descent(HeatmapTracker):
    """Trained by plain descent."""

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def a_tracker(**options):
    torch.manual_seed(3)
    return Descent(CompactTrackNet(3, "none", 4, (8, 8, 8)), input_size=SIZE, **options)


def a_trainer(folder, *callbacks, **options):
    return Trainer(
        **{
            "default_root_dir": folder,
            "accelerator": "cpu",
            "max_epochs": 1,
            "limit_train_batches": 2,
            "limit_val_batches": 0,
            "logger": RunLogger(folder, name="", version="run"),
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": any(isinstance(one, ModelCheckpoint) for one in callbacks),
            "num_sanity_val_steps": 0,
            "log_every_n_steps": 1,
            "callbacks": list(callbacks),
        }
        | options
    )


def rallies(root, **options):
    options = {"train": ["a", "b"], "val": ["c"], "batch_size": 4, "size": SIZE} | options
    return FlatVideoDataModule(root, **options)


def logged(folder):
    """Figures of the event files: name to ``{step: value}``; the table holds the same."""
    events = EventAccumulator(str(folder / "run"))
    events.Reload()
    found = {name: {e.step: e.value for e in events.Scalars(name)} for name in events.Tags()["scalars"]}
    with (folder / "run" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for name, values in found.items():
        table = {int(row["step"]): float(row[name]) for row in rows if row.get(name)}
        assert table == pytest.approx(values, rel=1e-5), name
    return found


# GradientNorms ---------------------------------------------------------------------------------------


def test_norms_are_those_of_the_step(tiny_rallies, tmp_path):
    class Noting(Callback):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            self.gradient = {n: p.grad.clone() for n, p in pl_module.named_parameters()}
            self.weight = {n: p.detach().clone() for n, p in pl_module.named_parameters()}

    tracker, noting = a_tracker(), Noting()
    trainer = a_trainer(tmp_path, noting, GradientNorms(), limit_train_batches=1, gradient_clip_val=1e-3)
    trainer.fit(tracker, datamodule=rallies(tiny_rallies))
    found = logged(tmp_path)
    groups = {name.partition("/")[2] for name in found if name.startswith("grad_norm/")}
    assert {"total", "network.predictor"} <= groups

    def norm(tensors):
        return float(torch.cat([one.flatten() for one in tensors]).norm())

    for group in groups:
        names = [n for n in noting.weight if group == "total" or n.startswith(group + ".")]
        assert found[f"grad_norm/{group}"][0] == pytest.approx(
            norm(noting.gradient[n] for n in names), rel=1e-4
        )
        weight = norm(noting.weight[n] for n in names)
        assert found[f"weight_norm/{group}"][0] == pytest.approx(weight, rel=1e-4)
    # Plain descent on clipped gradients: the whole update is as long as the learning rate says.
    assert found["update_ratio/total"][0] == pytest.approx(
        0.1 * 1e-3 / found["weight_norm/total"][0], rel=1e-2
    )


def test_norms_come_every_so_many_steps_and_by_depth(tiny_rallies, tmp_path):
    trainer = a_trainer(
        tmp_path, GradientNorms(every_n_steps=2, depth=1), limit_train_batches=4, log_every_n_steps=3
    )
    trainer.fit(a_tracker(), datamodule=rallies(tiny_rallies))
    found = logged(tmp_path)
    assert set(found["grad_norm/network"]) == {1, 3}
    assert found["grad_norm/network"] == found["grad_norm/total"]
    assert "grad_norm/network.predictor" not in found


# Throughput and memory -------------------------------------------------------------------------------


def test_throughput_counts_windows_and_waiting(tiny_rallies, tmp_path, monkeypatch):
    # A step takes 3 s of work after 1 s of waiting; the first one of the epoch is left out.
    times = iter(t for n in range(9) for t in (4.0 * n + 1, 4.0 * n + 4))
    monkeypatch.setattr(throughput.time, "perf_counter", lambda: next(times))
    trainer = a_trainer(tmp_path, Throughput(window=2), limit_train_batches=4)
    trainer.fit(a_tracker(), datamodule=rallies(tiny_rallies))
    found = logged(tmp_path)
    assert found["throughput/windows_per_s"] == {1: 1.0, 2: 1.0, 3: 1.0}
    assert found["throughput/frames_per_s"] == {1: 3.0, 2: 3.0, 3: 3.0}
    assert found["throughput/data_wait"] == {1: 0.25, 2: 0.25, 3: 0.25}


def test_memory_of_the_process(tiny_rallies, tmp_path):
    a_trainer(tmp_path, MemoryUse()).fit(a_tracker(), datamodule=rallies(tiny_rallies))
    found = logged(tmp_path)
    assert set(found["memory/host"]) == {0, 1}
    assert 50 < found["memory/host"][1] <= found["memory/host_peak"][1] * 1.01
    assert "memory/device" not in found


def test_accumulated_batches_are_one_step(tiny_rallies, tmp_path):
    callbacks = [MemoryUse(), Throughput(every_n_steps=1)]
    trainer = a_trainer(tmp_path, *callbacks, limit_train_batches=4, accumulate_grad_batches=2)
    trainer.fit(a_tracker(), datamodule=rallies(tiny_rallies))
    events = EventAccumulator(str(tmp_path / "run"))
    events.Reload()
    for name in ("memory/host", "throughput/windows_per_s", "train/loss_step"):
        assert [event.step for event in events.Scalars(name)] == [0, 1], name


def test_memory_of_a_device(monkeypatch):
    for name, mebibytes in (("memory_allocated", 3), ("memory_reserved", 5), ("max_memory_allocated", 4)):
        monkeypatch.setattr(torch.cuda, name, lambda device, mebibytes=mebibytes: mebibytes * 2**20)
    found = memory_use.device_memory(torch.device("cuda"))
    assert found == {"device": 3.0, "device_reserved": 5.0, "device_peak": 4.0}


# InputDrift ------------------------------------------------------------------------------------------


class Brighter(FlatVideoDataModule):
    """Batches are brighter from a step on."""

    def on_after_batch_transfer(self, batch, dataloader_idx):
        if self.trainer.global_step >= 4:
            batch["frames"] = (batch["frames"].int() + 60).clamp(max=255).to(torch.uint8)
        return batch


def test_a_notice_when_the_pictures_get_brighter(tiny_rallies, tmp_path, capsys):
    drift = InputDrift(every_n_steps=1, reference=3, window=2, sigmas=6.0)
    trainer = a_trainer(tmp_path, drift, limit_train_batches=8)
    trainer.fit(a_tracker(), datamodule=Brighter(tiny_rallies, train=["a", "b"], val=["c"], size=SIZE))
    notices = [line for line in capsys.readouterr().out.splitlines() if line.startswith("notice")]
    [notice] = [line for line in notices if "mean brightness" in line]
    found = logged(tmp_path)
    assert "moved from 0.1" in notice
    assert found["input/brightness"][7] == pytest.approx(found["input/brightness"][0] + 60 / 255, abs=0.01)
    assert len(found["input/visible"]) == 8
    again = InputDrift()
    again.load_state_dict(drift.state_dict())
    assert again.state_dict() == drift.state_dict()
    assert len(again.state_dict()["first"]) == 3


def test_the_appearance_of_a_batch():
    batch = {
        "frames": torch.full((1, 4, 3, 8, 16), 51, dtype=torch.uint8),
        "xy": torch.tensor([[[4.0, 2.0], [12.0, 6.0], [float("nan"), 0.0], [9.0, 9.0]]]),
        "visible": torch.tensor([[True, True, False, True]]),
        "labelled": torch.tensor([[True, True, True, False]]),
    }
    spread = (0.25**2 + 0.25**2) ** 0.5
    assert appearance(batch).tolist() == pytest.approx([0.2, 0.0, 2 / 3, 0.5, 0.5, spread], abs=1e-6)
    batch["visible"][:] = False
    assert appearance(batch)[2:].nan_to_num(-1).tolist() == [0.0, -1.0, -1.0, -1.0]


# TrainingNotices -------------------------------------------------------------------------------------


class Told(HeatmapTracker):
    """Logs figures that a test gives, an epoch each."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.given = []

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)

    def training_step(self, batch, batch_idx):
        self.log("train/loss", self.given[self.current_epoch][0], on_step=True, on_epoch=True)
        return sum(p.sum() for p in self.parameters()) * 0.0

    def validation_step(self, batch, batch_idx):
        _, loss, f1 = self.given[self.current_epoch]
        self.log_dict({"val/loss": loss, "val/f1": f1})

    def on_validation_epoch_end(self):
        pass


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # Falling and rising: overfitting since the second epoch; F1 rises all the time.
        (
            [(1.0, 1.0, 0.1), (0.8, 0.9, 0.2), (0.7, 1.0, 0.3), (0.6, 1.1, 0.4), (0.5, 1.2, 0.5)],
            ["overfitting since epoch 2: the training loss went on falling, 0.8 to 0.6, .* 0.9 to 1.1"],
        ),
        # Both rise: nothing of the kind.
        ([(0.5, 1.0, 0.1), (0.6, 1.1, 0.2), (0.7, 1.2, 0.3), (0.8, 1.3, 0.4)], []),
        # F1 is no better by enough, and told once.
        (
            [(0.5, 1.0, 0.5), (0.5, 1.0, 0.501), (0.5, 1.0, 0.4), (0.5, 1.0, 0.5), (0.5, 1.0, 0.5)],
            ["plateau: F1 has not risen above the 0.5000 of epoch 1 for 2 validations"],
        ),
        # Nothing found at all is another matter.
        ([(0.5, 1.0, 0.0)] * 4, []),
    ],
)
def test_notices_in_words(tiny_rallies, tmp_path, bright_network, capsys, given, expected):
    tracker = Told(bright_network(), input_size=SIZE)
    tracker.given = given
    notices = TrainingNotices(epochs=2)
    trainer = a_trainer(
        tmp_path, notices, max_epochs=len(given), limit_train_batches=1, limit_val_batches=1, logger=False
    )
    trainer.fit(tracker, datamodule=rallies(tiny_rallies))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("notice")]
    assert len(lines) == len(expected)
    for line, words in zip(lines, expected, strict=True):
        assert re.search(words, line), line
    again = TrainingNotices()
    again.load_state_dict(notices.state_dict())
    assert again.state_dict() == notices.state_dict()


# NonFiniteGuard --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "finite"),
    [(0.5, True), (-1e30, True), (float("inf"), False), (-float("inf"), False), (float("nan"), False)],
)
def test_gradients_whose_squares_overflow_are_finite(entry, finite):
    gradients = [torch.ones(3, 2), torch.tensor([0.0, entry])]
    assert bool(nonfinite._are_finite(gradients)) is finite


class Spoilt(nn.Module):
    """A layer whose output or gradient is NaN when the frame is marked."""

    def __init__(self, backward):
        super().__init__()
        self.backward = backward
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x):
        marked = x.flatten()[0] > 0.99
        if not marked:
            return x * self.scale
        # The square root of 0: finite, but of infinite slope.
        return x * self.scale + (self.scale - self.scale).sqrt() if self.backward else x * float("nan")


class Marked(FlatVideoDataModule):
    """Marks the second batch."""

    step_marked = 0

    def on_after_batch_transfer(self, batch, dataloader_idx):
        marked = self.trainer.training and self.trainer.fit_loop.total_batch_idx == self.step_marked
        batch["frames"][:, :, :, 0, 0] = 255 if marked else 0
        return batch


def spoilt_tracker(backward, **options):
    tracker = a_tracker(**options)
    stem = next(n for n, m in tracker.network.named_children() if any(True for _ in m.parameters()))
    tracker.network.set_submodule(stem, nn.Sequential(Spoilt(backward), tracker.network.get_submodule(stem)))
    return tracker, f"network.{stem}.0"


def marked(root, **options):
    return Marked(root, **{"train": ["a", "b"], "val": ["c"], "size": SIZE} | options)


@pytest.mark.parametrize("backward", [False, True])
def test_a_batch_that_spoils_the_step_ends_the_run(tiny_rallies, tmp_path, backward):
    tracker, layer = spoilt_tracker(backward, mixup=0.5)
    last = ModelCheckpoint(tmp_path, filename="last", save_on_exception=True)
    guard = NonFiniteGuard()
    trainer = a_trainer(tmp_path, last, guard, limit_train_batches=4)
    with pytest.raises(TrackNetError) as caught:
        trainer.fit(tracker, datamodule=marked(tiny_rallies))
    message = str(caught.value)
    assert caught.value.exit_code == 1
    assert message.startswith("step 2: loss or gradient is not finite: ")
    assert f"first in the output of {layer} (Spoilt)" in message or backward
    assert f"the gradient of {layer} is not finite" in message or not backward
    assert re.search(r"batch: [ab] frames \d+-\d+, [ab] frames", message)

    path = tmp_path / "run" / "nonfinite" / "step_2.pt"
    assert guard.saved == [path]
    assert str(path) in message
    content = torch.load(path, weights_only=True)
    assert content["clips"] == ["a", "b"]
    assert (content["batch"]["frames"][:, :, :, 0, 0] == 255).all()
    # The checkpoint of the moment is a good one, and the file says the same again.
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)["state_dict"]
    assert all(one.isfinite().all() for one in saved.values())
    fresh, _ = spoilt_tracker(backward, mixup=0.5)
    assert replay(path, fresh) == re.search(r"not finite: (.*); batch:", message)[1]
    with pytest.raises(TrackNetError, match="cannot be replayed"):
        replay(path, a_tracker())


@pytest.mark.parametrize("backward", [False, True])
def test_a_skipped_step_changes_nothing(tiny_rallies, tmp_path, capsys, backward):
    tracker, layer = spoilt_tracker(backward)
    states = []

    class Noting(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            states.append({name: one.clone() for name, one in pl_module.state_dict().items()})

    trainer = a_trainer(tmp_path, NonFiniteGuard("skip", keep=0), Noting(), limit_train_batches=3)
    trainer.fit(tracker, datamodule=marked(tiny_rallies))
    [line] = [one for one in capsys.readouterr().out.splitlines() if one.startswith("notice")]
    assert layer in line
    assert line.endswith("step skipped")
    first, skipped, third = states
    floats = [name for name, one in first.items() if one.is_floating_point() and "metrics" not in name]
    assert all(torch.equal(first[name], skipped[name]) for name in floats if "val_" not in name)
    assert not torch.equal(skipped["network.predictor.bias"], third["network.predictor.bias"])
    assert all(third[name].isfinite().all() for name in floats)
    assert not (tmp_path / "run" / "nonfinite").exists()


def test_the_batch_among_accumulated_ones(tiny_rallies, tmp_path):
    tracker, layer = spoilt_tracker(False)
    trainer = a_trainer(tmp_path, NonFiniteGuard(), limit_train_batches=4, accumulate_grad_batches=3)
    with pytest.raises(TrackNetError, match=f"step 1: .*{layer}"):
        trainer.fit(tracker, datamodule=marked(tiny_rallies))
    content = torch.load(tmp_path / "run" / "nonfinite" / "step_1.pt", weights_only=True)
    assert content["batch_idx"] == 1
    assert (content["batch"]["frames"][:, :, :, 0, 0] == 255).all()


def test_a_check_every_so_often_finds_spoilt_weights(tiny_rallies, tmp_path):
    tracker, _ = spoilt_tracker(False)
    trainer = a_trainer(tmp_path, NonFiniteGuard("skip", every_n_steps=4, max_skips=1), limit_train_batches=8)
    with pytest.raises(
        TrackNetError, match=r"weights themselves are not finite .* since a step after 4; .* 2 steps one"
    ):
        trainer.fit(tracker, datamodule=marked(tiny_rallies))


def test_a_label_that_is_no_position(tiny_rallies):
    data = rallies(tiny_rallies)
    data.prepare_data()
    data.setup("fit")
    sample = data._dataset("train", 1)[0]
    batch = {name: value[None].clone() for name, value in sample.items()}
    batch["xy"][0, 1, 0] = float("nan")
    tracker = a_tracker()
    recorded = Recorded(batch, 0, RandomState.now(torch.device("cpu")))
    assert run_again(tracker, recorded) == "the label of window 1, frame 1, is no position"


# ClipVideos ------------------------------------------------------------------------------------------


def test_the_same_stretches_are_filmed_each_epoch(tiny_rallies, tmp_path, bright_network):
    tracker = Descent(bright_network(), input_size=SIZE)
    film = ClipVideos(clips=2, frames=12, fps=10, every_n_epochs=2)
    trainer = a_trainer(tmp_path, film, max_epochs=3, limit_val_batches=1)
    trainer.fit(tracker, datamodule=rallies(tiny_rallies, val=["c", "d"]))
    folder = tmp_path / "run" / "progress"
    assert sorted(path.name for path in folder.iterdir()) == ["epoch_1.mp4", "epoch_3.mp4"]
    video = open_source(folder / "epoch_1.mp4")
    assert (video.info.width, video.info.height, video.info.fps) == (192, 128, 10)
    # Twelve frames of each clip, the first ones from 6 to 17; frame 14 has a ring of either colour.
    frames = list(video.frames())
    assert len(frames) == 24
    green = np.abs(frames[8].astype(int) - [60, 255, 90]).sum(axis=-1) < 120
    magenta = np.abs(frames[8].astype(int) - [255, 60, 220]).sum(axis=-1) < 120
    assert green.any()
    assert magenta.any()
    xy = trainer.datamodule.parts["val"][0].labels.xy[14]
    rows, columns = green.nonzero()
    assert np.abs([columns.mean() / 2 - xy[0], rows.mean() / 2 - xy[1]]).max() < 1.5
    events = EventAccumulator(str(tmp_path / "run"), {"images": 0})
    events.Reload()
    assert [event.step for event in events.Images("val/clips")] == [2, 6]


def test_a_stretch_is_no_longer_than_its_clip(tiny_rallies, tmp_path, bright_network):
    # One output a window: windows follow frame by frame.
    tracker = Descent(bright_network(outputs=1), input_size=SIZE)
    trainer = a_trainer(tmp_path, ClipVideos(clips=1, frames=50), limit_val_batches=1)
    trainer.fit(tracker, datamodule=rallies(tiny_rallies, val=["d", "c"], outputs=1))
    video = open_source(tmp_path / "run" / "progress" / "epoch_1.mp4")
    # The middle of all windows lies in the clip of 20 frames.
    assert len(list(video.frames())) == 20
