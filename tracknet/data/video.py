"""Frames out of videos and image folders, one at a time, and frames into a video.

Every picture, of a video or of an image file, is decoded and resized by the same library (FFmpeg's decoders
and area averaging), so that training and tracking see the same pixels.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import av.error
import numpy as np
from av.video.reformatter import VideoReformatter

from tracknet.errors import TrackNetError, nearest

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
LONG_VIDEO = 3000  # frames; the background of a longer video is taken from its keyframes
FALLBACK_FPS = 30.0
BACKGROUND_SAMPLES = 64  # frames that vote on the background, in training as in tracking

_IMAGE_CODECS = {b"\xff\xd8": "mjpeg", b"\x89P": "png", b"BM": "bmp"}


@dataclass(frozen=True)
class VideoInfo:
    """What a source says about itself.

    Attributes:
        width: Width of the frames in pixels.
        height: Height of the frames in pixels.
        fps: Frames per second; 30 where the source does not tell.
        frames: Number of frames: exact for an image folder, the container's claim for a video (often, not
            always, right), None where it makes none.
    """

    width: int
    height: int
    fps: float
    frames: int | None


class FrameSource(ABC):
    """A sequence of frames that can be read from its start any number of times.

    Holds no open file: a source can be sent to another process.

    Attributes:
        path: The video file or the image folder.
        info: Size, speed and claimed length.
    """

    path: Path
    info: VideoInfo

    @abstractmethod
    def frames(self, size: tuple[int, int] | None = None, threads: int | None = None) -> Iterator[np.ndarray]:
        """Decode all frames in the order in which they are shown, each exactly once, in constant memory.

        Args:
            size: ``(height, width)`` to resize to by area averaging; None keeps the source's size.
            threads: Threads of the decoder; None lets it choose.

        Yields:
            RGB frames, uint8 ``[height, width, 3]``.

        Raises:
            TrackNetError: A frame cannot be decoded; the message names the file and the frame.
        """

    @abstractmethod
    def files(self) -> list[Path]:
        """List the files whose content is the source, in the order of the frames."""

    @abstractmethod
    def count(self) -> int:
        """Count the frames that :meth:`frames` delivers."""

    def estimate(self) -> int:
        """Guess the number of frames at no cost; 0 when there is nothing to go by."""
        return self.info.frames or 0

    @abstractmethod
    def sample(self, size: tuple[int, int] | None, samples: int) -> list[np.ndarray]:
        """Read up to ``samples`` frames spread evenly over the source; see :func:`sample_frames`."""


class VideoFile(FrameSource):
    """A video file of any container and codec that FFmpeg reads.

    Args:
        path: The file.

    Raises:
        TrackNetError: The file holds no readable video.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._opened() as (container, stream):
            context = stream.codec_context
            if not context.width or not context.height:
                raise TrackNetError(f"{path}: the size of its frames cannot be found; re-encode the video")
            rate = float(stream.average_rate or 0)
            fps = rate if 0 < rate <= 1000 else FALLBACK_FPS
            self.info = VideoInfo(context.width, context.height, fps, stream.frames or None)
            self._seconds = float(container.duration or 0) / av.time_base

    def frames(self, size: tuple[int, int] | None = None, threads: int | None = None) -> Iterator[np.ndarray]:  # noqa: D102
        shape = size or (self.info.height, self.info.width)
        resize = _Resizer(shape)
        number = 0
        with self._opened() as (container, stream):
            if threads:
                stream.codec_context.thread_count = threads
            if threads != 1:
                stream.thread_type = "AUTO"
            cut = False
            try:
                for packet in container.demux(stream):
                    # A frame that ends behind the end of the file: an unfinished download or copy.
                    cut = packet.is_corrupt if packet.size else cut
                    for frame in packet.decode():
                        yield resize(frame)
                        number += 1
            except av.error.FFmpegError as error:
                raise TrackNetError(
                    f"{self.path}: damaged behind frame {number} ({error.strerror}); get the file again, or "
                    "re-encode its readable part"
                ) from error
            if cut:
                raise TrackNetError(
                    f"{self.path}: the file is cut short, it ends within a frame after {number} frames"
                    f"{f' of {self.info.frames}' if self.info.frames else ''}; get the file again"
                )
        if not number:
            raise TrackNetError(
                f"{self.path}: holds a video stream without a single frame; get the file again"
            )

    def files(self) -> list[Path]:  # noqa: D102
        return [self.path]

    def count(self) -> int:
        """Count the frames: from the packets where these agree with the container's claim, else by decoding.

        Packets and frames can differ: frames cut off by an edit list, hidden frames, a damaged tail.
        """
        packets = self._packets()
        return packets if packets == self.info.frames else sum(1 for _ in self.frames((2, 2)))

    def estimate(self) -> int:  # noqa: D102
        return self.info.frames or round(self._seconds * self.info.fps)

    def sample(self, size: tuple[int, int] | None, samples: int) -> list[np.ndarray]:  # noqa: D102
        if self.estimate() > LONG_VIDEO:
            keyframes = self._keyframes(size, samples)
            if len(keyframes) >= samples / 2:
                return keyframes
        # Packets are nearly always as many as frames; where not, the first decoding finds the true number.
        expected, total = self._packets(), -1
        kept: list[np.ndarray] = []
        while total != expected:
            wanted, total = set(evenly_spaced(expected, samples)), 0
            kept = []
            for frame in self.frames(size):
                if total in wanted:
                    kept.append(frame)
                total += 1
            if total != expected:
                expected, total = total, -1
        return kept

    def _packets(self) -> int:
        with self._opened() as (container, stream):
            return sum(1 for packet in container.demux(stream) if packet.size and not packet.is_discard)

    def _keyframes(self, size: tuple[int, int] | None, samples: int) -> list[np.ndarray]:
        resize = _Resizer(size or (self.info.height, self.info.width))
        found: dict[int | None, np.ndarray] = {}
        with self._opened() as (container, stream):
            stream.codec_context.skip_frame = "NONKEY"
            start, duration = container.start_time or 0, container.duration or 0
            try:
                for share in np.linspace(0, 1, samples, endpoint=False):
                    container.seek(int(start + share * duration))
                    frame = next(container.decode(stream), None)
                    if frame is not None and frame.pts not in found:
                        found[frame.pts] = resize(frame)
            except av.error.FFmpegError:
                return []
        return list(found.values())

    @contextmanager
    def _opened(self) -> Iterator[tuple[Any, Any]]:
        expected = "expected a video such as .mp4, .avi, .mkv or .mov, or a folder of images"
        try:
            # The prefix keeps a colon in a name from being read as a protocol.
            container = av.open(f"file:{self.path}", metadata_errors="ignore")
        except av.error.FFmpegError as error:
            raise TrackNetError(
                f"{self.path}: not a readable video ({error.strerror}); {expected}"
            ) from error
        with container:
            stream = container.streams.best("video")
            picture = stream is not None and stream.disposition & stream.disposition.attached_pic
            if stream is None or picture or container.format.name == "tty":  # tty: text drawn as a film
                raise TrackNetError(f"{self.path}: holds no video stream; {expected}")
            yield container, stream


