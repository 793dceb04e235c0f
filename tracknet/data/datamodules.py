"""Data sets of the field as DataModules: a folder of rallies in, batches of windows out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from jsonargparse import Namespace
from jsonargparse.typing import ClosedUnitInterval, NonNegativeInt, PositiveInt
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from tracknet.data.augmentation import Augmentation
from tracknet.data.cache import FrameCache
from tracknet.data.cached_clip import LabelledClip
from tracknet.data.check import CheckedClip, DatasetReport, check_dataset, source_of
from tracknet.data.clips import Layout, Part
from tracknet.data.crops import RandomCrop
from tracknet.data.faults import plural
from tracknet.data.fingerprint import clip_prints, differences, fingerprint
from tracknet.data.generate import Sport, generate_rallies
from tracknet.data.layouts import FlatVideo, ShuttlecockTrajectory, TrackNetTennis
from tracknet.data.open_files import allow_open_files
from tracknet.data.resuming import ResumableLoader, ResumableSampler, seed_step
from tracknet.data.settings import clip_lengths, misfits
from tracknet.data.splits import SHUTTLECOCK_SPLITS, TENNIS_SPLITS, Split, choose_clips
from tracknet.data.windows import EvaluationSampler, Sample, WindowDataset
from tracknet.errors import TrackNetError, UsageError, nearest

STAGES: dict[str, tuple[Part, ...]] = {
    "fit": ("train", "val"),
    "validate": ("val",),
    "test": ("test",),
    "predict": ("test",),
}
"""The parts that each of Lightning's stages needs."""


