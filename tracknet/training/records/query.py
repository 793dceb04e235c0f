"""Filters, order and columns over runs: ``val/f1>0.8``, ``model.init_args.lr<0.01``, ``tag=paper``."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from tracknet.errors import UsageError, nearest
from tracknet.training.records.run import Run, is_number

_CONDITION = re.compile(r"\s*([^<>=!~\s]+)\s*(>=|<=|!=|==|=|<|>|~)\s*(.*?)\s*", re.DOTALL)
_EXPONENT = re.compile(r"[-+]?[\d.]*\d[\d.]*[eE][-+]?\d+")
_OPERATORS: dict[str, Callable[[Any, Any], bool]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
}
_SMALL_IS_GOOD = re.compile(r"loss|rmse|error|distance|(^|/)(fp\d?|fn)$")


def _of_session(*keys: str) -> Callable[[Run], Any]:
    def get(run: Run) -> Any:
        value: Any = run.session
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    return get


def _step(run: Run) -> Any:
    """Give the step that was reached; of older records, that of the last validation."""
    reached = run.session.get("step")
    return (run.record.get("last") or {}).get("step") if reached is None else reached


FIELDS: dict[str, Callable[[Run], Any]] = {
    "id": lambda run: run.record.get("id"),
    "name": lambda run: run.name,
    "tag": lambda run: run.tags,
    "tags": lambda run: run.tags,
    "notes": lambda run: run.record.get("notes"),
    "state": lambda run: run.state,
    "detail": lambda run: run.detail,
    "folder": lambda run: str(run.folder),
    "start": lambda run: run.started,
    "end": _of_session("end"),
    "seconds": lambda run: run.seconds,
    "sessions": lambda run: len(run.record.get("sessions") or ()),
    "step": _step,
    "epoch": lambda run: (run.record.get("last") or {}).get("epoch"),
    "best": lambda run: (run.record.get("best") or {}).get("value"),
    "seed": _of_session("seed"),
    "host": _of_session("process", "host"),
    "data": _of_session("data", "fingerprint"),
    "commit": _of_session("code", "folder", "commit"),
    "tracknet_commit": _of_session("code", "tracknet", "commit"),
}
"""What a record holds besides figures and settings, by key."""


def value_of(run: Run, key: str) -> Any:
    """Give what a run has under a key.

    Args:
        run: The run.
        key: One of `FIELDS`; a figure, such as ``val/f1`` (at the best validation), ``last.val/f1`` or
            ``test/f1`` (of the newest test); or a setting, such as ``optimizer.lr``, with or without its
            ``init_args``.

    Returns:
        None where it has nothing there.
    """
    if key in FIELDS:
        return FIELDS[key](run)
    which, _, figure = key.partition(".")
    if which in ("best", "last") and "/" in figure:
        return run.figures_at(which).get(figure)
    for figures in (run.figures, run.tested):
        if key in figures:
            return figures[key]
    return run.settings.get(_plain(key))


@dataclass(frozen=True)
class Condition:
    """One filter.

    Attributes:
        key: As for `value_of`.
        sign: ``>``, ``<``, ``>=``, ``<=``, ``=``, ``==``, ``!=``, or ``~`` for text that is part of it.
        value: Number, text, truth value or None.
    """

    key: str
    sign: str
    value: Any

    def holds(self, run: Run) -> bool:
        """Say whether it holds for a run; never where the run has nothing under the key."""
        found = value_of(run, self.key)
        if isinstance(found, list):
            return any(self._compare(one) for one in found) if self.sign != "!=" else self.value not in found
        if found is None:
            return self.value is None and self.sign in ("=", "==") and _plain(self.key) in run.settings
        return self._compare(found)

    def _compare(self, found: Any) -> bool:
        if self.sign == "~":
            return str(self.value).lower() in str(found).lower()
        numbers = is_number(found) and is_number(self.value)
        if self.sign in ("=", "==", "!="):
            same = found == self.value if numbers else _text(found) == _text(self.value)
            return same == (self.sign != "!=")
        if not numbers and not (isinstance(found, str) and isinstance(self.value, str)):
            return False
        return _OPERATORS[self.sign](found, self.value)


def parse_condition(text: str) -> Condition:
    """Read a filter.

    Args:
        text: Such as ``val/f1>0.8``.

    Raises:
        UsageError: It is none.

    Example:
        >>> parse_condition("val/f1 >= 0.8")
        Condition(key='val/f1', sign='>=', value=0.8)
        >>> parse_condition("tag=v1").value
        'v1'
    """
    found = _CONDITION.fullmatch(text)
    if found is None or not found[3]:
        raise UsageError(f"--filter {text!r}: expected KEY, then > < >= <= = != or ~, then a value")
    key, sign, written = found.groups()
    return Condition(key, sign, _value(written))


def select(runs: Sequence[Run], conditions: Sequence[Condition]) -> list[Run]:
    """Keep the runs for which all conditions hold.

    Args:
        runs: The runs.
        conditions: The filters.

    Raises:
        UsageError: A key is known to none of the runs.
    """
    for one in conditions:
        check_key(runs, one.key, "--filter")
    return [run for run in runs if all(one.holds(run) for one in conditions)]


def order(runs: Sequence[Run], key: str | None) -> list[Run]:
    """Order runs by a key: figures with the best first, texts and other numbers upwards.

    Args:
        runs: The runs.
        key: As for `value_of`, with a ``-`` before it for the other way round; default the newest first.

    Returns:
        The runs; those that have nothing under the key come last.

    Raises:
        UsageError: The key is known to none of the runs.
    """
    if key is None:
        key = "-start"
    plain = key.removeprefix("-")
    check_key(runs, plain, "--sort")
    figure = "/" in plain or plain == "best"
    down = (figure and not _SMALL_IS_GOOD.search(plain)) != key.startswith("-")
    values = [(value_of(run, plain), run) for run in runs]
    numbers = [(v, r) for v, r in values if is_number(v) and not math.isnan(v)]
    texts = [(str(v), r) for v, r in values if v is not None and not is_number(v)]
    rest = [run for value, run in values if value is None or (is_number(value) and math.isnan(value))]
    numbers.sort(key=lambda pair: pair[0], reverse=down)
    texts.sort(key=lambda pair: pair[0], reverse=down)
    return [run for _, run in [*numbers, *texts]] + rest


def check_key(runs: Collection[Run], key: str, option: str) -> None:
    """Refuse a key that no run knows.

    Args:
        runs: The runs.
        key: The key.
        option: Where it was given, for the message.

    Raises:
        UsageError: No run knows it.
    """
    known = dict.fromkeys(FIELDS)
    for run in runs:
        known |= dict.fromkeys([*run.figures, *run.figures_at("last"), *run.tested, *run.settings])
    last = key.partition(".")[2] if key.startswith(("best.", "last.")) else ""
    if len(known) > len(FIELDS) and _plain(key) not in known and key not in known and last not in known:
        if key.startswith("test/") and not any(run.tests for run in runs):
            told = "`tracknet test` has tested none of their checkpoints"
            raise UsageError(f"{option}: no run has {key!r}: {told}")
        raise UsageError(f"{option}: no run has {key!r}{nearest(_plain(key), known)}")


def _plain(key: str) -> str:
    return ".".join(part for part in key.split(".") if part not in ("init_args", "class_path"))


def _value(written: str) -> Any:
    if _EXPONENT.fullmatch(written):  # text in YAML unless it has a point and a sign
        return float(written)
    try:
        return yaml.safe_load(written)
    except yaml.YAMLError:
        return written


def _text(value: Any) -> str:
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)
