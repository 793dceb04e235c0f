"""Which frames of which clips go into which shard; see `tracknet.data.packing`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tracknet.data.check import CheckedClip
from tracknet.data.clips import Part
from tracknet.data.excerpt import Excerpt
from tracknet.data.frame_source import FrameSource
from tracknet.data.packed import ROW
from tracknet.data.splits import shuffled


@dataclass(frozen=True, eq=False)
class PackedClip:
    """A clip to pack.

    Attributes:
        number: Its number in the data set.
        checked: Name, files and labels.
        parts: Parts that it is in.
        source: Where its frames come from.
        key: Name of the packed frames, which changes with them.
        frames: Numbers of the frames that are packed.
        rows: Their rows of the table, with labels only.
    """

    number: int
    checked: CheckedClip
    parts: tuple[Part, ...]
    source: FrameSource
    key: str
    frames: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True, eq=False)
class Piece:
    """Consecutive rows of a clip in one shard.

    Attributes:
        clip: The clip.
        first: First row among those of the clip.
        stop: The row after the last.
    """

    clip: PackedClip
    first: int
    stop: int


@dataclass(frozen=True, eq=False)
class PlannedShard:
    """A shard to be written.

    Attributes:
        name: Name of the file.
        pieces: What goes into it, in order.
    """

    name: str
    pieces: list[Piece]

    @property
    def frames(self) -> int:
        """Number of frames."""
        return sum(piece.stop - piece.first for piece in self.pieces)


def plan_shards(clips: Sequence[PackedClip], most: int) -> list[list[PlannedShard]]:
    """Divide clips into shards, each of one part.

    Args:
        clips: The clips, in the order of the data set.
        most: Frames of a shard; a clip that alone has more gets several.

    Returns:
        Groups of shards that share no clip with others.
    """
    groups: list[list[PlannedShard]] = []
    for parts in dict.fromkeys(clip.parts for clip in clips):
        chosen = [clip for clip in clips if clip.parts == parts]
        if parts == ("train",):
            chosen = [chosen[n] for n in shuffled([clip.checked.clip.name for clip in chosen])]
        number = 0
        for together in _together(chosen, most):
            groups.append(_cut(together, most, "_".join(parts), number))
            number += len(groups[-1])
    return groups


def rows_of(checked: CheckedClip, source: FrameSource) -> tuple[np.ndarray, np.ndarray]:
    """Give the frames of a clip that are packed, and their rows of the table with labels only."""
    frames = np.arange(checked.frames)
    if isinstance(source, Excerpt):
        frames = np.concatenate([np.arange(*stretch) for stretch in source.stretches])
    rows = np.zeros(len(frames), ROW)
    assert checked.labels is not None
    rows["xy"] = checked.labels.xy[frames]
    rows["visibility"] = checked.labels.visibility[frames]
    rows["labelled"] = checked.labels.labelled[frames]
    return frames, rows


def _together(clips: Sequence[PackedClip], most: int) -> Iterator[list[PackedClip]]:
    """Put clips that follow each other together, up to a number of frames."""
    together: list[PackedClip] = []
    for clip in clips:
        if together and sum(len(one.rows) for one in (*together, clip)) > most:
            yield together
            together = []
        together.append(clip)
    if together:
        yield together


def _cut(clips: Sequence[PackedClip], most: int, name: str, number: int) -> list[PlannedShard]:
    """Put clips into one shard, or one long clip into several of equal length."""
    if len(clips) > 1:
        return [PlannedShard(f"{name}-{number:05d}.tar", [Piece(clip, 0, len(clip.rows)) for clip in clips])]
    total = len(clips[0].rows)
    bounds = np.linspace(0, total, -(-total // most) + 1).round().astype(int).tolist()
    return [
        PlannedShard(f"{name}-{number + place:05d}.tar", [Piece(clips[0], first, stop)])
        for place, (first, stop) in enumerate(pairwise(bounds))
    ]


def sample_told(clip: PackedClip, first: int, stop: int) -> dict[str, Any]:
    """Describe a sample for those who read shards without the table."""
    rows = clip.rows[first:stop]
    return {
        "clip": clip.checked.clip.name,
        "source_size": clip.checked.size,
        "fps": clip.checked.fps,
        "frames": clip.frames[first:stop].tolist(),
        "xy": rows["xy"].tolist(),
        "visibility": rows["visibility"].tolist(),
        "labelled": rows["labelled"].tolist(),
    }
