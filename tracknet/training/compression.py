"""Checkpoints compressed with zstd, and read back no larger than they say that they are.

Weights are nearly random numbers and shrink little; states of training that are still zero shrink more. What
is told of each compression says whether it is worth its time.
"""

from __future__ import annotations

import io
import time
from importlib.util import find_spec
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TypedDict

from jsonargparse.typing import restricted_number_type

from tracknet.errors import TrackNetError

if TYPE_CHECKING:
    from types import ModuleType

Method = Literal["none", "zstd"]
"""How a checkpoint may be compressed."""

ZstdLevel = restricted_number_type("ZstdLevel", int, [(">=", 1), ("<=", 19)])
"""Effort of zstd: 1 is the fastest, 19 the smallest."""

DEFAULT_LEVEL = 3

_BLOCK = 1 << 20
_WINDOW = 1 << 27
_ALWAYS_ALLOWED = 256 << 20
_LARGEST_FACTOR = 100
_LONGEST = 1e9


class Compression(TypedDict):
    """What a compressed checkpoint says of its compression.

    Attributes:
        method: How it is compressed: ``zstd``.
        size: Bytes of what is compressed, before.
        compressed: Bytes of it afterwards.
        seconds: Time it took.
    """

    method: str
    size: int
    compressed: int
    seconds: float


def in_words(before: int, after: int, seconds: float) -> str:
    """Say in words what a change of a file's size was worth.

    Args:
        before: Bytes before.
        after: Bytes afterwards.
        seconds: Time it took.

    Example:
        >>> in_words(12_900_000, 11_800_000, 0.081)
        '12.9 MB -> 11.8 MB, 0.91, 0.08 s'
    """
    return f"{before / 1e6:.1f} MB -> {after / 1e6:.1f} MB, {after / before:.2f}, {seconds:.2f} s"


def require_zstandard(what: str) -> ModuleType:
    """Import the package that compresses.

    Args:
        what: What needs it, for the message.

    Raises:
        TrackNetError: It is not installed.
    """
    try:
        import zstandard
    except ImportError as error:
        raise TrackNetError(f"{what} needs zstandard: pip install 'tracknet[zstd]'") from error
    return zstandard


def is_installed() -> bool:
    """Say whether the package that compresses is installed."""
    return find_spec("zstandard") is not None


def compress(source: IO[bytes], target: IO[bytes], level: int) -> Compression:
    """Compress a file.

    Args:
        source: The file, open for reading; all of it is taken.
        target: Where it goes.
        level: Effort, see `ZstdLevel`.

    Returns:
        What it was worth.

    Raises:
        TrackNetError: The package is not installed.
    """
    size = source.seek(0, io.SEEK_END)
    source.seek(0)
    begun = time.perf_counter()
    compressor = require_zstandard("compression: zstd").ZstdCompressor(level=level)
    _, compressed = compressor.copy_stream(source, target, size=size)
    return Compression(
        method="zstd", size=size, compressed=compressed, seconds=round(time.perf_counter() - begun, 3)
    )


def is_allowed(size: int, compressed: int) -> bool:
    """Say whether so much may come out of a file; more is a trap that fills the memory, and is not written.

    Args:
        size: Bytes that would come out.
        compressed: Bytes of the file.
    """
    return size <= max(_ALWAYS_ALLOWED, _LARGEST_FACTOR * compressed)


def expand(source: IO[bytes], told: Compression, path: Path) -> io.BytesIO:
    """Give what is compressed in a checkpoint, never more than it says that there is.

    Args:
        source: The compressed bytes.
        told: What the checkpoint says of them.
        path: The checkpoint, for messages and for its size.

    Raises:
        TrackNetError: The package is not installed, the method is another, or the sizes are not as told.
    """
    if told["method"] != "zstd":
        raise TrackNetError(
            f"{path}: compressed with {told['method']!r}, which this tracknet does not know: "
            "pip install --upgrade tracknet"
        )
    if not is_allowed(told["size"], path.stat().st_size):
        raise TrackNetError(
            f"{path}: not opened: {path.stat().st_size / 1e6:.1f} MB would become "
            f"{told['size'] / 1e6:.0f} MB, more than any checkpoint is compressed"
        )
    zstandard = require_zstandard(f"{path}: is compressed with zstd; reading it")
    content = io.BytesIO()
    try:
        with zstandard.ZstdDecompressor(max_window_size=_WINDOW).stream_reader(source) as reader:
            while content.tell() <= told["size"] and (block := reader.read(_BLOCK)):
                content.write(block)
    except zstandard.ZstdError as error:
        raise TrackNetError(f"{path}: not a readable checkpoint: it is damaged ({error})") from error
    if content.tell() != told["size"]:
        raise TrackNetError(
            f"{path}: not a readable checkpoint: {'more' if content.tell() > told['size'] else 'less'} comes "
            f"out of it than the {told['size']} bytes that it tells"
        )
    content.seek(0)
    return content


def is_compression(told: Any) -> bool:
    """Say whether something that was read has the shape of `Compression`.

    Args:
        told: Any plain value.
    """
    return (
        isinstance(told, dict)
        and Compression.__required_keys__ <= told.keys()
        and isinstance(told["method"], str)
        and all(type(told[name]) is int and 0 < told[name] < 1 << 60 for name in ("size", "compressed"))
        and isinstance(told["seconds"], (int, float))
        and 0 <= told["seconds"] < _LONGEST
    )
