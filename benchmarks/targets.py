"""Targets and augmentation of whole batches on the device beside the common way: NumPy, sample by sample."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from benchmarks.material import Batch, Bench, PlainTracker, a_batch, a_tracker
from benchmarks.measuring import Row, Target, paired, row, seconds
from tracknet.data.augmentation import Augmentation
from tracknet.data.crops import RandomCrop
from tracknet.models import TrackNetV2
from tracknet.training.targets import DiscTarget, GaussianTarget

TITLE = "Targets and augmentation"
RADIUS = 2.5


def measure(bench: Bench) -> Iterator[Row]:
    """Compare them with NumPy, and with the training step that they are part of."""
    tracker = a_tracker(bench.crop)
    whole, cropped = (a_batch(tracker, 4, size) for size in (bench.size, bench.crop))
    rounds = bench.rounds(15)
    half = (bench.crop[0] // 2, bench.crop[1] // 2)
    for target in (DiscTarget(radius=RADIUS), GaussianTarget(sigma=RADIUS)):
        gaussian = isinstance(target, GaussianTarget)

        def draw(target: DiscTarget | GaussianTarget = target) -> None:
            target(cropped["xy"], cropped["visible"], bench.crop, half)

        def draw_slowly(gaussian: bool = gaussian) -> None:
            torch.stack([_heatmaps(xy, half, gaussian) for xy in cropped["xy"].numpy()])

        pairs = paired(seconds(draw), seconds(draw_slowly), rounds)
        what = f"4 windows of 8 heatmaps of {half[0]}x{half[1]}"
        yield row(f"{type(target).__name__} / NumPy", "s a batch", pairs, Target("at most", 1), what)

    crop, augment = RandomCrop(size=bench.crop), Augmentation()

    def change() -> None:
        augment(crop(whole))

    pairs = paired(seconds(change), seconds(lambda: _changed(whole, bench.crop)), rounds)
    sizes = f"{bench.size[0]}x{bench.size[1]} to {bench.crop[0]}x{bench.crop[1]}"
    what = f"{sizes}; crop, flip, brightness, contrast, colour"
    yield row("RandomCrop and Augmentation / NumPy", "s a batch", pairs, Target("at most", 1), what)

    yield _share(bench, tracker)
    if not bench.quick:
        yield _share(bench, a_tracker(bench.crop, TrackNetV2()))


def _share(bench: Bench, tracker: PlainTracker) -> Row:
    """Compare what is done to 4 windows before the network sees them with a step on them."""
    whole, cropped = (a_batch(tracker, 4, size) for size in (bench.size, bench.crop))
    if tracker.network.background == "none":
        for batch in (whole, cropped):
            del batch["background"]
    crop, augment = RandomCrop(size=bench.crop), Augmentation()
    optimizer = tracker.configure_optimizers()
    with torch.no_grad():
        heatmap = tracker(cropped["frames"], cropped.get("background")).shape[-2:]

    def step() -> None:
        loss = tracker.training_step(cropped, 0)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    def extra() -> None:
        augment(crop(whole))
        tracker.target(cropped["xy"], cropped["visible"], bench.crop, (heatmap[0], heatmap[1]))

    tracker.log = lambda *_, **__: None  # type: ignore[method-assign]
    name = type(tracker.network).__name__
    pairs = paired(seconds(extra), seconds(step), bench.rounds(9))
    told = f"4 windows of {bench.crop[0]}x{bench.crop[1]}"
    return row(f"Targets and augmentation / a step of {name}", "s", pairs, Target("at most", 0.01), told)


def _heatmaps(xy: np.ndarray, size: tuple[int, int], gaussian: bool) -> torch.Tensor:
    """Draw the heatmaps of one window, frame by frame, over the whole picture."""
    height, width = size
    maps = np.zeros((len(xy), height, width), np.float32)
    for n, (x, y) in enumerate(xy / 2):
        columns, rows = np.meshgrid(np.arange(width), np.arange(height))
        square = (columns - x) ** 2 + (rows - y) ** 2
        maps[n] = np.exp(-square / (2 * (RADIUS / 2) ** 2)) if gaussian else square <= (RADIUS / 2) ** 2
    return torch.from_numpy(maps)


def _changed(batch: Batch, size: tuple[int, int]) -> torch.Tensor:
    """Crop, flip and recolour the windows one by one, and stack them."""
    random = np.random.default_rng(0)
    windows = []
    for frames, background in zip(batch["frames"].numpy(), batch["background"].numpy(), strict=True):
        pictures = np.concatenate([background[None], frames])
        top, left = (
            random.integers(whole - part + 1) for whole, part in zip(pictures.shape[-2:], size, strict=True)
        )
        pictures = pictures[..., top : top + size[0], left : left + size[1]]
        if random.random() < 0.5:
            pictures = pictures[..., ::-1]
        gain = random.uniform(0.8, 1.2) * random.uniform(0.95, 1.05, (3, 1, 1)).astype(np.float32)
        contrast = np.float32(random.uniform(0.8, 1.2))
        light = ((pictures.astype(np.float32) - 127.5) * contrast + 127.5) * gain.astype(np.float32)
        windows.append(torch.from_numpy(np.clip(light + 0.5, 0, 255).astype(np.uint8)))
    return torch.stack(windows)
