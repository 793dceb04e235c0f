"""Settings of data that do not fit the data: windows longer than clips, batches larger than data sets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from jsonargparse import Namespace

from tracknet.data.clips import Layout
from tracknet.data.faults import plural
from tracknet.data.video import open_source
from tracknet.errors import TrackNetError

Faults = Iterator[tuple[str, str]]


def misfits(key: str, config: Namespace, lengths: Iterable[int]) -> Faults:
    """Compare windows and batches with clips; looks at no more clips than it needs to be content.

    Args:
        key: Where the data are chosen.
        config: The whole configuration.
        lengths: Frames of each clip.

    Yields:
        Keys and what is wrong.
    """
    window = config.get("model.init_args.network.init_args.frames")
    if not isinstance(window, int):
        return
    step = config.get(f"{key}.init_args.step") or 1
    batch = config.get(f"{key}.init_args.batch_size") or 1
    longest = windows = clips = 0
    for frames in lengths:
        clips += 1
        longest = max(longest, frames)
        windows += max(frames - window, 0) // step + 1
        if longest >= window and windows >= batch:
            return
    if clips and longest < window:
        at = "model.init_args.network.init_args.frames"
        yield (
            at,
            f"windows of {plural(window, 'frame')}, and the longest of {plural(clips, 'clip')} has {longest}",
        )
    if clips and windows < batch:
        yield (
            f"{key}.init_args.batch_size",
            f"batches of {batch}, and the data set has {plural(windows, 'window')}",
        )


def clip_lengths(root: Path, layout: Layout) -> Iterator[int]:
    """Give the number of frames of each clip of a data set, as far as the files tell.

    Args:
        root: Folder; without it, nothing is given.
        layout: How the data set lies in it.

    Yields:
        Frames.
    """
    if layout.sparse or not root.is_dir():
        return
    try:
        for clip in layout.find(root)[0]:
            frames = open_source(clip.video).info.frames
            if frames is not None:
                yield frames
    except TrackNetError:
        # What is wrong with the data is told in full before training, by the check of the data set.
        return