class ImageFolder(FrameSource):
    """A folder of images of one size, one a frame, in the order of the numbers in their names.

    Hidden files and files that are no images are passed over.

    Args:
        path: The folder.
        fps: Frames per second that the images were taken at.

    Raises:
        TrackNetError: The folder holds no image, or the first one cannot be read.
    """

    def __init__(self, path: Path, fps: float = FALLBACK_FPS) -> None:
        self.path = path
        self._images = sorted(
            (
                file
                for file in path.iterdir()
                if file.suffix.lower() in IMAGE_SUFFIXES and file.name[0] != "."
            ),
            key=lambda file: _as_number(file.name),
        )
        if not self._images:
            raise TrackNetError(
                f"{path}: no images in this folder; expected files ending in {', '.join(IMAGE_SUFFIXES)}"
            )
        first = _read_image(self._images[0])
        self.info = VideoInfo(first.width, first.height, fps, len(self._images))

    def frames(self, size: tuple[int, int] | None = None, threads: int | None = None) -> Iterator[np.ndarray]:  # noqa: D102
        return self._read(self._images, size)

    def files(self) -> list[Path]:  # noqa: D102
        return list(self._images)

    def count(self) -> int:  # noqa: D102
        return len(self._images)

    def sample(self, size: tuple[int, int] | None, samples: int) -> list[np.ndarray]:  # noqa: D102
        return list(self._read([self._images[i] for i in evenly_spaced(self.count(), samples)], size))

    def _read(self, images: Sequence[Path], size: tuple[int, int] | None) -> Iterator[np.ndarray]:
        resize = _Resizer(size or (self.info.height, self.info.width))
        for file in images:
            image = _read_image(file)
            if (image.width, image.height) != (self.info.width, self.info.height):
                raise TrackNetError(
                    f"{file}: is {image.width}x{image.height}, but the first image of the folder is "
                    f"{self.info.width}x{self.info.height}; all images of a clip must have one size"
                )
            yield resize(image)


