"""A report of jsonargparse as one line: key, what was found, what was expected, the nearest name.

Needs neither PyTorch nor Lightning: light commands explain wrong words, too.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable

from tracknet.cli.words import LINKS, follows_model
from tracknet.configs.check import START
from tracknet.configs.options import family, load
from tracknet.configs.wording import IN_WORDS, to_quote
from tracknet.errors import nearest
from tracknet.trust import refusal_of

_KEY = re.compile(r'(?:Parser key|Key) "([^"]+)"')
_CLASS = re.compile(r"(?:- )?Problem with given class_path '([\w.]+)'")
_OPTION = re.compile(r"Option '([^']+)' is not accepted")
_STRANGER = re.compile(r"(?:does not accept option '|[Uu]nrecognized arguments?: )(-*)([^\s'=]+)")
_REQUIRED = re.compile(r"the following arguments are required: (.*)")
_NO_CLASS = re.compile(r"Expected a dot import path string: (\S+)|Import path (\S+)")
_NO_MODULE = re.compile(r"No module named|has no attribute|[Uu]nable to import")
_EXPECTED = re.compile(
    r"Expected an? (?:<class '([\w.]+)'>|typing\.Literal\[(.*?)\]|(tuple with \d+ elements))"
)
_RESTRICTED = re.compile(r"Not of type (\w+)")
_NESTED = re.compile(r"NestedArg\(key='[^']*', val=(.*)\)$")
_GIVEN = re.compile(r"Given value: (.*)")
_GOT = re.compile(r"Got value: (.*)|Not of type \w+: (?:(\S+) does not|.*'(.*)')")
_UNLOADABLE = re.compile(r"Unable to load config '(.*)'")
_DENIED = re.compile(r"Importing '([\w.]+)' is not allowed")
_SUBTYPE = re.compile(r"[\w.]+\.\w+")

_FILES = {"yaml": "config", "yml": "config", "ckpt": "ckpt_path"}
"""Ending of a file -> the option that takes it."""

HIDDEN = {
    "optimizer": {"params": "the parameters are those of the model"},
    "lr_scheduler": {"optimizer": "the optimizer is that of the key optimizer"},
    "data": {parameter: follows_model(attribute) for attribute, parameter in LINKS.items()},
}
"""Key -> parameters of the class chosen there that cannot be set, and why."""


def explain(message: str, options: Iterable[str], classes: Iterable[str]) -> tuple[str, str]:
    """Condense a report of jsonargparse.

    The report is a tree of what was tried and failed; where a class was found, what is wrong lies in it.

    Args:
        message: The report, of one or many lines.
        options: Keys that would have been valid.
        classes: Class names that would have been valid, where the report does not tell.

    Returns:
        The key, and what was found, what was expected and the nearest valid name, as far as the report tells;
        reports of another form are passed on.
    """
    if denied := _DENIED.search(message):
        reason = refusal_of(denied[1]) or "no configuration may name it, as it could do anything"
        key = (_KEY.findall(message) or [""])[0]
        return key, f"{key + ': ' if key else ''}no class {denied[1]!r}: {reason}"
    if stranger := _STRANGER.search(message):
        dashes, word = stranger.groups()
        return _stranger(word, bool(dashes) or "nrecognized" not in message, options)
    keys, owners, leaf = _innermost(message.splitlines())
    key = ".".join(keys)
    prefix = f"{key}: " if key else ""
    reasons = "\n".join(leaf)
    if owners and (option := _OPTION.search(reasons)):
        known = [name for name in _parameters(owners[-1]) if name not in HIDDEN.get(key, {})]
        taken = f" (it takes {', '.join(known)})" if known else ""
        wrong = f"{_short(owners[-1])} has no option {option[1]!r}{nearest(option[1], known)}{taken}"
        return f"{key}.{option[1]}", f"{prefix}{wrong}"
    if missing := _REQUIRED.search(reasons):
        return key, f"{prefix}{_missing(missing[1], owners)}"
    if owners and (fault := _NO_MODULE.search(reasons)):
        return key, f"{prefix}no class {owners[-1]!r}: {_line_of(reasons, fault.start())}"
    if unloadable := _UNLOADABLE.search(reasons):
        return key, f"{prefix}{unloadable[1]!r} is neither a YAML file nor a mapping"
    expected, choices = _expectations(reasons)
    if (no_class := _NO_CLASS.search(reasons)) and not {"a number", "a whole number", "text"} & set(expected):
        return key, f"{prefix}{_no_class(no_class[1] or no_class[2], reasons, list(classes))}"
    value = _value(reasons, message)
    if expected:
        found = f", found {value!r}{nearest(value, choices)}" if value else ""
        if "text" in expected and value.replace(".", "", 1).isdigit():
            found += to_quote(value)
        return key, f"{prefix}expected {' or '.join(expected)}{found}"
    return key, message.strip()


def _stranger(word: str, is_option: bool, options: Iterable[str]) -> tuple[str, str]:
    """Give the key and what is wrong with a word that no parser knows."""
    if not is_option and word.startswith("+"):
        return "", f"unexpected {word!r}; expected +GROUP=NAME, such as +model=wasb"
    known = [name for name in options if not name.endswith(".help")]
    if not is_option:
        option = _FILES.get(word.rpartition(".")[2].lower())
        expected = f"expected --{option} {word}" if option in known else "options begin with --"
        return "", f"unexpected {word!r}; {expected}"
    group, dot, rest = word.partition(".")
    groups = {name.partition(".")[0] for name in known} if dot else set()
    hint = nearest(word, known if group in groups else [*known, *(f"{name}.{rest}" for name in groups)])
    return word, f"no option {word!r}{hint}"


def _innermost(lines: list[str]) -> tuple[list[str], list[str], list[str]]:
    """Follow the first class of each level; give the keys, the classes and the lines of the last level."""
    keys: list[str] = []
    owners: list[str] = []
    while (at := next((n for n, line in enumerate(lines) if _CLASS.match(line.strip())), None)) is not None:
        keys += _KEY.findall("\n".join(lines[:at]))
        owners += _CLASS.findall(lines[at])
        depth = _depth(lines[at])
        body = lines[at + 1 :]
        end = next((n for n, line in enumerate(body) if line.strip() and _depth(line) <= depth), len(body))
        lines = body[:end]
    keys += _KEY.findall("\n".join(lines))
    return list(dict.fromkeys(keys)), owners, lines


def _depth(line: str) -> int:
    return len(line) - len(line.lstrip())


def _line_of(text: str, place: int) -> str:
    return text[text.rfind("\n", 0, place) + 1 :].splitlines()[0].strip("- ")


def _missing(names: str, owners: list[str]) -> str:
    if owners:
        return f"{_short(owners[-1])} needs {names}"
    words = [_short(name) for name in names.split(", ")]
    if not {"model", "data"} & set(words):
        return f"needs {' and '.join(words)}"
    return f"nothing says which {' and '.join(words)} to take; {START}"


def _expectations(reasons: str) -> tuple[list[str], list[str]]:
    """Give what the lines expect, in words, and the values to choose from."""
    expected: list[str] = []
    choices: list[str] = []
    for line in reasons.splitlines():
        if restricted := _RESTRICTED.search(line):
            expected.append(IN_WORDS.get(restricted[1], restricted[1]))
        elif kind := _EXPECTED.search(line):
            name, literal, length = kind.groups()
            if name:
                expected.append(IN_WORDS.get(name, _short(name)))
            elif literal:
                choices += [choice.strip("'") for choice in literal.split(", ")]
            else:
                expected.append(f"a list of {length.split()[2]}")
    one_of = [f"one of {', '.join(dict.fromkeys(choices))}"] if choices else []
    return one_of + list(dict.fromkeys(expected)), choices


def _value(reasons: str, message: str) -> str:
    """Find the value that was given: the innermost report of it, but all of a word rather than its number."""
    given = [
        value
        for value in _GIVEN.findall(reasons)
        if not value.startswith(("[", "{", "NestedArg", "Namespace"))
    ]
    got = [group for groups in _GOT.findall(reasons) for group in groups if group]
    nested = [match[1] for value in _GIVEN.findall(message) if (match := _NESTED.match(value))]
    value = str((given or got or nested or _GIVEN.findall(reasons) or [""])[-1])
    return value[1:-1] if value[:1] == value[-1:] == "'" else value


def _no_class(name: str, reasons: str, classes: list[str]) -> str:
    """Say that there is no such class, or that it is of another kind than the one wanted."""
    line = next((line for line in reasons.splitlines() if line.strip().startswith("Subtypes:")), "")
    bases = [base for path in _SUBTYPE.findall(line) if isinstance(base := load(path), type)]
    known = {cls.__name__ for base in bases for cls in family(base) if not inspect.isabstract(cls)}
    if bases and (name in classes or load(name) is not None):
        return f"{name!r} is not a {bases[0].__name__}"
    return f"no class {name!r}{nearest(_short(name), known or classes)}"


def _short(class_path: str) -> str:
    return class_path.rpartition(".")[2]


def _parameters(class_path: str) -> list[str]:
    cls = load(class_path)
    try:
        return list(inspect.signature(cls).parameters) if cls else []
    except (ValueError, TypeError):
        return []