class RallyDataModule(LightningDataModule):
    """Windows of labelled rallies, split by whole clips.

    Each list of ``train``, ``val`` and ``test`` names clips or groups of clips (games, matches), with ``*``
    and ``?`` as in a shell, or a text file of such names as ``@FILE``. Where a list is missing: without
    ``train``, everything that the others do not name; without ``val``, a share of the training clips. A data
    set that has a split of its own, or comes in folders ``train``, ``val`` and ``test``, is split that way
    unless clips are named.

    Args:
        root: Folder of the data set.
        split: A named split of the field, see ``named_splits`` of the class.
        train: Clips to train on.
        val: Clips to validate on.
        test: Clips to test on; default the validation clips.
        holdout: Share of the training clips that is held out for validation where ``val`` names none.
        step: Frames between the starts of training windows.
        batch_size: Windows per batch (of each process).
        num_workers: Processes that read windows; 0 reads in the training process.
        cache_dir: Folder of the frame cache; default ``$TRACKNET_CACHE`` or ``~/.cache/tracknet/frames``.
        crop: Random crops of training windows, on the device; default whole pictures.
        augmentation: Random changes of training windows, on the device.
        faults: ``refuse`` stops before training when the labels or videos have faults; ``mask`` leaves faulty
            rows and unusable clips out.
        frames: Frames per window (linked to the network).
        outputs: Frames that the network speaks of, L or 1 (linked to the network).
        size: Height and width of the network's input (linked to the module).
        background: Whether batches hold the median background (linked to the network).
        eval_step: Frames from one validation or test window to the next where these overlap; default they do
            not (linked to the module).
    """

    layout: ClassVar[type[Layout]]
    named_splits: ClassVar[Mapping[str, Split]] = {}

    def __init__(
        self,
        root: Path,
        split: str | None = None,
        train: list[str] | None = None,
        val: list[str] | None = None,
        test: list[str] | None = None,
        holdout: ClosedUnitInterval = 0.15,
        step: PositiveInt = 1,
        batch_size: PositiveInt = 4,
        num_workers: NonNegativeInt = 0,
        cache_dir: Path | None = None,
        crop: RandomCrop | None = None,
        augmentation: Augmentation | None = None,
        faults: Literal["refuse", "mask"] = "refuse",
        frames: PositiveInt = 3,
        outputs: PositiveInt = 3,
        size: tuple[PositiveInt, PositiveInt] = (288, 512),
        background: bool = False,
        eval_step: PositiveInt | None = None,
    ) -> None:
        super().__init__()
        self.root: Path | str = Path(root)
        self.split = self._chosen_split(split, Split.of(train, val, test))
        self.holdout = holdout
        self.step = step
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.crop = crop
        self.augmentation = augmentation
        self.faults = faults
        self.frames = frames
        self.outputs = outputs
        self.size = (int(size[0]), int(size[1]))
        self.background = background
        self.eval_step = eval_step
        self.cache = FrameCache(cache_dir, self.size)
        self.parts: dict[Part, list[LabelledClip]] = {}
        self._checked: DatasetReport | None = None

    @classmethod
    def check_config(cls, key: str, config: Namespace) -> Iterator[tuple[str, str]]:
        """Say what does not fit the clips, see `tracknet.configs.crossing`."""
        root = Path(config.get(f"{key}.init_args.root"))
        yield from misfits(key, config, clip_lengths(root, cls.layout()))

    def clip_names(self, part: Part) -> list[str]:
        """Names of the clips of one part, in the order of the batch's clip numbers."""
        return [clip.name for clip in self.parts[part]]

    def prepare_data(self) -> None:
        """Check the labels and the videos, and decode into the frame cache what is not there yet."""
        report = self._report()
        report.fail_if_errors(masked=self.faults == "mask")
        stage = self.trainer.state.fn if self.trainer is not None else None
        parts = self._split(report, STAGES[stage.value] if stage else ("train", "val", "test"))
        used = {clip.clip.name: clip for clips in parts.values() for clip in clips}
        self.cache.build([source_of(clip, self.layout, self.frames) for clip in used.values()])

    def setup(self, stage: str) -> None:
        """Open the cached clips of the parts that the stage needs."""
        parts = self._split(self._report(), STAGES[stage])
        allow_open_files(sum(map(len, parts.values())))
        for part, clips in parts.items():
            self.parts[part] = [self._open(clip) for clip in clips]
        # Probing is done; the report holds the labels of every clip of the data set.
        self._checked = None
        if stage == "fit":
            self._tell_counts()

    def state_dict(self) -> dict[str, Any]:
        """Tell checkpoints which clips the run learns from."""
        prints = {part: clip_prints(clips) for part, clips in self.parts.items()}
        return {"fingerprint": fingerprint(prints), "clips": prints}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Say which clips are not those of the run that a checkpoint comes from."""
        now = {part: clip_prints(clips) for part, clips in self.parts.items()}
        for line in differences(state_dict.get("clips", {}), now):
            rank_zero_info(f"note: {self.root}: not the data that the checkpoint's run learned from: {line}")

    def train_dataloader(self) -> DataLoader[Sample]:
        """Shuffled training windows."""
        dataset = self._dataset("train", self.step)
        sampler = self._sampler(dataset)
        return self._loader(dataset, sampler, drop_last=len(sampler) >= self.batch_size)

    def val_dataloader(self) -> DataLoader[Sample]:
        """Windows that count each validation frame once."""
        return self._evaluation_loader("val", self.eval_step)

    def test_dataloader(self) -> DataLoader[Sample]:
        """Windows that count each test frame once."""
        return self._evaluation_loader("test", self.eval_step)

    def mining_dataloader(self) -> DataLoader[Sample]:
        """Windows that count each training frame once, unchanged, for a search among them."""
        return self._evaluation_loader("train", None)

    def predict_dataloader(self) -> DataLoader[Sample]:
        """The test windows."""
        return self._evaluation_loader("test", self.eval_step)

    def on_after_batch_transfer(self, batch: dict[str, Tensor], dataloader_idx: int) -> dict[str, Tensor]:
        """Crop and augment training batches on the device."""
        if self.trainer is not None and self.trainer.training:
            seed_step(self.trainer)
            if self.crop is not None and self.crop.lasts(self.trainer.current_epoch):
                batch = self.crop(batch)
            if self.augmentation is not None:
                batch = self.augmentation(batch)
        return batch

    def _chosen_split(self, name: str | None, named: Split) -> Split:
        if name is None:
            return named
        if any((named.train, named.val, named.test)):
            raise UsageError(f"data.split={name} and data.train/val/test both name clips; keep one of them")
        if name not in self.named_splits:
            known = ", ".join(self.named_splits) or "none for this data set"
            hint = nearest(name, self.named_splits)
            raise UsageError(f"data.split: {name!r} is not a named split{hint} (known: {known})")
        return replace(self.named_splits[name], name=name)

    def _report(self) -> DatasetReport:
        if self._checked is None:
            if not Path(self.root).expanduser().is_dir():
                raise UsageError(f"data.root: there is no folder {self.root}; expected that of a data set")
            self._checked = check_dataset(Path(self.root), self.layout())
        return self._checked

    def _split(self, report: DatasetReport, wanted: Sequence[Part]) -> dict[Part, list[CheckedClip]]:
        usable = {checked.clip.name: checked for checked in report.checked if checked.labels is not None}
        clips = [checked.clip for checked in usable.values()]
        chosen = choose_clips(clips, self.split, self.holdout)
        empty = [part for part in wanted if not chosen[part]]
        if empty:
            raise TrackNetError(
                f"{self.root}: no clips for {' and '.join(empty)} among the {len(clips)} usable ones; "
                "name them with --data.train, --data.val and --data.test, or raise --data.holdout"
            )
        return {part: [usable[clip.name] for clip in chosen[part]] for part in wanted}

    def _tell_counts(self) -> None:
        counts = ", ".join(
            f"{part} {plural(len(clips), 'clip')} of "
            f"{plural(sum(len(clip.cached.frames) for clip in clips), 'frame')}"
            for part, clips in self.parts.items()
        )
        rank_zero_info(f"{self.root}: {counts}")

    def _open(self, checked: CheckedClip) -> LabelledClip:
        cached = self.cache.open(source_of(checked, self.layout, self.frames))
        assert checked.labels is not None
        if cached.stretches is None:
            checked.expect(len(cached.frames))
        return LabelledClip(checked.clip.name, cached, checked.labels, checked.size, checked.fps)

    def _dataset(self, part: Part, step: int | None, eval_step: int | None = None) -> WindowDataset:
        clips = self.parts[part]
        return WindowDataset(clips, self.frames, self.outputs, self.size, self.background, step, eval_step)

    def _sampler(self, dataset: WindowDataset) -> ResumableSampler:
        return ResumableSampler(dataset, self.batch_size, self.trainer)

    def _evaluation_loader(self, part: Part, eval_step: int | None) -> DataLoader[Sample]:
        dataset = self._dataset(part, None, eval_step)
        trainer = self.trainer
        if trainer is not None and trainer.world_size > 1:
            sampler = EvaluationSampler(dataset, trainer.world_size, trainer.global_rank)
            return self._loader(dataset, sampler)
        return self._loader(dataset)

    def _loader(
        self, dataset: WindowDataset, sampler: DistributedSampler[int] | None = None, drop_last: bool = False
    ) -> DataLoader[Sample]:
        loader = ResumableLoader if isinstance(sampler, ResumableSampler) else DataLoader
        return loader(
            dataset,
            batch_size=self.batch_size,
            sampler=sampler,
            drop_last=drop_last,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
        )


class FlatVideoDataModule(RallyDataModule):
    """A folder of ``NAME.mp4`` beside ``NAME.csv``, or ``NAME.xml`` as CVAT exports it for a video.

    The column style of a table is read from its header.
    """

    layout = FlatVideo


class TennisDataModule(RallyDataModule):
    """The TrackNet tennis data set: ``game*/Clip*/0000.jpg ...`` with ``Label.csv``.

    Named splits, by game: ``wasb`` (test games 8 to 10), ``tracknetv4`` (test games 1, 4 and 9).
    """

    layout = TrackNetTennis
    named_splits = TENNIS_SPLITS


class ShuttlecockDataModule(RallyDataModule):
    """The Shuttlecock Trajectory data set: ``match*/csv`` beside ``video`` or ``frame``.

    Named splits, by folder: ``tracknetv2`` (Professional and Amateur against Test), ``tracknetv3`` (train,
    val and test).
    """

    layout = ShuttlecockTrajectory
    named_splits = SHUTTLECOCK_SPLITS


class GeneratedDataModule(RallyDataModule):
    """Generated rallies, made on first use; training, validation and test play on different courts.

    Args:
        root: Folder that the rallies are written to, or were.
        sport: Whose ball, court and flight.
        train_rallies: Number of training rallies.
        val_rallies: Number of validation rallies.
        test_rallies: Number of test rallies.
        rally_frames: Frames a rally.
        seed: Same seed, same rallies.
        step: Frames between the starts of training windows.
        batch_size: Windows per batch (of each process).
        num_workers: Processes that read windows; 0 reads in the training process.
        cache_dir: Folder of the frame cache; default ``$TRACKNET_CACHE`` or ``~/.cache/tracknet/frames``.
        crop: Random crops of training windows, on the device; default whole pictures.
        augmentation: Random changes of training windows, on the device.
        frames: Frames per window (linked to the network).
        outputs: Frames that the network speaks of, L or 1 (linked to the network).
        size: Height and width of the network's input (linked to the module).
        background: Whether batches hold the median background (linked to the network).
        eval_step: Frames from one validation or test window to the next where these overlap; default they do
            not (linked to the module).
    """

    layout = FlatVideo

    def __init__(
        self,
        root: Path,
        sport: Sport = "badminton",
        train_rallies: PositiveInt = 12,
        val_rallies: PositiveInt = 3,
        test_rallies: PositiveInt = 4,
        rally_frames: PositiveInt = 120,
        seed: NonNegativeInt = 0,
        step: PositiveInt = 1,
        batch_size: PositiveInt = 4,
        num_workers: NonNegativeInt = 0,
        cache_dir: Path | None = None,
        crop: RandomCrop | None = None,
        augmentation: Augmentation | None = None,
        frames: PositiveInt = 3,
        outputs: PositiveInt = 3,
        size: tuple[PositiveInt, PositiveInt] = (288, 512),
        background: bool = False,
        eval_step: PositiveInt | None = None,
    ) -> None:
        super().__init__(
            root,
            step=step,
            batch_size=batch_size,
            num_workers=num_workers,
            cache_dir=cache_dir,
            crop=crop,
            augmentation=augmentation,
            frames=frames,
            outputs=outputs,
            size=size,
            background=background,
            eval_step=eval_step,
        )
        self.sport: Sport = sport
        self.rallies = {"train": train_rallies, "val": val_rallies, "test": test_rallies}
        self.rally_frames = rally_frames
        self.seed = seed

    @classmethod
    def check_config(cls, key: str, config: Namespace) -> Iterator[tuple[str, str]]:
        """Say what does not fit the rallies that are to be made."""
        rallies = config.get(f"{key}.init_args.train_rallies")
        yield from misfits(key, config, [config.get(f"{key}.init_args.rally_frames")] * rallies)

    def prepare_data(self) -> None:
        """Generate the rallies that are missing, then check and decode them."""
        generate_rallies(
            Path(self.root), sport=self.sport, frames=self.rally_frames, seed=self.seed, **self.rallies
        )
        super().prepare_data()
