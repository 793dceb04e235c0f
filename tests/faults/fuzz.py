"""Changes valid files at random and gives them to what reads them: only a `TrackNetError` may come out.

usage: python -m tests.faults.fuzz [--minutes M] [--target csv|yaml|checkpoint|packed] [--seed S]
    [--keep FOLDER] [--table FILE]
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from types import FrameType
from typing import Any

from tracknet.errors import TrackNetError

from .fuzz_checkpoints import checkpoint_files, read_checkpoints
from .fuzz_configs import config_files, read_configs
from .fuzz_labels import label_files, read_label_files
from .fuzz_packed import packed_files, read_packed

HEAD = """# Files changed at random

`python -m tests.faults.fuzz --minutes 10 --target TARGET --seed SEED --table FILE`, a row each time. Valid
files are changed in a few places and given to all that reads them. Each must be read, or refused with a
message; a finding is anything else: another exception, a crash, more than 30 seconds, more than 4 GiB. What
was found is mended and kept as a case in `tests/faults/test_fuzz.py`.

| date, UTC | target | seed | minutes | tried | read | refused | findings |
|---|---|---:|---:|---:|---:|---:|---:|
"""

SECONDS = 30
"""After which a reader counts as hanging."""

MEMORY = 4 << 30
"""Bytes of address space that readers may take, beyond what the process had."""

Reader = Callable[[Path], str]
Maker = Callable[[random.Random], tuple[str, bytes]]


@dataclass(frozen=True)
class Target:
    """Readers of one kind of file.

    Attributes:
        name: Name on the command line.
        maker: Gives what makes changed files, each a name and its content, in a folder of its own.
        reader: Gives what reads such a file and says how that ended, ``read`` or ``refused``.
    """

    name: str
    maker: Callable[[Path], Maker]
    reader: Callable[[Path], Reader]


TARGETS: Mapping[str, Target] = {
    "csv": Target("csv", label_files, read_label_files),
    "yaml": Target("yaml", config_files, read_configs),
    "checkpoint": Target("checkpoint", checkpoint_files, read_checkpoints),
    "packed": Target("packed", packed_files, read_packed),
}


@dataclass
class Campaign:
    """What came of the files that were tried.

    Attributes:
        tried: Files.
        read: Files that were read after all.
        refused: Files that were refused as they should be.
        findings: What else happened, by what it was: the first file that showed it.
        seconds: How long it took.
    """

    tried: int = 0
    read: int = 0
    refused: int = 0
    findings: dict[str, Path] = field(default_factory=dict)
    seconds: float = 0.0


class _HangingError(BaseException):
    """A reader takes too long."""


def fuzz(target: Target, folder: Path, seed: int, count: int | None = None, minutes: float = 0.0) -> Campaign:
    """Try changed files, one after the other.

    Args:
        target: What to try.
        folder: For the files; those of findings stay.
        seed: Of the random changes; file n is the same for the same seed.
        count: How many files; None goes by the time.
        minutes: How long, where no number is given.
    """
    base = folder / target.name
    base.mkdir(parents=True, exist_ok=True)
    make, read = target.maker(base), target.reader(base)
    campaign = Campaign()
    begun = time.monotonic()
    with _limits():
        for number in itertools.count() if count is None else range(count):
            if count is None and time.monotonic() - begun > 60 * minutes:
                break
            name, content = make(random.Random(f"{target.name} {seed} {number}"))
            path = base / name
            path.write_bytes(content)
            campaign.tried += 1
            found = _attempt(read, path, campaign)
            if found and found not in campaign.findings:
                kept = base / f"finding{len(campaign.findings)}_{seed}_{number}_{name}"
                kept.write_bytes(content)
                campaign.findings[found] = kept
            path.unlink(missing_ok=True)
    campaign.seconds = time.monotonic() - begun
    return campaign


def _attempt(read: Reader, path: Path, campaign: Campaign) -> str | None:
    """Read one file; gives what happened where that is a finding."""
    signal.alarm(SECONDS)
    try:
        how = read(path)
    except TrackNetError:
        how = "refused"
    except _HangingError:
        return f"takes over {SECONDS} s: {_place(sys.exc_info()[2])}"
    except BaseException as error:
        return (
            f"{type(error).__name__} ({' '.join(str(error).split())[:90]}) in {_place(error.__traceback__)}"
        )
    finally:
        signal.alarm(0)
    setattr(campaign, how, getattr(campaign, how) + 1)
    return None


def _place(trace: Any) -> str:
    """Name the last line of ours in a traceback."""
    frames = [one for one in traceback.extract_tb(trace) if "tracknet" in one.filename]
    return f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "the test"


class _limits:  # noqa: N801
    """Within it the process may not grow by more than `MEMORY`, and an alarm ends a reader."""

    def __enter__(self) -> None:
        self.before = resource.getrlimit(resource.RLIMIT_AS)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_AS, (limit, self.before[1]))
        self.handler = signal.signal(signal.SIGALRM, self._ring)

    def __exit__(self, *_: object) -> None:
        resource.setrlimit(resource.RLIMIT_AS, self.before)
        signal.signal(signal.SIGALRM, self.handler)

    @staticmethod
    def _ring(number: int, frame: FrameType | None) -> None:
        raise _HangingError


def add_row(table: Path, target: Target, seed: int, campaign: Campaign) -> None:
    """Add a campaign to a table of Markdown, which is begun where there is none."""
    counts = (campaign.tried, campaign.read, campaign.refused, len(campaign.findings))
    cells = [f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M}", target.name, str(seed)]
    cells += [f"{campaign.seconds / 60:.1f}", *(f"{count:,}" for count in counts)]
    told = table.read_text(encoding="utf-8") if table.exists() else HEAD
    table.write_text(f"{told}| {' | '.join(cells)} |\n", encoding="utf-8")


def _in_a_child(target: Target, folder: Path, seed: int, minutes: float, table: Path | None = None) -> int:
    """Run a campaign in a process of its own, so that a crash of it is a finding too."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            campaign = fuzz(target, folder, seed, minutes=minutes)
            print(
                f"{target.name}: {campaign.tried:,} files in {campaign.seconds / 60:.1f} min (seed {seed}): "
                f"{campaign.read:,} read, {campaign.refused:,} refused, {len(campaign.findings)} findings"
            )
            for what, path in campaign.findings.items():
                print(f"  {what}: {path}")
            if table is not None:
                add_row(table, target, seed, campaign)
            sys.stdout.flush()
            code = int(bool(campaign.findings))
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        print(f"{target.name}: ended by signal {os.WTERMSIG(status)}; the file is in {folder / target.name}")
    return int(status != 0)


def main(words: list[str] | None = None) -> int:
    """Run campaigns.

    Returns:
        Exit code: 1 with findings.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.faults.fuzz")
    parser.add_argument("--minutes", type=float, default=1.0, help="for each target")
    parser.add_argument("--target", choices=list(TARGETS), help="default all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the files of findings; default a temporary one")
    parser.add_argument("--table", type=Path, help="table of Markdown that gets a row for each target")
    options = parser.parse_args(words)
    folder = options.keep or Path(tempfile.mkdtemp(prefix="fuzz"))
    sys.path.insert(0, str(Path(__file__).parents[1]))
    chosen = [options.target] if options.target else list(TARGETS)
    return max(
        _in_a_child(TARGETS[name], folder, options.seed, options.minutes, options.table) for name in chosen
    )


if __name__ == "__main__":
    sys.exit(main())
