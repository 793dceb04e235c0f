"""Windows of consecutive frames over cached clips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler

from tracknet.data.cached_clip import LabelledClip
from tracknet.data.geometry import resize_xy

Sample = dict[str, Tensor]


class WindowDataset(Dataset[Sample]):
    """Windows of L consecutive frames.

    A sample, one row of a batch, holds

    - ``frames``: RGB at the cached size, uint8 ``[L, 3, H, W]``;
    - ``xy``: ball positions in pixels of that size, float32 ``[L, 2]``;
    - ``visible``: whether a ball is seen, bool ``[L]``;
    - ``visibility``: how well it is seen, see `Labels`, uint8 ``[L]``;
    - ``labelled``: whether the frame has a label, bool ``[L]``;
    - ``counted``: whether this window speaks for the frame, bool ``[L]``;
    - ``clip``: number of the clip, and ``frame``: numbers of the frames in it, ``[L]``;
    - ``source_size``: height and width of the clip's own frames, ``[2]``;
    - ``background``: its median background, uint8 ``[3, H, W]``, where that is asked for.

    For training, a window starts at every ``step``-th frame. For evaluation (``step=None``) the windows
    follow each other and the last one is moved back so that it is full; exactly one of them counts each frame
    (``counted``). A clip shorter than a window repeats its last frame, which does not count twice. Networks
    with one output a window speak for its last frame, so that their windows follow frame by frame and the
    first ones repeat the first frame. With ``eval_step``, evaluation windows of other networks overlap, and
    each counts the frames that no later window speaks of: its first ones, the last window all.

    A clip that is cached in part has windows within its stretches only, each stretch like a clip of its own;
    frames keep the numbers of the source. Training windows, and all windows of such a clip, hold at least one
    labelled frame that the network speaks of: without one there is nothing to learn or to judge.

    Args:
        clips: The clips.
        frames: Frames per window, L.
        outputs: Frames that the network speaks of: L or 1.
        size: Height and width of the cached frames.
        background: Whether samples hold the median background.
        step: Frames between the starts of training windows, or None for evaluation.
        eval_step: Frames from one evaluation window to the next where these overlap, or None.

    Attributes:
        clips: As given.
        lead: Windows before one that speak of a frame that it counts.
    """

    def __init__(
        self,
        clips: Sequence[LabelledClip],
        frames: int,
        outputs: int,
        size: tuple[int, int],
        background: bool,
        step: int | None,
        eval_step: int | None = None,
    ) -> None:
        self.clips = list(clips)
        self.frames = frames
        self.background = background
        # The last window is moved back, and may share its frames with one more.
        self.lead = -(-(outputs - 1) // eval_step) if eval_step and step is None else 0
        self._xy = [
            torch.from_numpy(resize_xy(c.labels.xy, c.source_size, size).astype(np.float32))
            for c in self.clips
        ]
        self._visible = [torch.from_numpy(c.labels.visible) for c in self.clips]
        self._visibility = [torch.from_numpy(c.labels.visibility) for c in self.clips]
        self._labelled = [torch.from_numpy(c.labels.labelled) for c in self.clips]
        rows = [
            row
            for index in range(len(self.clips))
            for row in self._windows_of(index, outputs, step, eval_step)
        ]
        # One array, not a list: workers would copy a list page by page as they touch its reference counts.
        self._rows = np.array(rows, dtype=np.int64).reshape(-1, 7)

    def _windows_of(
        self, index: int, outputs: int, step: int | None, eval_step: int | None
    ) -> Iterator[tuple[int, ...]]:
        """Give (clip, start, bounds of what counts, bounds of the stretch, row of its first frame)."""
        cached, labelled = self.clips[index].cached, self.clips[index].labels.labelled
        before = np.concatenate([[0], np.cumsum(labelled)])
        sparse = step is not None or cached.stretches is not None
        row = 0
        for low, stop in cached.stretches or ((0, len(cached.frames)),):
            for start, first, end in _starts(stop - low, self.frames, outputs, step, eval_step):
                start, first, end = low + start, low + first, low + end
                behind = min(stop, start + self.frames)
                spoken = min(max(first, start + self.frames - outputs), behind - 1)
                if not sparse or before[behind] > before[spoken]:
                    yield index, start, first, end, low, stop, row
            row += stop - low

    def __len__(self) -> int:
        return len(self._rows)

    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Tell where each window begins: number of its clip, and row in the frames of the clip."""
        which, start, _, _, low, _, row = self._rows.T
        return which, np.maximum(start, low) - low + row

    def __getitem__(self, index: int) -> Sample:
        """Read one window.

        Args:
            index: Number of the window; ``~index`` (negative) gives the same window without counting it.
        """
        repeated = index < 0
        which, start, first, end, low, stop, row = (int(v) for v in self._rows[~index if repeated else index])
        clip = self.clips[which]
        numbers = torch.arange(start, start + self.frames)
        inside = numbers.clamp(low, stop - 1)
        pixels, place = clip.cached.frames, start - low + row
        contiguous = start >= low and start + self.frames <= stop
        rows = slice(place, place + self.frames) if contiguous else inside.numpy() - low + row
        counted = (numbers >= first) & (numbers < min(end, stop))
        sample = {
            "frames": torch.from_numpy(np.array(pixels[rows])),
            "xy": self._xy[which][inside],
            "visible": self._visible[which][inside],
            "visibility": self._visibility[which][inside],
            "labelled": self._labelled[which][inside],
            "counted": counted & (not repeated),
            "clip": torch.tensor(which),
            "frame": inside,
            "source_size": torch.tensor(clip.source_size),
        }
        if self.background:
            sample["background"] = torch.from_numpy(np.array(clip.cached.background))
        return sample


def _starts(
    total: int, frames: int, outputs: int, step: int | None, eval_step: int | None
) -> Iterator[tuple[int, int, int]]:
    """Give (start, first frame that counts, end of those that count) of each window of a clip."""
    if step is not None:
        for start in range(0, max(total - frames, 0) + 1, step):
            yield start, start, start + frames
    elif outputs == 1:
        for last in range(total):
            yield last - frames + 1, last, last + 1
    elif eval_step:
        final = max(total - frames, 0)
        for start, following in pairwise((*range(0, final, eval_step), final, final + frames)):
            yield start, start, following
    else:
        for first in range(0, total, frames):
            yield max(0, min(first, total - frames)), first, first + frames


class EvaluationSampler(DistributedSampler[int]):
    """Deals evaluation windows to processes, each a run of them, so that each window counts once.

    A plain DistributedSampler repeats windows to give every process equally many, and so counts them twice;
    here the repeated ones are asked for as ``~index``, which `WindowDataset` gives without counting them. So
    are the windows of the process before that speak of a frame of this one's, where windows overlap.

    Args:
        dataset: The windows.
        processes: Number of processes.
        rank: Number of this one.
    """

    def __init__(self, dataset: WindowDataset, processes: int, rank: int) -> None:
        super().__init__(dataset, processes, rank, shuffle=False)
        self._lead = dataset.lead
        self._windows = len(dataset)

    def __len__(self) -> int:
        return self.num_samples + self._lead

    def __iter__(self) -> Iterator[int]:
        start = self.rank * self.num_samples
        for place in range(start - self._lead, start + self.num_samples):
            within = min(max(place, 0), self._windows - 1)
            yield place if place == within and place >= start else ~within
