"""The record of a run, ``run.json``: written while it trains, read afterwards, or while it still does."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeGuard

import yaml

from tracknet.data.whole_file import whole_file
from tracknet.errors import TrackNetError, UsageError, nearest
from tracknet.training.checkpoint_files import checkpoints_in
from tracknet.training.records.machine import lives
from tracknet.training.records.tested import read_tests
from tracknet.trust import is_boundless

RECORD = "run.json"
FORMAT = 1
_MOST_VALUES = 100_000  # of a configuration
State = Literal[
    "finished",
    "stopped early",
    "interrupted",
    "failed",
    "killed",
    "running",
    "unknown",
    "no record",
    "damaged",
]
"""How a run is: ``killed`` has ended without a word, ``unknown`` was begun where it cannot be looked for."""

SILENT_DAYS = 7
"""After so long without a sign, a run of another machine counts as killed."""


def now() -> str:
    """Give the time in UTC, as records hold it: ``2026-01-31T12:00:00Z``."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def moment(text: Any) -> datetime | None:
    """Read a time of a record; None where it is none."""
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    except (TypeError, ValueError):
        return None


def is_number(value: Any) -> TypeGuard[float]:
    """Say whether a value is a number and no truth value."""
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def usual_name(folder: Path) -> str:
    """Give the name of a run that was given none: its folder's, with that of the folder around it.

    Args:
        folder: The run's.
    """
    around = folder.absolute().parent.name
    return f"{around}/{folder.name}" if around else folder.name


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write a record as a whole.

    Args:
        folder: The run's.
        record: Its content.

    Raises:
        TrackNetError: The disk does not allow it.
    """
    text = json.dumps(record, indent=1, ensure_ascii=False)
    with whole_file(folder / RECORD) as part:
        part.write_text(text + "\n", encoding="utf-8", errors="backslashreplace")


@dataclass(frozen=True)
class Run:
    """A run's folder, as far as it can be read.

    Attributes:
        folder: The folder.
        record: Content of ``run.json``; empty where there is none or it is damaged.
        damage: What is wrong with ``run.json``.
    """

    folder: Path
    record: Mapping[str, Any] = field(default_factory=dict)
    damage: str | None = None

    @property
    def name(self) -> str:
        """The run's name, or that of its folder."""
        return str(self.record.get("name") or usual_name(self.folder))

    @property
    def tags(self) -> list[str]:
        """The tags."""
        return [str(one) for one in self.record.get("tags") or ()]

    @property
    def session(self) -> Mapping[str, Any]:
        """The newest session; empty where there is none."""
        sessions = self.record.get("sessions") or [{}]
        last: Mapping[str, Any] = sessions[-1]
        return last

    @cached_property
    def state(self) -> State:
        """How the newest session has ended, or whether it runs."""
        if self.damage is not None:
            return "damaged"
        if not self.record:
            return "no record"
        reason: State | None = (self.session.get("exit") or {}).get("reason")
        if reason is not None:
            return reason
        alive = lives(self.session.get("process") or {})
        if alive is None:
            sign = moment(self.session.get("heartbeat"))
            silent = sign is not None and (datetime.now(timezone.utc) - sign).days >= SILENT_DAYS
            return "killed" if silent else "unknown"
        return "running" if alive else "killed"

    @property
    def detail(self) -> str:
        """What is known of the end besides the state."""
        if self.damage is not None:
            return self.damage
        detail = (self.session.get("exit") or {}).get("detail")
        if detail:
            return str(detail)
        silent = self.state in ("killed", "unknown")
        return f"last sign {self.session.get('heartbeat')}" if silent else ""

    @property
    def figures(self) -> Mapping[str, float]:
        """The figures at the best validation; those of the last where none is known to be best."""
        for which in ("best", "last"):
            if values := self.figures_at(which):
                return values
        return {}

    def figures_at(self, which: str) -> Mapping[str, float]:
        """Give the figures of a validation.

        Args:
            which: ``best`` or ``last``.
        """
        return figures_in((self.record.get(which) or {}).get("figures"))

    @cached_property
    def tests(self) -> list[dict[str, Any]]:
        """What ``tracknet test`` has found of its checkpoints, the newest last."""
        return read_tests(self.folder)

    @property
    def tested(self) -> Mapping[str, float]:
        """The figures of the newest test."""
        return figures_in(self.tests[-1]["figures"]) if self.tests else {}

    @property
    def started(self) -> str | None:
        """When the first session began."""
        sessions = self.record.get("sessions") or [{}]
        start: str | None = sessions[0].get("start")
        return start

    @property
    def seconds(self) -> float | None:
        """Time that the sessions took, up to the last sign of those that have no end."""
        spans = [
            (moment(one.get("start")), moment(one.get("end") or one.get("heartbeat")))
            for one in self.record.get("sessions") or ()
        ]
        known = [(end - start).total_seconds() for start, end in spans if start and end]
        return sum(known) if known else None

    @property
    def checkpoints(self) -> list[Path]:
        """The checkpoint files in the run's folder."""
        return sorted(checkpoints_in(self.folder, below=True))

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The configuration by dotted keys without ``init_args``; lists of classes by class name.

        Empty where there is none, or it is damaged.
        """
        try:
            tree = yaml.load((self.folder / "config.yaml").read_text(encoding="utf-8"), _Loader)
        except (OSError, ValueError, RecursionError, yaml.YAMLError):
            return {}
        return dict(_flat(tree)) if isinstance(tree, dict) and not is_boundless(tree, _MOST_VALUES) else {}


def figures_in(values: Any) -> dict[str, float]:
    """Give the finite numbers of a mapping; nothing where it is none."""
    if not isinstance(values, dict):
        return {}
    return {k: v for k, v in values.items() if is_number(v) and abs(v) <= sys.float_info.max}


_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_run(folder: Path) -> Run:
    """Read the record of a run; one that is damaged is told of in the result.

    Args:
        folder: The run's folder.
    """
    path = folder / RECORD
    if path.is_symlink():
        return Run(folder, damage=f"{path}: is a link")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return Run(folder)
    except (OSError, ValueError, RecursionError) as error:
        return Run(folder, damage=f"{path}: {error}")
    return Run(folder, damage=fault) if (fault := _fault(path, record)) else Run(folder, record)


def find_runs(root: Path) -> list[Run]:
    """Find all runs below a folder; links are not followed.

    Args:
        root: The folder.

    Returns:
        The runs by folder, those of older versions, without a record, included.

    Raises:
        UsageError: There is no such folder.
    """
    if not root.is_dir():
        raise UsageError(f"{root}: no such folder; name that of the runs")
    return list(_runs_below(root))


def find_run(word: str, root: Path) -> Run:
    """Find one run.

    Args:
        word: Its folder, a file in it, its name or its id.
        root: Where to look for names and ids.

    Raises:
        UsageError: There is none, or more than one.
    """
    path = Path(word)
    folder = path if path.is_dir() else path.parent if path.is_file() else None
    if folder is not None:
        if (folder / RECORD).exists() or (folder / "config.yaml").is_file():
            return read_run(folder)
        inside = find_runs(folder)
        if len(inside) == 1:
            return inside[0]
        raise UsageError(f"{word}: not the folder of a run ({len(inside)} runs are below it)")
    runs = find_runs(root) if root.is_dir() else []
    found = [one for one in runs if word in (one.name, one.record.get("id"))]
    if len(found) > 1:
        raise UsageError(
            f"{word!r}: {len(found)} runs have this name: {', '.join(str(r.folder) for r in found)}"
        )
    if not found:
        raise UsageError(f"no run {word!r} below {root}{nearest(word, [one.name for one in runs])}")
    return found[0]


def need_record(run: Run) -> Run:
    """Give a run back that has a readable record.

    Raises:
        TrackNetError: It has none.
    """
    if run.damage is not None:
        raise TrackNetError(f"damaged record: {run.damage}")
    if not run.record:
        raise TrackNetError(f"{run.folder}: no {RECORD}; the callback RunRecord writes it")
    return run


def _runs_below(root: Path) -> Iterator[Run]:
    for folder, folders, names in os.walk(root):
        folders.sort()
        if RECORD in names or {"config.yaml", "metrics.csv"} <= set(names):
            folders.clear()
            yield read_run(Path(folder))


def _fault(path: Path, record: Any) -> str | None:
    if not isinstance(record, dict):
        return f"{path}: expected a mapping, found {type(record).__name__}"
    if record.get("format") != FORMAT:
        return f"{path}: format {record.get('format')!r}, expected {FORMAT}"
    sessions = record.get("sessions")
    if not isinstance(sessions, list) or not sessions or not all(isinstance(one, dict) for one in sessions):
        return f"{path}: sessions: expected a list of mappings"
    kinds = {"tags": list, "last": dict, "best": dict}
    for key, kind in kinds.items():
        if not isinstance(record.get(key, kind()), (kind, type(None))):
            return f"{path}: {key}: expected a {kind.__name__}"
    for one in sessions:
        for key in ("exit", "process", "code", "data", "hardware", "packages"):
            if not isinstance(one.get(key), (dict, type(None))):
                return f"{path}: sessions: {key}: expected a mapping"
    return None


def _flat(tree: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, dict) and tree:
        for name, value in tree.items():
            below = key if name in ("class_path", "init_args") else f"{key}.{name}" if key else str(name)
            yield from _flat(value, below)
    elif isinstance(tree, list) and any(isinstance(one, dict) for one in tree):
        for one in tree:
            name = one.get("class_path") if isinstance(one, dict) else one
            yield from _flat(one, f"{key}.{str(name).rpartition('.')[2]}")
    else:
        yield key, tree
