"""One clip as a training reads it: all frames of a source or stretches of it, and labels."""

from __future__ import annotations

import hashlib
import json
import threading
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import ArrayLike

from tracknet.data.frame_source import Stretch
from tracknet.data.labels import Labels

CHECKSUM = "checksum"
"""Key of ``meta.json`` under which the checksum of a clip lies; see `checksum_of`."""

HEADER = 128
"""Bytes of the header of ``frames.npy``, the same for every number of frames."""

_CHUNK = 1 << 18
_PARSING = threading.Lock()


class FrameArray(Protocol):
    """Frames uint8 ``[N, 3, H, W]``: an array, or what reads them when they are asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number, colours, height and width."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any: ...


@dataclass(frozen=True)
class CachedClip:
    """A clip in the cache. It can be sent to another process: only the place of the files travels.

    Attributes:
        frames: RGB frames, uint8 ``[N, 3, H, W]``. In the frame cache a read-only memory map in C order, so
            that a window of consecutive frames is one contiguous read; of packed data, see
            `tracknet.data.packed`.
        background: Median of evenly spaced frames, uint8 ``[3, H, W]``.
        stretches: Which frames of the source ``frames`` holds; None when it holds all.
    """

    frames: FrameArray
    background: ArrayLike
    stretches: tuple[Stretch, ...] | None = None

    @property
    def key(self) -> str:
        """Name of the frames, which changes with them."""
        if isinstance(self.frames, np.memmap) and self.frames.filename is not None:
            return Path(self.frames.filename).parent.name
        named = getattr(self.frames, "key", None)
        return (
            str(named) if named else hashlib.sha256(np.ascontiguousarray(self.frames).tobytes()).hexdigest()
        )

    def row(self, frame: int) -> int:
        """Give the row in ``frames`` of a frame of the source.

        Raises:
            IndexError: The frame is not cached.
        """
        row = 0
        for first, stop in self.stretches or [(0, len(self.frames))]:
            if first <= frame < stop:
                return row + frame - first
            row += stop - first
        raise IndexError(f"frame {frame} is not cached")

    def between(self, first: int, stop: int) -> list[int]:
        """List the frames of the source from ``first`` to before ``stop`` that are cached."""
        return [
            frame
            for low, high in self.stretches or [(0, len(self.frames))]
            for frame in range(max(low, first), min(high, stop))
        ]

    def __reduce__(self) -> tuple[Any, ...]:
        # The default would copy the whole clip through the pipe.
        if isinstance(self.frames, np.memmap) and self.frames.filename is not None:
            return load_clip, (Path(self.frames.filename).parent,)
        return CachedClip, (self.frames, self.background, self.stretches)


@dataclass(frozen=True)
class LabelledClip:
    """A cached clip with its labels.

    Attributes:
        name: Name of the clip.
        cached: Frames and background at the input size.
        labels: Labels in pixels of the source, one row a frame.
        source_size: Height and width of the source.
        fps: Frames a second of the source.
    """

    name: str
    cached: CachedClip
    labels: Labels
    source_size: tuple[int, int]
    fps: float


def checksum_of(folder: Path, meta: Mapping[str, Any]) -> str:
    """Compute the CRC-32 of all that is kept of a clip, its frames first.

    It is there for bits that flip, of which no single one escapes it, and costs a fifth of a cryptographic
    hash; who may write to a cache could change that, too.

    Args:
        folder: Folder of the clip.
        meta: What its ``meta.json`` holds; a checksum in it does not count.

    Returns:
        8 hexadecimal digits.

    Raises:
        OSError: A file cannot be read.
    """
    checksum = 0
    with (folder / "frames.npy").open("rb") as file:
        file.seek(HEADER)
        while chunk := file.read(_CHUNK):
            checksum = zlib.crc32(chunk, checksum)
    return completed_checksum(checksum, folder, meta)


def completed_checksum(frames: int, folder: Path, meta: Mapping[str, Any]) -> str:
    """Give the checksum of a clip, the CRC-32 of whose frames is known; otherwise as `checksum_of`."""
    told = {name: value for name, value in meta.items() if name != CHECKSUM}
    with (folder / "frames.npy").open("rb") as file:
        checksum = zlib.crc32(file.read(HEADER), frames)
    checksum = zlib.crc32((folder / "background.npy").read_bytes(), checksum)
    return f"{zlib.crc32(json.dumps(told, sort_keys=True).encode(), checksum):08x}"


def open_array(path: Path) -> np.memmap:
    """Map an array into memory; raises what reading a damaged file ends in.

    Unlike numpy.load, this reads nothing but plain arrays, whatever the file has become. One thread at a
    time: NumPy parses the header as Python, whose depth CPython 3.11 counts for all threads together. Where
    one is interrupted in the middle, another ends in a SystemError, once in some thousand clips.
    """
    with _PARSING:
        return open_memmap(path, mode="r")


def load_clip(folder: Path) -> CachedClip:
    """Open the folder of a clip; raises what reading a damaged file ends in."""
    frames, background = (open_array(folder / name) for name in ("frames.npy", "background.npy"))
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    stretches = None
    if "stretches" in meta:
        stretches = tuple((int(first), int(stop)) for first, stop in meta["stretches"])
    return CachedClip(frames, np.array(background), stretches)
