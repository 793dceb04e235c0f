"""Frames into a video."""

from __future__ import annotations

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

    def __enter__(self) -> VideoWriter:
        """Open the file that becomes the video."""
        with self._reported():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            remove_leftovers(self.path)
            self._container = av.open(f"file:{self._part}", "w")
        if self._comment:
            self._container.metadata["comment"] = self._comment
        stream = self._container.add_stream("libx264", rate=self._rate)
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

    def write(self, frame: np.ndarray) -> None:
        """Append one frame.

        Args:
            frame: RGB, uint8 ``[height, width, 3]`` of the size told at the start.

        Raises:
            ValueError: The frame has another shape or type.
            TrackNetError: The disk is full.
        """
        if frame.shape != (*self._size, 3) or frame.dtype != np.uint8:
            raise ValueError(f"expected a uint8 frame of {(*self._size, 3)}, got {frame.dtype} {frame.shape}")
        if any(self._odd):
            frame = np.pad(frame, ((0, self._odd[0]), (0, self._odd[1]), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture.pts = self._written
        picture.time_base = 1 / self._rate
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
