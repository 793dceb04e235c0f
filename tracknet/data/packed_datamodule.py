"""Training, validation and test from packed data, on a disk that need not hold all of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from jsonargparse import Namespace
from jsonargparse.typing import NonNegativeInt, PositiveInt
from lightning.pytorch import Trainer

from tracknet.data.augmentation import Augmentation
from tracknet.data.cache import FrameCache
from tracknet.data.crops import RandomCrop
from tracknet.data.datamodules import STAGES, RallyDataModule
from tracknet.data.packed import Pack, PackedFrames
from tracknet.data.packed_index import read_index
from tracknet.data.resuming import ResumableSampler
from tracknet.data.settings import misfits
from tracknet.data.sizes import bytes_of, told_bytes
from tracknet.data.windows import WindowDataset
from tracknet.errors import TrackNetError, UsageError


class ShardSampler(ResumableSampler):
    """Shuffles shards, and the windows of a few neighbouring shards with each other.

    The order depends on seed and epoch alone. Each process takes one run of it, so that a shard is read by
    one process, or two. What of the next shards is not at hand is asked for while half of the windows before
    them are still to come.

    Args:
        dataset: The windows.
        batch_size: Windows per batch (of each process).
        trainer: The trainer; None for one process without a trainer.
        shards: Number of the shard of each window.
        mixed: Shards whose windows are mixed with each other.
        ahead: Told which shards come next.
    """

    def __init__(
        self,
        dataset: WindowDataset,
        batch_size: int,
        trainer: Trainer | None,
        shards: np.ndarray,
        mixed: int,
        ahead: Callable[[Sequence[int]], None],
    ) -> None:
        super().__init__(dataset, batch_size, trainer)
        self.shards = shards
        self.mixed = mixed
        self.ahead = ahead

    def __iter__(self) -> Iterator[int]:
        windows, groups = self._own()
        windows, groups = windows[self.taken() :], groups[self.taken() :]
        starts = [0, *(np.flatnonzero(np.diff(groups)) + 1).tolist(), len(groups)]
        told = {0: starts[:2]} if len(windows) else {}
        for first, stop, end in zip(starts, starts[1:], starts[2:], strict=False):
            told[(first + stop + 1) // 2] = [stop, end]
        for place, window in enumerate(windows.tolist()):
            if place in told:
                self.ahead(np.unique(self.shards[windows[slice(*told[place])]]).tolist())
            yield window

    def _own(self) -> tuple[np.ndarray, np.ndarray]:
        """Give the windows of this process in an epoch, in order, and which shards they are mixed with."""
        generator = np.random.default_rng((self.seed, self.epoch))
        known, numbers = np.unique(self.shards, return_inverse=True)
        groups = generator.permutation(len(known))[numbers] // self.mixed
        order = np.lexsort((generator.random(len(groups)), groups))
        # As in PyTorch's sampler, the first ones come again where the processes cannot have equally many.
        own = np.resize(order, self.total_size)[self.rank * self.num_samples :][: self.num_samples]
        return own, groups[own]


class PackedDataModule(RallyDataModule):
    """Windows of rallies that ``tracknet data pack`` has written, split as they were packed.

    Args:
        root: Folder of the packed data, or an address as fsspec reads it, such as ``s3://bucket/folder``.
        mixed: Shards whose windows are mixed with each other; the shards themselves are shuffled.
        step: Frames between the starts of training windows.
        batch_size: Windows per batch (of each process).
        num_workers: Processes that read windows; 0 reads in the training process.
        cache_dir: Folder for copies of shards. Without it, a folder is read in place, and shards from an
            address are copied to ``shards`` in the folder of the frame cache.
        disk: Most that the copies on a computer take, such as ``50GB``; what was not used for longest goes.
        crop: Random crops of training windows, on the device; default whole pictures.
        augmentation: Random changes of training windows, on the device.
        frames: Frames per window (linked to the network).
        outputs: Frames that the network speaks of, L or 1 (linked to the network).
        size: Height and width of the network's input (linked to the module).
        background: Whether batches hold the median background (linked to the network).
        eval_step: Frames from one validation or test window to the next where these overlap; default they do
            not (linked to the module).
    """

    def __init__(
        self,
        root: str,
        mixed: PositiveInt = 4,
        step: PositiveInt = 1,
        batch_size: PositiveInt = 4,
        num_workers: NonNegativeInt = 0,
        cache_dir: Path | None = None,
        disk: str = "50GB",
        crop: RandomCrop | None = None,
        augmentation: Augmentation | None = None,
        frames: PositiveInt = 3,
        outputs: PositiveInt = 3,
        size: tuple[PositiveInt, PositiveInt] = (288, 512),
        background: bool = False,
        eval_step: PositiveInt | None = None,
    ) -> None:
        super().__init__(
            Path(root),
            step=step,
            batch_size=batch_size,
            num_workers=num_workers,
            crop=crop,
            augmentation=augmentation,
            frames=frames,
            outputs=outputs,
            size=size,
            background=background,
            eval_step=eval_step,
        )
        self.root = str(root) if "://" in str(root) else str(Path(root).expanduser().absolute())
        self.mixed = mixed
        self.disk = bytes_of(disk, "data.disk")
        self.copies = cache_dir
        if cache_dir is None and "://" in str(root):
            self.copies = FrameCache().root / "shards"

    @classmethod
    def check_config(cls, key: str, config: Namespace) -> Iterator[tuple[str, str]]:
        """Say what does not fit the clips, as far as a folder tells."""
        root = Path(config.get(f"{key}.init_args.root")).expanduser()
        lengths = []
        with suppress(TrackNetError):  # told by `prepare_data`
            if (root / "index.json").exists():
                lengths = [clip["rows"][1] - clip["rows"][0] for clip in read_index(str(root))["clips"]]
        yield from misfits(key, config, lengths)

    def prepare_data(self) -> None:
        """See that the packed data are those that the settings ask for."""
        index = read_index(str(self.root))
        settings = index["settings"]
        if (packed := tuple(settings["size"])) != self.size:
            raise UsageError(
                f"{self.root}: packed at {packed[0]}x{packed[1]} (height x width), and the network takes "
                f"{self.size[0]}x{self.size[1]}; take --model.input_size '[{packed[0]},{packed[1]}]', or "
                f"pack again with --size {self.size[0]} {self.size[1]}"
            )
        if self.frames > settings["frames"] and any(clip["stretches"] for clip in index["clips"]):
            raise UsageError(
                f"{self.root}: packed for windows of {settings['frames']} frames, and "
                f"the network takes {self.frames}; pack again with --frames {self.frames}"
            )
        largest = max(shard["bytes"] for shard in index["shards"])
        devices = self.trainer.num_devices if self.trainer is not None else 1
        need = 2 * self.mixed * largest * devices
        if self.copies is not None and self.disk < min(need, sum(s["bytes"] for s in index["shards"])):
            raise UsageError(
                f"data.disk: {told_bytes(self.disk)} is too little: {devices} x {self.mixed} shards of up to "
                f"{told_bytes(largest)} are read while the next are copied; give {told_bytes(need)}, lower "
                "data.mixed, or pack smaller shards"
            )

    def setup(self, stage: str) -> None:
        """Open the packed clips of the parts that the stage needs."""
        self.pack = Pack(str(self.root), self.copies, self.disk)
        for part in STAGES[stage]:
            self.parts[part] = self.pack.clips(part)
            if not self.parts[part]:
                raise TrackNetError(
                    f"{self.root}: packed without clips for {part}; pack again with --{part}, or --holdout"
                )
        if stage == "fit":
            self._tell_counts()

    def _sampler(self, dataset: WindowDataset) -> ShardSampler:
        clips, rows = dataset.places()
        first = np.array([_first_row(clip.cached.frames) for clip in dataset.clips])
        shards = self.pack.shards_of(first[clips] + rows)
        return ShardSampler(dataset, self.batch_size, self.trainer, shards, self.mixed, self._fetch_ahead)

    def _fetch_ahead(self, shards: Sequence[int]) -> None:
        """Copy shards in the background; those that are there count as used."""
        if self.copies is not None:
            threading.Thread(target=_fetch, args=(self.pack, shards), daemon=True).start()


def _first_row(frames: object) -> int:
    assert isinstance(frames, PackedFrames)
    return frames.first


def _fetch(pack: Pack, shards: Sequence[int]) -> None:
    for number in shards:
        # A fault is told by who reads the shard.
        with suppress(TrackNetError):
            pack.store.fetch(pack.shards[number])
