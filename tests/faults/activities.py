"""What is disturbed: training, caching, exporting and tracking, each with what must hold afterwards."""

from __future__ import annotations

import csv
import io
import os
import random
import shutil
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import av
import yaml

from tests.training.killed_runs import CONFIG, final, same
from tracknet.training.checkpoint_format import check_seal
from tracknet.training.records.run import read_run

SUFFIXES = {"onnx": ".onnx", "torchscript": ".torchscript", "torch_export": ".pt2"}


def _rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]


class Activity:
    """A command and what must hold of its results.

    Args:
        material: Folder with ``rallies``, ``run.yaml``, ``film.mp4`` and ``tracker.ckpt``.
    """

    name = ""
    checked = ""
    """What holds after each fault."""
    again = 0.0
    """Chance that the further run after a fault is disturbed too."""

    def __init__(self, material: Path) -> None:
        self.material = material

    def words(self) -> list[str]:
        raise NotImplementedError

    def begin(self, folder: Path, draw: random.Random) -> None:
        """Make the folder as it is before the command."""
        folder.mkdir(parents=True, exist_ok=True)

    def preparation(self, folder: Path) -> Callable[[], object] | None:
        """Give what is called in the process before the command."""
        return None

    def learn(self, folder: Path) -> None:
        """Keep what a run that nobody disturbed has left."""
        raise NotImplementedError

    def faults_left(self, folder: Path) -> list[str]:
        """Look for what must not be there after a fault: anything half under a name of its own."""
        raise NotImplementedError

    def faults_in_the_end(self, folder: Path) -> list[str]:
        """Compare what a further run has made of it with what it would be without the fault."""
        raise NotImplementedError


class Files(Activity):
    """An activity whose results are files with bytes known beforehand, or old ones of the same name."""

    def __init__(self, material: Path) -> None:
        super().__init__(material)
        self.expected: dict[str, bytes] = {}
        self.old: dict[str, bytes] = {}

    def learn(self, folder: Path) -> None:
        self.expected = contents(folder)

    def faults_left(self, folder: Path) -> list[str]:
        return [
            f"{name}: neither whole nor the old one"
            for name, content in contents(folder).items()
            if not hidden(name) and not self.is_fine(name, content)
        ]

    def is_fine(self, name: str, content: bytes) -> bool:
        return self.alike(content, self.expected.get(name)) or content == self.old.get(name)

    def alike(self, content: bytes | None, other: bytes | None) -> bool:
        """Compare two files of one name."""
        return content == other

    def faults_in_the_end(self, folder: Path) -> list[str]:
        found = {name: content for name, content in contents(folder).items() if not self.is_kept(name)}
        names = found.keys() | self.expected
        other = [name for name in names if not self.alike(found.get(name), self.expected.get(name))]
        return [f"{name}: not as without the fault" for name in sorted(other)]

    def is_kept(self, name: str) -> bool:
        """Say whether a file may stay that a run without a fault would not leave."""
        return False


class Caching(Files):
    name = "filling the frame cache"
    checked = (
        "no half clip under a name of its own; the next fill waits for nobody, and gives the same cache byte "
        "for byte with nothing left beside"
    )

    def words(self) -> list[str]:
        return ["data", "cache", str(self.material / "clips"), "--size", "32", "64"]

    def preparation(self, folder: Path) -> Callable[[], object]:
        return partial(os.environ.__setitem__, "TRACKNET_CACHE", str(folder))


class Exporting(Files):
    name = "exporting"
    checked = "there is no graph; the next export gives the same graph, whole, with nothing left beside"

    def __init__(self, material: Path, formats: tuple[str, ...]) -> None:
        super().__init__(material)
        self.formats = formats
        self.turn = 0
        self.known: dict[str, dict[str, bytes]] = {}

    @property
    def format(self) -> str:
        return self.formats[self.turn % len(self.formats)]

    def words(self) -> list[str]:
        name = f"graph{SUFFIXES[self.format]}"
        return ["export", str(self.material / "tracker.ckpt"), f"--format={self.format}", f"--output={name}"]

    def begin(self, folder: Path, draw: random.Random) -> None:
        super().begin(folder, draw)
        self.turn += 1
        self.expected = self.known.get(self.format, {})

    def alike(self, content: bytes | None, other: bytes | None) -> bool:
        """Ask of archives only that they are whole: they keep the name that they were written under."""
        if content is None or other is None or not zipfile.is_zipfile(io.BytesIO(other)):
            return content == other
        return is_whole(content)

    def learn(self, folder: Path) -> None:
        super().learn(folder)
        self.known[self.format] = self.expected


