"""Windows of trajectories, with gaps to learn to fill."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jsonargparse.typing import (
    ClosedUnitInterval,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.nn.functional import max_pool1d
from torch.utils.data import DataLoader, Dataset

from tracknet.data.datamodules import STAGES
from tracknet.data.faults import plural
from tracknet.data.resuming import ResumableLoader, ResumableSampler, seed_step
from tracknet.data.splits import Split, choose_clips
from tracknet.data.trajectory_labels import LabelledTrajectory, read_trajectories
from tracknet.errors import TrackNetError, UsageError

_FEWEST = 6

Part = Literal["train", "val", "test"]
Sample = dict[str, Tensor]


class TrajectoryAugmentation:
    """Mirrors, zooms and moves training trajectories, as other cameras would show them.

    Args:
        flip: Probability that left and right change places.
        zoom: Smallest and largest magnification, about the middle of the picture.
        shift: Largest shift, as a share of the width and height.

    Raises:
        UsageError: The smallest magnification is above the largest.
    """

    def __init__(
        self,
        flip: ClosedUnitInterval = 0.5,
        zoom: tuple[PositiveFloat, PositiveFloat] = (0.7, 1.15),
        shift: NonNegativeFloat = 0.08,
    ) -> None:
        if zoom[0] > zoom[1]:
            raise UsageError(f"zoom: the smallest, {zoom[0]}, is above the largest, {zoom[1]}")
        self.flip = flip
        self.zoom = (float(zoom[0]), float(zoom[1]))
        self.shift = shift

    def __call__(self, xy: Tensor) -> Tensor:
        """Change each window in a way of its own.

        Args:
            xy: Positions as shares of the width and height, ``[B, L, 2]``.

        Returns:
            Positions, which may lie outside of 0..1.
        """
        windows = len(xy)
        flipped = torch.rand(windows, 1, device=xy.device) < self.flip
        x, y = xy.unbind(dim=2)
        xy = torch.stack([torch.where(flipped, 1 - x, x), y], dim=2)
        zoom = torch.empty(windows, 1, 1, device=xy.device).uniform_(*self.zoom)
        shift = torch.empty(windows, 1, 2, device=xy.device).uniform_(-self.shift, self.shift)
        return (xy - 0.5) * zoom + 0.5 + shift


class DetectorNoise:
    """Disturbs what is seen around a gap as a tracker does: positions jitter, some are wrong, some missing.

    Labels are exact up to the frame in which a ball is hidden; a tracker has begun to err by then, and a
    curve through its last position before a gap follows that error. Trackers differ: how much a window is
    disturbed is drawn for each, evenly from nothing to twice the values given. Within two frames of a gap
    there are three times as many wrong positions. Draws come from torch's default generator.

    Args:
        jitter: Standard deviation of x and y, in pixels at 288x512.
        wrong: Share of the positions that are wrong.
        distance: Standard deviation of x and y where they are, in the same pixels.
        lost: Share of the balls that are not found.
    """

    def __init__(
        self,
        jitter: NonNegativeFloat = 1.0,
        wrong: ClosedUnitInterval = 0.05,
        distance: NonNegativeFloat = 12.0,
        lost: ClosedUnitInterval = 0.05,
    ) -> None:
        self.jitter = jitter
        self.wrong = wrong
        self.distance = distance
        self.lost = lost

    def __call__(self, xy: Tensor, visible: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Disturb each window in a way of its own.

        Args:
            xy: Positions as shares of the width and height, ``[B, L, 2]``.
            visible: Whether there is a ball, bool ``[B, L]``.
            mask: The steps to fill, bool ``[B, L]``.

        Returns:
            Positions as found, and whether a ball is found.
        """
        strength = 2 * torch.rand(len(xy), 3, 1, device=xy.device)
        near = max_pool1d(mask.to(xy).unsqueeze(1), 5, stride=1, padding=2)[:, 0]
        wrong = torch.rand_like(near) < self.wrong * strength[:, 0] * (1 + 2 * near)
        lost = torch.rand_like(near) < self.lost * strength[:, 1]
        spread = torch.where(wrong, xy.new_tensor(self.distance), self.jitter * strength[:, 2])
        size = xy.new_tensor([512.0, 288.0])
        return xy + torch.randn_like(xy) * spread.unsqueeze(2) / size, visible & ~lost


