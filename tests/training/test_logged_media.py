"""Pictures, tables, videos, histograms and settings, read back from what each logger has written."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import av
import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger, MLFlowLogger, TensorBoardLogger
from lightning.pytorch.loggers.logger import DummyLogger
from lightning.pytorch.utilities import rank_zero_only
from matplotlib.figure import Figure
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tracknet.training.loggers import (
    RunLogger,
    log_figure,
    log_histogram,
    log_hyperparameters,
    log_image,
    log_table,
    log_video,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*exists and is not empty.*")

PICTURE = np.zeros((20, 30, 3), np.uint8)
PICTURE[4, 7] = (255, 128, 0)
FRAMES = np.stack([np.full((20, 30, 3), light, np.uint8) for light in (0, 120, 240)])
VALUES = torch.tensor([[0.0, 1.0, 1.0], [4.0, float("nan"), float("inf")]], requires_grad=True)


def log_all(to):
    log_image(to, "val/picture", PICTURE, 5)
    figure = Figure(figsize=(2, 1), dpi=100)
    figure.subplots().plot([0, 1])
    log_figure(to, "val/figure", figure, 5)
    log_table(to, "test/clips", ["clip", "f1"], [["a|b", 0.123456789], [None, 1]], 5)
    log_video(to, "val/clip", FRAMES, 25, 5)
    log_histogram(to, "weights/head", VALUES, 5)
    log_histogram(to, "weights/none", torch.tensor([float("nan")]), 5)
    log_hyperparameters(to, {"radius": 2.5})


def finished(*loggers):
    for logger in loggers:
        logger.save()
        logger.finalize("success")


def rows(table: Path) -> list[list[str]]:
    with table.open(newline="") as file:
        return list(csv.reader(file))


def check_files(media: Path):
    """What loggers that take files were given, exactly."""
    names = sorted(path.relative_to(media).as_posix() for path in media.rglob("*") if path.is_file())
    ends = (
        "test/clips_5.csv",
        "val/clip_5.mp4",
        "val/figure_5.png",
        "val/picture_5.png",
        "weights/head_5.csv",
    )
    assert names == [name.replace("_5", "_00000005") for name in ends]
    assert np.array_equal(np.asarray(Image.open(media / "val/picture_00000005.png")), PICTURE)
    assert Image.open(media / "val/figure_00000005.png").size == (200, 100)
    assert rows(media / "test/clips_00000005.csv") == [["clip", "f1"], ["a|b", "0.123456789"], ["", "1"]]
    bins = rows(media / "weights/head_00000005.csv")
    assert bins[0] == ["left", "right", "count"]
    counts = {float(left): int(count) for left, _, count in bins[1:] if count != "0"}
    # 64 bins from 0 to 4: the bin of 1 begins at 1, and the last one, from 3.9375, holds its right edge too.
    assert counts == {0.0: 1, 1.0: 2, 3.9375: 1}
    with av.open(str(media / "val/clip_00000005.mp4")) as video:
        frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        assert video.streams.video[0].average_rate == 25
    assert [round(float(frame.mean()) / 10) for frame in frames] == [0, 12, 24]


def test_the_event_file_holds_all(tmp_path):
    logger = RunLogger(tmp_path, name="exp")
    log_all([logger, logger])  # the same one twice is one
    finished(logger)
    found = EventAccumulator(logger.log_dir, size_guidance={"images": 0, "histograms": 0, "tensors": 0})
    found.Reload()
    tags = found.Tags()
    assert tags["images"] == ["val/picture", "val/figure", "val/clip"]
    assert tags["histograms"] == ["weights/head"]
    [picture] = found.Images("val/picture")
    assert picture.step == 5
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(picture.encoded_image_string))), PICTURE)
    [clip] = found.Images("val/clip")
    assert (clip.height, clip.width) == (20, 30)
    film = Image.open(io.BytesIO(clip.encoded_image_string))
    assert (film.format, film.n_frames, film.info["duration"]) == ("GIF", 3, 40)
    film.seek(2)
    assert film.convert("RGB").getpixel((3, 3)) == (240, 240, 240)
    [histogram] = found.Histograms("weights/head")
    assert (histogram.histogram_value.min, histogram.histogram_value.max) == (0.0, 4.0)
    assert (histogram.histogram_value.num, histogram.histogram_value.sum) == (4, 6.0)
    [table] = found.Tensors("test/clips/text_summary")
    assert table.tensor_proto.string_val[0].decode() == (
        "| clip | f1 |\n| --- | --- |\n| a\\|b | 0.123457 |\n|  | 1 |"
    )
    assert yaml.safe_load((Path(logger.log_dir) / "hparams.yaml").read_text()) == {"radius": 2.5}


def test_the_folder_of_a_csv_logger_holds_files(tmp_path):
    logger = CSVLogger(tmp_path, name="exp")
    trainer = Trainer(accelerator="cpu", logger=[logger, DummyLogger()], enable_progress_bar=False)
    log_all(trainer)
    finished(logger)
    check_files(Path(logger.log_dir) / "media")
    assert yaml.safe_load((Path(logger.log_dir) / "hparams.yaml").read_text()) == {"radius": 2.5}


def test_mlflow_gets_files_as_artifacts(tmp_path):
    class Server:
        def log_artifact(self, run, local_path, artifact_path):
            assert run == "run-1"
            place = tmp_path / artifact_path / Path(local_path).name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(Path(local_path).read_bytes())

    class Logger(MLFlowLogger):
        experiment = Server()
        run_id = "run-1"

        def __init__(self):
            pass  # Lightning's own needs the package

        def log_hyperparams(self, params):
            (tmp_path / "params.json").write_text(json.dumps(params))

    log_all(Logger())
    check_files(tmp_path / "media")
    assert json.loads((tmp_path / "params.json").read_text()) == {"radius": 2.5}


def test_only_the_first_process_logs(tmp_path, monkeypatch):
    monkeypatch.setattr(rank_zero_only, "rank", 1)
    log_all([CSVLogger(tmp_path, name="exp"), TensorBoardLogger(tmp_path, name="board")])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("log", "complaint"),
    [
        (
            lambda to: log_image(to, "a", np.zeros((2, 2, 3)), 0),
            r"image a: expected uint8 \[H, W, 3\], found float64 \[2, 2, 3\]",
        ),
        (
            lambda to: log_video(to, "a", PICTURE, 25, 0),
            r"video a: expected uint8 \[T, H, W, 3\], found uint8 \[20, 30, 3\]",
        ),
        (
            lambda to: log_video(to, "a", FRAMES[:0], 25, 0),
            r"video a: expected uint8 \[T, H, W, 3\], found uint8 \[0, 20, 30, 3\]",
        ),
        (
            lambda to: log_table(to, "a", ["x", "y"], [[1, 2], [3]], 0),
            "table a: row 1 has 1 cells for 2 columns",
        ),
    ],
)
def test_what_is_no_picture_or_table_is_refused(log, complaint, tmp_path):
    with pytest.raises(ValueError, match=complaint):
        log([CSVLogger(tmp_path)])


def test_weights_and_biases_offline(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    from lightning.pytorch.loggers import WandbLogger

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "wandb-home"))
    logger = WandbLogger(project="tracknet", save_dir=tmp_path)
    try:
        log_all(logger)
        logger.log_metrics({"val/f1": 0.5}, step=5)
        summary = dict(logger.experiment.summary)
        config = dict(logger.experiment.config)
    finally:
        wandb.finish()
    assert summary["val/f1"] == 0.5
    assert sum(summary["weights/head"]["values"]) == 4
    assert config["radius"] == 2.5
    media = next(tmp_path.glob("wandb/offline-run-*/files/media"))
    names = sorted(path.relative_to(media).as_posix() for path in media.rglob("*") if path.is_file())
    starts = ["images/val/figure_", "images/val/picture_", "table/test/clips_", "videos/val/clip_"]
    assert [name[: len(start)] for name, start in zip(names, starts, strict=True)] == starts
    table = json.loads((media / names[2]).read_text())
    assert table["columns"] == ["clip", "f1"]
    assert table["data"] == [["a|b", 0.123456789], [None, 1]]
