"""Writing packed data: clips are decoded once, and shards appear whole; see `tracknet.data.packed`."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import sys
import tarfile
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tracknet.data.background import BACKGROUND_SAMPLES, evenly_spaced, median_of
from tracknet.data.cache import FrameCache
from tracknet.data.check import CheckedClip, DatasetReport, source_of
from tracknet.data.clips import Clip, Part
from tracknet.data.excerpt import Excerpt
from tracknet.data.faults import plural
from tracknet.data.file_lock import locked
from tracknet.data.fingerprint import clip_print, differences, fingerprint
from tracknet.data.packed import (
    INDEX,
    PACK_VERSION,
    ROW,
    TABLE,
    Quality,
    digest_of_index,
    encode,
)
from tracknet.data.progress import track_progress
from tracknet.data.shards import Shard, Span, digest_of_file
from tracknet.data.sizes import told_bytes
from tracknet.data.splits import shuffled
from tracknet.data.video import FrameSource
from tracknet.data.whole_file import whole_file, why_refused
from tracknet.errors import TrackNetError, UsageError

_PLAN, _RECORDS, _LOCK = "plan.json", "records", ".lock"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_SAMPLE = 64  # frames of one sample of the WebDataset layout
_BLOCK = tarfile.BLOCKSIZE
_OVERHEAD = _BLOCK + _BLOCK // 2 + 40  # of a frame in a shard: header, padding, label
_TRIED = 8  # clips that the size is estimated from


@dataclass(frozen=True)
class PackSettings:
    """What decides how frames are packed.

    Attributes:
        size: Height and width of the frames.
        quality: See `tracknet.data.packed.Quality`.
        shard_bytes: Bytes of a shard, about.
        frames: Frames per window, which matter where labels are sparse.
    """

    size: tuple[int, int]
    quality: Quality
    shard_bytes: int
    frames: int


@dataclass(frozen=True, eq=False)
class _Clip:
    """A clip to pack: which frames of which source, and their rows of the table as far as they are known."""

    number: int
    checked: CheckedClip
    parts: tuple[Part, ...]
    source: FrameSource
    key: str
    frames: np.ndarray
    rows: np.ndarray


@dataclass(frozen=True, eq=False)
class _Piece:
    """Consecutive rows of a clip in one shard."""

    clip: _Clip
    first: int
    stop: int


@dataclass(frozen=True, eq=False)
class _Plan:
    """A shard to be written."""

    name: str
    pieces: list[_Piece]

    @property
    def frames(self) -> int:
        return sum(piece.stop - piece.first for piece in self.pieces)


@dataclass
class _Record:
    """What was written into a shard: spans of its frames, and of the backgrounds by number of the clip."""

    bytes: int = 0
    digest: str = ""
    frames: list[Span] = field(default_factory=list)
    backgrounds: dict[str, Span] = field(default_factory=dict)


class Packing:
    """Clips on their way into shards.

    Shards that share a clip are written together, several such groups at the same time; a group that was
    written is not written again. Training clips lie in the shards in an order drawn from their names, so that
    neighbours in a shard come from all over the data set; others lie in their own order.

    Args:
        folder: Where the packed data go.
        report: The data set, checked.
        parts: Clips of each part.
        settings: How frames are packed.

    Raises:
        TrackNetError: A source cannot be read.
    """

    def __init__(
        self,
        folder: Path,
        report: DatasetReport,
        parts: Mapping[Part, Sequence[Clip]],
        settings: PackSettings,
    ) -> None:
        self.folder = Path(folder).expanduser().absolute()
        self.settings = settings
        self._cache = FrameCache(None, settings.size)  # knows sources by their content
        self.clips = self._named_clips(report, parts)
        shape = (3, *settings.size)
        self.prints: dict[Part, dict[str, str]] = {part: {} for part in parts}
        for clip in self.clips:
            assert clip.checked.labels is not None
            told = clip_print(clip.key, (len(clip.rows), *shape), clip.checked.labels)
            for part in clip.parts:
                self.prints[part][clip.checked.clip.name] = told

    @property
    def frames(self) -> int:
        """Frames of all clips."""
        return sum(len(clip.rows) for clip in self.clips)

    @property
    def raw_bytes(self) -> int:
        """Bytes of all frames without compression."""
        return self.frames * 3 * self.settings.size[0] * self.settings.size[1]

    def write(self, verify: bool = False, workers: int | None = None, progress: bool = True) -> list[Shard]:
        """Write the shards that are missing, then the table and the index.

        Args:
            verify: Compare shards that were written before with their digests, and write damaged ones again.
            workers: Groups of shards written at the same time; None takes one for each core.
            progress: Print on standard error what is done and how long it will take.

        Returns:
            All shards.

        Raises:
            UsageError: The folder holds other things, or data packed with other settings.
            TrackNetError: A source cannot be decoded (all such are named), or the disk refuses.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with locked(self.folder / _LOCK, wait=False) as mine:
                if not mine:
                    raise TrackNetError(f"{self.folder}: another process packs into it; wait for it to end")
                frame_bytes = self._frame_bytes()
                groups = self._groups(frame_bytes)
                for left in self.folder.glob(".*.tar"):
                    left.unlink()  # of a process that was killed
                todo = [group for group in groups if not all(self._written(one, verify) for one in group)]
                if todo:
                    (self.folder / INDEX).unlink(missing_ok=True)
                    self._write_all(todo, frame_bytes, workers, progress)
                return self._finish([shard for group in groups for shard in group])
        except OSError as error:
            raise TrackNetError(f"{self.folder}: cannot be written: {why_refused(error)}") from error

    def _named_clips(self, report: DatasetReport, parts: Mapping[Part, Sequence[Clip]]) -> list[_Clip]:
        used: dict[str, list[Part]] = {}
        for part, clips in parts.items():
            for clip in clips:
                used.setdefault(clip.name, []).append(part)
        checked = [one for one in report.checked if one.clip.name in used]
        sources = [source_of(one, report.layout, self.settings.frames) for one in checked]
        with ThreadPoolExecutor() as pool:
            keys = list(pool.map(self._cache.key, sources))
        # Frames without loss are those of the frame cache, and are called as they are there.
        loss = "" if self.settings.quality == "lossless" else f"-{self.settings.quality}"
        return [
            _Clip(number, one, tuple(used[one.clip.name]), source, key + loss, *_rows(one, source))
            for number, (one, source, key) in enumerate(zip(checked, sources, keys, strict=True))
        ]

    def _frame_bytes(self) -> int:
        """Compare the folder with what is to be packed; gives the bytes of a frame that shards are cut by."""
        asked = json.loads(json.dumps(asdict(self.settings)))
        path = self.folder / _PLAN
        if not path.exists() and any(not file.name.startswith(".") for file in self.folder.iterdir()):
            raise UsageError(f"{self.folder}: holds other files; name a new or empty folder with --output")
        if not any(self.folder.glob("[!.]*.tar")):
            plan = {"version": PACK_VERSION, "settings": asked, "clips": self.prints}
            plan["frame_bytes"] = self._estimate()
            with whole_file(path) as part:
                part.write_text(json.dumps(plan), encoding="utf-8")
        try:
            plan = json.loads(path.read_text(encoding="utf-8"))
            found, clips, frame_bytes = plan["settings"], plan["clips"], int(plan["frame_bytes"])
        except (ValueError, KeyError, TypeError) as error:
            raise TrackNetError(f"{path}: damaged; remove the folder and pack again") from error
        if plan.get("version") != PACK_VERSION:
            raise UsageError(f"{self.folder}: packed by another version of tracknet; choose another folder")
        lines = [
            f"packed with {key} {found.get(key)}, asked for {asked[key]}"
            for key in asked
            if found.get(key) != asked[key]
        ]
        # Other settings make other clips of all.
        lines = lines or differences(clips, self.prints)
        if lines:
            told = "\n  ".join(lines)
            raise UsageError(
                f"{self.folder}: holds other packed data; choose another folder, or these settings\n  {told}"
            )
        return frame_bytes

    def _estimate(self) -> int:
        """Compress some frames of some clips; gives the bytes of a frame in a shard."""
        sizes = []
        for place in evenly_spaced(len(self.clips), _TRIED):
            frames = islice(self.clips[place].source.frames(self.settings.size, 1), 0, 30, 29)
            sizes += [len(encode(frame, self.settings.quality)) for frame in frames]
        return round(sum(sizes) / len(sizes)) + _OVERHEAD

    def _groups(self, frame_bytes: int) -> list[list[_Plan]]:
        """Divide the clips into shards; gives groups of shards that share no clip with others."""
        most = max(1, self.settings.shard_bytes // frame_bytes)
        groups: list[list[_Plan]] = []
        for parts in dict.fromkeys(clip.parts for clip in self.clips):
            clips = [clip for clip in self.clips if clip.parts == parts]
            if parts == ("train",):
                clips = [clips[n] for n in shuffled([clip.checked.clip.name for clip in clips])]
            number = 0
            for together in _together(clips, most):
                groups.append(_cut(together, most, "_".join(parts), number))
                number += len(groups[-1])
        return groups

    def _record_path(self, shard: _Plan) -> Path:
        return self.folder / _RECORDS / f"{shard.name}.json"

    def _record(self, shard: _Plan) -> _Record:
        return _Record(**json.loads(self._record_path(shard).read_text(encoding="utf-8")))

    def _written(self, shard: _Plan, verify: bool) -> bool:
        path = self.folder / shard.name
        try:
            record = self._record(shard)
            whole = path.stat().st_size == record.bytes and len(record.frames) == shard.frames
            if whole and (not verify or digest_of_file(str(path)) == record.digest):
                return True
            print(f"{path}: damaged; written again", file=sys.stderr)
        except (OSError, ValueError, TypeError):
            pass
        return False

    def _write_all(
        self, todo: Sequence[list[_Plan]], frame_bytes: int, workers: int | None, progress: bool
    ) -> None:
        total = sum(shard.frames for group in todo for shard in group)
        need = total * frame_bytes
        free = shutil.disk_usage(self.folder).free
        if need > free:
            raise TrackNetError(
                f"{self.folder}: too little room: {total:,} frames need about {told_bytes(need)}, "
                f"{told_bytes(free)} are free; make room, lower --quality, or choose another disk"
            )
        if progress:
            raw = total * 3 * self.settings.size[0] * self.settings.size[1]
            print(
                f"packing: {total:,} frames of {plural(len(self.clips), 'clip')}, about {told_bytes(need)} "
                f"in {plural(sum(map(len, todo)), 'shard')} (raw: {told_bytes(raw)}, {raw / need:.1f} times "
                f"as much; free: {told_bytes(free)})",
                file=sys.stderr,
            )
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        workers = min(workers or cores, len(todo))
        threads = max(1, cores // workers)
        stop = threading.Event()
        faults: list[str] = []
        with (
            track_progress(total, "frames", "packing", progress) as shown,
            ThreadPoolExecutor(workers) as pool,
        ):

            def advance() -> None:
                if stop.is_set():
                    raise _Stopped
                shown.advance()

            try:
                for future in as_completed([pool.submit(self._write, g, threads, advance) for g in todo]):
                    try:
                        future.result()
                    except TrackNetError as error:
                        if getattr(error.__cause__, "errno", None) in _FULL:
                            raise
                        faults.append(str(error))
            except BaseException:
                stop.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        if faults:
            raise TrackNetError("\n".join(sorted(faults)))

    def _write(self, group: list[_Plan], threads: int, advance: Callable[[], None]) -> None:
        """Write shards that share clips, then their records."""
        for shard in group:
            self._record_path(shard).unlink(missing_ok=True)
        with ExitStack() as stack:
            tars = [stack.enter_context(_written_tar(self.folder / shard.name)) for shard in group]
            pieces = [(piece, tar) for shard, tar in zip(group, tars, strict=True) for piece in shard.pieces]
            for clip in dict.fromkeys(piece.clip for piece, _ in pieces):
                self._write_clip(clip, [one for one in pieces if one[0].clip is clip], threads, advance)
        for shard, tar in zip(group, tars, strict=True):
            with whole_file(self._record_path(shard)) as part:
                part.write_text(json.dumps(asdict(tar.record)), encoding="utf-8")

    def _write_clip(
        self, clip: _Clip, pieces: list[tuple[_Piece, _Tar]], threads: int, advance: Callable[[], None]
    ) -> None:
        path, total = clip.source.path, len(clip.rows)
        voting, voters = set(evenly_spaced(total, BACKGROUND_SAMPLES)), []
        ending = "webp" if self.settings.quality == "lossless" else "jpg"
        row = 0
        for row, frame in enumerate(clip.source.frames(self.settings.size, threads), 1):
            place = row - 1
            piece, tar = next((one for one in pieces if one[0].stop > place), pieces[-1])
            if place in voting:
                voters.append(frame.copy())
            first = place - (place - piece.first) % _SAMPLE
            key = f"{clip.number:06d}-{first:08d}"
            content = encode(frame, self.settings.quality)
            tar.record.frames.append(tar.add(f"{key}.{place - first:06d}.{ending}", content))
            stop = min(first + _SAMPLE, piece.stop)
            if row == stop:
                tar.add(f"{key}.json", json.dumps(_told(clip, first, stop)).encode())
            advance()
            if row > total:
                break
        if row != total:
            more = "more" if row > total else f"{row}"
            raise TrackNetError(f"{path}: has {more} frames, and {total} were counted; pack the data again")
        background = encode(median_of(voters), "lossless")
        for _, tar in pieces:
            name = f"{clip.number:06d}-background.webp"
            tar.record.backgrounds[str(clip.number)] = tar.add(name, background)
        if self._cache.key(clip.source) != clip.key.partition("-")[0]:
            raise TrackNetError(f"{path}: changed while it was read; pack the data again")

    def _finish(self, plans: Sequence[_Plan]) -> list[Shard]:
        """Write the table and the index."""
        table = np.concatenate([p.clip.rows[p.first : p.stop] for plan in plans for p in plan.pieces])
        first_row: dict[int, int] = {}
        backgrounds: dict[int, dict[str, Span]] = {}
        shards: list[Shard] = []
        row = 0
        for number, plan in enumerate(plans):
            record = self._record(plan)
            shards.append(Shard(plan.name, record.bytes, record.digest, row, row + plan.frames))
            for column, values in zip(("offset", "bytes", "crc"), np.array(record.frames).T, strict=True):
                table[column][row : row + plan.frames] = values
            for piece in plan.pieces:
                clip = piece.clip.number
                first_row.setdefault(clip, row - piece.first)
                backgrounds.setdefault(clip, {})[str(number)] = record.backgrounds[str(clip)]
                row += piece.stop - piece.first
        with whole_file(self.folder / TABLE) as part, part.open("wb") as file:
            np.save(file, table)
        index: dict[str, Any] = {
            "version": PACK_VERSION,
            "settings": asdict(self.settings),
            "fingerprint": fingerprint(self.prints),
            "table": digest_of_file(str(self.folder / TABLE)),
            "shards": [asdict(shard) for shard in shards],
            "clips": [
                {
                    "name": clip.checked.clip.name,
                    "parts": clip.parts,
                    "key": clip.key,
                    "fps": clip.checked.fps,
                    "source_size": clip.checked.size,
                    "frames": clip.checked.frames,
                    "stretches": clip.source.stretches if isinstance(clip.source, Excerpt) else None,
                    "rows": (first_row[clip.number], first_row[clip.number] + len(clip.rows)),
                    "background": backgrounds[clip.number],
                }
                for clip in self.clips
            ],
        }
        with whole_file(self.folder / INDEX) as part:
            told = {**index, "digest": digest_of_index(index)}
            part.write_text(json.dumps(told, indent=1), encoding="utf-8")
        return shards


class _Stopped(Exception):  # noqa: N818
    """Ends a worker when packing is interrupted."""


class _Tar:
    """A tar file that is written from its start to its end, and hashed meanwhile."""

    def __init__(self, file: BinaryIO) -> None:
        self.record = _Record()
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
def _written_tar(path: Path) -> Iterator[_Tar]:
    with whole_file(path) as part, part.open("wb") as file:
        tar = _Tar(file)
        yield tar
        tar.end()


def _rows(checked: CheckedClip, source: FrameSource) -> tuple[np.ndarray, np.ndarray]:
    """Give the frames of a clip that are packed, and their rows of the table with labels only."""
    frames = np.arange(checked.frames)
    if isinstance(source, Excerpt):
        frames = np.concatenate([np.arange(*stretch) for stretch in source.stretches])
    rows = np.zeros(len(frames), ROW)
    assert checked.labels is not None
    rows["xy"] = checked.labels.xy[frames]
    rows["visibility"] = checked.labels.visibility[frames]
    rows["labelled"] = checked.labels.labelled[frames]
    return frames, rows


def _together(clips: Sequence[_Clip], most: int) -> Iterator[list[_Clip]]:
    """Put clips that follow each other together, up to a number of frames."""
    together: list[_Clip] = []
    for clip in clips:
        if together and sum(len(one.rows) for one in (*together, clip)) > most:
            yield together
            together = []
        together.append(clip)
    if together:
        yield together


def _cut(clips: Sequence[_Clip], most: int, name: str, number: int) -> list[_Plan]:
    """Put clips into one shard, or one long clip into several of equal length."""
    if len(clips) > 1:
        return [_Plan(f"{name}-{number:05d}.tar", [_Piece(clip, 0, len(clip.rows)) for clip in clips])]
    total = len(clips[0].rows)
    bounds = np.linspace(0, total, -(-total // most) + 1).round().astype(int).tolist()
    return [
        _Plan(f"{name}-{number + place:05d}.tar", [_Piece(clips[0], first, stop)])
        for place, (first, stop) in enumerate(pairwise(bounds))
    ]


def _told(clip: _Clip, first: int, stop: int) -> dict[str, Any]:
    """Describe a sample for those who read shards without the table."""
    rows = clip.rows[first:stop]
    return {
        "clip": clip.checked.clip.name,
        "source_size": clip.checked.size,
        "fps": clip.checked.fps,
        "frames": clip.frames[first:stop].tolist(),
        "xy": rows["xy"].tolist(),
        "visibility": rows["visibility"].tolist(),
        "labelled": rows["labelled"].tolist(),
    }
