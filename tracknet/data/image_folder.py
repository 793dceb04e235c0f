"""Frames out of folders of images."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import av.error
import numpy as np

from tracknet.data.background import evenly_spaced
from tracknet.data.frame_source import FALLBACK_FPS, FrameResizer, FrameSource, Stretch, VideoInfo
from tracknet.errors import TrackNetError

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
_IMAGE_CODECS = {b"\xff\xd8": "mjpeg", b"\x89P": "png", b"BM": "bmp"}


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

    def frames(  # noqa: D102
        self,
        size: tuple[int, int] | None = None,
        threads: int | None = None,
        stretches: Sequence[Stretch] | None = None,
    ) -> Iterator[np.ndarray]:
        images = [self._images[first:stop] for first, stop in stretches or [(0, len(self._images))]]
        return self._read([image for part in images for image in part], size)

    def files(self) -> list[Path]:  # noqa: D102
        return list(self._images)

    def count(self) -> int:  # noqa: D102
        return len(self._images)

    def sample(self, size: tuple[int, int] | None, samples: int) -> list[np.ndarray]:  # noqa: D102
        return list(self._read([self._images[i] for i in evenly_spaced(self.count(), samples)], size))

    def _read(self, images: Sequence[Path], size: tuple[int, int] | None) -> Iterator[np.ndarray]:
        resize = FrameResizer(size or (self.info.height, self.info.width))
        for file in images:
            image = _read_image(file)
            if (image.width, image.height) != (self.info.width, self.info.height):
                raise TrackNetError(
                    f"{file}: is {image.width}x{image.height}, but the first image of the folder is "
                    f"{self.info.width}x{self.info.height}; all images of a clip must have one size"
                )
            yield resize(image)


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
