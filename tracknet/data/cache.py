"""Resized frames of clips on disk, decoded once and read many times.

A clip is known by the content of its files, not by path or date, so a changed video can never be served stale
and a moved one is found again. Each clip is one folder that appears whole or not at all.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import shutil
import sys
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from tracknet.data.background import BACKGROUND_SAMPLES, evenly_spaced, median_of
from tracknet.data.cached_clip import (
    CHECKSUM,
    HEADER,
    CachedClip,
    checksum_of,
    completed_checksum,
    load_clip,
    open_array,
)
from tracknet.data.excerpt import Excerpt, length
from tracknet.data.faults import UNDECODABLE
from tracknet.data.file_lock import locked
from tracknet.data.frame_source import FrameSource
from tracknet.data.progress import track_progress
from tracknet.data.sizes import told_bytes
from tracknet.data.threads import as_finished, in_threads, usable_cores
from tracknet.data.whole_file import sync_folder, why_refused
from tracknet.errors import TrackNetError

CACHE_VERSION = 1  # part of each key: raise it when the same video would give other bytes

# What reading a file that is missing, cut short or overwritten ends in.
_DAMAGE = (OSError, ValueError, KeyError, TypeError, SyntaxError, TokenError)
_OLDER = {"version", "source", "size", "frames", "stretches", "digest", "crc32"}  # keys of meta.json, once
_KEPT = {"version", "source", "size", "frames", "stretches", CHECKSUM}
_CHUNK = 1 << 20
_MOVE = "choose another folder with TRACKNET_CACHE or the option for the root of the cache"


class FrameCache:
    """The frames of clips at one size, kept under one root folder.

    Several processes may build and read at the same time: a clip is built by one of them, the others take up
    other clips or wait.

    Args:
        root: Folder of the cache; None is ``$TRACKNET_CACHE``, or ``~/.cache/tracknet/frames`` where that is
            not set.
        size: ``(height, width)`` of the frames.
    """

    def __init__(self, root: Path | None = None, size: tuple[int, int] = (288, 512)) -> None:
        default = os.environ.get("TRACKNET_CACHE") or "~/.cache/tracknet/frames"
        self.root = Path(root or default).expanduser().absolute()
        self.size = (int(size[0]), int(size[1]))
        self._digests: dict[tuple[Any, ...], str] = {}

    def key(self, source: FrameSource) -> str:
        """Compute the name of a source in the cache.

        A hash of the bytes of its files (for an image folder also of their names), the size of the frames and
        the version of the format; for an excerpt, also of its stretches. A source is hashed once; again only
        when the state of a file changes.

        Args:
            source: A video or image folder.

        Returns:
            40 hexadecimal digits.

        Raises:
            TrackNetError: A file cannot be read.
        """
        path = source.path
        try:
            files = [(file, file.stat()) for file in source.files()]
            # The time of the last change of the inode, unlike that of the content, cannot be set back.
            states = [(str(f), s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for f, s in files]
            stretches = source.stretches if isinstance(source, Excerpt) else None
            state = (*states, stretches)
            if state not in self._digests:
                part = "" if stretches is None else f" {stretches}"
                digest = hashlib.blake2b(f"{CACHE_VERSION} {self.size}{part}".encode(), digest_size=20)
                for file, status in files:
                    name = "" if file == path else file.relative_to(path).as_posix()
                    digest.update(os.fsencode(f"\0{name}\0{status.st_size}\0"))
                    with file.open("rb") as content:
                        while chunk := content.read(_CHUNK):
                            digest.update(chunk)
                self._digests[state] = digest.hexdigest()
            return self._digests[state]
        except OSError as error:
            raise TrackNetError(f"{error.filename or path}: cannot be read: {error.strerror}") from error

    def missing(self, sources: Sequence[FrameSource]) -> list[FrameSource]:
        """List the sources that are not in the cache, or are there damaged; each content once.

        Raises:
            TrackNetError: A file of a source cannot be read.
        """
        return list(self._missing(sources).values())

    def bytes_needed(self, sources: Sequence[FrameSource]) -> int:
        """Estimate the room on disk that the frames of some sources take, in bytes.

        From the number of frames that each source claims, or its duration.
        """
        return sum((source.estimate() + 1) * self._frame_bytes + 2 * HEADER for source in sources)

    def build(
        self, sources: Sequence[FrameSource], workers: int | None = None, progress: bool = True
    ) -> None:
        """Decode the sources that are missing. Memory does not grow with their length.

        Interrupted, it leaves the clips that are finished. A source that cannot be decoded does not keep the
        others from being built.

        Args:
            sources: Videos and image folders.
            workers: Clips decoded at the same time; None takes one for each core and one more, as one of them
                mostly waits for the disk.
            progress: Print on standard error what is done and how long it will take.

        Raises:
            TrackNetError: A source cannot be decoded (all such sources are named), the disk has too little
                room, or the root cannot be written to.
        """
        todo = self._missing(sources)
        try:
            self._remove_leftovers()
            if not todo:
                return
            self.root.mkdir(parents=True, exist_ok=True)
            need, free = self.bytes_needed(list(todo.values())), shutil.disk_usage(self.root).free
            clips = f"{len(todo)} clip{'s' * (len(todo) > 1)}"
            if need > free:
                raise TrackNetError(
                    f"{self.root}: too little room for the frame cache: {clips} need {told_bytes(need)}, "
                    f"{told_bytes(free)} are free; make room or {_MOVE}"
                )
            if progress:
                print(
                    f"frame cache: {clips}, {told_bytes(need)} to write under {self.root} "
                    f"(free: {told_bytes(free)})",
                    file=sys.stderr,
                )
            faults = self._build_all(todo, workers, progress)
        except OSError as error:
            raise TrackNetError(
                f"{self.root}: cannot write the frame cache: {why_refused(error, _MOVE)}"
            ) from error
        if faults:
            raise TrackNetError("\n".join([*faults, UNDECODABLE]))

    def open(self, source: FrameSource) -> CachedClip:
        """Open a clip that has been built.

        Args:
            source: The video or image folder.

        Returns:
            Its frames as a memory map, and its background.

        Raises:
            TrackNetError: The clip is not in the cache, or damaged there.
        """
        folder = self._folder(self.key(source))
        if not folder.is_dir():
            raise TrackNetError(
                f"{source.path}: not in the frame cache under {self.root}; build the cache first"
            )
        try:
            return self._verified(folder)
        except _DAMAGE as error:
            if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
                raise TrackNetError(
                    f"{source.path}: cannot be opened in the frame cache ({error.strerror}): each clip stays "
                    "open; allow more open files (ulimit -n, or the limits of the system)"
                ) from error
            raise TrackNetError(
                f"{source.path}: damaged in the frame cache ({error}); build it again, or remove {folder}"
            ) from error

    def remove_damaged(self, sources: Sequence[FrameSource]) -> tuple[list[FrameSource], int]:
        """Read every byte of clips that have been built, and remove the clips that are not as written.

        A training compares sizes and shapes only: reading all frames before each start would take longer than
        what a disk that flips a bit costs.

        Args:
            sources: Videos and image folders.

        Returns:
            The sources whose clips were damaged, which `build` builds again; and how many clips were built
            by a version that kept no such checksum.

        Raises:
            TrackNetError: A file of a source cannot be read, or a clip cannot be removed.
        """
        damaged, without = [], 0
        for key, source in {self.key(source): source for source in sources}.items():
            folder = self._folder(key)
            if not folder.is_dir():
                continue
            try:
                self._verified(folder)
                meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
                if meta.keys() <= _OLDER:
                    without += 1
                    continue
                if meta.keys() <= _KEPT and meta[CHECKSUM] == checksum_of(folder, meta):
                    continue
            except _DAMAGE:
                pass
            damaged.append(source)
            try:
                shutil.rmtree(folder)
            except OSError as error:
                raise TrackNetError(f"{folder}: damaged, and cannot be removed: {error.strerror}") from error
        return damaged, without

    @property
    def _frame_bytes(self) -> int:
        return 3 * self.size[0] * self.size[1]

    def _folder(self, key: str) -> Path:
        return self.root / key[:2] / key

    def _missing(self, sources: Sequence[FrameSource]) -> dict[str, FrameSource]:
        keyed = dict(zip(in_threads(self.key, sources, usable_cores()), sources, strict=True))
        return {key: source for key, source in keyed.items() if not self._is_whole(key)}

    def _is_whole(self, key: str) -> bool:
        try:
            self._verified(self._folder(key))
        except _DAMAGE:
            return False
        return True

    def _verified(self, folder: Path) -> CachedClip:
        """Open an entry; raises one of ``_DAMAGE`` when it is not as it was written."""
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        clip = load_clip(folder)
        if meta["version"] != CACHE_VERSION or clip.frames.shape != (meta["frames"], 3, *self.size):
            raise ValueError(f"meta.json and frames.npy of shape {clip.frames.shape} do not match")
        if clip.stretches is not None and length(clip.stretches) != len(clip.frames):
            raise ValueError(f"meta.json and frames.npy of shape {clip.frames.shape} do not match")
        if np.shape(clip.background) != clip.frames.shape[1:] or not len(clip.frames):
            raise ValueError(f"background.npy of shape {np.shape(clip.background)} does not match")
        found = (folder / "frames.npy").stat().st_size
        expected = HEADER + math.prod(clip.frames.shape)
        if found != expected:
            raise ValueError(f"frames.npy has {found} bytes instead of {expected}")
        return clip

    def _build_all(self, todo: dict[str, FrameSource], workers: int | None, progress: bool) -> list[str]:
        """Build each clip; returns the messages of those that cannot be decoded, in the order given."""
        workers = min(workers or usable_cores() + 1, len(todo))
        threads = max(1, usable_cores() // workers)
        stop = threading.Event()
        faults: dict[str, str] = {}
        total = sum(source.estimate() for source in todo.values()) or None
        with (
            track_progress(total, "frames", "frame cache", progress) as shown,
            ThreadPoolExecutor(workers) as pool,
        ):

            def advance(n: int) -> None:
                if stop.is_set():
                    raise _Stopped
                shown.advance(n)

            def build_one(key: str, wait: bool) -> bool:
                with self._locked(key, wait, stop) as mine:
                    if mine and self._is_whole(key):
                        advance(todo[key].estimate())
                    elif mine:
                        self._write(todo[key], key, threads, advance)
                return mine

            try:
                # What another process is building comes last: meanwhile there may be other clips to build.
                pending = list(todo)
                for wait in (False, True):
                    if wait and pending:
                        shown.note(f"waiting for another process that builds {len(pending)} of the clips")
                    futures = {pool.submit(build_one, key, wait): key for key in pending}
                    pending = []
                    for future in as_finished(futures):
                        try:
                            if not future.result():
                                pending.append(futures[future])
                        except TrackNetError as error:
                            faults[futures[future]] = str(error)
            except BaseException:
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [faults[key] for key in todo if key in faults]

    def _write(self, source: FrameSource, key: str, threads: int, advance: Callable[[int], None]) -> None:
        """Decode one clip into a folder beside its place and move it there; the lock of the key is held."""
        folder = self._folder(key)
        part = folder.with_name(f"{key}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        try:
            frames, checksum = 0, 0
            # Written as a stream and not through a memory map, where a full disk would kill the process. The
            # number of frames is known for certain only at the end, so the header is written twice.
            with (part / "frames.npy").open("wb") as file:
                file.write(self._header(0))
                for frame in source.frames(self.size, threads):
                    planes = np.ascontiguousarray(frame.transpose(2, 0, 1)).data
                    file.write(planes)
                    checksum = zlib.crc32(planes, checksum)
                    frames += 1
                    advance(1)
                file.seek(0)
                file.write(self._header(frames))
                _sync(file)
            if self.key(source) != key:
                raise TrackNetError(f"{source.path}: changed while it was read; build the cache again")
            written = open_array(part / "frames.npy")
            voters = [np.asarray(written[i]) for i in evenly_spaced(frames, BACKGROUND_SAMPLES)]
            with (part / "background.npy").open("wb") as file:
                np.save(file, median_of(voters))
                _sync(file)
            meta: dict[str, Any] = {
                "version": CACHE_VERSION,
                "source": source.path.name,
                "size": list(self.size),
                "frames": frames,
            }
            if isinstance(source, Excerpt):
                meta["stretches"] = source.stretches
            meta[CHECKSUM] = completed_checksum(checksum, part, meta)
            with (part / "meta.json").open("wb") as file:
                file.write(json.dumps(meta, indent=1).encode())
                _sync(file)
            sync_folder(part)
            shutil.rmtree(folder, ignore_errors=True)  # a damaged entry
            part.rename(folder)
            sync_folder(folder.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _header(self, frames: int) -> bytes:
        described = {"descr": "|u1", "fortran_order": False, "shape": (frames, 3, *self.size)}
        text = repr(described).ljust(HEADER - 11) + "\n"
        return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode("ascii")

    @contextmanager
    def _locked(self, key: str, wait: bool, stop: threading.Event) -> Iterator[bool]:
        """Hold the lock of a clip; yields False when another process or thread holds it and ``wait`` is off.

        The lock ends with the process that holds it, however that dies. Its file is removed with it.
        """

        def check() -> None:
            if stop.is_set():
                raise _Stopped

        with locked(self._folder(key).with_name(f"{key}.lock"), wait, check) as mine:
            yield mine

    def _remove_leftovers(self) -> None:
        """Remove what builds that died have left: folders not finished, locks that nobody holds."""
        for left in [*self.root.glob("??/*.part"), *self.root.glob("??/*.lock")]:
            # What belongs to another user of a shared cache, or lies on a disk that is only read, is left.
            with suppress(OSError), self._locked(left.stem, False, threading.Event()) as mine:
                if mine and left.suffix == ".part":
                    shutil.rmtree(left, ignore_errors=True)


class _Stopped(Exception):  # noqa: N818
    """Ends a worker when the build is interrupted."""


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
