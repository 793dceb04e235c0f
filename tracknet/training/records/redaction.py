"""Secrets out of what is kept of a run: what has the name of one, and the values of such variables."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

REDACTED = "<redacted>"
_WORDS = {"token", "secret", "password", "passwd", "passphrase", "credential", "credentials", "apikey"}
_PAIRS = ("api_key", "access_key", "private_key", "secret_key")
_CLASS_PATHS = {"class_path", "_class_path", "_instantiator"}
_SHORTEST = 8  # a shorter value of a variable would be found in ordinary words

_ASSIGNED = re.compile(
    r"""(?P<name>[\w.-]*(?:key|token|secret|passw|passphrase|credential)[\w-]*)
        (?P<between>["']?\s*[=:]\s*)
        (?P<value>"[^"]*"|'[^']*'|[^\s"',}\]]+)""",
    re.IGNORECASE | re.VERBOSE,
)
_IN_CODE = re.compile(
    r"""(?P<name>[\w.-]*(?:key|token|secret|passw|passphrase|credential)[\w-]*)
        (?P<between>["']?\s*(?::[\w\s.|]+=|[=:])\s*)
        (?P<value>"[^"\n]{8,}"|'[^'\n]{8,}')""",
    re.IGNORECASE | re.VERBOSE,
)
_IN_ADDRESS = re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)")
_KNOWN_FORMS = re.compile(
    r"\b(?:gh[opsu]_\w{30,}|github_pat_\w{30,}|hf_\w{30,}|sk-[\w-]{20,}|AKIA[0-9A-Z]{16}|xox[abp]-[\w-]{20,})"
)
_HARMLESS = {"null", "none", "true", "false", "~", REDACTED}


def is_secret_name(name: str) -> bool:
    """Say whether a name is one that secrets have.

    Args:
        name: Such as ``WANDB_API_KEY`` or ``trainer.logger.init_args.api_key``; the last part counts.

    Example:
        >>> is_secret_name("logger.api_key"), is_secret_name("HF_TOKEN"), is_secret_name("tokens")
        (True, True, False)
    """
    last = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.rpartition(".")[2]).lower().replace("-", "_")
    return bool(_WORDS & set(last.split("_"))) or any(pair in last for pair in _PAIRS)


class Redactor:
    """Replaces secrets by ``<redacted>``.

    Args:
        environment: Variables whose values are secret where their names are; default those of the process.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        known = os.environ if environment is None else environment
        values = {v for name, v in known.items() if is_secret_name(name) and len(v) >= _SHORTEST}
        self._values = sorted(values, key=len, reverse=True)

    def values(self, text: str) -> str:
        """Replace the values of secret variables, tokens of known forms and passwords in addresses."""
        for value in self._values:
            text = text.replace(value, REDACTED)
        return _KNOWN_FORMS.sub(REDACTED, _IN_ADDRESS.sub(REDACTED, text))

    def text(self, text: str) -> str:
        """Replace also what is given to a secret name: ``name=value``, ``name: value``.

        Args:
            text: Any text.

        Example:
            >>> Redactor({}).text('{"api_key": "abc", "lr": 0.1}')
            '{"api_key": <redacted>, "lr": 0.1}'
        """
        return self.values(_ASSIGNED.sub(_without_value, text))

    def code(self, text: str) -> str:
        """Replace also texts in quotes that are given to a secret name, and leave other code as it is.

        Args:
            text: Code, or changes of it.

        Example:
            >>> Redactor({}).code('api_key: str = "abc-def-ghi"; token = next(tokens)')
            'api_key: str = <redacted>; token = next(tokens)'
        """
        return self.values(_IN_CODE.sub(_without_value, text))

    def words(self, words: Sequence[str]) -> list[str]:
        """Redact a command line, in which a value may be the word after its name.

        Args:
            words: The words.

        Example:
            >>> Redactor({}).words(["fit", "--logger.api_key", "abc", "--token=x"])
            ['fit', '--logger.api_key', '<redacted>', '--token=<redacted>']
        """
        told: list[str] = []
        is_value = False
        for word in words:
            name, equals, _ = word.partition("=")
            named = word.startswith("-") and is_secret_name(name.lstrip("-"))
            if is_value and not word.startswith("--"):
                told.append(REDACTED)
            else:
                told.append(f"{name}={REDACTED}" if named and equals else self.text(word))
            is_value = named and not equals
        return told

    def tree(self, value: Any, name: str = "") -> Any:
        """Redact a configuration.

        Args:
            value: Mappings, lists and plain values.
            name: Key that it lies under; class paths stay, as nothing could be built again without them.

        Returns:
            A copy of it.
        """
        if name in _CLASS_PATHS:
            return value
        if isinstance(value, Mapping):
            return {key: self.tree(one, str(key)) for key, one in value.items()}
        if type(value) in (list, tuple):
            return type(value)(self.tree(one, name) for one in value)
        if isinstance(value, str):
            return REDACTED if is_secret_name(name) and value else self.values(value)
        return value


def _without_value(found: re.Match[str]) -> str:
    harmless = found["value"].strip("\"'").lower() in _HARMLESS
    if harmless or not is_secret_name(found["name"]):
        return found[0]
    return f"{found['name']}{found['between']}{REDACTED}"
