"""Gives bad videos to the commands that read videos, and tells what came of it.

usage: python -m tests.faults.inputs [FILE.md [OUTPUT ...]]

Writes the tables, default to standard output; with what `python -m tests.faults.fuzz` printed into files.
"""

from __future__ import annotations

import io
import logging
import re
import sys
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from tracknet.cli.main import main as tracknet
from tracknet.data.cache import FrameCache
from tracknet.data.video import open_source
from tracknet.tracking.trajectory import read_trajectory

from .label_files import Table, report_of, tables
from .media import SIZE as VIDEO_SIZE
from .media import Medium, column_of, media, number_in

SIZE = (32, 48)
_CAMPAIGN = re.compile(r"\w+: [\d,]+ files in ")
REMEDY = re.compile(r"get the file again|copy|download|expected a video|re-encode|encode it again|one size")


@dataclass(frozen=True)
class Said:
    """What a command answered: its exit code, and what it printed on standard output and standard error."""

    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """Standard error without progress and notes."""
        kept = [one for one in self.err.splitlines() if one.startswith("tracknet ")]
        return "\n".join(kept)


@dataclass(frozen=True)
class Outcome:
    """What came of one input.

    Attributes:
        name: The input.
        answers: What each command did, in a few words.
        wrong: What is not as it should be; empty where all is.
    """

    name: str
    answers: dict[str, str]
    wrong: tuple[str, ...]


