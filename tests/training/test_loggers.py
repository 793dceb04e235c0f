"""One folder a run, with the figures in a table and in TensorBoard's file; pictures for who takes them."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tracknet.data.datamodules import FlatVideoDataModule
from tracknet.training.callbacks import HeatmapImages
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.loggers import RunLogger, go_on, log_image

SIZE = (64, 96)


class Bright(HeatmapTracker):
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fitted(root, logger, bright_network, epochs=2):
    tracker = Bright(bright_network(), input_size=SIZE)
    data = FlatVideoDataModule(root, val=["a", "c"], batch_size=4, size=SIZE)
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        limit_train_batches=2,
        logger=logger,
        callbacks=[HeatmapImages(windows=2)],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=1,
        log_every_n_steps=1,
    )
    trainer.fit(tracker, datamodule=data)
    return trainer


def events(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder), size_guidance={"images": 0})
    found.Reload()
    return found


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_run_is_one_folder_with_the_same_figures_twice(tiny_rallies, tmp_path, bright_network):
    fitted(tiny_rallies, RunLogger(tmp_path, name="exp"), bright_network)
    [event_file, *others] = files(tmp_path)
    assert event_file.startswith("exp/version_0/events.out.tfevents")
    assert others == ["exp/version_0/hparams.yaml", "exp/version_0/metrics.csv"]

    table = [row for row in rows(tmp_path / "exp/version_0/metrics.csv") if row["val/f1"]]
    assert [float(row["val/f1"]) for row in table] == [1.0, 1.0]
    assert [int(row["step"]) for row in table] == [1, 3]
    found = events(tmp_path / "exp" / "version_0")
    assert [(event.step, event.value) for event in found.Scalars("val/f1")] == [(1, 1.0), (3, 1.0)]
    tags = set(found.Tags()["scalars"])
    assert {"train/loss_step", "train/loss_epoch", "val/loss", "val/rmse", "val/tp", "epoch"} <= tags
    columns = {name for row in rows(tmp_path / "exp/version_0/metrics.csv") for name in row if row[name]}
    assert columns == tags | {"step"}
    # Visible balls of a and c: 19 and 16 of 21 and 20.
    assert {float(row["val/tp"]) for row in table} == {35.0}
    settings = yaml.safe_load((tmp_path / "exp/version_0/hparams.yaml").read_text())
    assert settings["network"]["init_args"]["outputs"] == 3


def test_heatmap_images_are_in_the_event_file(tiny_rallies, tmp_path, bright_network):
    fitted(tiny_rallies, RunLogger(tmp_path, name=""), bright_network)
    found = events(tmp_path / "version_0")
    assert found.Tags()["images"] == ["val/heatmaps"]
    pictures = found.Images("val/heatmaps")
    # None of the sanity check before the first step.
    assert [picture.step for picture in pictures] == [2, 4]
    assert all(picture.width > 500 and picture.height > 200 for picture in pictures)
    assert all(picture.encoded_image_string.startswith(b"\x89PNG") for picture in pictures)


@pytest.mark.filterwarnings("error")
def test_each_run_takes_the_next_folder(tmp_path):
    for number in range(2):
        logger = RunLogger(tmp_path, name="exp")
        logger.log_metrics({"a": 1.0}, step=0)
        logger.save()
        assert Path(logger.log_dir) == tmp_path / "exp" / f"version_{number}"
        assert (tmp_path / "exp" / f"version_{number}" / "metrics.csv").is_file()


@pytest.mark.filterwarnings("error")
def test_a_run_that_goes_on_in_its_folder_keeps_its_figures(tmp_path):
    for begin in (0, 2):
        logger = RunLogger(tmp_path, name="exp", version="mine")
        for step in (begin, begin + 1):
            logger.log_metrics({"a": step / 2}, step=step)
        if begin:
            logger.log_metrics({"b": 7.0}, step=9)
        logger.save()
        logger.finalize("success")
    assert rows(tmp_path / "exp" / "mine" / "metrics.csv") == [
        {"a": "0.0", "b": "", "step": "0"},
        {"a": "0.5", "b": "", "step": "1"},
        {"a": "1.0", "b": "", "step": "2"},
        {"a": "1.5", "b": "", "step": "3"},
        {"a": "", "b": "7.0", "step": "9"},
    ]
    assert [e.value for e in events(tmp_path / "exp" / "mine").Scalars("a")] == [0.0, 0.5, 1.0, 1.5]


def test_what_is_trained_anew_is_logged_once(tmp_path):
    def logged(steps, first_step=None):
        loggers = [
            RunLogger(tmp_path, name="exp", version="mine"),
            CSVLogger(tmp_path, name="files", version="mine"),
        ]
        go_on(loggers, first_step)
        for logger in loggers:
            for step in steps:
                logger.log_metrics({"a": step + (0 if first_step is None else 0.5)}, step=step)
            logger.save()
            logger.finalize("success")

    logged(range(5))
    # Killed then, while it wrote; its last checkpoint was saved behind step 1.
    for name in ("exp", "files"):
        with (tmp_path / name / "mine" / "metrics.csv").open("a") as file:
            file.write("5.")
    logged([2, 3], first_step=2)
    logged([9])
    told = [("0", "0"), ("1", "1"), ("2.5", "2"), ("3.5", "3"), ("9", "9")]
    for name in ("exp", "files"):
        found = rows(tmp_path / name / "mine" / "metrics.csv")
        assert [(f"{float(row['a']):g}", row["step"]) for row in found] == told
    found = events(tmp_path / "exp" / "mine").Scalars("a")
    assert [(one.step, one.value) for one in found if one.step != 2] == [(0, 0), (1, 1), (3, 3.5), (9, 9)]


@pytest.mark.parametrize("left", [b"", b"a,step\n\xff\xfe", bytes(40)])
@pytest.mark.parametrize("first_step", [None, 5])
def test_a_table_that_a_power_cut_has_spoilt_costs_no_figures(tmp_path, left, first_step):
    table = tmp_path / "exp" / "mine" / "metrics.csv"
    table.parent.mkdir(parents=True)
    table.write_bytes(left)
    logger = RunLogger(tmp_path, name="exp", version="mine")
    go_on([logger], first_step)
    for step in (5, 6):
        logger.log_metrics({"a": 1.5}, step=step)
    logger.save()
    logger.finalize("success")
    found = [row for row in rows(table) if row.get("a") == "1.5"]
    assert [row["step"] for row in found] == ["5", "6"]
    assert len(events(table.parent).Scalars("a")) == 2


def test_nothing_is_written_before_there_is_something(tmp_path):
    logger = RunLogger(tmp_path, name="exp")
    logger.finalize("success")
    assert not list(tmp_path.rglob("metrics.csv"))


PICTURE = np.zeros((20, 30, 3), np.uint8)


def test_pictures_go_to_every_logger_that_takes_them(tmp_path):
    first, second = RunLogger(tmp_path, name="first"), RunLogger(tmp_path, name="second")
    log_image([first, CSVLogger(tmp_path), second], "val/picture", PICTURE, step=5)
    for logger in (first, second):
        logger.save()
        logger.finalize("success")
        [picture] = events(Path(logger.log_dir)).Images("val/picture")
        assert (picture.step, picture.height, picture.width) == (5, 20, 30)


@pytest.fixture
def offline(tmp_path, monkeypatch):
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "wandb-home"))
    return tmp_path


def test_weights_and_biases_gets_figures_and_pictures(tiny_rallies, offline, bright_network):
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    logger = WandbLogger(project="tracknet", save_dir=offline)
    try:
        fitted(tiny_rallies, logger, bright_network, epochs=1)
        figures = dict(logger.experiment.summary)
    finally:
        wandb.finish()
    assert figures["val/f1"] == 1.0
    pictures = list(offline.rglob("media/images/val/heatmaps*.png"))
    assert len(pictures) == 1
    assert pictures[0].read_bytes().startswith(b"\x89PNG")


def test_runs_that_start_at_once_take_folders_of_their_own(tmp_path, monkeypatch):
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / "version_0").touch()  # a file, which counts as no run
    # Each has looked before any has begun.
    monkeypatch.setattr(RunLogger, "_get_next_version", lambda self: 0)
    folders = [RunLogger(tmp_path, name="exp").log_dir for _ in range(3)]
    assert folders == [str(tmp_path / "exp" / f"version_{number}") for number in (1, 2, 3)]
    assert all(Path(folder).is_dir() for folder in folders)


def test_a_run_that_fails_before_it_writes_leaves_no_folder(tmp_path):
    (tmp_path / "there").mkdir()
    for name in ("new/exp", "there"):
        logger = RunLogger(tmp_path, name=name)
        assert Path(logger.log_dir).is_dir()
        logger.finalize("failed")
    assert [path.name for path in tmp_path.rglob("*")] == ["there"]
