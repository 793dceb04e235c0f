"""What becomes of an old key: one rule for each, and a line of the report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tracknet.configs.migration.draft import Draft
from tracknet.errors import UsageError, nearest

Kind = Literal["kept", "renamed", "changed", "dropped", "unknown"]
"""What can become of a key."""

NOTHING: Any = object()
"""Stands for no value: nothing is written."""

Old = Mapping[str, Any]
"""Old values by dotted key, defaults included."""


@dataclass(frozen=True)
class Told:
    """What becomes of a key where that depends on its value.

    Attributes:
        kind: What becomes of it.
        note: What changed, or the reason.
        value: The new value; `NOTHING` writes none.
    """

    kind: Kind
    note: str
    value: Any = NOTHING


@dataclass(frozen=True)
class Rule:
    """What becomes of one old key.

    Without ``new`` it is dropped and ``note`` is the reason; with both its meaning changed, and ``note`` says
    how; with ``new`` alone it is kept, or renamed where the names differ.

    Attributes:
        old: The old key, dotted; ``name.*`` is everything below a name.
        new: The new key as on the command line, without ``init_args``.
        note: What changed, or the reason.
        convert: Makes the new value of the old one and all old values; a `Told` says more. Without it the
            value stays as it is.
        read: Gives the value as it was meant, before any is converted; raises ValueError with what was
            expected. Without it any value is taken.
    """

    old: str
    new: str = ""
    note: str = ""
    convert: Callable[[Any, Old], Any] | None = None
    read: Callable[[Any], Any] | None = None

    def covers(self, key: str) -> bool:
        """Say whether the rule is about a key."""
        return key == self.old or (self.old.endswith(".*") and key.startswith(self.old[:-1]))

    def told(self, value: Any, old: Old) -> Told:
        """Say what becomes of the key with this value.

        Raises:
            UsageError: It was never valid.
        """
        try:
            made = value if self.convert is None else self.convert(value, old)
        except (TypeError, ValueError, ZeroDivisionError) as error:
            raise UsageError(
                f"{self.old}: found {value!r}, which nothing can be made of, or not together with a value "
                f"that it depends on ({error})"
            ) from error
        if isinstance(made, Told):
            return made
        if not self.new:
            return Told("dropped", self.note)
        if self.note:
            return Told("changed", self.note, made)
        return Told("kept" if self.new == self.old else "renamed", "", made)


class WrongValueError(UsageError):
    """A value that was never valid.

    Args:
        key: Its key.
        told: What was found, and what was expected.
    """

    def __init__(self, key: str, told: str) -> None:
        super().__init__(told)
        self.key = key


@dataclass(frozen=True)
class Line:
    """A line of the report.

    Attributes:
        key: The old key.
        value: Its old value.
        kind: What became of it.
        new: The new key; empty where there is none.
        note: What changed, the reason, or the nearest known key.
        place: Where it was written, such as ``FILE:LINE``.
    """

    key: str
    value: Any
    kind: Kind
    new: str = ""
    note: str = ""
    place: str = ""


def flatten(values: Mapping[str, Any], rules: Sequence[Rule], key: str = "") -> dict[str, Any]:
    """Give values by dotted key; a mapping that a rule takes whole stays one.

    Args:
        values: Nested values.
        rules: The rules.
        key: Dotted key of the values.

    Returns:
        Dotted key -> value.
    """
    flat: dict[str, Any] = {}
    for name, value in values.items():
        below = f"{key}.{name}" if key else str(name)
        if isinstance(value, Mapping) and not any(rule.old == below for rule in rules):
            flat |= flatten(value, rules, below)
        else:
            flat[below] = value
    return flat


def apply(rules: Sequence[Rule], given: Iterable[str], old: Old, draft: Draft) -> list[Line]:
    """Write what the old values become, and report those that were given.

    Args:
        rules: The rules, in the order in which they are applied.
        given: Keys that the person gave; the other old values are defaults of the old system.
        old: All old values.
        draft: Receives the new values.

    Returns:
        A line for each given key, in the order given.

    Raises:
        WrongValueError: A value that counts was never valid.
    """
    lines: dict[str, Line] = {}
    meant, wrong = _read(rules, old)
    for rule in rules:
        for key in [key for key in old if rule.covers(key)]:
            if key in lines:
                continue
            try:
                told = rule.told(meant[key], meant)
            except UsageError as error:  # perhaps for the sake of another value
                raise next(iter(wrong.values()), WrongValueError(key, str(error))) from error
            if key in wrong and told.kind != "dropped":
                raise wrong[key]
            new = rule.new if told.kind != "dropped" else ""
            if told.value is not NOTHING and rule.new:
                draft.put(rule.new, told.value, told.note if told.kind == "changed" else "")
            lines[key] = Line(key, old[key], told.kind, new, told.note)
    known = [rule.old.removesuffix(".*") for rule in rules]
    for key in given:
        if key not in lines and old[key] is None and any(rule.old.startswith(f"{key}.") for rule in rules):
            lines[key] = Line(key, None, "kept", "", "none, as before")
        elif key not in lines:
            hint = nearest(key, known).lstrip("; ") or "no such key was ever read"
            lines[key] = Line(key, old[key], "unknown", "", hint)
    return [lines[key] for key in given]


def _read(rules: Sequence[Rule], old: Old) -> tuple[dict[str, Any], dict[str, WrongValueError]]:
    """Give the values as they were meant, and what is wrong with those that mean nothing."""
    meant, wrong = dict(old), {}
    for rule in rules:
        if rule.read is None or rule.old not in old:
            continue
        value = old[rule.old]
        try:
            meant[rule.old] = rule.read(value)
        except ValueError as error:
            found = (
                "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
            )
            missing = ", which stands for a value that is still to be given" if value == "???" else ""
            told = f"{rule.old}: found {found}{missing}; expected {error}"
            wrong[rule.old] = WrongValueError(rule.old, told)
    return meant, wrong
