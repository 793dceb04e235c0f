"""The learning rate over a run: by the formula, by the step, and over an interruption."""

from __future__ import annotations

import math
import pickle

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint

from tracknet.cli.train import TrackNetCLI
from tracknet.data.augmentation import Augmentation
from tracknet.data.crops import RandomCrop
from tracknet.data.datamodules import FlatVideoDataModule
from tracknet.models import CompactTrackNet
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.schedules import WarmupCosine


@pytest.fixture(autouse=True)
def _seed_of_its_own(monkeypatch):
    """`seed_everything` leaves the run's seed in the environment."""
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")


def an_optimizer(*rates):
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": rate} for rate in rates]
    return torch.optim.SGD(groups)


def rates(schedule, steps):
    """The rate at which each step is taken."""
    told = []
    for _ in range(steps):
        told.append(schedule.optimizer.param_groups[0]["lr"])
        schedule.optimizer.step()
        schedule.step()
    return told


def test_it_rises_in_a_line_and_falls_along_a_cosine():
    schedule = WarmupCosine(an_optimizer(2.0), warmup=0.25, floor=0.1, total_steps=8)
    cosine = [0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * k / 6)) for k in range(7)]
    expected = [0.001, 0.5, *cosine]
    assert rates(schedule, 9) == pytest.approx([2 * share for share in expected])
    # What is left does not rise again.
    assert rates(schedule, 3) == pytest.approx([0.2] * 3)


def test_each_group_of_parameters_keeps_its_own_rate():
    schedule = WarmupCosine(an_optimizer(2.0, 0.5), warmup=0.0, floor=0.0, total_steps=4)
    rates(schedule, 2)
    assert [group["lr"] for group in schedule.optimizer.param_groups] == pytest.approx([1.0, 0.25])


def test_without_a_rise_it_begins_at_the_top():
    assert rates(WarmupCosine(an_optimizer(1.0), warmup=0.0, floor=0.0, total_steps=2), 3) == pytest.approx(
        [1.0, 0.5, 0.0]
    )


def test_a_run_that_is_all_rise():
    shares = rates(WarmupCosine(an_optimizer(1.0), warmup=1.0, floor=0.01, total_steps=4), 5)
    assert shares == pytest.approx([0.001, 0.25, 0.5, 0.75, 1.0])


def test_its_state_is_of_plain_values():
    schedule = WarmupCosine(an_optimizer(1.0), total_steps=10)
    state = schedule.state_dict()
    assert b"tracknet" not in pickle.dumps(state)
    assert b"jsonargparse" not in pickle.dumps(state)


def test_it_goes_on_where_it_was():
    straight = rates(WarmupCosine(an_optimizer(1.0), total_steps=10), 10)
    optimizer = an_optimizer(1.0)
    first = WarmupCosine(optimizer, total_steps=10)
    begun = rates(first, 4)
    second = WarmupCosine(an_optimizer(1.0), total_steps=10)
    second.optimizer.load_state_dict(optimizer.state_dict())
    second.load_state_dict(first.state_dict())
    assert begun + rates(second, 6) == pytest.approx(straight)


def test_a_run_that_is_made_longer_follows_its_new_length():
    optimizer = an_optimizer(1.0)
    first = WarmupCosine(optimizer, total_steps=4)
    rates(first, 4)
    longer = WarmupCosine(an_optimizer(1.0), total_steps=8)
    longer.optimizer.load_state_dict(optimizer.state_dict())
    longer.load_state_dict(first.state_dict())
    straight = rates(WarmupCosine(an_optimizer(1.0), total_steps=8), 8)
    assert longer.total_steps == 8
    assert rates(longer, 4) == straight[4:]


class WithSchedule(HeatmapTracker):
    """Set up as the command line sets it up."""

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        return TrackNetCLI.configure_optimizers(self, optimizer, WarmupCosine(optimizer, warmup=0.5))


def fitted(root, folder, epochs=2, ckpt_path=None, averaged=False):
    seed_everything(5, verbose=False)
    network = CompactTrackNet(frames=4, background="concat", stem=4, widths=(8, 8, 8))
    tracker = WithSchedule(network, input_size=(64, 96), mixup=0.5)
    data = FlatVideoDataModule(
        root,
        val=["b"],
        step=4,
        batch_size=4,
        crop=RandomCrop((48, 64)),
        augmentation=Augmentation(),
        frames=4,
        outputs=4,
        size=(64, 96),
        background=True,
    )
    saved = ModelCheckpoint(folder, filename="{epoch}", save_top_k=-1)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        callbacks=[saved, EMAWeightAveraging(decay=0.8)] if averaged else [saved],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=1,
    )
    told = []
    training_step = tracker.training_step

    def noted(batch, batch_idx):
        told.append(trainer.optimizers[0].param_groups[0]["lr"])
        return training_step(batch, batch_idx)

    tracker.training_step = noted
    trainer.fit(tracker, datamodule=data, ckpt_path=ckpt_path)
    return tracker, told, trainer


@pytest.mark.parametrize("averaged", [False, True])
def test_a_run_interrupted_and_resumed_is_the_run(tiny_rallies, tmp_path, averaged):
    straight, rates_straight, trainer = fitted(tiny_rallies, tmp_path, averaged=averaged)
    steps = trainer.global_step
    assert steps >= 4
    expected = [
        max(step / (steps / 2), 1e-3)
        if step < steps / 2
        else 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - steps / 2) / (steps / 2)))
        for step in range(steps)
    ]
    assert rates_straight == pytest.approx([0.1 * share for share in expected])
    resumed, rates_resumed, _ = fitted(
        tiny_rallies, tmp_path / "second", ckpt_path=tmp_path / "epoch=0.ckpt", averaged=averaged
    )
    assert rates_resumed == rates_straight[steps // 2 :]
    for name, value in straight.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
