"""A shard as it is written: a tar file, hashed meanwhile, that appears whole or not at all."""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from tracknet.data.shards import Span
from tracknet.data.whole_file import whole_file

_BLOCK = tarfile.BLOCKSIZE
OVERHEAD = _BLOCK + _BLOCK // 2 + 40
"""Bytes that a frame takes in a shard beside its own: header, padding and label, about."""


@dataclass
class ShardRecord:
    """What was written into a shard.

    Attributes:
        bytes: Its length.
        digest: Hash of its content.
        frames: Where its frames lie, in order.
        backgrounds: Where the backgrounds lie, by number of the clip.
    """

    bytes: int = 0
    digest: str = ""
    frames: list[Span] = field(default_factory=list)
    backgrounds: dict[str, Span] = field(default_factory=dict)


class ShardTar:
    """A tar file that is written from its start to its end, and hashed meanwhile.

    Args:
        file: An empty file.

    Attributes:
        record: What has been written.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.record = ShardRecord()
        self._file = file
        self._digest = hashlib.blake2b(digest_size=20)

    def add(self, name: str, content: bytes) -> Span:
        """Write a file; gives where its content lies."""
        info = tarfile.TarInfo(name)
        info.size = len(content)
        self._write(info.tobuf(tarfile.USTAR_FORMAT))
        span = (self.record.bytes, len(content), zlib.crc32(content))
        self._write(content + b"\0" * (-len(content) % _BLOCK))
        return span

    def end(self) -> None:
        """Write the end of the tar file."""
        self._write(b"\0" * 2 * _BLOCK)
        self.record.digest = self._digest.hexdigest()

    def _write(self, content: bytes) -> None:
        self._file.write(content)
        self._digest.update(content)
        self.record.bytes += len(content)


@contextmanager
def written_tar(path: Path) -> Iterator[ShardTar]:
    """Give a tar file to write into, which appears when all went well.

    Args:
        path: Where it appears.

    Yields:
        The file.

    Raises:
        TrackNetError: The disk does not allow it.
    """
    with whole_file(path) as part, part.open("wb") as file:
        tar = ShardTar(file)
        yield tar
        tar.end()
