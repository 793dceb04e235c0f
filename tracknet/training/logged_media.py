"""Pictures, figures, tables, videos, histograms and settings for whatever loggers a run has.

Each function takes the trainer, or loggers, and gives every logger the thing in its own way, once, from the
first process only:

========== ==================== ============== ===========================
thing      TensorBoard          W&B            MLflow, and CSV in its folder
========== ==================== ============== ===========================
image      picture              ``Image``      PNG
figure     picture              ``Image``      PNG
table      Markdown             ``Table``      CSV
video      animated picture     ``Video``      MP4
histogram  histogram            ``Histogram``  CSV: left, right, count
========== ==================== ============== ===========================

Files are ``media/TAG_STEP.png`` and so on, below the logger's folder or among the run's artifacts. A logger
that has neither a way nor a folder is passed over; one that fails is dropped (`logger_guard`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import numpy as np
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only
from matplotlib.figure import Figure
from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary

from tracknet.data.video_writer import VideoWriter
from tracknet.data.whole_file import whole_file
from tracknet.training.logger_guard import attempt

Loggers: TypeAlias = Trainer | Logger | Iterable[Logger]
"""A trainer with its loggers, one logger, or several."""

Cell: TypeAlias = str | float | int | bool | None

_BINS = 64


@rank_zero_only
def log_image(to: Loggers, tag: str, image: np.ndarray, step: int) -> None:
    """Log a picture.

    Args:
        to: The trainer, or loggers.
        tag: Name of the picture, for example ``val/heatmaps``.
        image: RGB picture, uint8, ``[H, W, 3]``.
        step: Training step that it shows.

    Raises:
        ValueError: The picture has another shape or type.
    """
    _check(image, 3, "image", tag)

    def tensorboard(logger: TensorBoardLogger) -> None:
        logger.experiment.add_image(tag, image, step, dataformats="HWC")

    def wandb(logger: WandbLogger) -> None:
        logger.log_image(tag, [image], step=step)

    def file(path: Path) -> None:
        Image.fromarray(image).save(path)

    _log(to, tag, step, tensorboard, wandb, ".png", file)


@rank_zero_only
def log_figure(to: Loggers, tag: str, figure: Figure, step: int) -> None:
    """Log a figure of matplotlib, drawn as a picture in its own size and resolution.

    Args:
        to: The trainer, or loggers.
        tag: Name of the figure, for example ``val/errors``.
        figure: The figure; it stays open.
        step: Training step that it shows.
    """
    log_image(to, tag, render(figure), step)


def render(figure: Figure) -> np.ndarray:
    """Turn a figure of matplotlib into an RGB picture, uint8, ``[H, W, 3]``, in its own resolution."""
    with io.BytesIO() as drawn:
        figure.savefig(drawn, format="png")
        return np.asarray(Image.open(drawn).convert("RGB"))


@rank_zero_only
def log_table(
    to: Loggers, tag: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]], step: int
) -> None:
    """Log a table.

    Args:
        to: The trainer, or loggers.
        tag: Name of the table, for example ``test/clips``.
        columns: Names of the columns.
        rows: Rows with a cell for each column.
        step: Training step that it shows.

    Raises:
        ValueError: A row has more or fewer cells than there are columns.
    """
    cells = [list(row) for row in rows]
    for number, row in enumerate(cells):
        if len(row) != len(columns):
            raise ValueError(f"table {tag}: row {number} has {len(row)} cells for {len(columns)} columns")

    def tensorboard(logger: TensorBoardLogger) -> None:
        logger.experiment.add_text(tag, _markdown(columns, cells), step)

    def wandb(logger: WandbLogger) -> None:
        logger.log_table(tag, columns=list(columns), data=cells, step=step)

    def file(path: Path) -> None:
        _write_csv(path, columns, cells)

    _log(to, tag, step, tensorboard, wandb, ".csv", file)


@rank_zero_only
def log_video(to: Loggers, tag: str, frames: np.ndarray, fps: float, step: int) -> None:
    """Log a video; TensorBoard, which shows none, gets an animated picture.

    Args:
        to: The trainer, or loggers.
        tag: Name of the video, for example ``val/clip``.
        frames: RGB frames, uint8, ``[T, H, W, 3]`` with T at least 1.
        fps: Frames per second.
        step: Training step that it shows.

    Raises:
        ValueError: The frames have another shape or type.
    """
    _check(frames, 4, "video", tag)

    def tensorboard(logger: TensorBoardLogger) -> None:
        # SummaryWriter.add_video does this through moviepy, a package of its own.
        picture = Summary.Image(
            height=frames.shape[1],
            width=frames.shape[2],
            colorspace=3,
            encoded_image_string=_animated(frames, fps),
        )
        summary = Summary(value=[Summary.Value(tag=tag, image=picture)])
        logger.experiment._get_file_writer().add_summary(summary, step)

    def wandb(logger: WandbLogger) -> None:
        with TemporaryDirectory() as folder:
            path = Path(folder) / "video.mp4"
            file(path)
            logger.log_video(tag, [str(path)], step=step, format=["mp4"])

    def file(path: Path) -> None:
        with VideoWriter(path, (frames.shape[1], frames.shape[2]), fps) as video:
            for frame in frames:
                video.write(frame)

    _log(to, tag, step, tensorboard, wandb, ".mp4", file)


@rank_zero_only
def log_histogram(to: Loggers, tag: str, values: Any, step: int) -> None:
    """Log how values are distributed.

    Args:
        to: The trainer, or loggers.
        tag: Name of the histogram, for example ``weights/head``.
        values: Numbers of any shape, as an array, a tensor or a sequence; those that are not finite are left
            out, and where none is left nothing is logged.
        step: Training step that it shows.
    """
    numbers = np.asarray(values.detach().float().cpu() if hasattr(values, "detach") else values, np.float64)
    numbers = numbers[np.isfinite(numbers)]
    if not numbers.size:
        return
    counts, edges = np.histogram(numbers, _BINS)

    def tensorboard(logger: TensorBoardLogger) -> None:
        logger.experiment.add_histogram(tag, numbers, step, bins="auto")

    def wandb(logger: WandbLogger) -> None:
        from wandb import Histogram

        told: dict[str, Any] = {tag: Histogram(np_histogram=(counts, edges))}
        logger.log_metrics(told, step)

    def file(path: Path) -> None:
        bins = zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True)
        _write_csv(path, ("left", "right", "count"), bins)

    _log(to, tag, step, tensorboard, wandb, ".csv", file)


@rank_zero_only
def log_hyperparameters(to: Loggers, settings: Mapping[str, Any]) -> None:
    """Log settings of a run beside those that Lightning logs of the module.

    Args:
        to: The trainer, or loggers.
        settings: Names and plain values.
    """
    for logger in _loggers(to):
        attempt(logger, logger.log_hyperparams, dict(settings))


def _loggers(to: Loggers) -> list[Logger]:
    given = to.loggers if isinstance(to, Trainer) else [to] if isinstance(to, Logger) else to
    return list(dict.fromkeys(given))


def _log(
    to: Loggers,
    tag: str,
    step: int,
    tensorboard: Callable[[TensorBoardLogger], None],
    wandb: Callable[[WandbLogger], None],
    suffix: str,
    file: Callable[[Path], None],
) -> None:
    for logger in _loggers(to):
        if isinstance(logger, TensorBoardLogger):
            attempt(logger, tensorboard, logger)
        elif isinstance(logger, WandbLogger):
            attempt(logger, wandb, logger)
        elif isinstance(logger, MLFlowLogger):
            attempt(logger, _artifact, logger, Path(f"{tag}_{step:08d}{suffix}"), file)
        elif logger.log_dir is not None:
            attempt(logger, _file, Path(logger.log_dir) / "media" / f"{tag}_{step:08d}{suffix}", file)


def _file(path: Path, write: Callable[[Path], None]) -> None:
    with whole_file(path) as part:
        write(part)


def _artifact(logger: MLFlowLogger, name: Path, write: Callable[[Path], None]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / name.name
        write(path)
        place = Path("media") / name.parent
        logger.experiment.log_artifact(logger.run_id, str(path), place.as_posix())


def _check(picture: np.ndarray, dimensions: int, kind: str, tag: str) -> None:
    if picture.ndim != dimensions or picture.shape[-1] != 3 or picture.dtype != np.uint8 or not picture.size:
        wanted = "[H, W, 3]" if dimensions == 3 else "[T, H, W, 3]"
        raise ValueError(
            f"{kind} {tag}: expected uint8 {wanted}, found {picture.dtype} {list(picture.shape)}"
        )


def _animated(frames: np.ndarray, fps: float) -> bytes:
    first, *others = [Image.fromarray(frame) for frame in frames]
    file = io.BytesIO()
    duration = round(1000 / fps)
    first.save(file, "GIF", save_all=True, append_images=others, duration=duration, loop=0)
    return file.getvalue()


def _markdown(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> str:
    def line(cells: Iterable[Cell]) -> str:
        shown = (f"{one:.6g}" if isinstance(one, float) else "" if one is None else str(one) for one in cells)
        return "| " + " | ".join(one.replace("|", "\\|").replace("\n", " ") for one in shown) + " |"

    return "\n".join([line(columns), line("---" for _ in columns), *map(line, rows)])


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
