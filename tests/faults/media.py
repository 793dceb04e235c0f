"""Videos as they come from phones, cameras and broken downloads, made on the spot.

Frame k of each shows a bright dot at the column `column_of` (k), so that a picture, and a trajectory, tells
which frame it is.
"""

from __future__ import annotations

import wave
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SIZE = (64, 96)
FRAMES = 16
FPS = 25
_FIRST, _STEP, _ROW = 10.0, 4.5, 40.0
_SIGMA = 2.0
ALL = tuple(range(FRAMES))


@dataclass(frozen=True)
class Medium:
    """A video, and what is right to do with it.

    Attributes:
        name: What it is, in a few words.
        make: Makes it in a folder and returns the file or the folder of images.
        numbers: Frames that it shows, in order; None where it cannot be used as a whole.
        says: Words of the message where it cannot be used.
        open_says: Words of the message of what only counts frames, such as ``data check``; None where
            counting cannot tell.
        note: Words of what is told on standard error although it can be used.
        exact: Whether every frame shows what it should; if not, only their number is known.
    """

    name: str
    make: Callable[[Path], Path]
    numbers: Sequence[int] | None = ALL
    says: str = ""
    open_says: str | None = None
    note: str = ""
    exact: bool = True


def column_of(number: float) -> float:
    """Give the column of the dot in a frame."""
    return _FIRST + _STEP * number


