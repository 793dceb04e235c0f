"""What the parts measure with: rallies, batches, networks, training steps."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
import yaml
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.cli import LightningArgumentParser
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

import tracknet.tracking.error_analysis
import tracknet.tracking.writer
import tracknet.training.callbacks  # noqa: F401  # short names are looked up among imported classes
from tracknet.configs.library import find_config
from tracknet.data.clips import Clip
from tracknet.data.datamodules import FlatVideoDataModule
from tracknet.data.generate import generate_rallies
from tracknet.data.layouts import detect_layout
from tracknet.evaluation.decoding import PeakDecoder
from tracknet.models import CompactTrackNet, HeatmapNetwork
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.loggers import RunLogger
from tracknet.training.losses import WBCELoss

Batch = dict[str, Tensor]
Loop = Callable[[Iterator[Batch]], None]
"""Trains on the batches of an iterator until it ends."""

CROP = (160, 256)


@dataclass
class Bench:
    """Settings of a run of the benchmarks.

    Attributes:
        folder: Where files may be written; removed afterwards.
        quick: Whether to try out only.
        data: Folder of clips; None generates some.
        count: Clips taken of it.
        most: Rounds at most; None leaves them to each part.
    """

    folder: Path
    quick: bool
    data: Path | None = None
    count: int = 6
    most: int | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the networks' input."""
        return (64, 96) if self.quick else (288, 512)

    @property
    def crop(self) -> tuple[int, int]:
        """Height and width of training crops."""
        return (32, 64) if self.quick else CROP

    def rounds(self, number: int) -> int:
        """Give the rounds of a measurement: those wanted, or as many as there may be."""
        return min(number, self.most or number, 2 if self.quick else number)

    @cached_property
    def root(self) -> Path:
        """Folder of the rallies."""
        if self.data is not None:
            return self.data
        train, frames, size = (2, 17, (72, 128)) if self.quick else (5, 120, (360, 640))
        folder = self.folder / "rallies"
        return generate_rallies(folder, train=train, val=1, test=0, frames=frames, size=size, progress=False)

    @cached_property
    def clips(self) -> list[Clip]:
        """The clips that are measured with."""
        return detect_layout(self.root).find(self.root)[0][: self.count]

    @cached_property
    def data_module(self) -> FlatVideoDataModule:
        """The clips in the frame cache, all of them for training and one for validation."""
        return self.a_data_module(0)

    def a_data_module(self, workers: int) -> FlatVideoDataModule:
        """Make a DataModule of the clips that is read by so many processes."""
        names = [clip.name for clip in self.clips]
        data = FlatVideoDataModule(
            self.root,
            train=names[1:],
            val=names[:1],
            batch_size=4,
            num_workers=workers,
            cache_dir=self.folder / "cache",
            faults="mask",
            frames=8,
            outputs=8,
            size=self.size,
            background=True,
        )
        data.prepare_data()
        data.setup("fit")
        return data


def device() -> torch.device:
    """Say what is trained on: a GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def finished() -> None:
    """Wait until all that was begun on the device is done."""
    if device().type == "cuda":
        torch.cuda.synchronize()


class PlainTracker(HeatmapTracker):
    """A tracker that brings its own optimizer, as the command line would choose it."""

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def a_tracker(size: tuple[int, int], network: HeatmapNetwork | None = None) -> PlainTracker:
    """Make the compact tracker of `configs/experiment/compact_cpu.yaml`, or one with another network."""
    torch.manual_seed(0)
    loss, decoder = WBCELoss(reduction="ball"), PeakDecoder(threshold=0.4)
    return PlainTracker(network or CompactTrackNet(), loss=loss, decoder=decoder, input_size=size)


def a_batch(tracker: HeatmapTracker, windows: int, size: tuple[int, int]) -> Batch:
    """Draw a batch as the data bring it, with a ball in every frame."""
    shape = (windows, tracker.frames)
    xy = torch.rand(*shape, 2) * torch.tensor([size[1] - 1.0, size[0] - 1.0])
    return {
        "frames": torch.randint(0, 256, (*shape, 3, *size), dtype=torch.uint8),
        "background": torch.randint(0, 256, (windows, 3, *size), dtype=torch.uint8),
        "xy": xy,
        "visible": torch.ones(shape, dtype=torch.bool),
        "labelled": torch.ones(shape, dtype=torch.bool),
        "counted": torch.ones(shape, dtype=torch.bool),
        "clip": torch.zeros(windows, dtype=torch.int64),
        "frame": torch.arange(tracker.frames).repeat(windows, 1),
        "source_size": torch.tensor([size] * windows),
    }


def standard_callbacks() -> list[Callback]:
    """Build the callbacks of `configs/callbacks/standard.yaml`."""
    found = find_config("callbacks/standard.yaml")
    listed = yaml.safe_load(Path(found).read_text(encoding="utf-8"))["trainer"]["callbacks!"]
    parser = LightningArgumentParser()
    parser.add_argument("--callbacks", type=list[Callback])
    built: list[Callback] = parser.instantiate_classes(parser.parse_object({"callbacks": listed})).callbacks
    return built


def a_trainer(folder: Path, callbacks: list[Callback], **settings: Any) -> Trainer:
    """Make a trainer with the settings of `configs/base.yaml` on `device`, without bars and summaries."""
    return Trainer(
        accelerator="gpu" if device().type == "cuda" else "cpu",
        devices=1,
        gradient_clip_val=1.0,
        logger=RunLogger(folder),
        callbacks=callbacks,
        enable_checkpointing=bool(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )


class Steps:
    """A training loop in a thread, of which one step at a time is let go.

    So two loops can take their steps in turns, in one process, whoever owns the loop.

    Args:
        loop: The loop.
        batch: What it is given again and again.
    """

    def __init__(self, loop: Loop, batch: Batch) -> None:
        self._loop, self._batch = loop, batch
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._over = False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._wait()

    def step(self) -> None:
        """Take one step: from the moment a batch is there until it is done and the next one is asked for."""
        self._go.release()
        self._wait()
        finished()

    def close(self) -> None:
        self._over = True
        self._go.release()
        self._thread.join()

    def _wait(self) -> None:
        self._done.acquire()
        if self._failure is not None:
            raise RuntimeError(f"the training loop failed: {self._failure!r}") from self._failure

    def _run(self) -> None:
        try:
            self._loop(self._batches())
        except BaseException as failure:
            self._failure = failure
        finally:
            self._done.release()

    def _batches(self) -> Iterator[Batch]:
        while True:
            self._done.release()
            self._go.acquire()
            if self._over:
                return
            yield self._batch


class Stream(IterableDataset[Batch]):
    """Makes a data set of an iterator that is given once."""

    def __init__(self, batches: Iterator[Batch]) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[Batch]:
        return self._batches


def stream(batches: Iterator[Batch]) -> DataLoader[Batch]:
    """Make a loader that hands over batches as they come."""
    return DataLoader(Stream(batches), batch_size=None)
