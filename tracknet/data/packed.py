"""Packed data: the frames of clips, resized and compressed, in tar files that can be read from afar.

A folder of packed data holds

- ``PART-NUMBER.tar``: shards. A stretch of consecutive frames is one sample of the WebDataset layout:
  ``KEY.000000.jpg ...`` and ``KEY.json`` with the name of the clip and the labels. The background of each
  clip of the shard, without loss, is a sample of its own.
- ``frames.npy``: one row a frame, its place in its shard and its label (`ROW`).
- ``index.json``: settings, clips, shards and digests; written last.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.lib.format import open_memmap
from PIL import Image

from tracknet.data.cached_clip import CachedClip, LabelledClip
from tracknet.data.clips import Part
from tracknet.data.file_lock import locked
from tracknet.data.labels import Labels
from tracknet.data.packed_index import INDEX, TABLE, read_index
from tracknet.data.shards import Shard, ShardStore, Span, copy_checked, digest_of_file, patiently
from tracknet.data.whole_file import whole_file
from tracknet.errors import TrackNetError

Quality = int | Literal["lossless"]
"""Of JPEG, 1 to 100; or ``lossless``, which is WebP."""

ROW = np.dtype(
    [
        ("offset", "<u8"),
        ("bytes", "<u4"),
        ("crc", "<u4"),
        ("xy", "<f4", 2),
        ("visibility", "u1"),
        ("labelled", "?"),
    ]
)
"""A row of the table: place in the shard and CRC-32 of the compressed frame, and its label."""

_LARGEST_HEADER = 1 << 16  # bytes of the header of the table
_BACKGROUNDS = 64  # kept in memory by each process


def encode(frame: np.ndarray, quality: Quality) -> bytes:
    """Compress a frame.

    Args:
        frame: RGB, uint8 ``[H, W, 3]``.
        quality: See `Quality`. JPEG keeps colours at full size: a ball is a few pixels.
    """
    content = io.BytesIO()
    if quality == "lossless":
        Image.fromarray(frame).save(content, "WEBP", lossless=True, quality=0, method=0)
    else:
        Image.fromarray(frame).save(content, "JPEG", quality=quality, subsampling=0)
    return content.getvalue()


def decode(content: bytes, size: tuple[int, int] | None = None) -> np.ndarray:
    """Decompress a frame.

    Args:
        content: What `encode` gave; other formats than those two are not opened.
        size: Height and width that it must have; None takes any.

    Returns:
        uint8 ``[3, H, W]``.

    Raises:
        ValueError: It is no such picture, or of another size.
    """
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG", "WEBP")) as image:
            # Before it is decompressed: a few bytes can be a picture that fills the memory.
            if size is not None and image.size != (size[1], size[0]):
                raise ValueError(f"a picture of {image.size[1]}x{image.size[0]}")
            pixels: np.ndarray = np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"no picture in JPEG or WebP ({error})") from error
    channels_first: np.ndarray = pixels.transpose(2, 0, 1)
    return channels_first


class Pack:
    """Packed data, open for reading. It can be sent to another process: only the address travels.

    Args:
        root: Folder or address, see `ShardStore`.
        copies: Folder for copies of shards; None reads them in place.
        limit: Bytes that the copies may take.

    Attributes:
        store: Where shards are read.
        index: What ``index.json`` holds.
        shards: The shards, in the order of their rows.
        rows: The table of all frames, ``ROW [N]``, a read-only memory map.

    Raises:
        TrackNetError: There is no packed data, or not whole.
    """

    def __init__(self, root: str, copies: Path | None = None, limit: int = 0) -> None:
        self.store = ShardStore(root, copies, limit)
        self.index = read_index(self.store.root)
        self.size: tuple[int, int] = tuple(self.index["settings"]["size"])
        self.shards = [Shard(**shard) for shard in self.index["shards"]]
        self._first = np.array([shard.first for shard in self.shards])
        self.rows = self._table()

    def __reduce__(self) -> tuple[Any, ...]:
        return Pack, (self.store.root, self.store.copies, self.store.limit)

    def clips(self, part: Part) -> list[LabelledClip]:
        """Open the clips of a part, in the order of the data set."""
        return [self._clip(one) for one in self.index["clips"] if part in one["parts"]]

    def shards_of(self, rows: np.ndarray) -> np.ndarray:
        """Give the number of the shard of each row of the table."""
        return np.searchsorted(self._first, rows, side="right") - 1

    def frames(self, rows: np.ndarray) -> np.ndarray:
        """Read frames.

        Args:
            rows: Their rows in the table, ``[n]``.

        Returns:
            uint8 ``[n, 3, H, W]``.

        Raises:
            TrackNetError: A shard cannot be had, or is damaged.
        """
        found = np.empty((len(rows), 3, *self.size), np.uint8)
        numbers = self.shards_of(rows)
        for number in np.unique(numbers).tolist():
            places = np.flatnonzero(numbers == number)
            spans: list[Span] = [
                (int(row["offset"]), int(row["bytes"]), int(row["crc"])) for row in self.rows[rows[places]]
            ]
            for place, content in zip(places, self.store.read(self.shards[number], spans), strict=True):
                found[place] = self._decoded(content, number)
        return found

    def background(self, spans: Mapping[int, Span]) -> np.ndarray:
        """Read the background of a clip from one of its shards, if possible one that needs no copying.

        Args:
            spans: Where it lies, by number of the shard.

        Returns:
            uint8 ``[3, H, W]``.

        Raises:
            TrackNetError: A shard cannot be had, or is damaged.
        """
        number = next((n for n in spans if self.store.has(self.shards[n])), next(iter(spans)))
        return self._decoded(self.store.read(self.shards[number], [spans[number]])[0], number)

    def _decoded(self, content: bytes, number: int) -> np.ndarray:
        try:
            return decode(content, self.size)
        except ValueError as error:
            raise TrackNetError(
                f"{self.store.root}/{self.shards[number].name}: holds {error}, expected frames of "
                f"{self.size[0]}x{self.size[1]}; get it again, or pack the data again"
            ) from error

    def _clip(self, told: Mapping[str, Any]) -> LabelledClip:
        stretches = told["stretches"] and tuple((int(first), int(stop)) for first, stop in told["stretches"])
        first, stop = told["rows"]
        frames = PackedFrames(self, first, stop, told["key"])
        background = PackedBackground(self, {int(n): tuple(span) for n, span in told["background"].items()})
        numbers = np.concatenate([np.arange(*stretch) for stretch in stretches or [(0, stop - first)]])
        labels, rows = Labels.none(told["frames"]), self.rows[first:stop]
        labels.xy[numbers] = rows["xy"]
        labels.visible[numbers] = rows["visibility"] > 0
        labels.labelled[numbers] = rows["labelled"]
        codes = np.zeros(told["frames"], np.uint8)
        codes[numbers] = rows["visibility"]
        labels = Labels(labels.xy, labels.visible, labels.labelled, codes)
        cached = CachedClip(frames, background, stretches)
        return LabelledClip(told["name"], cached, labels, tuple(told["source_size"]), told["fps"])

    def _table(self) -> np.ndarray:
        address, digest = f"{self.store.root}/{TABLE}", self.index["table"]
        path = Path(address)
        if self.store.copies is not None:
            path = self.store.copies / f"{digest}.npy"
            with locked(path.with_suffix(".lock")):
                if not path.exists():
                    most = self.shards[-1].stop * ROW.itemsize + _LARGEST_HEADER
                    patiently(lambda: _copy(address, path, digest, most))
        if digest_of_file(str(path)) != digest:
            raise TrackNetError(f"{path}: damaged: its digest is not that of {INDEX}; copy or write it again")
        try:
            rows = open_memmap(path, mode="r")
        except ValueError as error:
            raise TrackNetError(f"{path}: not opened: {error}; pack the data again") from error
        if rows.dtype != ROW or rows.shape != (self.shards[-1].stop,) or not self._in_shards(rows):
            raise TrackNetError(f"{path}: its rows are not places in the shards; pack the data again")
        return rows

    def _in_shards(self, rows: np.ndarray) -> bool:
        """Tell whether all frames lie within the shards that they are said to be in."""
        lengths = np.repeat(
            np.array([shard.bytes for shard in self.shards], np.uint64),
            [shard.stop - shard.first for shard in self.shards],
        )
        inside = rows["offset"] <= lengths
        return bool((inside & (rows["bytes"] <= lengths - np.minimum(rows["offset"], lengths))).all())


def _copy(address: str, path: Path, digest: str, most: int) -> None:
    with whole_file(path) as part, part.open("wb") as file:
        copy_checked(address, file, digest, most)


class PackedFrames:
    """Frames of a packed clip, read when they are asked for.

    Args:
        pack: The packed data.
        first: First row of the clip in the table.
        stop: The row after its last.
        key: Name of the frames, which changes with them.
    """

    def __init__(self, pack: Pack, first: int, stop: int, key: str) -> None:
        self.pack = pack
        self.first = first
        self.stop = stop
        self.key = key

    @property
    def shape(self) -> tuple[int, ...]:
        """Number, colours, height and width."""
        return len(self), 3, *self.pack.size

    def __len__(self) -> int:
        return self.stop - self.first

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Read frames, as from an array ``[N, 3, H, W]``."""
        chosen = np.arange(self.first, self.stop)[rows]
        found = self.pack.frames(np.atleast_1d(chosen))
        return found if np.ndim(chosen) else found[0]


class PackedBackground:
    """The background of a packed clip, read when it is asked for.

    Args:
        pack: The packed data.
        spans: Where it lies, by number of the shard.
    """

    def __init__(self, pack: Pack, spans: Mapping[int, Span]) -> None:
        self.pack = pack
        self.spans = spans

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(_decoded(self), dtype, copy=copy)


@lru_cache(maxsize=_BACKGROUNDS)
def _decoded(background: PackedBackground) -> np.ndarray:
    return background.pack.background(background.spans)
