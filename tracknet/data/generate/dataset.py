"""Whole data sets of generated rallies."""

from __future__ import annotations

import fcntl
import itertools
import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np
from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt

from tracknet.data.generate.placement import PLACEMENTS, RallyLayout, sparse, write_own_split
from tracknet.data.generate.sports import Sport, game_of
from tracknet.data.labels import Labels
from tracknet.data.progress import Progress, track_progress
from tracknet.data.threads import as_finished, usable_cores
from tracknet.data.video import VideoWriter
from tracknet.data.whole_file import why_refused
from tracknet.errors import TrackNetError, UsageError, refuse_second_import

if TYPE_CHECKING:
    from tracknet.data.generate.film import Film, Shown

VERSION = 2
"""Raised whenever the same settings give other rallies."""

RALLIES_PER_VENUE = 2
PARTS = ("train", "val", "test")
LEAST_SIZE = (72, 128)
_STOP = "stop"  # a file among the unfinished ones that ends the work of all processes


@dataclass(frozen=True)
class Settings:
    """What decides the content of a data set; the content of its ``rallies.json``.

    Attributes:
        version: Version of the generator; another one gives other rallies.
        sport: Whose ball, court and flight.
        layout: How the files lie.
        train: Number of training rallies.
        val: Number of validation rallies.
        test: Number of test rallies.
        frames: Frames a rally.
        size: Height and width in pixels.
        fps: Frames per second.
        seed: Same seed, same rallies.
    """

    version: int
    sport: Sport
    layout: RallyLayout
    train: int
    val: int
    test: int
    frames: int
    size: tuple[int, int]
    fps: float
    seed: int


@dataclass(frozen=True)
class _Rally:
    """One rally to be written.

    Attributes:
        part: Index into `PARTS`.
        index: Its number within the part.
        video: Video file or folder of images.
        labels: Label file.
    """

    part: int
    index: int
    video: Path
    labels: Path


def generate_rallies(
    root: Path,
    *,
    sport: Sport = "badminton",
    layout: RallyLayout = "flat",
    train: NonNegativeInt = 12,
    val: NonNegativeInt = 3,
    test: NonNegativeInt = 4,
    frames: PositiveInt = 120,
    size: tuple[PositiveInt, PositiveInt] = (360, 640),
    fps: PositiveFloat = 30.0,
    seed: NonNegativeInt = 0,
    workers: PositiveInt | None = None,
    progress: bool = True,
) -> Path:
    """Write rallies with exact labels, for training, validation and test.

    Each rally is a video of its own. Two rallies are played in each venue; training, validation and test have
    different venues: court, camera, light, crowd and kits. The ball counts as visible where more than half of
    it shows; its label is the middle of its blur. The same settings give the same rallies, however many
    processes write them. An interrupted call leaves finished rallies only, and is continued by repeating it.

    Args:
        root: Folder to write ``train``, ``val``, ``test`` and ``rallies.json`` (all settings) to; made when
            missing.
        sport: Whose court, players, ball and flight.
        layout: How the files lie: ``flat``: ``match1_01.mp4`` beside ``match1_01.csv``; ``tennis``:
            ``game1/Clip1/0000.jpg ...`` with ``Label.csv``; ``shuttlecock``: ``match1/video/1_01_01.mp4`` and
            ``match1/csv/1_01_01_ball.csv``; the others as the data sets of that name, of which
            ``openttgames`` and ``racketvision`` have labels for some frames only.
        train: Number of training rallies.
        val: Number of validation rallies.
        test: Number of test rallies.
        frames: Frames of each rally.
        size: Height and width of the pictures, at least 72 x 128; sizes and distances in the picture grow
            with the height.
        fps: Frames per second.
        seed: Decides everything; other seeds give other venues and rallies.
        workers: Processes that paint and encode; default: one for each processor core.
        progress: Whether to show how far it has come.

    Returns:
        The root.

    Raises:
        UsageError: The folder holds something else, or rallies with other settings; or the pictures would be
            too small.
        TrackNetError: A file cannot be written.
    """
    root = Path(root)
    if size[0] < LEAST_SIZE[0] or size[1] < LEAST_SIZE[1]:
        raise UsageError(
            f"size: found {size[0]} x {size[1]}, expected a height and width of at least"
            f" {LEAST_SIZE[0]} x {LEAST_SIZE[1]}"
        )
    settings = Settings(
        VERSION, sport, layout, train, val, test, frames, (size[0], size[1]), float(fps), seed
    )
    refuse_second_import()
    _check_folder(root, settings)
    try:
        root.mkdir(parents=True, exist_ok=True)
        with _alone(root):
            _check_folder(root, settings)
            _write_settings(root / "rallies.json", settings)
            plan = list(_plan(root, settings))
            write_own_split(root, layout, [(PARTS[rally.part], str(rally.video)) for rally in plan])
            rallies = [rally for rally in plan if not rally.labels.exists()]
            _write_all(root, settings, rallies, workers, progress)
    except OSError as error:
        raise TrackNetError(f"{root}: cannot be written: {why_refused(error)}") from error
    return root


