"""Hard-frame mining: which frames are found, what target they get, and that a resumed run keeps them."""

from __future__ import annotations

import shutil

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from tracknet.data.datamodules import FlatVideoDataModule
from tracknet.errors import UsageError
from tracknet.training.callbacks import HardFrameMining, HardFrameTarget
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.targets import DiscTarget, PeakTarget

SIZE = (64, 96)
WRONG = {"a": [3, 7], "d": [16]}
"""Frames whose label is ten pixels off; the last of ``d`` shows no ball, so that nothing is found there."""


class Watched(HeatmapTracker):
    """Notes which frames get the hard target."""

    def configure_optimizers(self):
        self.seen = {"train": set(), "hard": set(), "val": set()}
        return torch.optim.SGD(self.parameters(), lr=0.0)

    def training_step(self, batch, batch_idx):
        frames = batch["frame"][:, -self.outputs :]
        for row, place in torch.cartesian_prod(
            torch.arange(len(frames)), torch.arange(frames.shape[1])
        ).tolist():
            one = (int(batch["clip"][row]), int(frames[row, place]))
            self.seen["hard" if self.target.mask[row, place] else "train"].add(one)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx):
        if hasattr(self, "seen"):
            self.seen["val"].add(self.target.mask)
        super().validation_step(batch, batch_idx)


@pytest.fixture
def rallies(tiny_rallies, tmp_path):
    for name in "acd":
        shutil.copy(tiny_rallies / f"{name}.mp4", tmp_path)
        lines = (tiny_rallies / f"{name}.csv").read_text().splitlines()
        for frame in WRONG.get(name, []):
            _, _, x, y = lines[frame + 1].split(",")
            lines[frame + 1] = f"{frame},1,{float(x) + 6},{float(y) + 8}"
        (tmp_path / f"{name}.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def fit(root, network, mining, target=None, epochs=2, resume=None):
    tracker = Watched(network, target=target or HardFrameTarget(), input_size=SIZE)
    data = FlatVideoDataModule(
        root, val=["c"], size=SIZE, frames=tracker.frames, outputs=tracker.outputs, batch_size=2
    )
    trainer = Trainer(
        default_root_dir=root,
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=[mining, ModelCheckpoint(root, filename="last", enable_version_counter=False)],
    )
    trainer.fit(tracker, datamodule=data, ckpt_path=resume, weights_only=False if resume else None)
    return tracker


@pytest.mark.parametrize("outputs", [3, 1])
def test_frames_found_in_the_wrong_place_get_the_hard_target(rallies, bright_network, outputs):
    mining = HardFrameMining([1], distance=4.0)
    tracker = fit(rallies, bright_network(outputs=outputs), mining)
    assert mining.hard == {"a": [3, 7]}
    assert tracker.seen["hard"] == {(0, 3), (0, 7)}
    assert {(0, 3), (0, 7), (0, 4)} <= tracker.seen["train"]  # of the epoch before
    assert tracker.seen["val"] == {None}
    assert tracker.training


def test_without_a_search_all_frames_are_alike(rallies, bright_network):
    mining = HardFrameMining([5])
    tracker = fit(rallies, bright_network(), mining, epochs=1)
    assert mining.hard == {}
    assert tracker.seen["hard"] == set()


def test_a_resumed_run_keeps_what_was_found(rallies, bright_network):
    fit(rallies, bright_network(), HardFrameMining([0]), epochs=1)
    again = HardFrameMining([0])
    tracker = fit(rallies, bright_network(), again, epochs=2, resume=str(rallies / "last.ckpt"))
    assert again.hard == {"a": [3, 7]}
    assert tracker.seen["hard"] == {(0, 3), (0, 7)}


def test_within_an_epoch_too(rallies, bright_network):
    class Stopped(HardFrameMining):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if batch_idx == 3:
                trainer.save_checkpoint(rallies / "within.ckpt")
                raise KeyboardInterrupt
            super().on_train_batch_start(trainer, pl_module, batch, batch_idx)

    Stopped.__qualname__ = HardFrameMining.__qualname__  # under which its state is kept
    with pytest.raises(SystemExit):
        fit(rallies, bright_network(), Stopped([0]), epochs=1)
    again = HardFrameMining([0])
    tracker = fit(rallies, bright_network(), again, epochs=1, resume=str(rallies / "within.ckpt"))
    assert again.hard == {"a": [3, 7]}
    assert tracker.seen["hard"] <= {(0, 3), (0, 7)}
    assert len(tracker.seen["train"]) > 20


def test_another_target_is_refused(rallies, bright_network):
    with pytest.raises(UsageError, match=r"HardFrameMining: model\.target must be a HardFrameTarget"):
        fit(rallies, bright_network(), HardFrameMining([0]), target=DiscTarget())


def test_the_target_of_each_frame():
    target = HardFrameTarget(DiscTarget(1.0), PeakTarget(2.0, floor=0.6))
    xy, visible = torch.tensor([[[1.0, 0.0], [1.0, 0.0]]]), torch.tensor([[True, True]])
    easy, hard = [1.0, 1.0, 1.0, 0.0, 0.0], [0.9, 1.0, 0.9, 0.6, 0.0]

    def drawn():
        return target(xy, visible, (1, 5), (1, 5))[0, :, 0].tolist()

    assert drawn() == [easy, easy]
    target.mask = torch.tensor([[False, False]])
    assert drawn() == [easy, easy]
    target.mask = torch.tensor([[False, True]])
    assert drawn() == [easy, pytest.approx(hard)]
