"""The background of a static camera: the median of frames spread evenly over a clip.

Training takes it from the frame cache and tracking from the video; both come here, so that they see the
same, but for videos of more than `LONG_VIDEO` frames, of which tracking takes keyframes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import chain, islice

import numpy as np

from tracknet.data.frame_source import FrameSource
from tracknet.errors import TrackNetError

BACKGROUND_SAMPLES = 64
LONG_VIDEO = 3000  # frames; the background of a longer video is taken from its keyframes
_BLOCK = 1 << 16  # pixels whose median is found at once
HELD_BYTES = 256 << 20  # frames that are held for the background and then given


def evenly_spaced(frames: int, samples: int) -> list[int]:
    """Choose the frames that a background is made of.

    Args:
        frames: Number of frames there are.
        samples: Number of frames wanted.

    Returns:
        At most ``samples`` distinct frame numbers in rising order, the first and the last frame among them.

    Example:
        >>> evenly_spaced(9, 3)
        [0, 4, 8]
    """
    return [int(i) for i in np.linspace(0, frames - 1, min(frames, samples)).round()]


def median_background(
    source: FrameSource, size: tuple[int, int] | None, samples: int = BACKGROUND_SAMPLES
) -> np.ndarray:
    """Compute the background of a static camera: the median of evenly spaced frames.

    Args:
        source: Where the frames come from.
        size: ``(height, width)`` to resize to; None keeps the source's size.
        samples: Number of frames that vote.

    Returns:
        uint8 ``[height, width, 3]``.

    Raises:
        TrackNetError: A frame cannot be decoded.
    """
    return median_of(source.sample(size, samples))


def background_and_frames(
    source: FrameSource, size: tuple[int, int]
) -> tuple[np.ndarray, Iterator[np.ndarray]]:
    """Compute the background, and give all frames after it; a short source is decoded only once.

    Frames are held until they are given, up to 256 MiB of them: 606 frames of 288x512, a rally of 20 s. Of a
    source that breaks off among these, what comes before is given all the same, and then the error.

    Args:
        source: Where the frames come from.
        size: ``(height, width)`` to resize to.

    Returns:
        The background as `median_background` gives it, and the frames as `FrameSource.frames` gives them.

    Raises:
        TrackNetError: The first frame cannot be decoded, or one of a longer source.
    """
    frames = source.frames(size)
    fits = 0 if source.estimate() > LONG_VIDEO else HELD_BYTES // (3 * size[0] * size[1])
    held: deque[np.ndarray] = deque()
    fault = None
    try:
        held.extend(islice(frames, fits))
        further = next(frames, None) if held else None
    except TrackNetError as error:
        if not held:
            raise
        fault, further = error, None
    if further is not None:
        held.append(further)
    elif held:
        voters = [held[i] for i in evenly_spaced(len(held), BACKGROUND_SAMPLES)]
        return median_of(voters), _given(held, fault)
    return median_background(source, size), chain(_given(held), frames)


def _given(held: deque[np.ndarray], fault: TrackNetError | None = None) -> Iterator[np.ndarray]:
    """Give frames and let go of them; then raise what went wrong behind them."""
    while held:
        yield held.popleft()
    if fault is not None:
        raise fault


def median_of(frames: Sequence[np.ndarray]) -> np.ndarray:
    """Compute the median of each pixel over some frames.

    Equal to ``numpy.median(frames, axis=0)`` rounded down, faster and without a copy of all frames.

    Args:
        frames: At least one uint8 array, all of one shape.

    Returns:
        uint8 array of that shape.
    """
    if frames[0].size > _BLOCK:
        # Parts that stay in the cache of the processor while all frames vote.
        flat = [frame.reshape(-1) for frame in frames]
        parts = [median_of([one[at : at + _BLOCK] for one in flat]) for at in range(0, len(flat[0]), _BLOCK)]
        return np.concatenate(parts).reshape(frames[0].shape)
    # The k-th smallest value is the largest one that at most k values lie below: find its bits from the top.
    below_half = (len(frames) - 1) // 2
    counter = np.min_scalar_type(len(frames))
    lower: np.ndarray = np.zeros_like(frames[0])
    flag = np.empty(lower.shape, bool)
    one = flag.view(np.uint8)  # the same bytes as 0 and 1, which are added without a conversion
    for bit in (128, 64, 32, 16, 8, 4, 2, 1):
        candidate = lower | np.uint8(bit)
        smaller = np.zeros(lower.shape, counter)
        for frame in frames:
            np.less(frame, candidate, out=flag)
            np.add(smaller, one, out=smaller)
        lower = np.where(smaller <= below_half, candidate, lower)
    if len(frames) % 2:
        return lower
    # The median of an even number is the mean of the middle two: find the smallest value above the lower one.
    upper, other = np.full_like(lower, 255), np.empty_like(lower)
    not_above = np.zeros(lower.shape, counter)
    for frame in frames:
        np.less_equal(frame, lower, out=flag)
        np.add(not_above, one, out=not_above)
        np.maximum(frame, np.negative(one, out=other), out=other)  # 255 in place of what is not above
        np.minimum(upper, other, out=upper)
    upper = np.where(not_above > below_half + 1, lower, upper)
    middle: np.ndarray = lower + (upper - lower) // 2
    return middle