def open_source(path: Path | str) -> FrameSource:
    """Open a video file or a folder of images.

    Args:
        path: The file or the folder.

    Returns:
        The source, its :class:`VideoInfo` read.

    Raises:
        TrackNetError: The path is missing, empty or no video; the message says what to do.
    """
    path = Path(path).expanduser()
    try:
        if path.is_dir():
            return ImageFolder(path)
        if not path.exists():
            siblings = [file.name for file in path.parent.iterdir()] if path.parent.is_dir() else []
            raise TrackNetError(f"{path}: no such video or image folder{nearest(path.name, siblings)}")
        if not path.stat().st_size:
            raise TrackNetError(f"{path}: the file is empty (0 bytes); copy or download it again")
        return VideoFile(path)
    except OSError as error:
        raise TrackNetError(f"{path}: cannot be read: {error.strerror}") from error


def count_frames(source: FrameSource) -> int:
    """Count the frames of a source exactly, without decoding where that is safe."""
    return source.count()


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


def sample_frames(
    source: FrameSource, size: tuple[int, int] | None, samples: int = BACKGROUND_SAMPLES
) -> np.ndarray:
    """Read frames spread evenly over a source, in constant memory.

    A video of more than 3000 frames is not decoded whole: the keyframes before evenly spaced times are taken,
    provided that at least ``samples / 2`` different ones are found.

    Args:
        source: Where the frames come from.
        size: ``(height, width)`` to resize to; None keeps the source's size.
        samples: Number of frames wanted, at least 1.

    Returns:
        uint8 ``[n, height, width, 3]`` with ``n <= samples``, in rising order.

    Raises:
        TrackNetError: A frame cannot be decoded.
    """
    return np.stack(source.sample(size, samples))


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


