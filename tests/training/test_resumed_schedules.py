"""PyTorch's schedules in a resumed run: a ``ReduceLROnPlateau`` learns of each epoch once."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint, StochasticWeightAveraging
from lightning.pytorch.demos.boring_classes import BoringModel

from tracknet.training.callbacks.resumed_schedules import ResumedSchedules
from tracknet.training.callbacks.validation_checkpoints import CheckpointsInValidation


class Flat(BoringModel):
    """A model whose figure does not fall; it notes the learning rate of each epoch."""

    def __init__(self, monitor, frequency=1):
        super().__init__()
        self.monitor, self.frequency, self.rates = monitor, frequency, {}

    def training_step(self, batch, batch_idx):
        self.rates[self.current_epoch] = self.optimizers().param_groups[0]["lr"]
        self.log("train/figure", 1.0, on_epoch=True, on_step=False)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx):
        self.log("val/figure", 1.0)

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=1.0)
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1, factor=0.5)
        told = {"scheduler": schedule, "monitor": self.monitor, "frequency": self.frequency}
        return {"optimizer": optimizer, "lr_scheduler": told}


def rates(folder, ckpt_path=None, more=(), limit_val_batches=1, check_val_every_n_epoch=1, **options):
    model = Flat(**options)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=9,
        limit_train_batches=2,
        limit_val_batches=limit_val_batches,
        check_val_every_n_epoch=check_val_every_n_epoch,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[
            CheckpointsInValidation(),
            ResumedSchedules(),
            *more,
            ModelCheckpoint(folder / "epochs", filename="{epoch}", save_top_k=-1),
            ModelCheckpoint(folder / "steps", filename="{step}", save_top_k=-1, every_n_train_steps=1),
        ],
    )
    trainer.fit(model, ckpt_path=ckpt_path)
    return model.rates


@pytest.mark.parametrize("options", [{"monitor": "val/figure"}, {"monitor": "val/figure", "frequency": 2}])
@pytest.mark.parametrize(
    "saved", ["epochs/epoch=2.ckpt", "epochs/epoch=3.ckpt", "steps/step=7.ckpt", "steps/step=8.ckpt"]
)
def test_a_resumed_run_has_the_rates_of_the_run(tmp_path, recwarn, saved, options):
    straight = rates(tmp_path / "a", **options)
    assert len(set(straight.values())) == (2 if "frequency" in options else 4)
    resumed = rates(tmp_path / "b", tmp_path / "a" / saved, **options)
    assert not [one for one in recwarn if "need to be provided" in str(one.message)]
    assert resumed == {epoch: straight[epoch] for epoch in resumed}
    assert max(resumed) == 8
    last, again = (
        torch.load(tmp_path / run / "steps" / "step=18.ckpt", weights_only=False)["loops"]["fit_loop"]
        for run in "ab"
    )
    for part in ("epoch_progress", "epoch_loop.batch_progress", "epoch_loop.state_dict"):
        assert again[part] == last[part]


@pytest.mark.parametrize("step", [7, 8])
def test_a_figure_of_the_training(tmp_path, step):
    straight = rates(tmp_path / "a", monitor="train/figure")
    saved = tmp_path / "a" / "steps" / f"step={step}.ckpt"
    told = EarlyStopping("train/figure", patience=20)  # refuses an epoch without it
    resumed = rates(tmp_path / "b", saved, monitor="train/figure", more=[told])
    assert resumed == {epoch: straight[epoch] for epoch in resumed}


@pytest.mark.parametrize("later", [{"limit_val_batches": 0}, {"check_val_every_n_epoch": 3}])
def test_a_run_that_does_not_validate_there_ends_the_epoch(tmp_path, later):
    rates(tmp_path / "a", monitor="train/figure")
    saved = tmp_path / "a" / "steps" / "step=8.ckpt"  # right before the validation of the fourth epoch
    resumed = rates(tmp_path / "b", saved, monitor="train/figure", **later)
    assert sorted(resumed) == [4, 5, 6, 7, 8]
    newest = torch.load(tmp_path / "b" / "steps" / "step=18.ckpt", weights_only=False)
    assert newest["epoch"] == 8


def test_the_state_of_checkpoints_of_before_is_taken_up(tmp_path):
    rates(tmp_path, monitor="val/figure")
    saved = torch.load(tmp_path / "epochs" / "epoch=3.ckpt", weights_only=False)
    assert saved["callbacks"]["PlateauAfterResuming"] == {"waiting": (3, 1.0)}


def test_a_cosine_that_another_schedule_has_taken_the_place_of(tmp_path):
    """On resuming, ``StochasticWeightAveraging`` takes the schedule away before the training starts."""

    class Falls(Flat):
        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), lr=1.0)
            return [optimizer], [torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4)]

    def rates_of(run, ckpt_path=None):
        model = Falls("")
        Trainer(
            accelerator="cpu",
            max_epochs=6,
            limit_train_batches=2,
            limit_val_batches=1,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            callbacks=[
                ResumedSchedules(),
                StochasticWeightAveraging(0.05, swa_epoch_start=2),
                ModelCheckpoint(tmp_path / run, filename="{epoch}", save_top_k=-1),
            ],
        ).fit(model, ckpt_path=ckpt_path)
        return model.rates

    straight = rates_of("a")
    resumed = rates_of("b", tmp_path / "a" / "epoch=3.ckpt")
    assert resumed == {epoch: straight[epoch] for epoch in (4, 5)}