class Tracking(Files):
    name = "tracking, CSV and overlay"
    checked = (
        "CSV and overlay whole, old or not there; the next run gives the same rows and as many pictures, "
        "nothing left beside"
    )

    def words(self) -> list[str]:
        ckpt, film = self.material / "tracker.ckpt", self.material / "film.mp4"
        return ["track", str(film), f"--ckpt={ckpt}", "--output=b.csv", "--overlay=b.mp4", "--device=cpu"]

    def begin(self, folder: Path, draw: random.Random) -> None:
        """Leave the results of an earlier run there, half of the times."""
        super().begin(folder, draw)
        if self.expected and draw.random() < 0.5:
            rows = self.expected["b.csv"].splitlines(keepends=True)
            self.old = {"b.csv": b"".join(rows[:-3]), "b.mp4": b"an older video"}
            for name, content in self.old.items():
                (folder / name).write_bytes(content)

    def is_fine(self, name: str, content: bytes) -> bool:
        if self.is_kept(name):
            return self.expected["b.csv"].startswith(content)
        return super().is_fine(name, content)

    def alike(self, content: bytes | None, other: bytes | None) -> bool:
        """Count the pictures of videos: with AVX-512, the macroblock tree of x264 differs now and then."""
        if content is None or other is None or other[4:8] != b"ftyp":
            return content == other
        return pictures_of(content) == pictures_of(other)

    def is_kept(self, name: str) -> bool:
        return name == "b.partial.csv"


class Training(Activity):
    name = "training"
    checked = (
        "each checkpoint, the record and the configuration are whole; resumed with `--ckpt_path last`, the "
        "weights of the end are, bit for bit, those of a run that nobody disturbed"
    )
    again = 0.7

    def __init__(self, material: Path, workers: int = 0) -> None:
        super().__init__(material)
        self.workers = workers
        if workers:
            self.name = f"training, {workers} workers"
        self.expected: dict[str, object] = {}

    def words(self) -> list[str]:
        return ["fit", "--config", "run.yaml", "--ckpt_path", "last"]

    def begin(self, folder: Path, draw: random.Random) -> None:
        super().begin(folder, draw)
        config = CONFIG.format(root=self.material / "rallies", workers=self.workers)
        config = config.replace("max_epochs: 3", "max_epochs: 2")
        (folder / "run.yaml").write_text(config)

    def learn(self, folder: Path) -> None:
        self.expected = final(folder)[0]
        last = next(folder.rglob("last.ckpt"))
        shutil.copyfile(last, self.material / "tracker.ckpt")

    def faults_left(self, folder: Path) -> list[str]:
        faults = [
            f"{path.name} is {check_seal(path)}"
            for path in folder.rglob("[!.]*.ckpt")
            if check_seal(path) != "whole"
        ]
        for path in folder.rglob("version_*/*"):
            if path.name == "run.json" and read_run(path.parent).damage is not None:
                faults.append(f"{path.name} is damaged")
            if path.name == "config.yaml" and not whole_config(path):
                faults.append(f"{path.name} is not whole")
            if path.name == "metrics.csv" and path.stat().st_size:
                _rows(path)
        return faults

    def faults_in_the_end(self, folder: Path) -> list[str]:
        found = final(folder)
        if not found:
            return ["there is no checkpoint of the end"]
        return [] if all(same(one, self.expected) for one in found) else ["other weights in the end"]


def pictures_of(video: bytes) -> int:
    """Count the pictures of a video that can be decoded; -1 where one cannot."""
    try:
        with av.open(io.BytesIO(video)) as opened:
            return sum(1 for _ in opened.decode(video=0))
    except av.FFmpegError:
        return -1


def is_whole(archive: bytes) -> bool:
    """Say whether an archive has all its members, each as its checksum wants it."""
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            return opened.testzip() is None
    except zipfile.BadZipFile:
        return False


def whole_config(path: Path) -> bool:
    """Say whether a run's configuration can be read to its last group."""
    try:
        tree = yaml.safe_load(path.read_text())
    except yaml.YAMLError:
        return False
    return isinstance(tree, dict) and {"trainer", "model", "data", "optimizer", "lr_scheduler"} <= tree.keys()


def hidden(name: str) -> bool:
    """Say whether a file is one that is being written, or was when a process was killed."""
    return any(part.startswith(".") or part.endswith((".part", ".lock")) for part in Path(name).parts)


def contents(folder: Path) -> dict[str, bytes]:
    """Read all files of a folder, by their names in it."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
