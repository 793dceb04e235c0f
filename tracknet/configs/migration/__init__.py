"""Old configurations become new ones: the older tracknet, TrackNetV3, WASB."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

from tracknet.configs.migration import legacy, tracknetv3, wasb
from tracknet.configs.migration.draft import Draft
from tracknet.configs.migration.legacy_values import MASKED
from tracknet.configs.migration.rules import Kind, Line, WrongValueError
from tracknet.configs.migration.sources import SOURCES, Found, Source, read_old, read_sections
from tracknet.errors import UsageError

__all__ = [
    "SOURCES",
    "Found",
    "Line",
    "Migration",
    "Source",
    "convert",
    "migrate",
    "read_old",
    "read_sections",
]

_NAMES = {"legacy": "the older tracknet", "tracknetv3": "TrackNetV3", "wasb": "WASB"}
_WORDS = {"changed": "changed meaning"}
_NOTES = {
    "legacy": (
        MASKED,
        "faulty rows of labels and unusable clips are left out (data.faults: mask), as nothing checked them",
        "checkpoints hold the whole state of a training, so that it can be resumed",
    ),
    "tracknetv3": (),
    "wasb": ("validation clips are held out of the training clips (data.holdout); there were none",),
}


@dataclass(frozen=True)
class Migration:
    """A converted configuration.

    Attributes:
        source: Where it is from.
        draft: The new configuration.
        lines: What became of each old key.
        notes: What else is different.
    """

    source: Source
    draft: Draft
    lines: list[Line]
    notes: tuple[str, ...] = ()

    def yaml(self) -> str:
        """Write the new configuration, with comments where the meaning of a value changed."""
        header = f"Migrated from {_NAMES[self.source]}.\n  tracknet fit --config THIS_FILE"
        return self.draft.text("\n".join([header, *(f"Note: {note}" for note in self.notes)]))

    def report(self) -> str:
        """Say what became of each old key, a line each, and how many of each kind there are."""
        width = max((len(line.key) for line in self.lines), default=0)
        shown = [_shown(line, width) for line in self.lines]
        counts = Counter(line.kind for line in self.lines)
        kinds: tuple[Kind, ...] = get_args(Kind)
        total = ", ".join(f"{counts[kind]} {_WORDS.get(kind, kind)}" for kind in kinds)
        return "\n".join(
            [*shown, *(f"note: {note}" for note in self.notes), f"{len(self.lines)} keys: {total}"]
        )


def migrate(words: Sequence[str], source: Source | None = None) -> Migration:
    """Convert an old configuration.

    Args:
        words: See `read_old`.
        source: Where it is from; default what the contents tell.

    Returns:
        The new configuration and the report.

    Raises:
        UsageError: See `read_old`; or a value was never valid, or no key is known.
    """
    migration = convert(read_old(words, source))
    if migration.lines and all(line.kind == "unknown" for line in migration.lines):
        told = ", ".join(f"{line.key!r} ({line.note})" for line in migration.lines[:3])
        raise UsageError(f"migrate: {_NAMES[migration.source]} read none of these: {told}; name its files")
    return migration


def convert(found: Found, run_id: str | None = None) -> Migration:
    """Convert an old configuration that was read.

    Args:
        found: The old configuration.
        run_id: Name of the run, for the folders of the older tracknet.

    Returns:
        The new configuration and the report.

    Raises:
        UsageError: A value was never valid.
    """
    try:
        if found.source == "legacy":
            draft, lines = legacy.migrate(found.values, found.filed, run_id)
        else:
            draft, lines = (tracknetv3 if found.source == "tracknetv3" else wasb).migrate(found.values)
    except WrongValueError as error:
        place = found.places.get(error.key)
        raise UsageError(f"{place}: {error}" if place else str(error)) from error
    placed = [replace(line, place=found.places.get(line.key, "")) for line in lines]
    return Migration(found.source, draft, placed, _NOTES[found.source])


def _shown(line: Line, width: int) -> str:
    arrow = f"{_plain(line.value)} -> {line.new}" if line.new and line.new != line.key else _plain(line.value)
    words = f"{_WORDS.get(line.kind, line.kind):<15}  {line.key:<{width}}  {arrow}"
    told = f"{words}  ({line.note})" if line.note else words
    return f"{told}  [{line.place}]" if line.kind == "unknown" and line.place else told


def _plain(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
