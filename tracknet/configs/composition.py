"""One configuration of many files: which value wins, and where each value comes from."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tracknet.configs.flags import joined, overlay
from tracknet.configs.interpolation import resolve
from tracknet.configs.layers import Start, read_layers
from tracknet.configs.merging import merge, take_back
from tracknet.configs.tree import Node, Origin, write_yaml
from tracknet.errors import UsageError
from tracknet.trust import limited

__all__ = ["Composed", "Origin", "compose"]

COMMAND_LINE = "command line"
VARIABLES = "vars"
"""Section of values that are there only for others to refer to: ``${vars.NAME}``."""

OF_COMMANDS = {
    "verbose": ("validate", "test"),
    "rectifier": ("test", "predict"),
    "tracker": ("test", "predict"),
    "max_gap": ("test", "predict"),
    "return_predictions": ("predict",),
}
"""Keys that some training commands take, and which; the others pass over them in files, which serve all."""


@dataclass
class Composed:
    """A configuration, and where its values were set.

    Args:
        values: The merged configuration: files, environment variables and command line, resolved.
        origins: Key such as ``trainer.callbacks.0.class_path`` -> all places that set it, the last of which
            won. Mappings are there too, with the places that touch them.
        notes: What was dropped on the way, a line each.
        files: The files, the weakest first.
        merged: The merged configuration of the files alone, resolved.
        words: The words that are left for the parser: those of environment variables, then the flags.
        trusted_only: Whether classes are to be limited to trusted packages, see `tracknet.trust.limited`.
    """

    values: dict[str, Any]
    origins: dict[str, list[Origin]]
    notes: list[str]
    files: list[Path] = field(default_factory=list)
    merged: dict[str, Any] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    trusted_only: bool = False

    def parser_words(self) -> list[str]:
        """Give the words for the parser: the merged files, environment variables, the command line."""
        config = ["--config", write_yaml(self.merged)] if self.merged else []
        return config + self.words

    def place(self, key: str) -> Origin | None:
        """Say where a key was set last.

        Args:
            key: Key such as ``data.batch_size``; ``init_args`` and the places in lists may be left out.

        Returns:
            The place, or nothing where the key is not set.
        """
        wanted = _short(key)
        return next((places[-1] for one, places in self.origins.items() if _short(one) == wanted), None)


def compose(words: Sequence[str], command: str, start: Start | None = None) -> Composed:
    """Merge the files that words name with environment variables and the command line.

    Precedence, the weakest first: defaults of the classes, base, environment, experiment, other pieces and
    ``--config`` files as they are written, environment variables, command line.

    Args:
        words: Words of the command line after the command.
        command: The command, such as ``fit``, whose environment variables count.
        start: A configuration to start from: that of a checkpoint's run.

    Returns:
        The configuration.

    Raises:
        UsageError: A file is missing or wrong, or a variable cannot be resolved.
    """
    layers = read_layers(words, start)
    notes: list[str] = []
    tree = Node({})
    set_by = [*_variables(command), *((COMMAND_LINE, word) for word in joined(layers.words))]
    with limited(layers.trusted_only):  # merging looks at the classes that files name
        for _, file in layers.files:
            tree = merge(tree, file, "", notes)
        if start is not None:
            take_back(tree, str(start.path), notes)
        left_out = {}
        for key in [key for key, known in OF_COMMANDS.items() if key in tree.value and command not in known]:
            one = left_out[key] = tree.value.pop(key)
            if one.value is not None:  # the configuration of a run holds them all
                known = " and ".join(OF_COMMANDS[key])
                notes.append(f"{one.origins[-1]}: {key} is for {known}; {command} does without")
        full = tree
        for source, word in set_by:
            full = overlay(full, word, Origin(source), notes)
    values, merged, left = resolve(full, tree, [word for _, word in set_by], left_out)
    hidden = f"--{VARIABLES}."
    return Composed(
        values={key: value for key, value in values.items() if key != VARIABLES},
        origins={key: node.origins for key, node in full.walk() if not f"--{key}.".startswith(hidden)},
        notes=notes,
        files=[path for path, _ in layers.files],
        merged={key: value for key, value in merged.items() if key != VARIABLES},
        words=[word for word in left if not word.startswith(hidden)],
        trusted_only=layers.trusted_only,
    )


def _variables(command: str) -> Iterator[tuple[str, str]]:
    """Give variables such as ``TRACKNET_FIT__TRAINER__MAX_EPOCHS`` and the flags they stand for."""
    prefix = f"TRACKNET_{command.upper()}__"
    for name in sorted(os.environ):
        if not name.startswith(prefix):
            continue
        parts = name[len(prefix) :].split("__")
        key = ".".join(part.lower() if part.isupper() else part for part in parts)
        if key in ("config", "env"):
            raise UsageError(f"{name}: files are named with --config, an environment with TRACKNET_ENV")
        yield name, f"--{key}={os.environ[name]}"


def _short(key: str) -> list[str]:
    return [part for part in key.split(".") if part != "init_args" and not part.isdigit()]
