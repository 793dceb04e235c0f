"""Writing packed data: clips are decoded once, and shards appear whole; see `tracknet.data.packed`."""

from __future__ import annotations

import errno
import json
import shutil
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from tracknet.data.background import BACKGROUND_SAMPLES, evenly_spaced, median_of
from tracknet.data.cache import FrameCache
from tracknet.data.check import DatasetReport, source_of
from tracknet.data.clips import Clip, Part
from tracknet.data.excerpt import Excerpt
from tracknet.data.faults import UNDECODABLE, plural
from tracknet.data.file_lock import locked
from tracknet.data.fingerprint import clip_print, differences, fingerprint
from tracknet.data.packed import Quality, encode
from tracknet.data.packed_index import INDEX, PACK_VERSION, TABLE, digest_of_index
from tracknet.data.progress import track_progress
from tracknet.data.shard_plan import PackedClip, Piece, PlannedShard, plan_shards, rows_of, sample_told
from tracknet.data.shard_writer import OVERHEAD, ShardRecord, ShardTar, written_tar
from tracknet.data.shards import Shard, Span, digest_of_file
from tracknet.data.sizes import told_bytes
from tracknet.data.threads import as_finished, in_threads, usable_cores
from tracknet.data.whole_file import whole_file, why_refused
from tracknet.errors import TrackNetError, UsageError

_PLAN, _RECORDS, _LOCK = "plan.json", "records", ".lock"
_FULL = (errno.ENOSPC, errno.EDQUOT)
_SAMPLE = 64  # frames of one sample of the WebDataset layout
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
                groups = plan_shards(self.clips, max(1, self.settings.shard_bytes // frame_bytes))
                for left in self.folder.glob(".*.tar"):
                    left.unlink()  # of a process that was killed
                todo = [group for group in groups if not all(self._written(one, verify) for one in group)]
                if todo:
                    (self.folder / INDEX).unlink(missing_ok=True)
                    self._write_all(todo, frame_bytes, workers, progress)
                return self._finish([shard for group in groups for shard in group])
        except OSError as error:
            raise TrackNetError(f"{self.folder}: cannot be written: {why_refused(error)}") from error

    def _named_clips(self, report: DatasetReport, parts: Mapping[Part, Sequence[Clip]]) -> list[PackedClip]:
        used: dict[str, list[Part]] = {}
        for part, clips in parts.items():
            for clip in clips:
                used.setdefault(clip.name, []).append(part)
        checked = [one for one in report.checked if one.clip.name in used]
        sources = [source_of(one, report.layout, self.settings.frames) for one in checked]
        keys = in_threads(self._cache.key, sources, usable_cores())
        # Frames without loss are those of the frame cache, and are called as they are there.
        loss = "" if self.settings.quality == "lossless" else f"-{self.settings.quality}"
        return [
            PackedClip(number, one, tuple(used[one.clip.name]), source, key + loss, *rows_of(one, source))
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
        return round(sum(sizes) / len(sizes)) + OVERHEAD

    def _record_path(self, shard: PlannedShard) -> Path:
        return self.folder / _RECORDS / f"{shard.name}.json"

    def _record(self, shard: PlannedShard) -> ShardRecord:
        return ShardRecord(**json.loads(self._record_path(shard).read_text(encoding="utf-8")))

    def _written(self, shard: PlannedShard, verify: bool) -> bool:
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
        self, todo: Sequence[list[PlannedShard]], frame_bytes: int, workers: int | None, progress: bool
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
        workers = min(workers or usable_cores(), len(todo))
        threads = max(1, usable_cores() // workers)
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
                for future in as_finished([pool.submit(self._write, g, threads, advance) for g in todo]):
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
            raise TrackNetError("\n".join([*sorted(faults), UNDECODABLE]))

    def _write(self, group: list[PlannedShard], threads: int, advance: Callable[[], None]) -> None:
        """Write shards that share clips, then their records."""
        for shard in group:
            self._record_path(shard).unlink(missing_ok=True)
        with ExitStack() as stack:
            tars = [stack.enter_context(written_tar(self.folder / shard.name)) for shard in group]
            pieces = [(piece, tar) for shard, tar in zip(group, tars, strict=True) for piece in shard.pieces]
            for clip in dict.fromkeys(piece.clip for piece, _ in pieces):
                self._write_clip(clip, [one for one in pieces if one[0].clip is clip], threads, advance)
        for shard, tar in zip(group, tars, strict=True):
            with whole_file(self._record_path(shard)) as part:
                part.write_text(json.dumps(asdict(tar.record)), encoding="utf-8")

    def _write_clip(
        self,
        clip: PackedClip,
        pieces: list[tuple[Piece, ShardTar]],
        threads: int,
        advance: Callable[[], None],
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
                tar.add(f"{key}.json", json.dumps(sample_told(clip, first, stop)).encode())
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

    def _finish(self, plans: Sequence[PlannedShard]) -> list[Shard]:
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