def say(*words: str | Path) -> Said:
    """Run a command in this process; what is not caught by the command is not caught here."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = tracknet([str(word) for word in words])
    return Said(code, out.getvalue(), err.getvalue())


def write_tracker(path: Path) -> Path:
    """Write a checkpoint that finds the bright dot of `media`; its class must be importable."""
    from bright_network import BrightNetwork

    from tracknet.training.checkpoint_format import write_checkpoint
    from tracknet.training.lightning_module import HeatmapTracker

    tracker = HeatmapTracker(BrightNetwork(frames=3, outputs=3), input_size=VIDEO_SIZE)
    content = {"state_dict": tracker.state_dict(), "hyper_parameters": dict(tracker.hparams)}
    write_checkpoint(content | {"pytorch-lightning_version": "2.5"}, path)
    return path


def try_medium(medium: Medium, folder: Path, ckpt: Path) -> Outcome:
    """Track a video, check it as a data set with labels, and fill the frame cache with it.

    Args:
        medium: The video.
        folder: An empty folder.
        ckpt: Checkpoint of `write_tracker`.
    """
    root = folder / "data"
    root.mkdir()
    path = medium.make(root)
    _write_labels(path, medium)
    wrong: list[str] = []
    answers = {}
    for name, attempt in {"track": _track, "data check": _check, "data cache": _cache}.items():
        answers[name], faults = attempt(medium, path, folder, ckpt)
        wrong += [f"{name}: {fault}" for fault in faults]
    return Outcome(medium.name, answers, tuple(wrong))


def _write_labels(path: Path, medium: Medium) -> None:
    rows = [f"{place},1,{column_of(number)},40" for place, number in enumerate(medium.numbers or range(16))]
    target = path / "Label.csv" if path.is_dir() else path.with_suffix(".csv")
    heads = {True: "file name,visibility,x-coordinate,y-coordinate", False: "Frame,Visibility,X,Y"}
    if path.is_dir():
        rows = [f"{int(row.split(',')[0]):04d}.png,{row.partition(',')[2]}" for row in rows]
    target.write_text("\n".join([heads[path.is_dir()], *rows]) + "\n")


def _track(medium: Medium, path: Path, folder: Path, ckpt: Path) -> tuple[str, list[str]]:
    target = folder / "found" / "clip_ball.csv"
    said = say("track", path, "--ckpt", ckpt, "--output", target, "--device", "cpu")
    left = sorted(one for one in target.parent.glob("*")) if target.parent.is_dir() else []
    if medium.numbers is None:
        wrong = _refused(said, path, medium.says)
        wrong += [f"{one.name} is left" for one in left if str(one) not in said.message]
        kept = f"; kept {left[0].name}" if left else ""
        return f"refused, exit {said.code}{kept}", wrong
    if said.code:
        return f"exit {said.code}", [f"exit {said.code}: {said.message}"]
    width = open_source(path).info.width
    rows = read_trajectory(target)
    numbers = [_number_at((row.x + 0.5) * VIDEO_SIZE[1] / width - 0.5) for row in rows]
    wrong = _compared(numbers, medium)
    wrong += [] if re.search(medium.note or "^$", _notes(said)) else [f"notes {_notes(said)!r}"]
    return _counted(len(rows), medium) + (", told" if medium.note else ""), wrong


def _compared(numbers: list[int], medium: Medium) -> list[str]:
    expected = list(medium.numbers or ())
    right = numbers == expected if medium.exact else len(numbers) == len(expected)
    return [] if right else [f"the frames are {numbers}"]


def _counted(frames: int, medium: Medium) -> str:
    return f"{frames} frame{'s' * (frames != 1)}" + (", exact" if medium.exact else "")


def _number_at(x: float) -> int:
    return round((x - column_of(0)) / (column_of(1) - column_of(0)))


def _notes(said: Said) -> str:
    return "\n".join(line for line in said.err.splitlines() if line.startswith("note: "))


def _check(medium: Medium, path: Path, folder: Path, ckpt: Path) -> tuple[str, list[str]]:
    said = say("data", "check", folder / "data")
    if medium.open_says is None:
        told = re.search(r"\n  \d+ clips?: ([\d,]+ frames?),", said.out)
        frames = len(medium.numbers or range(16))
        counted = f"{frames} frame{'s' * (frames != 1)}"
        right = said.code == 0 and told is not None and told[1] == counted
        wrong = [] if right else [f"{said.code}: {said.out}"]
        return counted if medium.numbers is not None else "not noticed: it does not decode", wrong
    wrong = [] if said.code == 1 else [f"exit {said.code}"]
    if (
        not re.search(rf"{re.escape(str(path))}.*(?:{medium.open_says})", said.out)
        or "remedy: " not in said.out
    ):
        wrong.append(f"said {said.out!r}")
    return "told", wrong


def _cache(medium: Medium, path: Path, folder: Path, ckpt: Path) -> tuple[str, list[str]]:
    root = folder / "cache"
    said = say("data", "cache", folder / "data", "--size", *map(str, SIZE), "--cache_dir", root)
    if medium.numbers is None:
        left = [one.name for one in root.rglob("*") if one.is_file()]
        wrong = [f"exit {said.code}"] if said.code != 1 else []
        if not re.search(medium.says, said.err) or str(path) not in said.err or not REMEDY.search(said.err):
            wrong.append(f"said {said.err!r}")
        return f"refused, exit {said.code}", [*wrong, *(f"{name} is left" for name in left)]
    if said.code:
        return f"exit {said.code}", [f"exit {said.code}: {said.err}"]
    frames = FrameCache(root, SIZE).open(open_source(path)).frames
    numbers = [number_in(np.moveaxis(frame, 0, 2)) for frame in np.asarray(frames)]
    return _counted(len(numbers), medium), _compared(numbers, medium)


def _refused(said: Said, path: Path, says: str) -> list[str]:
    wrong = [] if said.code in (1, 2) else [f"exit {said.code}"]
    if said.message.count("\n") or str(path) not in said.message or not re.search(says, said.message):
        wrong.append(f"said {said.err!r}")
    return wrong if REMEDY.search(said.message) else [*wrong, f"no remedy: {said.message!r}"]


def try_table(table: Table, folder: Path) -> Outcome:
    """Give a label file to the check of data sets."""
    answer, wrong = report_of(table, folder)
    return Outcome(table.name, {"data check": answer}, wrong)


def markdown(groups: dict[str, Sequence[Outcome]], printed: Sequence[str] = ()) -> str:
    """Write the tables of what was tried and what came of it, and what random changes came to."""
    now = datetime.now(timezone.utc)
    lines = ["# Bad inputs", "", f"`python -m tests.faults.inputs`, {now:%Y-%m-%d %H:%M} UTC.", ""]
    for title, outcomes in groups.items():
        lost = sum(bool(one.wrong) for one in outcomes)
        heads = list(outcomes[0].answers)
        lines += [f"## {title}: tried {len(outcomes)}, survived {len(outcomes) - lost}, lost {lost}", ""]
        lines += [f"| input | {' | '.join(heads)} |", f"|---|{'---|' * len(heads)}"]
        for one in outcomes:
            state = " **wrong**" if one.wrong else ""
            lines.append(f"| {one.name}{state} | {' | '.join(one.answers.values())} |")
        lines.append("")
    told = [line for text in printed for line in text.splitlines() if _CAMPAIGN.match(line)]
    if told:
        lines += [
            "## Files changed at random",
            "",
            "`python -m tests.faults.fuzz`; a file is read or refused.",
            "",
        ]
        lines += [*(f"- {line}" for line in told), ""]
    return "\n".join(lines)


def main(words: Sequence[str]) -> int:
    """Try everything and write the table.

    Returns:
        Exit code: 1 when something is wrong.
    """
    sys.path.insert(0, str(Path(__file__).parents[1]))
    logging.getLogger("libav").setLevel(logging.CRITICAL)
    videos: list[Outcome] = []
    labels: list[Outcome] = []
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        ckpt = write_tracker(base / "bright.ckpt")
        for place, medium in enumerate(media()):
            (base / str(place)).mkdir()
            videos.append(try_medium(medium, base / str(place), ckpt))
        for place, table in enumerate(tables()):
            (base / f"table{place}").mkdir()
            labels.append(try_table(table, base / f"table{place}"))
    for one in [*videos, *labels]:
        for fault in one.wrong:
            print(f"{one.name}: {fault}", file=sys.stderr)
    printed = [Path(name).read_text(encoding="utf-8") for name in words[1:]]
    text = markdown({"Videos": videos, "Label files": labels}, printed)
    if words:
        Path(words[0]).write_text(text, encoding="utf-8")
    else:
        print(text)
    return int(any(one.wrong for one in [*videos, *labels]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