class TrajectoryDataModule(LightningDataModule):
    """Windows of real trajectories, with steps masked that are to be filled.

    Takes every CSV below ``root`` in any of the column styles of labels, with its video or without; a
    file ``match1/csv/1_02_00_ball.csv`` is the rally ``match1/1_02_00``. A training batch holds

    - ``xy``: positions as shares of the width and height, float32 ``[B, L, 2]``;
    - ``visible``: whether a ball is labelled, bool ``[B, L]``;
    - ``mask``: the steps to fill, bool ``[B, L]``;
    - ``found_xy`` and ``found``: positions and balls as a tracker would find them, where there is `noise`.

    Some training windows have scattered masks (TrackNetV3 hides 30 % of all steps), the others one gap as
    trackers leave them. Validation and test windows have one gap each: all lengths, side by side along the
    rallies, with a ball before, in and after them.

    Args:
        root: Folder of label files.
        train: Rallies to train on, as names, groups (matches, games) or folders, with ``*`` and ``?``, or
            ``@FILE`` for a list; default all that the others do not name.
        val: Rallies to validate on; default a share of the training rallies.
        test: Rallies to test on; default the validation rallies.
        holdout: Share of the training rallies held out for validation where ``val`` names none.
        window: Steps per window, L.
        shortest_gap: Fewest frames of a gap.
        longest_gap: Most frames of a gap.
        scattered: Share of the training windows with a scattered mask.
        mask_share: Share of the steps that a scattered mask hides.
        augmentation: Random changes of training windows.
        noise: Errors of a tracker around the gaps of training windows.
        batch_size: Windows per batch (of each process).
        num_workers: Processes that read windows; 0 reads in the training process.
        source_size: Height and width in pixels of rallies without a video beside their labels.

    Raises:
        UsageError: A gap of the longest length does not fit into a window with a ball on both sides.
    """

    def __init__(
        self,
        root: Path,
        train: list[str] | None = None,
        val: list[str] | None = None,
        test: list[str] | None = None,
        holdout: ClosedUnitInterval = 0.15,
        window: PositiveInt = 32,
        shortest_gap: PositiveInt = 3,
        longest_gap: PositiveInt = 15,
        scattered: ClosedUnitInterval = 0.0,
        mask_share: ClosedUnitInterval = 0.3,
        augmentation: TrajectoryAugmentation | None = None,
        noise: DetectorNoise | None = None,
        batch_size: PositiveInt = 64,
        num_workers: NonNegativeInt = 0,
        source_size: tuple[PositiveInt, PositiveInt] = (720, 1280),
    ) -> None:
        super().__init__()
        if shortest_gap > longest_gap:
            raise UsageError(f"data.shortest_gap: {shortest_gap} is above data.longest_gap, {longest_gap}")
        if longest_gap > window - 2:
            raise UsageError(
                f"data.longest_gap: {longest_gap} frames and a ball on both sides need a data.window of "
                f"{longest_gap + 2} or more, found {window}"
            )
        self.root = Path(root)
        self.split = Split(tuple(train or ()), tuple(val or ()), tuple(test or ()))
        self.holdout = holdout
        self.window = window
        self.gaps = range(shortest_gap, longest_gap + 1)
        self.scattered = scattered
        self.mask_share = mask_share
        self.augmentation = augmentation
        self.noise = noise
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.source_size = (int(source_size[0]), int(source_size[1]))
        self.parts: dict[Part, list[LabelledTrajectory]] = {}

    def setup(self, stage: str) -> None:
        """Read the label files and split them."""
        found = {one.clip.name: one for one in read_trajectories(self.root, self.source_size)}
        chosen = choose_clips([one.clip for one in found.values()], self.split, self.holdout)
        for part in STAGES[stage]:
            self.parts[part] = [found[clip.name] for clip in chosen[part]]
            if not self.parts[part]:
                raise TrackNetError(f"{self.root}: no rallies for {part} among {len(found)}; name some")
        if stage == "fit":
            told = ", ".join(
                f"{part} {len(rallies)} {'rally' if len(rallies) == 1 else 'rallies'} of "
                f"{plural(sum(len(one.visible) for one in rallies), 'frame')}"
                for part, rallies in self.parts.items()
            )
            rank_zero_info(f"{self.root}: {told}")

    def train_dataloader(self) -> DataLoader[Sample]:
        """Shuffled windows, masked when they are used."""
        windows = _train_windows(self.parts["train"], self.window)
        if not len(windows):
            raise TrackNetError(f"{self.root}: no training rally has {_FEWEST} frames with a ball")
        sampler = ResumableSampler(windows, self.batch_size, self.trainer)
        return ResumableLoader(windows, self.batch_size, sampler=sampler, num_workers=self.num_workers)

    def val_dataloader(self) -> DataLoader[Sample]:
        """Gaps of the validation rallies."""
        return self._loader(self._gap_windows("val"))

    def test_dataloader(self) -> DataLoader[Sample]:
        """Gaps of the test rallies."""
        return self._loader(self._gap_windows("test"))

    def on_after_batch_transfer(self, batch: Sample, dataloader_idx: int) -> Sample:
        """Change and mask training windows on the device."""
        if "mask" in batch:
            return batch
        if self.trainer is not None:
            seed_step(self.trainer)
        xy, visible = batch["xy"], batch["visible"]
        if self.augmentation is not None:
            xy = self.augmentation(xy)
        changed = {"xy": xy, "visible": visible, "mask": self._masks(visible)}
        if self.noise is not None:
            changed["found_xy"], changed["found"] = self.noise(xy, visible, changed["mask"])
        return changed

    def _masks(self, visible: Tensor) -> Tensor:
        windows, length = visible.shape
        device = visible.device
        at = torch.arange(length, device=device)
        gap = torch.randint(self.gaps[0], self.gaps[-1] + 1, (windows, 1), device=device)
        start = 1 + (torch.rand(windows, 1, device=device) * (length - 1 - gap)).long()
        in_gap = (at >= start) & (at < start + gap)
        hidden = torch.rand(windows, length, device=device) < self.mask_share
        return torch.where(torch.rand(windows, 1, device=device) < self.scattered, hidden, in_gap)

    def _gap_windows(self, part: Part) -> Windows:
        windows = gap_windows(self.parts[part], self.window, self.gaps)
        if not len(windows):
            raise TrackNetError(
                f"{self.root}: no {part} rally has {self.gaps[0] + 2} frames in a row with a ball"
            )
        return windows

    def _loader(self, windows: Windows) -> DataLoader[Sample]:
        return DataLoader(windows, self.batch_size, num_workers=self.num_workers)


