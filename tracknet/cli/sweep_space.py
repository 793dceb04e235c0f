"""The space of a sweep: which settings vary and how, and the words of ``tracknet fit`` for a point of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import Trial
from typing_extensions import NotRequired, TypedDict, final

from tracknet.configs import CONFIG_FLAGS
from tracknet.configs.layers import TRUSTED_FLAG
from tracknet.errors import UsageError

Value = None | bool | int | float | str
"""What a setting may be; a list is written as text: ``"[288, 512]"``."""


@final
class Choices(TypedDict):
    """A setting that is one of several values.

    Attributes:
        choices: The values.
    """

    choices: list[Value]


@final
class Range(TypedDict):
    """A setting that is a number between two others; a whole one where both are.

    Attributes:
        low: The smallest.
        high: The largest.
        log: Draw evenly on a logarithmic scale.
        step: Distance between two values; default 1 for whole numbers, none for others.
    """

    low: int | float
    high: int | float
    log: NotRequired[bool]
    step: NotRequired[int | float | None]


Space = Mapping[str, Choices | Range]


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Make Optuna's distributions.

    Args:
        space: Keys of ``tracknet fit`` such as ``optimizer.lr``, or groups of files such as ``+model``, and
            how they vary.

    Returns:
        By the same keys.

    Raises:
        UsageError: The space is empty, or a range is none.
    """
    if not space:
        raise UsageError("space: is empty; name a setting that varies, such as optimizer.lr")
    found: dict[str, BaseDistribution] = {}
    for key, one in space.items():
        try:
            found[key] = _distribution(key, one)
        except ValueError as error:
            raise UsageError(f"space.{key}: {error}") from error
    return found


def combinations(space: Mapping[str, BaseDistribution]) -> int:
    """Count the points of a space.

    Raises:
        UsageError: There is no end of them.
    """
    count = 1
    for key, one in space.items():
        if isinstance(one, CategoricalDistribution):
            count *= len(one.choices)
        elif isinstance(one, (IntDistribution, FloatDistribution)):
            if one.step is None:
                raise UsageError(f"space.{key}: to try each value, give choices or a step")
            count *= round((one.high - one.low) / one.step) + 1
    return count


def first_of(space: Space) -> dict[str, Value]:
    """Give the first point of a space: of each setting its first choice or its lowest value."""
    return {key: one["choices"][0] if "choices" in one else one["low"] for key, one in space.items()}


def draw(trial: Trial, space: Mapping[str, BaseDistribution]) -> dict[str, Value]:
    """Let a trial choose its values."""
    drawn: dict[str, Value] = {}
    for key, one in space.items():
        if isinstance(one, CategoricalDistribution):
            drawn[key] = trial.suggest_categorical(key, one.choices)
        elif isinstance(one, IntDistribution):
            drawn[key] = trial.suggest_int(key, one.low, one.high, step=one.step, log=one.log)
        elif isinstance(one, FloatDistribution):
            drawn[key] = trial.suggest_float(key, one.low, one.high, step=one.step, log=one.log)
    return drawn


def fit_words(config: Sequence[str], values: Mapping[str, Value]) -> list[str]:
    """Give the words of ``tracknet fit`` for a point of the space.

    Args:
        config: Files, ``+GROUP=NAME`` words and flags that all trials share.
        values: The settings that vary; they come last, so they win.

    Returns:
        Words as after ``tracknet fit``.
    """
    groups = [f"{key}={in_words(value)}" for key, value in values.items() if key.startswith("+")]
    flags = [f"--{key}={in_words(value)}" for key, value in values.items() if not key.startswith("+")]
    return [*_shared(config), *groups, *flags]


def _shared(config: Sequence[str]) -> Iterator[str]:
    is_value = False
    for word in config:
        is_flag = not is_value and word.startswith("-")
        yield word if is_value or word.startswith(("+", "-")) else f"{CONFIG_FLAGS[0]}={word}"
        is_value = is_flag and "=" not in word and word != TRUSTED_FLAG  # which stands alone


def _distribution(key: str, one: Choices | Range) -> BaseDistribution:
    if "choices" in one:
        if not one["choices"]:
            raise ValueError("choices: expected at least one value")
        return CategoricalDistribution(one["choices"])
    if key.startswith("+"):
        raise ValueError("a group of files varies by choices, such as {choices: [adam, sgd]}")
    low, high, log, step = one["low"], one["high"], one.get("log", False), one.get("step")
    if isinstance(low, int) and isinstance(high, int) and isinstance(step, (int, type(None))):
        return IntDistribution(low, high, log=log, step=1 if step is None else step)
    return FloatDistribution(float(low), float(high), log=log, step=step)


def in_words(value: Value) -> str:
    """Write a value as in a configuration or on the command line."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
