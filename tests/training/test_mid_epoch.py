"""Checkpoints within an epoch: what is due at a bad moment is saved at the next good one."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from tracknet.training.callbacks.mid_epoch import MidEpochCheckpoint


class Module(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        return self.layer(batch).sum()

    def validation_step(self, batch, batch_idx):
        self.layer(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


@pytest.mark.parametrize(
    ("every", "options", "saved"),
    [
        (2, {}, [2, 5, 6]),  # the fourth is the last of its epoch, as is the eighth
        (4, {}, [5]),
        (3, {}, [3, 6]),
        (2, {"val_check_interval": 2}, [3, 5, 7]),  # a validation follows 2, 4, 6 and 8
        (2, {"val_check_interval": 2, "limit_val_batches": 0}, [2, 5, 6]),
        (1, {"accumulate_grad_batches": 2}, [1, 3]),  # 2 and 4 are ends of epochs
        (3, {"accumulate_grad_batches": 2}, [3]),
        (2, {"val_check_interval": 3, "check_val_every_n_epoch": None}, [2, 5, 7]),
    ],
)
def test_moments(tmp_path, monkeypatch, every, options, saved):
    steps = []
    monkeypatch.setattr(
        MidEpochCheckpoint, "_save_checkpoint", lambda self, trainer, path: steps.append(trainer.global_step)
    )
    trainer = Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        max_epochs=2,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[MidEpochCheckpoint(tmp_path, every_n_train_steps=every)],
        **options,
    )
    data = DataLoader(torch.ones(4, 1))
    trainer.fit(Module(), data, data)
    assert sorted(set(steps)) == saved
