"""Training through torch.compile: the same training, and checkpoints that know nothing of it."""

from __future__ import annotations

import shutil

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from torch.utils.data import DataLoader

from tracknet.models.compact import CompactTrackNet
from tracknet.training.callbacks import CompileNetwork
from tracknet.training.lightning_module import HeatmapTracker

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler here"),
]
SIZE = (32, 48)


class Tracker(HeatmapTracker):
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


def trained(path, *callbacks):
    seed_everything(1, verbose=False)
    tracker = Tracker(CompactTrackNet(4, "concat", stem=4, widths=(8, 8, 8)), input_size=SIZE)
    batch = {
        "frames": torch.randint(0, 256, (2, 4, 3, *SIZE), dtype=torch.uint8),
        "background": torch.randint(0, 256, (2, 3, *SIZE), dtype=torch.uint8),
        "xy": torch.rand(2, 4, 2) * 30,
        "visible": torch.ones(2, 4, dtype=torch.bool),
        "labelled": torch.ones(2, 4, dtype=torch.bool),
    }
    shown = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    shown["enable_checkpointing"] = False
    trainer = Trainer(max_steps=4, accelerator="cpu", callbacks=[*callbacks], **shown)
    trainer.fit(tracker, DataLoader([batch] * 4, batch_size=None))
    trainer.save_checkpoint(path)
    return torch.load(path, weights_only=False)


def test_the_same_training_and_checkpoint(tmp_path, caplog):
    plain = trained(tmp_path / "plain.ckpt")
    with caplog.at_level("INFO"):
        compiled = trained(tmp_path / "compiled.ckpt", CompileNetwork(after=2))
    assert "CompileNetwork: compiled for 2x5x3x32x48 in " in caplog.text
    assert ": 1 graph, 0 breaks" in caplog.text
    assert compiled["state_dict"].keys() == plain["state_dict"].keys()
    assert compiled["hyper_parameters"] == plain["hyper_parameters"]
    for name, value in plain["state_dict"].items():
        torch.testing.assert_close(compiled["state_dict"][name], value, rtol=1e-4, atol=1e-5)
