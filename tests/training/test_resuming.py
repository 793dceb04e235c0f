"""A run that is stopped anywhere and resumed ends with the weights of the run that was not."""

from __future__ import annotations

import pytest
import torch
from lightning.pytorch import Trainer, seed_everything
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint

from tracknet.cli.train import TrackNetCLI
from tracknet.data.augmentation import Augmentation
from tracknet.data.crops import RandomCrop
from tracknet.data.datamodules import FlatVideoDataModule
from tracknet.models import CompactTrackNet
from tracknet.training.callbacks.mid_epoch import MidEpochCheckpoint
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.schedules import WarmupCosine


@pytest.fixture(autouse=True)
def _seed_of_its_own(monkeypatch):
    """`seed_everything` leaves the run's seed in the environment."""
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")


class Tracker(HeatmapTracker):
    """Set up as the command line sets it up, with a network that drops out."""

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.01)
        return TrackNetCLI.configure_optimizers(self, optimizer, WarmupCosine(optimizer, warmup=0.5))

    def training_step(self, batch, batch_idx):
        batch["frames"] = torch.nn.functional.dropout(batch["frames"].float(), 0.1)
        return super().training_step(batch, batch_idx)


def fitted(root, folder, workers, ckpt_path=None, saving=MidEpochCheckpoint, **options):
    seed_everything(5, verbose=False)
    network = CompactTrackNet(frames=4, background="concat", stem=4, widths=(8, 8, 8))
    tracker = Tracker(network, input_size=(64, 96), mixup=0.5)
    data = FlatVideoDataModule(
        root,
        val=["b"],
        step=4,
        batch_size=3,
        num_workers=workers,
        crop=RandomCrop((48, 64)),
        augmentation=Augmentation(),
        frames=4,
        outputs=4,
        size=(64, 96),
        background=True,
    )
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=2,
        logger=False,
        callbacks=[
            EMAWeightAveraging(decay=0.8),
            saving(folder, "{step}", save_top_k=-1, every_n_train_steps=1, enable_version_counter=False),
            ModelCheckpoint(folder, "end", enable_version_counter=False),
        ],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=1,
        **options,
    )
    trainer.fit(tracker, datamodule=data, ckpt_path=ckpt_path)
    return trainer


def assert_same(found, expected):
    """Weights, running averages, moments of the optimizer and the place of the schedule are the same."""
    found, expected = (torch.load(path, weights_only=True) for path in (found, expected))
    for key in ("state_dict", "current_model_state", "optimizer_states", "lr_schedulers", "global_step"):
        first, second = (torch.utils._pytree.tree_leaves(one.get(key)) for one in (found, expected))
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert one is other or torch.equal(torch.as_tensor(one), torch.as_tensor(other)), key


@pytest.mark.parametrize(
    ("workers", "options", "steps", "left_out"),
    [
        (0, {"saving": ModelCheckpoint}, 8, ()),
        (2, {}, 8, (4,)),
        (0, {"limit_train_batches": 2}, 4, (2,)),
        (0, {"accumulate_grad_batches": 2}, 4, (2,)),
        (0, {"val_check_interval": 2}, 8, (2, 4, 6, 8)),
    ],
)
def test_a_run_stopped_inside_an_epoch_and_resumed_is_the_run(
    tiny_rallies, tmp_path, workers, options, steps, left_out
):
    assert fitted(tiny_rallies, tmp_path, workers, **options).global_step == steps
    stops = [step for step in range(1, steps + 1) if step not in left_out]
    assert {path.name for path in tmp_path.iterdir()} == {
        "end.ckpt",
        *(f"step={stop}.ckpt" for stop in stops),
    }
    for stop in [one for one in stops if one != steps][:: 2 if workers == 0 else 4]:
        folder = tmp_path / str(stop)
        fitted(tiny_rallies, folder, workers, tmp_path / f"step={stop}.ckpt", **options)
        later = {"end.ckpt", *(f"step={step}.ckpt" for step in stops if step > stop)}
        assert {path.name for path in folder.iterdir()} - later <= {f"step={stop}.ckpt"}
        assert_same(folder / "end.ckpt", tmp_path / "end.ckpt")


def test_an_epoch_is_given_whole_to_others_than_the_trainer(tiny_rallies, tmp_path):
    trainer = fitted(tiny_rallies, tmp_path, 0)
    data = trainer.datamodule
    trainer.training = True
    assert len(list(data.train_dataloader())) == len(list(data.train_dataloader())) == 4
    assert list(trainer.train_dataloader) == []
