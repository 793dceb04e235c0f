"""JSON Schema of configuration files, so that editors complete and check them while one types."""

from __future__ import annotations

import datetime
import enum
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from tracknet.configs.composition import VARIABLES
from tracknet.configs.layers import EXTENDS, SHARED
from tracknet.configs.options import Option, Options, choosable, class_path, concrete, members, parameters
from tracknet.configs.options import summary as first_lines

Schema = dict[str, Any]

_BOUNDS = {"gt": "exclusiveMinimum", "ge": "minimum", "lt": "exclusiveMaximum", "le": "maximum"}
"""Function of `operator` that jsonargparse restricts a number with -> its name in JSON Schema."""
_PLAIN = {bool: "boolean", int: "integer", float: "number", str: "string", dict: "object", type(None): "null"}
_REFERENCE = {"type": "string", "pattern": r"\$\{"}
"""A value that is filled in when configurations are put together."""


def json_schema(options: Options) -> Schema:
    """Make the JSON Schema (draft 2020-12) of the files that a command takes.

    Files may be pieces that others complete: nothing is required, and a class may be left to another file.

    Args:
        options: What the command takes.

    Returns:
        The schema, plain values that `json.dumps` takes.
    """
    writer = _Writer(options)
    text: Schema = {"type": "string"}
    properties: dict[str, Schema] = {
        EXTENDS: {"anyOf": [text, {"type": "array", "items": text}], "description": "Files to start from."},
        SHARED: {
            "type": "boolean",
            "description": "Made to be given away: classes of trusted packages only.",
        },
        VARIABLES: {"type": "object", "description": "Values that others refer to: ${vars.NAME}."},
    }
    for group, names in options.groups.items():
        inner = {name: options.keys[f"{group}.{name}"] for name in names}
        properties[group] = writer.mapping(inner, group, None)
    for key, option in options.keys.items():
        if "." not in key:
            properties[key] = writer.option(option, key, None)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of tracknet fit",
        "type": "object",
        "properties": properties,
        "patternProperties": _operators(properties),
        "additionalProperties": False,
        "$defs": writer.definitions,
    }


