"""Checkpoints within an epoch: what is due at a bad moment is saved at the next good one."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
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
        (2, {}, [2, 5, 6, 8]),  # the fourth is the last of its epoch; the eighth is the end
        (4, {}, [5, 8]),
        (3, {}, [3, 6, 8]),
        (2, {"val_check_interval": 2}, [3, 5, 7, 8]),  # a validation follows 2, 4, 6 and 8
        (2, {"val_check_interval": 2, "limit_val_batches": 0}, [2, 5, 6, 8]),
        (2, {"val_check_interval": 2, "check_val_every_n_epoch": 2}, [2, 5, 7, 8]),  # ... 6 and 8 alone
        (1, {"accumulate_grad_batches": 2}, [1, 3, 4]),  # 2 and 4 are ends of epochs
        (3, {"accumulate_grad_batches": 2}, [3, 4]),
        (2, {"val_check_interval": 3, "check_val_every_n_epoch": None}, [2, 5, 7, 8]),
        (9, {"max_steps": 6}, [6]),
        (9, {"max_steps": 6, "check_val_every_n_epoch": 5}, [6]),
        (9, {"check_val_every_n_epoch": 5}, [8]),
        (9, {"max_epochs": 1}, [4]),
        (9, {"max_steps": 6, "val_check_interval": 2}, [6]),
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
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[MidEpochCheckpoint(tmp_path, every_n_train_steps=every)],
        **{"max_epochs": 2} | options,
    )
    data = DataLoader(torch.ones(4, 1))
    trainer.fit(Module(), data, data)
    assert sorted(set(steps)) == saved


def test_the_end_is_saved_once(tmp_path):
    """What another checkpoint holds is not saved again; a training that is told to stop has an end, too."""

    class Stop(Callback):
        def on_train_batch_end(self, trainer, *_):
            trainer.should_stop = trainer.global_step == 6

    newest = ModelCheckpoint(tmp_path, "last", enable_version_counter=False)
    ours = MidEpochCheckpoint(tmp_path, "recent", every_n_train_steps=9)
    options = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "max_epochs": 2}
    data = DataLoader(torch.ones(4, 1))
    Trainer(callbacks=[newest, ours], **options).fit(Module(), data, data)
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]
    Trainer(callbacks=[newest, ours, Stop()], **options).fit(Module(), data, data)
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]  # Lightning validates there
    options["check_val_every_n_epoch"] = 5
    newest, ours = (
        ModelCheckpoint(tmp_path, "last"),
        MidEpochCheckpoint(tmp_path, "recent", every_n_train_steps=9),
    )
    Trainer(callbacks=[newest, ours, Stop()], **options).fit(Module(), data, data)
    steps = {path.name: torch.load(path)["global_step"] for path in tmp_path.iterdir()}
    assert steps == {"last.ckpt": 6, "recent.ckpt": 6}