class Windows(Dataset[Sample]):
    """Windows in memory.

    Args:
        arrays: Name of each part of a sample, and its values, ``[number, L, ...]``.
    """

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self.tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}

    def __len__(self) -> int:
        return len(self.tensors["xy"])

    def __getitem__(self, index: int) -> Sample:
        return {name: values[index] for name, values in self.tensors.items()}


def gap_windows(rallies: Sequence[LabelledTrajectory], window: int, gaps: Sequence[int]) -> Windows:
    """Cut gaps of some lengths out of rallies, each in the middle of a window.

    Args:
        rallies: The rallies.
        window: Steps per window, L; beyond the ends of a rally nothing is visible.
        gaps: Lengths of the gaps; those of one length lie side by side.

    Returns:
        Windows of ``xy``, ``visible`` and ``mask``; a ball is visible in all frames of each gap and in those
        before and after.
    """
    cut: list[tuple[np.ndarray, ...]] = []
    for one in rallies:
        xy = np.pad(one.xy, ((window, window), (0, 0)))
        visible = np.pad(one.visible, window)
        for gap in gaps:
            start = window + 1
            while start + gap < len(visible):
                if visible[start - 1 : start + gap + 1].all():
                    low = start - (window - gap) // 2
                    mask = np.zeros(window, bool)
                    mask[start - low : start - low + gap] = True
                    cut.append((xy[low : low + window], visible[low : low + window], mask))
                    start += gap
                else:
                    start += 1
    return _stacked(cut, ("xy", "visible", "mask"))


def _train_windows(rallies: Sequence[LabelledTrajectory], window: int) -> Windows:
    cut: list[tuple[np.ndarray, ...]] = []
    for one in rallies:
        short = max(window - len(one.visible), 0)
        xy, visible = np.pad(one.xy, ((0, short), (0, 0))), np.pad(one.visible, (0, short))
        parts = [slice(start, start + window) for start in range(len(visible) - window + 1)]
        cut += [(xy[part], visible[part]) for part in parts if visible[part].sum() >= _FEWEST]
    return _stacked(cut, ("xy", "visible"))


def _stacked(cut: Sequence[tuple[np.ndarray, ...]], names: Sequence[str]) -> Windows:
    if not cut:
        return Windows({name: np.zeros((0, 0), np.float32) for name in names})
    columns = zip(*cut, strict=True)
    return Windows({name: np.stack(column) for name, column in zip(names, columns, strict=True)})
