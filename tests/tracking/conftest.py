"""Rallies and trainers that tests of tracking share."""

from __future__ import annotations

import numpy as np
import pytest
from lightning.pytorch import Trainer

from tracknet.data.datamodules import FlatVideoDataModule
from tracknet.data.video_writer import VideoWriter


@pytest.fixture(scope="module")
def distracted(tmp_path_factory, dot, write_rally):
    """A dot, dim now and then, that leaves at the top while another one shines in the middle for a while."""
    root = tmp_path_factory.mktemp("distracted")
    write_rally(root, "other", 8, (128, 192))
    light = np.random.default_rng(4).choice([1.0, 0.55], 40, p=[0.8, 0.2])
    y = np.abs(np.arange(40) - 20) * 6.0 - 16
    with VideoWriter(root / "rally.mp4", (128, 192), fps=30, quality=4) as video:
        for n in range(40):
            picture = dot((60.0 + n, y[n]), (128, 192), 3.0) * light[n]
            if 17 < n < 22:
                picture = np.maximum(picture, dot((150.0, 90.0), (128, 192), 3.0) * 0.62)
            video.write(picture.round().astype(np.uint8))
    rows = "".join(f"{n},1,{60 + n},{y[n]}\n" if y[n] > 0 else f"{n},0,0,0\n" for n in range(40))
    (root / "rally.csv").write_text("Frame,Visibility,X,Y\n" + rows)
    return root


@pytest.fixture
def quiet_trainer():
    """The function that makes a trainer on the CPU that shows nothing."""

    def make(folder, *callbacks, logger=False):
        return Trainer(
            default_root_dir=folder,
            accelerator="cpu",
            logger=logger,
            callbacks=list(callbacks),
            enable_progress_bar=False,
            enable_model_summary=False,
        )

    return make


@pytest.fixture
def predicted(quiet_trainer):
    """The function that predicts the rallies of a folder and lets a `TrajectoryWriter` write them."""

    def predict(root, tracker, writer, folder, **options):
        data = FlatVideoDataModule(
            root,
            **{
                "test": ["a", "c", "d"],
                "batch_size": 3,
                "frames": tracker.frames,
                "outputs": tracker.outputs,
                "size": tracker.input_size,
            }
            | options,
        )
        quiet_trainer(folder, writer).predict(tracker, datamodule=data, return_predictions=False)

    return predict