def median_of(frames: Sequence[np.ndarray]) -> np.ndarray:
    """Compute the median of each pixel over some frames.

    Equal to ``numpy.median(frames, axis=0)`` rounded down, faster and without a copy of all frames.

    Args:
        frames: At least one uint8 array, all of one shape.

    Returns:
        uint8 array of that shape.
    """
    # The k-th smallest value is the largest one that at most k values lie below: find its bits from the top.
    below_half = (len(frames) - 1) // 2
    counter = np.min_scalar_type(len(frames))
    lower: np.ndarray = np.zeros_like(frames[0])
    for bit in (128, 64, 32, 16, 8, 4, 2, 1):
        candidate = lower | np.uint8(bit)
        smaller = np.zeros(lower.shape, counter)
        for frame in frames:
            smaller += frame < candidate
        lower = np.where(smaller <= below_half, candidate, lower)
    if len(frames) % 2:
        return lower
    # The median of an even number is the mean of the middle two: find the smallest value above the lower one.
    upper = np.full_like(lower, 255)
    not_above = np.zeros(lower.shape, counter)
    for frame in frames:
        above = frame > lower
        not_above += ~above
        np.minimum(upper, np.where(above, frame, np.uint8(255)), out=upper)
    upper = np.where(not_above > below_half + 1, lower, upper)
    middle: np.ndarray = lower + (upper - lower) // 2
    return middle


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

    Example:
        >>> with VideoWriter(folder / "clip.mp4", (64, 96), fps=30) as video:
        ...     video.write(np.zeros((64, 96, 3), np.uint8))
    """

    def __init__(self, path: Path | str, size: tuple[int, int], fps: float, quality: int = 23) -> None:
        self.path = Path(path)
        self._size = size
        self._odd = (size[0] % 2, size[1] % 2)
        self._rate = Fraction(fps).limit_denominator(1001)
        self._quality = quality
        self._part = self.path.with_name(f".{self.path.stem}.{os.getpid()}.part{self.path.suffix}")
        self._written = 0

    def __enter__(self) -> VideoWriter:
        """Open the file that becomes the video."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._container = av.open(str(self._part), "w")
        except (av.error.FFmpegError, ValueError) as error:
            raise TrackNetError(
                f"{self.path}: cannot be written as a video ({error}); try a name in .mp4"
            ) from error
        self._stream = self._container.add_stream("libx264", rate=self._rate)
        self._stream.height, self._stream.width = (side + side % 2 for side in self._size)
        self._stream.pix_fmt = "yuv420p"
        self._stream.options = {"crf": str(self._quality), "preset": "veryfast"}
        self._reformatter = VideoReformatter()
        return self

    def write(self, frame: np.ndarray) -> None:
        """Append one frame.

        Args:
            frame: RGB, uint8 ``[height, width, 3]`` of the size told at the start.

        Raises:
            ValueError: The frame has another shape or type.
        """
        if frame.shape != (*self._size, 3) or frame.dtype != np.uint8:
            raise ValueError(f"expected a uint8 frame of {(*self._size, 3)}, got {frame.dtype} {frame.shape}")
        if any(self._odd):
            frame = np.pad(frame, ((0, self._odd[0]), (0, self._odd[1]), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        picture.pts = self._written
        picture.time_base = 1 / self._rate
        self._written += 1
        self._container.mux(self._stream.encode(picture))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the video and give it its name; after an error remove what was written."""
        try:
            if error is None:
                if not self._written:
                    raise TrackNetError(f"{self.path}: not written, because there was not a single frame")
                self._container.mux(self._stream.encode(None))
            self._container.close()
            if error is None:
                with self._part.open("rb+") as file:
                    os.fsync(file.fileno())
                self._part.replace(self.path)
        finally:
            self._part.unlink(missing_ok=True)


class _Resizer:
    """Turns decoded pictures into RGB arrays; keeps the scaler's tables from one frame to the next."""

    def __init__(self, size: tuple[int, int]) -> None:
        self._height, self._width = size
        self._reformatter = VideoReformatter()

    def __call__(self, frame: Any) -> np.ndarray:
        picture = self._reformatter.reformat(
            frame, self._width, self._height, format="rgb24", interpolation="AREA"
        )
        array: np.ndarray = picture.to_ndarray()
        return array


def _as_number(name: str) -> tuple[list[str | int], str]:
    """Sort key that puts 2.jpg before 10.jpg."""
    parts: Iterable[str] = re.split(r"(\d+)", name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


def _read_image(file: Path) -> Any:
    """Decode one image file; raises TrackNetError naming it."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise TrackNetError(f"{file}: cannot be read: {error.strerror}") from error
    codec = _IMAGE_CODECS.get(data[:2])
    # A JPEG that was cut short is decoded with a grey rest, so its end mark is looked for.
    whole = codec != "mjpeg" or data.rfind(b"\xff\xd9") > data.rfind(b"\xff\xda")
    if codec and whole:
        context: Any = av.CodecContext.create(codec, "r")
        context.thread_count = 1
        try:
            for frame in context.decode(av.Packet(data)):
                return frame
        except av.error.FFmpegError:
            pass
    raise TrackNetError(f"{file}: not a readable image (JPEG, PNG or BMP); remove it or copy it again")