def picture(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Draw a frame; uint8 ``[h, w, 3]``. In another size than `SIZE` the dot is scaled with the frame."""
    rows, columns = np.mgrid[: size[0], : size[1]].astype(float)
    scale = size[1] / SIZE[1], size[0] / SIZE[0]
    far = ((columns - column_of(number) * scale[0]) / scale[0]) ** 2 + (
        (rows - _ROW * scale[1]) / scale[1]
    ) ** 2
    light = 30 + 210 * np.exp(-far / (2 * _SIGMA**2))
    return np.repeat(light.round().astype(np.uint8)[..., None], 3, axis=2)


def number_in(frame: np.ndarray) -> int:
    """Tell from a picture ``[h, w, 3]``, scaled to `SIZE`, which frame it is."""
    light = np.clip(frame.astype(float).mean(axis=2) - 90, 0, None)
    if not light.any():
        return -1
    column = (light.sum(axis=0) * np.arange(frame.shape[1])).sum() / light.sum()
    return round((column * SIZE[1] / frame.shape[1] - _FIRST) / _STEP)


def encode(
    path: Path,
    numbers: Sequence[int] = ALL,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    size: tuple[int, int] = SIZE,
    times: Sequence[int] | None = None,
    rotation: int = 0,
    noise: int = 0,
    container_options: dict[str, str] | None = None,
    **options: str,
) -> Path:
    """Write a video file.

    Args:
        path: The file; its suffix tells the container.
        numbers: Frames to show.
        codec: Encoder.
        pix_fmt: Layout of the pixels.
        size: Height and width.
        times: Time of each frame in units of 1 / `FPS`; default without gaps.
        rotation: Degrees by which players are told to turn it.
        noise: Largest change of each pixel at random, so that frames take many bytes.
        container_options: Options of the container.
        options: Options of the encoder.
    """
    draw = np.random.default_rng(0)
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=FPS, options=options)
        stream.height, stream.width = size
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = Fraction(1, FPS)
        if rotation:
            stream.set_display_rotation(rotation)
        for place, number in enumerate(numbers):
            shown = picture(number, size)
            if noise:
                shown = np.clip(shown + draw.integers(-noise, noise + 1, shown.shape), 0, 255).astype(
                    np.uint8
                )
            frame = av.VideoFrame.from_ndarray(shown)
            frame.pts = times[place] if times else place
            frame.time_base = Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_image(path: Path, number: int, size: tuple[int, int] = SIZE) -> Path:
    """Write one frame as PNG."""
    context = av.CodecContext.create("png", "w")
    context.height, context.width = size
    context.pix_fmt, context.time_base = "rgb24", Fraction(1, FPS)
    frame = av.VideoFrame.from_ndarray(picture(number, size))
    frame.pts = 0
    path.write_bytes(b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)]))
    return path


def _clip(name: str = "clip.mp4", **options: object) -> Callable[[Path], Path]:
    return lambda folder: encode(folder / name, **options)  # type: ignore[arg-type]


def _noisy(folder: Path) -> Path:
    """A video with its index first and many bytes a frame, to be damaged in one place."""
    return encode(
        folder / "clip.mp4", noise=60, container_options={"movflags": "faststart"}, bf="0", preset="ultrafast"
    )


def _cut(share: float, index_first: bool = True) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = _noisy(folder) if index_first else encode(folder / "clip.mp4")
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * share)])
        return path

    return make


def _overwritten(folder: Path) -> Path:
    path = _noisy(folder)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 6000] = np.random.default_rng(1).bytes(6000)
    path.write_bytes(content)
    return path


def _scratched(folder: Path) -> Path:
    """Within the pixels of one frame, which decoders patch without a word."""
    path = _noisy(folder)
    content = bytearray(path.read_bytes())
    middle = len(content) * 3 // 4
    content[middle : middle + 20] = bytes(20)
    path.write_bytes(content)
    return path


def _renamed(inside: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        return encode(folder / inside).rename(folder / "clip.mp4")

    return make


def _bytes(content: bytes) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "clip.mp4").write_bytes(content)
        return folder / "clip.mp4"

    return make


def _png(folder: Path) -> Path:
    return write_image(folder / "clip.png", 0).rename(folder / "clip.mp4")


def _two_sizes(folder: Path) -> Path:
    parts = [encode(folder / "0.h264", ALL[:8]), encode(folder / "1.h264", ALL[8:], size=(32, 48))]
    joined = b"".join(part.read_bytes() for part in parts)
    for part in parts:
        part.unlink()
    (folder / "clip.h264").write_bytes(joined)
    return _remuxed(folder / "clip.h264", folder / "clip.mkv")


def _without_times(name: str, **options: str) -> Callable[[Path], Path]:
    """A bare stream has no times."""

    def make(folder: Path) -> Path:
        return encode(folder / "bare.h264", **options).rename(folder / name)  # type: ignore[arg-type]

    return make


def _remuxed(source: Path, target: Path) -> Path:
    with av.open(str(source)) as found, av.open(str(target), "w") as container:
        stream = container.add_stream_from_template(found.streams.video[0])
        for place, packet in enumerate(one for one in found.demux(video=0) if one.size):
            packet.pts = packet.dts = place
            packet.time_base = Fraction(1, FPS)
            packet.stream = stream
            container.mux(packet)
    source.unlink()
    return target


def _sound(folder: Path) -> Path:
    with wave.open(str(folder / "clip.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16000))
    with av.open(str(folder / "clip.wav")) as found, av.open(str(folder / "clip.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        for frame in found.decode(audio=0):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    (folder / "clip.wav").unlink()
    return folder / "clip.mp4"


def _images(change: Callable[[Path], None] = lambda folder: None) -> Callable[[Path], Path]:
    """A folder of images, as a clip of the tennis layout."""

    def make(folder: Path) -> Path:
        images = folder / "game1" / "Clip1"
        images.mkdir(parents=True)
        for number in ALL:
            write_image(images / f"{number:04d}.png", number)
        change(images)
        return images

    return make


def _break_image(images: Path) -> None:
    path = images / "0009.png"
    path.write_bytes(path.read_bytes()[:60])


def _shrink_image(images: Path) -> None:
    write_image(images / "0009.png", 9, (32, 48))


def media() -> Iterator[Medium]:
    """Give all cases: first those that are read exactly, then those that are refused."""
    jumpy = [0, 1, 2, 3, 7, 8, 9, 20, 21, 22, 23, 30, 31, 32, 33, 34]
    yield Medium("H.264, as most are", _clip())
    yield Medium("B-frames in a pyramid", _clip(bf="3", **{"x264-params": "b-pyramid=normal:b-adapt=0"}))
    yield Medium("open groups of pictures", _clip(g="5", bf="2", **{"x264-params": "open-gop=1"}))
    yield Medium("variable frame rate", _clip(times=jumpy))
    yield Medium("variable frame rate and B-frames", _clip(times=jumpy, bf="3"))
    yield Medium("variable frame rate, Matroska", _clip("clip.mkv", times=jumpy))
    for degrees in (90, 180, 270):
        yield Medium(f"turned by {degrees} degrees", _clip(rotation=degrees), note="turn it")
    yield Medium("odd size 95x63, grey", _clip(size=(63, 95), pix_fmt="gray"))
    yield Medium("odd size 95x63, 4:4:4", _clip(size=(63, 95), pix_fmt="yuv444p"))
    yield Medium("grey", _clip(pix_fmt="gray"))
    yield Medium("10 bits", _clip(pix_fmt="yuv420p10le"))
    yield Medium("10 bits, 4:2:2", _clip(pix_fmt="yuv422p10le"))
    yield Medium("full range", _clip(pix_fmt="yuvj420p"))
    yield Medium("without times: a bare H.264 stream named .mp4", _without_times("clip.mp4"))
    yield Medium("the same with B-frames", _without_times("clip.mp4", bf="3"))
    yield Medium("H.264 in AVI", _clip("clip.avi", bf="0"))
    yield Medium("twenty bytes overwritten in a frame", _scratched, note="damaged", exact=False)
    yield Medium("a single frame", _clip(numbers=[5]), numbers=[5])
    yield Medium("two frames", _clip(numbers=[5, 6]), numbers=[5, 6])
    yield Medium("the size changes in the middle", _two_sizes, note="from frame 8 on its pictures are")
    yield Medium("MPEG transport stream", _clip("clip.ts"))
    yield Medium("H.265", _clip(codec="libx265", **{"x265-params": "log-level=none"}))
    yield Medium("VP8", _clip("clip.mkv", codec="libvpx"))
    yield Medium("VP9", _clip("clip.mkv", codec="libvpx-vp9"))
    yield Medium("MPEG-4 in AVI", _clip("clip.avi", codec="mpeg4"))
    yield Medium("MPEG-2 with B-frames", _clip("clip.mkv", codec="mpeg2video", bf="2"))
    yield Medium("Motion JPEG in AVI", _clip("clip.avi", codec="mjpeg", pix_fmt="yuvj420p"))
    yield Medium("FFV1", _clip("clip.mkv", codec="ffv1", pix_fmt="yuv444p"))
    yield Medium("ProRes, 10 bits", _clip("clip.mov", codec="prores_ks", pix_fmt="yuv422p10le"))
    yield Medium("PNG with transparency in MOV", _clip("clip.mov", codec="png", pix_fmt="rgba"))
    yield Medium("a Matroska named .mp4", _renamed("clip.mkv"))
    yield Medium("an AVI named .mp4", _renamed("clip.avi"))
    yield Medium("a folder of images", _images())

    whole = "not a readable video"
    yield Medium("cut in half, index first", _cut(0.5), None, "cut short|damaged", "cut short|damaged")
    yield Medium("the last 1 % is missing", _cut(0.99), None, "cut short|damaged", "cut short|damaged")
    yield Medium("cut in half, index last", _cut(0.5, False), None, whole, whole)
    yield Medium("cut within the header", _cut(0.02, False), None, whole, whole)
    yield Medium("overwritten in the middle", _overwritten, None, "damaged")
    yield Medium("zero bytes", _bytes(b""), None, r"empty \(0 bytes\)", r"empty \(0 bytes\)")
    yield Medium("a text named .mp4", _bytes(b"Frame,X,Y\n" * 99), None, "video", "video")
    yield Medium("random bytes named .mp4", _bytes(np.random.default_rng(3).bytes(5000)), None, whole, whole)
    yield Medium("a picture named .mp4", _png, None, "picture", "picture")
    yield Medium("sound only", _sound, None, "holds no video stream", "holds no video stream")
    yield Medium(
        "a broken image in the folder", _images(_break_image), None, r"0009\.png: not a readable image"
    )
    yield Medium(
        "an image of another size in the folder", _images(_shrink_image), None, r"0009\.png: is 48x32"
    )
