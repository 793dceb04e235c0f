"""Frames into a video."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import av
import av.error
import numpy as np
from av.video.reformatter import Colorspace, VideoReformatter

from tracknet.data.whole_file import hidden_part, remove_leftovers, why_refused
from tracknet.errors import TrackNetError

_BT709 = 1  # the same number for matrix, primaries and transfer
_LIMITED = 1  # luma from 16 to 235
_TICKS = 90_000  # a second of a video is divided into at least as many, as broadcasts do
_PAUSE = 10.0  # seconds; longer ones between two frames are a fault of the clock that made the source


class VideoWriter:
    """Writes an H.264 video that players and browsers show; a context manager.

    The video appears under its name when the block ends without an error, and not at all otherwise. Frames of
    an odd width or height get their last column or row twice, because H.264 stores colour in blocks of 2 x 2
    pixels.

    Args:
        path: The video to write, with a suffix such as ``.mp4`` or ``.mkv``; missing folders are made.
        size: ``(height, width)`` of the frames.
        fps: Frames per second.
        quality: Constant rate factor of x264, 0 (lossless, largest) to 51 (worst).
        comment: What the file says of itself; see `comment_of`.
        pixel: Width of a pixel as players are to show it, divided by its height.

    Example:
        >>> with VideoWriter(folder / "clip.mp4", (64, 96), fps=30) as video:
        ...     video.write(np.zeros((64, 96, 3), np.uint8))
    """

    def __init__(
        self,
        path: Path | str,
        size: tuple[int, int],
        fps: float,
        quality: int = 23,
        comment: str = "",
        pixel: Fraction = Fraction(1),
    ) -> None:
        self.path = Path(path)
        self._size = size
        self._odd = (size[0] % 2, size[1] % 2)
        self._rate = Fraction(float(fps)).limit_denominator(1001)
        self._quality = quality
        self._comment = comment
        self._pixel = pixel
        self._part = hidden_part(self.path)
        self._written = 0
        # Whole ticks a frame at the constant rate, and fine enough for frames at moments of their own.
        self._time_base = 1 / Fraction(self._rate.numerator * math.ceil(_TICKS / self._rate.numerator))
        self._moment = Fraction(0)
        self._second = math.nan

    def __enter__(self) -> VideoWriter:
        """Open the file that becomes the video."""
        with self._reported():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self.path)
            self._container = av.open(f"file:{self._part}", "w")
        if self._comment:
            self._container.metadata["comment"] = self._comment
        stream = self._container.add_stream("libx264", rate=self._rate)
        stream.codec_context.time_base = self._time_base
        stream.height, stream.width = (side + side % 2 for side in self._size)
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": str(self._quality), "preset": "veryfast"}
        # Without these marks each player guesses the colours in its own way.
        context = stream.codec_context
        context.sample_aspect_ratio = self._pixel
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED
        self._stream = stream
        self._reformatter = VideoReformatter()
        return self

    def write(self, frame: np.ndarray, second: float | None = None) -> None:
        """Append one frame.

        Args:
            frame: RGB, uint8 ``[height, width, 3]`` of the size told at the start.
            second: When it is to be shown, by a clock that began at any time; None for the constant rate.
                The constant rate holds, too, where the clock stands, goes back, or leaps by over 10 seconds.

        Raises:
            ValueError: The frame has another shape or type.
            TrackNetError: The disk is full.
        """
        if frame.shape != (*self._size, 3) or frame.dtype != np.uint8:
            raise ValueError(f"expected a uint8 frame of {(*self._size, 3)}, got {frame.dtype} {frame.shape}")
        if any(self._odd):
            frame = np.pad(frame, ((0, self._odd[0]), (0, self._odd[1]), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        pause = self._pause(second)
        self._moment += pause if self._written else 0
        picture.pts = round(self._moment / self._time_base)
        picture.time_base = self._time_base
        picture = self._reformatter.reformat(picture, format="yuv420p", dst_colorspace=Colorspace.ITU709)
        self._written += 1
        with self._reported():
            self._container.mux(self._stream.encode(picture))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the video and give it its name; after an error remove what was written."""
        try:
            if error is None and not self._written:
                raise TrackNetError(f"{self.path}: not written, because there was not a single frame")
            if error is None:
                with self._reported():
                    self._container.mux(self._stream.encode(None))
                    self._container.close()
                    with self._part.open("rb+") as file:
                        os.fsync(file.fileno())
                    self._part.replace(self.path)
        finally:
            with suppress(av.error.FFmpegError):  # the first error is the one to report
                self._container.close()
            with suppress(OSError):  # where nothing could be written, nothing can be removed either
                self._part.unlink()

    def _pause(self, second: float | None) -> Fraction:
        """Give the time between the frame before and that of a second."""
        before, self._second = self._second, math.nan if second is None else second
        pause = self._second - before
        ticks = round(pause / self._time_base) if 0 < pause <= _PAUSE else 0
        return ticks * self._time_base or 1 / self._rate

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except (OSError, av.error.FFmpegError, ValueError) as error:
            reason = why_refused(error) if isinstance(error, OSError) else str(error)
            if reason == getattr(error, "strerror", reason):
                reason += "; expected a name in .mp4 or .mkv"
            raise TrackNetError(f"{self.path}: cannot be written: {reason}") from error


def comment_of(path: Path) -> str:
    """Give the comment that a video holds about itself; nothing where it holds none or is no video."""
    try:
        with av.open(f"file:{path}", metadata_errors="ignore") as container:
            return str({key.lower(): text for key, text in container.metadata.items()}.get("comment", ""))
    except (av.error.FFmpegError, OSError):
        return ""
