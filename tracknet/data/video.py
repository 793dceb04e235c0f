"""Frames out of videos and image folders, one at a time.

Every picture, of a video or of an image file, is decoded and resized by the same library (FFmpeg's decoders
and area averaging), so that training and tracking see the same pixels.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np

from tracknet.data import background
from tracknet.data.background import background_and_frames, evenly_spaced, median_background
from tracknet.data.damage import Damage
from tracknet.data.faults import FaultKind, are, plural
from tracknet.data.frame_source import FALLBACK_FPS, FrameResizer, FrameSource, Stretch, VideoInfo
from tracknet.data.image_folder import IMAGE_SUFFIXES, ImageFolder
from tracknet.data.stream_names import without_secrets
from tracknet.data.video_writer import VideoWriter
from tracknet.errors import TrackNetError, nearest

__all__ = [
    "IMAGE_SUFFIXES",
    "FrameSource",
    "ImageFolder",
    "Stretch",
    "VideoFile",
    "VideoInfo",
    "VideoWriter",
    "background_and_frames",
    "count_frames",
    "median_background",
    "open_source",
]


_BROKEN = (av.error.FFmpegError, IndexError)
"""What PyAV raises while it reads a damaged file."""

Note = Callable[[Path, FaultKind, str], None]
"""Is told what is odd about a video that can be read all the same: its path, the kind, and a sentence."""


def say(path: Path, kind: FaultKind, what: str) -> None:
    """Say on standard error what is odd about a video; see `Note`."""
    print(f"note: {path}: {what}", file=sys.stderr)


class VideoFile(FrameSource):
    """A video file of any container and codec that FFmpeg reads.

    Frames are given as they are stored. Where that is not what players show, because the video is to be
    turned, where the decoder had to guess parts of damaged frames or has lost some, and where the file holds
    several video streams, of which one is read, it is said once.

    Args:
        path: The file.
        note: Is told so; the default says it on standard error.

    Raises:
        TrackNetError: The file holds no readable video.
    """

    def __init__(self, path: Path, note: Note = say) -> None:
        self.path = path
        self._say = note
        with self._opened() as (container, stream):
            context = stream.codec_context
            if not context.width or not context.height:
                raise TrackNetError(f"{path}: the size of its frames cannot be found; re-encode the video")
            rate = float(stream.average_rate or 0)
            fps = rate if 0 < rate <= 1000 else FALLBACK_FPS
            pixel = Fraction(stream.sample_aspect_ratio or 1)
            self.info = VideoInfo(context.width, context.height, fps, stream.frames or None, pixel)
            self._seconds = float(container.duration or 0) / av.time_base
        self._noted: set[str] = set()

    def frames(  # noqa: D102
        self,
        size: tuple[int, int] | None = None,
        threads: int | None = None,
        stretches: Sequence[Stretch] | None = None,
    ) -> Iterator[np.ndarray]:
        left = None if stretches is None else list(stretches)
        every = self._decoded(size, threads, lambda number: left is None or number >= left[0][0])
        with closing(every):
            for number, (_, picture) in enumerate(every):
                if picture is not None:
                    yield picture
                if left and number + 1 == left[0][1]:
                    del left[0]
                    if not left:
                        return

    def timed_frames(self) -> Iterator[tuple[float | None, np.ndarray]]:  # noqa: D102
        every = self._decoded(None, None, lambda number: True)
        with closing(every):
            yield from ((second, picture) for second, picture in every if picture is not None)

    def _decoded(
        self, size: tuple[int, int] | None, threads: int | None, wanted: Callable[[int], bool]
    ) -> Generator[tuple[float | None, np.ndarray | None], None, None]:
        """Decode every frame, with its second; None stands for those not wanted, which are not resized."""
        resize = FrameResizer(size or (self.info.height, self.info.width))
        number = 0
        guessed: list[int] = []
        damage = Damage()
        size_so_far = (self.info.width, self.info.height)
        with self._opened() as (container, stream):
            if threads:
                stream.codec_context.thread_count = threads
            if threads != 1:
                stream.thread_type = "AUTO"
            if other := _several(container, stream):
                self.note("several-streams", other)
            cut = False
            try:
                for packet in packets_of(container, stream, partial(self.note, "several-streams")):
                    # A frame that ends behind the end of the file: an unfinished download or copy.
                    cut = packet.is_corrupt if packet.size else cut
                    if packet.size and cut:
                        damage.add(number)
                    for frame in packet.decode():
                        if number == 0 and frame.rotation:
                            self.note("turned", turned(frame.rotation))
                        if frame.is_corrupt:
                            guessed.append(number)
                        if (frame.width, frame.height) != size_so_far:
                            self.note("changing-size", _resized(number, self.info, frame))
                            size_so_far = (frame.width, frame.height)
                        damage.see(frame.time)
                        yield frame.time, resize(frame) if wanted(number) else None
                        number += 1
            except _BROKEN as error:
                reason = (
                    error.strerror if isinstance(error, av.error.FFmpegError) else "a packet of no stream"
                )
                raise TrackNetError(
                    f"{self.path}: damaged behind frame {number} ({reason}); get the file again, or "
                    "re-encode its readable part"
                ) from error
            finally:
                if guessed:
                    self.note("damaged", _damaged(guessed))
                if damage.lost and not cut:
                    self.note("damaged", _lost(damage))
            if cut:
                claimed = f" of {self.info.frames:,}" if self.info.frames else ""
                raise TrackNetError(
                    f"{self.path}: the file is cut short, it ends within a frame after "
                    f"{plural(number, 'frame')}{claimed}; get the file again"
                )
        if not number:
            raise TrackNetError(
                f"{self.path}: holds a video stream without a single frame; get the file again"
            )

    def files(self) -> list[Path]:  # noqa: D102
        return [self.path]

    def count(self) -> int:
        """Count the frames: from the packets where these agree with the container's claim, else by decoding.

        Packets and frames can differ: frames cut off by an edit list, hidden frames, a damaged tail, a
        beginning that needs frames of before.
        """
        packets = self._packets()
        return packets if packets == self.info.frames else sum(1 for _ in self.frames((2, 2)))

    def rotation(self) -> int:
        """Give the degrees by which players turn the pictures, counter-clockwise, from the first of them.

        Raises:
            TrackNetError: It cannot be decoded.
        """
        with self._opened() as (container, stream):
            try:
                return next((int(frame.rotation) for frame in container.decode(stream)), 0)
            except _BROKEN as error:
                raise TrackNetError(f"{self.path}: its first frame cannot be decoded") from error

    def estimate(self) -> int:  # noqa: D102
        return self.info.frames or round(self._seconds * self.info.fps)

    def sample(self, size: tuple[int, int] | None, samples: int) -> list[np.ndarray]:  # noqa: D102
        if self.estimate() > background.LONG_VIDEO:
            keyframes = self._keyframes(size, samples)
            if len(keyframes) >= samples / 2:
                return keyframes
        # Packets are nearly always as many as frames; where not, the first decoding finds the true number.
        kept, total = self._decode_evenly(size, samples, packets := self._packets())
        return kept if total == packets else self._decode_evenly(size, samples, total)[0]

    def _decode_evenly(
        self, size: tuple[int, int] | None, samples: int, expected: int
    ) -> tuple[list[np.ndarray], int]:
        """Keep evenly spaced ones of ``expected`` frames; also returns how many there really are."""
        wanted, kept, total = set(evenly_spaced(expected, samples)), [], 0
        for _, picture in self._decoded(size, None, wanted.__contains__):
            if picture is not None:
                kept.append(picture)
            total += 1
        return kept, total

    def _packets(self) -> int:
        """Count the packets that hold a frame; 0 where they do not tell how many frames there are."""
        packets = 0
        with self._opened() as (container, stream):
            try:
                for packet in packets_of(container, stream):
                    if packet.size and not packet.is_discard and not packet.is_corrupt:
                        if not (packets or packet.is_keyframe):
                            return 0
                        packets += 1
            except _BROKEN:
                return 0
        return packets

    def _keyframes(self, size: tuple[int, int] | None, samples: int) -> list[np.ndarray]:
        resize = FrameResizer(size or (self.info.height, self.info.width))
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
            except _BROKEN:
                return []
        return list(found.values())

    def note(self, kind: FaultKind, what: str) -> None:
        """Say something of the file, once."""
        if what not in self._noted:
            self._noted.add(what)
            self._say(self.path, kind, what)

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
            cover = stream is not None and _is_cover(stream)
            if stream is None or cover or container.format.name == "tty":  # tty: text drawn as a film
                raise TrackNetError(f"{self.path}: holds no video stream; {expected}")
            # A picture that is named as one is a video of one frame.
            single = container.format.name == "image2" or container.format.name.endswith("_pipe")
            if single and self.path.suffix.lower() not in IMAGE_SUFFIXES:
                raise TrackNetError(f"{self.path}: is a single picture; {expected}")
            if stream.codec_context is None:
                raise TrackNetError(f"{self.path}: its frames are coded in a way that FFmpeg cannot decode")
            yield container, stream


def open_source(path: Path | str, note: Note = say) -> FrameSource:
    """Open a video file or a folder of images.

    Args:
        path: The file or the folder.
        note: Is told what is odd about a video, see `VideoFile`.

    Returns:
        The source, its `VideoInfo` read.

    Raises:
        TrackNetError: The path is missing, empty or no video; the message says what to do.
    """
    path = Path(path).expanduser()
    shown = without_secrets(str(path))
    try:
        if path.is_dir():
            return ImageFolder(path)
        if path.is_symlink() and not path.exists():
            raise TrackNetError(f"{path}: is a link to {path.readlink()}, which is not there")
        if not path.exists():
            hint = nearest(path.name, _might_be_meant(path))
            raise TrackNetError(f"{shown}: no such video or image folder{hint}")
        if not path.is_file():
            raise TrackNetError(f"{path}: is neither a file nor a folder; streams are tracked one by one")
        if not path.stat().st_size:
            raise TrackNetError(f"{path}: the file is empty (0 bytes); copy or download it again")
        return VideoFile(path, note)
    except OSError as error:
        raise TrackNetError(f"{shown}: cannot be read: {error.strerror}") from error


def packets_of(
    container: Any, stream: Any, note: Callable[[str], None] = lambda what: None
) -> Generator[Any, None, None]:
    """Read the packets of a stream, also where the file goes on with others than it began with.

    PyAV ends in an IndexError then, at the first packet of the new stream or at the end of the file.

    Args:
        container: An open container.
        stream: One of its streams.
        note: Is told where another stream begins.

    Yields:
        Packets; the last one is empty and flushes the decoder.
    """
    packets, ended = 0, False
    while not ended:
        try:
            for packet in container.demux(stream):
                ended = not packet.size
                packets += not ended
                yield packet
            return
        except IndexError:
            note(f"from packet {packets} on at the latest it has another stream, which is not read")


def count_frames(source: FrameSource) -> int:
    """Count the frames of a source exactly, without decoding where that is safe."""
    return source.count()


def _several(container: Any, stream: Any) -> str | None:
    """Say which one of several video streams is read; None where there is only one."""
    films = sum(not _is_cover(one) for one in container.streams.video)
    context = stream.codec_context
    told = f"holds {films} video streams; the one of {context.width}x{context.height} is read"
    return told if films > 1 else None


def _is_cover(stream: Any) -> bool:
    return bool(stream.disposition & stream.disposition.attached_pic)


def turned(degrees: int) -> str:
    """Say of a video that players turn its pictures, which are read as they are stored."""
    return (
        f"players show it turned by {degrees} degrees; frames and positions are those of the picture as it "
        "is stored; to turn it for good: ffmpeg -i OLD NEW.mp4"
    )


def _resized(number: int, info: VideoInfo, frame: Any) -> str:
    return (
        f"from frame {number} on its pictures are {frame.width}x{frame.height}; they are shrunk or "
        f"stretched, and positions are those in pictures of {info.width}x{info.height}, as before"
    )


def _might_be_meant(path: Path) -> list[str]:
    """List the folders beside a file that is not there, and the files of its kind or name."""
    beside = path.parent.iterdir() if path.parent.is_dir() else ()
    return [
        one.name for one in beside if path.suffix in ("", one.suffix) or one.stem == path.stem or one.is_dir()
    ]


def _damaged(guessed: Sequence[int]) -> str:
    return (
        f"{plural(len(guessed), 'frame')} {are(len(guessed))} damaged, the first is {guessed[0]}; the "
        "decoder guessed what is missing, also in the frames behind; get the file again"
    )


def _lost(damage: Damage) -> str:
    return (
        f"by the times of the rest, about {damage.lost_frames} behind damage near frame {damage.first}; lost "
        "frames have no number, so that the numbers behind are too low; get the file again"
    )