class _Writer:
    def __init__(self, options: Options) -> None:
        self.options = options
        self.definitions: dict[str, Schema] = {}

    def mapping(self, options: Mapping[str, Option], key: str, owner: type | None) -> Schema:
        """A mapping of options; dotted names are those of a group inside."""
        properties: dict[str, Schema] = {}
        for name, option in options.items():
            group, dot, _ = name.partition(".")
            if dot:
                properties[group] = {"type": "object"}
            else:
                properties[name] = self.option(option, f"{key}.{name}", owner)
        return {
            "type": "object",
            "properties": properties,
            "patternProperties": _operators(properties),
            "additionalProperties": False,
        }

    def option(self, option: Option, key: str, owner: type | None) -> Schema:
        described: Schema = {"description": option.doc} if option.doc else {}
        if option.default is not None and _is_plain(option.default):
            described["default"] = json.loads(json.dumps(option.default))
        return {**described, "anyOf": [*self.alternatives(option.type, key, owner), _REFERENCE]}

    def alternatives(self, hint: Any, key: str, owner: type | None) -> list[Schema]:
        return [self.one(part, key, owner) for part in members(hint)]

    def one(self, hint: Any, key: str, owner: type | None) -> Schema:
        """The schema of a type hint that is no union; what has no counterpart in JSON may be anything."""
        origin, inner = get_origin(hint), get_args(hint)
        if origin is Literal:
            return {"enum": list(inner)}
        if origin is tuple and Ellipsis not in inner:
            items = [{"anyOf": self.alternatives(part, key, owner)} for part in inner]
            return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}
        if origin is dict:
            return {"type": "object"}
        if origin is not None and inner:
            return {"type": "array", "items": {"anyOf": self.alternatives(inner[0], key, owner)}}
        if not isinstance(hint, type):
            return {}
        if restrictions := getattr(hint, "_restrictions", None):
            kind: Schema = {"type": "integer" if issubclass(hint, int) else "number"}
            return kind | {_BOUNDS[test.__name__]: bound for test, bound in restrictions}
        if hint in _PLAIN:
            return {"type": _PLAIN[hint]}
        if issubclass(hint, (list, tuple)):
            return {"type": "array"}
        if issubclass(hint, enum.Enum):
            return {"enum": [member.name for member in hint]}
        if issubclass(hint, (Path, str, datetime.timedelta)):
            return {"type": "string"}
        if choosable(hint) and (_is_ours(hint) or owner is None or _is_ours(owner)):
            return {"$ref": f"#/$defs/{self.choice(hint, key)}"}
        return {}

    def choice(self, base: type, key: str) -> str:
        """Define what may stand where a subclass of a base is chosen; give the name of the definition."""
        hidden = self.options.hidden.get(key, {})
        name = base.__name__
        if name in self.definitions:
            return name
        self.definitions[name] = {}  # a class may hold its like
        classes = [cls for cls in concrete(base) if not getattr(cls, "__deprecated__", None)]
        shapes = [self.shape(cls, key, hidden) for cls in classes]
        known = [spelling for cls in classes for spelling in _spellings(cls)]
        anywhere: dict[str, Schema] = {
            option: {} for cls in classes for option in parameters(cls) if option not in hidden
        }  # which class it is, another file says
        self.definitions[name] = {
            "description": first_lines(base),
            "anyOf": [
                {"enum": list(dict.fromkeys(known))},
                {"type": "string", "pattern": r"\."},  # a class of one's own
                *({"$ref": f"#/$defs/{shape}"} for shape in shapes),
                {
                    "type": "object",
                    "properties": {
                        "init_args": {
                            "type": "object",
                            "properties": anywhere,
                            "patternProperties": _operators(anywhere),
                            "additionalProperties": False,
                        }
                    },
                    "required": ["init_args"],
                    "additionalProperties": False,
                },
                {
                    "type": "object",
                    "properties": {
                        "class_path": {"type": "string", "pattern": r"\.", "not": {"enum": known}},
                        "init_args": {"type": "object"},
                        "dict_kwargs": {"type": "object"},
                    },
                    "required": ["class_path"],
                    "additionalProperties": False,
                },
            ],
        }
        if len(classes) == 1:
            self.definitions[name]["anyOf"].append(
                self.mapping(self.options.of_class(classes[0], key), key, classes[0])
            )
        return name

    def shape(self, cls: type, key: str, hidden: Iterable[str]) -> str:
        """Define the choice of one class; give the name of the definition."""
        name = f"{cls.__module__}.{cls.__name__}"
        if name not in self.definitions:
            self.definitions[name] = {}
            options = {one: option for one, option in parameters(cls).items() if one not in hidden}
            arguments = self.mapping(options, key, cls)
            self.definitions[name] = {
                "type": "object",
                "description": first_lines(cls),
                "properties": {
                    "class_path": {"enum": _spellings(cls), "description": first_lines(cls)},
                    "init_args": {"anyOf": [arguments, {"type": "null"}]},
                    "dict_kwargs": {"type": "object"},
                },
                "required": ["class_path"],
                "additionalProperties": False,
            }
        return name


def _operators(properties: Mapping[str, Schema]) -> dict[str, Schema]:
    """Keys with a mark after them append to, take from or replace what other files say."""
    names = "|".join(sorted(name for name in properties if name.isidentifier()))
    return {rf"^({names})[+!-]$": {}} if names else {}


def _spellings(cls: type) -> list[str]:
    return list(dict.fromkeys((cls.__name__, class_path(cls), f"{cls.__module__}.{cls.__qualname__}")))


def _is_ours(cls: type) -> bool:
    return not cls.__module__.startswith(("torch.", "lightning.", "wandb."))


def _is_plain(value: object) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return isinstance(value, (bool, int, float, str))
