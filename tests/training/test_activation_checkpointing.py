"""Activations that are computed again: the same training in less memory."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from torch.utils.data import DataLoader

from tracknet.errors import UsageError
from tracknet.models.compact import CompactTrackNet
from tracknet.training.callbacks import ActivationCheckpointing
from tracknet.training.lightning_module import HeatmapTracker

SIZE = (32, 48)


class Tracker(HeatmapTracker):
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def training_step(self, batch, batch_idx):
        self.kept = 0

        def pack(tensor):
            self.kept += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            return super().training_step(batch, batch_idx)


def batches():
    generator = torch.Generator().manual_seed(3)
    windows = 2
    batch = {
        "frames": torch.randint(0, 256, (windows, 4, 3, *SIZE), generator=generator, dtype=torch.uint8),
        "background": torch.randint(0, 256, (windows, 3, *SIZE), generator=generator, dtype=torch.uint8),
        "xy": torch.rand(windows, 4, 2, generator=generator) * 30,
        "visible": torch.ones(windows, 4, dtype=torch.bool),
        "labelled": torch.ones(windows, 4, dtype=torch.bool),
        "counted": torch.ones(windows, 4, dtype=torch.bool),
        "clip": torch.zeros(windows, dtype=torch.int64),
        "frame": torch.arange(windows * 4).reshape(windows, 4),
        "source_size": torch.tensor([SIZE] * windows),
    }
    return DataLoader([batch] * 3, batch_size=None)


def trained(*callbacks):
    seed_everything(1, verbose=False)
    network = CompactTrackNet(4, "concat", stem=4, widths=(8, 8, 8))
    tracker = Tracker(network, input_size=SIZE)
    trainer = Trainer(
        max_steps=3,
        accelerator="cpu",
        logger=False,
        callbacks=list(callbacks),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(tracker, batches())
    return tracker


@pytest.mark.parametrize(("parts", "share"), [(None, 0.65), (["down*", "up1"], 0.95), (["down1.0"], 0.99)])
def test_weights_and_statistics_are_the_same_and_less_is_kept(parts, share):
    plain, again = trained(), trained(ActivationCheckpointing(parts))
    for name, value in plain.state_dict().items():
        assert torch.allclose(value, again.state_dict()[name], rtol=0, atol=1e-6), name
    assert again.kept < share * plain.kept
    assert not [module for module in again.modules() if "forward" in vars(module)]


def test_a_part_that_is_not_there():
    with pytest.raises(
        UsageError, match=r"no part 'dwn1' of CompactTrackNet; did you mean 'down1'\? \(it has stem, "
    ):
        trained(ActivationCheckpointing(["dwn1"]))