def _check_folder(root: Path, settings: Settings) -> None:
    """Refuse a folder that holds anything but the same rallies."""
    if not root.exists():
        return
    if not root.is_dir():
        raise UsageError(f"{root}: is a file; expected a folder for rallies")
    table = root / "rallies.json"
    if not table.exists():
        if any(not path.name.startswith(".") for path in root.iterdir()):
            raise UsageError(
                f"{root}: holds other files and no rallies.json; expected an empty folder, or one with"
                " rallies of the same settings"
            )
        return
    try:
        found = json.loads(table.read_text())
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UsageError(f"{table}: is no table of settings; remove {root}, or choose another folder")
    expected = json.loads(json.dumps(asdict(settings)))
    other = [key for key in expected if found.get(key) != expected[key]]
    if other:
        listed = ", ".join(f"{key} {found.get(key)} instead of {expected[key]}" for key in other)
        raise UsageError(
            f"{root}: holds rallies of other settings ({listed}); remove it, or choose another folder"
        )


def _write_settings(path: Path, settings: Settings) -> None:
    part = path.with_name(f".{path.name}.part")
    with part.open("w") as file:
        json.dump(asdict(settings), file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Wait until no other process writes to the folder, then keep others waiting."""
    with (root / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _plan(root: Path, settings: Settings) -> Iterator[_Rally]:
    """All rallies; numbers of venues go on from part to part, so that no name is used twice."""
    venue = 0
    for part, name in enumerate(PARTS):
        for index in range((settings.train, settings.val, settings.test)[part]):
            nth = index % RALLIES_PER_VENUE + 1
            venue += nth == 1
            video, labels = PLACEMENTS[settings.layout].files(name, venue, nth)
            yield _Rally(part, index, root / video, root / labels)


def _write_all(
    root: Path, settings: Settings, rallies: list[_Rally], workers: int | None, progress: bool
) -> None:
    """Write rallies in as many processes as are wanted and of use."""
    if not rallies:
        return
    staging = root / ".unfinished"
    shutil.rmtree(staging, ignore_errors=True)  # of a call that was killed
    staging.mkdir()
    wanted = min(workers or usable_cores(), len(rallies))
    try:
        with track_progress(
            len(rallies) * settings.frames, "frames", f"{settings.sport} rallies", progress
        ) as shown:
            if wanted == 1:
                for rally in rallies:
                    write_rally(settings, rally, staging)
                    shown.advance(settings.frames)
            else:
                _share_out(settings, rallies, staging, wanted, shown)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _share_out(
    settings: Settings, rallies: list[_Rally], staging: Path, workers: int, shown: Progress
) -> None:
    # Processes that are forked while threads run can hang; spawned ones cannot.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_ignore_interrupts) as pool:
        jobs = [pool.submit(write_rally, settings, rally, staging) for rally in rallies]
        try:
            for job in as_finished(jobs):
                job.result()
                shown.advance(settings.frames)
        except BrokenProcessPool as error:
            raise TrackNetError(
                "a process that paints rallies has ended before its time; a script generates rallies behind "
                'if __name__ == "__main__":'
            ) from error
        except BaseException:
            (staging / _STOP).touch()
            pool.shutdown(cancel_futures=True)
            raise


def write_rally(settings: Settings, rally: _Rally, staging: Path) -> None:
    """Paint, encode and label one rally.

    Args:
        settings: Settings of the data set.
        rally: Which rally, and where it goes.
        staging: Folder for files that are not finished, on the same file system.
    """
    # Here, because all trainings import this module, and few generate rallies.
    from tracknet.data.generate.film import Film
    from tracknet.data.generate.venue import draw_venue

    seed = np.random.SeedSequence(settings.seed)
    game = game_of(settings.sport)

    def key(kind: int, number: int) -> np.random.SeedSequence:
        name = int.from_bytes(settings.sport.encode()[:4], "big")
        return np.random.SeedSequence(seed.entropy, spawn_key=(name, rally.part, kind, number))

    venue = draw_venue(game, settings.size, key(0, rally.index // RALLIES_PER_VENUE))
    film = Film(venue, settings.frames, settings.fps, key(1, rally.index))
    labels = Labels(
        np.zeros((settings.frames, 2), np.float32),
        np.zeros(settings.frames, bool),
        np.ones(settings.frames, bool),
    )
    work = staging / f"{rally.part}-{rally.index}"
    placement = PLACEMENTS[settings.layout]
    table = work.with_suffix(rally.labels.suffix)
    if placement.image is not None:
        work.mkdir()
        encoder = _ImageEncoder(settings.size, Path(placement.image).suffix)
        for index, shown in enumerate(_until_stopped(film, staging)):
            (work / placement.image.format(index)).write_bytes(encoder.encode(shown.pixels))
            labels.xy[index], labels.visible[index] = shown.xy, shown.visible
        # Images that were moved before a call was killed.
        shutil.rmtree(rally.video, ignore_errors=True)
    else:
        work = work.with_suffix(".mp4")
        with VideoWriter(work, settings.size, settings.fps) as video:
            for index, shown in enumerate(_until_stopped(film, staging)):
                video.write(shown.pixels)
                labels.xy[index], labels.visible[index] = shown.xy, shown.visible
    placement.write(table, sparse(labels, placement), settings.size)
    # The labels come last: a rally with labels is finished.
    rally.video.parent.mkdir(parents=True, exist_ok=True)
    work.replace(rally.video)
    rally.labels.parent.mkdir(parents=True, exist_ok=True)
    table.replace(rally.labels)


def _until_stopped(film: Film, staging: Path) -> Iterator[Shown]:
    """The frames of a film, as long as the process that shares the work out wants them."""
    for shown in film:
        if (staging / _STOP).exists():
            raise _Stopped
        yield shown


class _Stopped(Exception):  # noqa: N818
    """Ends the work of a process after an interrupt or an error elsewhere."""


class _ImageEncoder:
    """Single pictures as ``.jpg`` or ``.png``."""

    def __init__(self, size: tuple[int, int], suffix: str) -> None:
        self._size = size
        self._codec, self._format = ("png", "rgb24") if suffix == ".png" else ("mjpeg", "yuvj420p")

    def encode(self, pixels: np.ndarray) -> bytes:
        """Encode one picture, uint8 ``[h, w, 3]``."""
        codec = av.CodecContext.create(self._codec, "w")
        assert isinstance(codec, av.VideoCodecContext)
        codec.height, codec.width = self._size
        codec.pix_fmt = self._format
        if self._codec == "mjpeg":
            codec.options = {"q": "3"}
        codec.time_base = 1  # type: ignore[assignment]
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
        packets = itertools.chain(codec.encode(frame.reformat(format=self._format)), codec.encode(None))
        return b"".join(bytes(packet) for packet in packets)


def _ignore_interrupts() -> None:
    """Leave Ctrl-C to the process that shares the work out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
