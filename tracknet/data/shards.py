"""Shards of packed data: read where they lie, or fetched into a folder that keeps to a limit."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

import fsspec

from tracknet.data.file_lock import locked
from tracknet.data.sizes import told_bytes
from tracknet.data.whole_file import why_refused
from tracknet.errors import TrackNetError

Span = tuple[int, int, int]
"""Where something lies in a shard: first byte, number of bytes, and their CRC-32."""

_Read = TypeVar("_Read")

_CHUNK = 1 << 20
_PAUSE = 0.1  # between two looks whether others have finished, in seconds
_PAUSES = (0.1, 1.0, 5.0)  # before something is read again; a server may be starting anew
_LASTING = (
    FileNotFoundError,
    ImportError,
    IsADirectoryError,
    NotADirectoryError,
    PermissionError,
    ValueError,
)
_FINAL = (401, 403, 404, 410)  # statuses of HTTP: who asks again hears the same
_SILENCE = 30.0  # of a server, after which the connection counts as lost, in seconds


@dataclass(frozen=True)
class Shard:
    """A file of packed data.

    Attributes:
        name: Name of the file.
        bytes: Its length.
        digest: Hash of its content, see `digest_of_file`.
        first: Its first row in the table of all frames.
        stop: The row after its last.
    """

    name: str
    bytes: int
    digest: str
    first: int
    stop: int


class ShardError(TrackNetError):
    """A shard is missing or damaged."""

    def __init__(self, message: str) -> None:
        # A loader worker's error is raised anew by PyTorch, with the worker's traceback as its message.
        super().__init__(message.rstrip().rpartition("ShardError: ")[2])


class ShardStore:
    """Where the shards of packed data are read.

    A folder is read in place. From an address, or where a folder for copies is named, a shard is copied when
    it is first needed, compared with its digest, and removed when room is needed for another: the one not
    used for longest. All processes of a computer share the copies and keep to the limit together.

    Args:
        root: Folder, or address as fsspec reads it (``s3://bucket/folder``, ``https://...``).
        copies: Folder for copies; None reads in place.
        limit: Bytes that the copies may take.
    """

    def __init__(self, root: str, copies: Path | None, limit: int) -> None:
        self.root = root.rstrip("/")
        self.copies = copies
        self.limit = limit

    def read(self, shard: Shard, spans: Sequence[Span]) -> list[bytes]:
        """Read some spans of a shard.

        Raises:
            ShardError: The shard cannot be had, or a span of it is not as it was written.
        """
        with self._opened(shard) as file:
            found = [_read(file, span) for span in spans]
        for content, (first, _, crc) in zip(found, spans, strict=True):
            if zlib.crc32(content) != crc:
                raise ShardError(
                    f"{self.root}/{shard.name}: damaged at byte {first}; write it again with "
                    "tracknet data pack ... --verify, or copy it again"
                )
        return found

    def has(self, shard: Shard) -> bool:
        """Tell whether a shard can be read without copying it."""
        return self.copies is None or (self.copies / f"{shard.digest}.tar").exists()

    def fetch(self, shard: Shard) -> Path:
        """Give a shard's file on this computer, where need be after copying it, and mark it as used.

        Raises:
            ShardError: The shard cannot be had, or is not as it was written.
        """
        if self.copies is None:
            return Path(self.root) / shard.name
        path = self.copies / f"{shard.digest}.tar"
        try:
            with suppress(FileNotFoundError):
                os.utime(path)
                return path
            with locked(_lock_of(path)):
                if not path.exists():
                    patiently(lambda: self._copy(shard, path))
        except OSError as error:
            raise ShardError(f"{path}: cannot be written: {why_refused(error)}") from error
        return path

    @contextmanager
    def _opened(self, shard: Shard) -> Iterator[BinaryIO]:
        while True:
            path = self.fetch(shard)
            try:
                file = path.open("rb")
                break
            except OSError as error:
                # A copy may have made room for another just now.
                if self.copies is None or not isinstance(error, FileNotFoundError):
                    raise ShardError(f"{path}: cannot be read: {error.strerror}") from error
        with file:
            yield file

    def _copy(self, shard: Shard, path: Path) -> None:
        """Copy a shard; the lock of its path is held."""
        part = path.with_name(f"{path.name}.part")
        address = f"{self.root}/{shard.name}"
        try:
            self._reserve(part, shard.bytes)
            with part.open("rb+") as file:
                copy_checked(address, file, shard.digest, shard.bytes)
                file.truncate()
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)

    def _reserve(self, part: Path, need: int) -> None:
        """Make room for a shard, and take it by a file of its length."""
        folder = part.parent
        part.unlink(missing_ok=True)  # of a process that died
        while True:
            with locked(folder / "room.lock"):
                kept: list[tuple[int, int, Path | None]] = []
                for file in folder.iterdir():
                    with suppress(FileNotFoundError):
                        status = file.stat()
                        if file.suffix == ".tar":
                            kept.append((status.st_mtime_ns, status.st_size, file))
                        elif file.suffix == ".part" and not _abandoned(file):
                            kept.append((0, status.st_size, None))
                used = sum(size for _, size, _ in kept)
                for _, size, copy in sorted(kept, key=lambda one: one[0]):
                    if used + need > self.limit and copy is not None:
                        copy.unlink(missing_ok=True)
                        used -= size
                if used + need <= self.limit:
                    part.touch()
                    os.truncate(part, need)
                    return
                if need > self.limit:
                    told = f"a shard of {told_bytes(need)} does not fit into {told_bytes(self.limit)}"
                    raise OSError(errno.EDQUOT, f"{told}; raise the limit of the copies")
            # What is left are shards that others are copying: once whole, they can make room.
            time.sleep(_PAUSE)


def patiently(read: Callable[[], _Read]) -> _Read:
    """Read something from afar, again when a connection fails; each time that is said on standard error.

    Raises:
        ShardError: It cannot be read.
    """
    for pause in _PAUSES:
        try:
            return read()
        except ShardError as error:
            cause = error.__cause__
            if isinstance(cause, _LASTING) or getattr(cause, "status", None) in _FINAL:
                raise
            print(f"note: {error}; trying again", file=sys.stderr, flush=True)
            if isinstance(cause, asyncio.TimeoutError):
                break  # that was a long pause
        time.sleep(pause)
    return read()


def chunks_at(address: str) -> Iterator[bytes]:
    """Read a file in a folder or at an address of fsspec, chunk by chunk.

    Raises:
        ShardError: It cannot be read.
    """
    try:
        with _at(address) as opened:
            file = cast(Any, opened)
            while chunk := file.read(_CHUNK):
                yield chunk
    except Exception as error:  # file systems have errors of their own, such as that of a lost connection
        # fsspec calls a server that does not answer a missing file.
        cause = (isinstance(error, FileNotFoundError) and error.__cause__) or error
        raise ShardError(f"{address}: cannot be read: {_reason(cause)}") from cause


def _reason(error: BaseException) -> str:
    if said := getattr(error, "strerror", None):
        return str(said)
    if isinstance(error, FileNotFoundError):
        return "No such file"
    if isinstance(error, asyncio.TimeoutError):
        return f"the server was silent for {_SILENCE:g} seconds"
    if status := getattr(error, "status", None):  # of HTTP; the address was told
        return f"{status} {getattr(error, 'message', '')}".rstrip()
    return str(error) or type(error).__name__


def _at(address: str) -> fsspec.core.OpenFile:
    if not address.startswith(("http://", "https://")):
        return fsspec.open(address, "rb")
    import aiohttp

    # The whole file in one answer, as not every server gives parts; it may take long, but not be silent.
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_SILENCE, sock_read=_SILENCE)
    return fsspec.open(address, "rb", block_size=0, client_kwargs={"timeout": timeout})


def copy_checked(address: str, file: BinaryIO, digest: str, most: int) -> None:
    """Copy a file of packed data, and see that it is what was written.

    Args:
        address: Where it is, as of `chunks_at`.
        file: Where it goes, open for writing.
        digest: Its hash, see `digest_of_file`.
        most: Bytes that it may have; the rest of a longer one is not read.

    Raises:
        ShardError: It cannot be read, or is another one.
    """
    found, size = hashlib.blake2b(digest_size=20), 0
    for chunk in chunks_at(address):
        size += len(chunk)
        if size > most:
            break
        found.update(chunk)
        file.write(chunk)
    if size > most or found.hexdigest() != digest:
        what = f"it is longer than {most} bytes"
        if size <= most:
            what = f"its digest is {found.hexdigest()} instead of {digest}"
        raise ShardError(
            f"{address}: damaged: {what}; write it again with tracknet data pack ... --verify, or copy it "
            "again"
        )


def digest_of_file(address: str) -> str:
    """Hash a file; 40 hexadecimal digits.

    Raises:
        ShardError: It cannot be read.
    """
    digest = hashlib.blake2b(digest_size=20)
    for chunk in chunks_at(address):
        digest.update(chunk)
    return digest.hexdigest()


def _read(file: BinaryIO, span: Span) -> bytes:
    file.seek(span[0])
    return file.read(span[1])


def _lock_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _abandoned(part: Path) -> bool:
    """Remove a copy that was not finished because its process died."""
    with locked(_lock_of(part.with_suffix("")), wait=False) as mine:
        if mine:
            part.unlink(missing_ok=True)
        return mine
