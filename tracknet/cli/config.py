"""``tracknet config``: explain, document, compare, check and write configurations."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser

from tracknet.cli.subcommands import commands_parser, run_subcommand
from tracknet.data.faults import plural
from tracknet.data.whole_file import whole_file
from tracknet.errors import UsageError, nearest

ABOUT = "Explain, document, compare, check and write configurations."
TrainingCommand = Literal["fit", "validate", "test", "predict"]


def main(argv: Sequence[str]) -> int:
    """Run ``tracknet config``.

    Args:
        argv: The words after ``config``.

    Returns:
        Exit code: 0, or 2 when `check` finds faults.

    Raises:
        UsageError: A wrong command, option or configuration.
    """
    if argv and argv[0] in _OF_WORDS and not {"-h", "--help"} & set(argv):
        return _OF_WORDS[argv[0]](list(argv[1:]))
    words = list(argv)
    if words[:1] and words[0] in _MAY_COME_FIRST and words[1:2] and not words[1].startswith("-"):
        words.insert(1, _MAY_COME_FIRST[words[0]])
    return run_subcommand("config", ABOUT, COMMANDS, words)


def make_parser() -> ArgumentParser:
    """Make what reads the words of ``tracknet config``."""
    return commands_parser("config", ABOUT, COMMANDS)


def list_(group: str = "") -> int:
    """List the packaged configurations, with one line each.

    Args:
        group: Only those of one group, such as ``model``.

    Returns:
        Exit code 0.
    """
    from tracknet.configs.listing import listing

    print(listing(group))
    return 0


def show(key: str) -> int:
    """Say what a key or a class is: type, default, docstring, classes to choose from.

    Args:
        key: Such as ``trainer.max_epochs``, ``model.network``, ``data.batch_size`` or ``AdamW.lr``.

    Returns:
        Exit code 0.

    Raises:
        UsageError: There is no such key.
    """
    from tracknet.configs.show import show as shown

    print(shown(_parsing().options, key))
    return 0


def diff(first: Path, second: Path) -> int:
    """Compare two configurations, value by value.

    Args:
        first: A YAML file, a packaged one included, or the folder of a run.
        second: Another.

    Returns:
        Exit code 0.

    Raises:
        UsageError: A file is missing or wrong.
    """
    from tracknet.configs.diff import differences

    for one in differences(first, second):
        print(one)
    return 0


def explain(words: list[str]) -> int:
    """Print the whole configuration, with where each value comes from and what it replaced.

    Args:
        words: Words as after ``tracknet fit``: ``--config FILE``, ``+group=name``, ``--key value``.

    Returns:
        Exit code 0.

    Raises:
        UsageError: The configuration is wrong.
    """
    from tracknet.configs.explain import explain as explained

    command, rest = _command(words)
    composed, values = _parsing(command).parse(rest)
    print(explained(composed, values))
    return 0


def check(words: list[str]) -> int:
    """Say all that is wrong with configurations at once, and build nothing.

    Args:
        words: Files, each checked by itself (a piece on top of ``base.yaml``), and words as after ``tracknet
            fit``, which count for all of them.

    Returns:
        Exit code: 0 when nothing is wrong, 2 otherwise.
    """
    command, rest = _command(words)
    files: list[str] = []
    while rest and not rest[0].startswith(("-", "+")):
        files.append(rest.pop(0))
    parsing = _parsing(command)
    wrong = 0
    for name in files or [""]:
        faults = parsing.faults([name] if name else [], rest)
        wrong += len(faults)
        print("\n".join(faults) if faults else f"{name or 'the configuration'}: nothing wrong")
    if wrong:
        print(plural(wrong, "fault"), file=sys.stderr)
    return 2 if wrong else 0


def new(
    out: Path | None = None,
    network: str | None = None,
    data: str | None = None,
    env: str | None = None,
    task: str | None = None,
) -> int:
    """Write a commented configuration; asks for what is not given when there is a terminal.

    Args:
        out: File to write.
        network: Class of the network, such as ``TrackNetV2``.
        data: Class of the data, such as ``FlatVideoDataModule``.
        env: Name of an environment, such as ``cpu``.
        task: Class of the module, such as ``HeatmapTracker``.

    Returns:
        Exit code 0.

    Raises:
        UsageError: A name is wrong, the file is there already, or there is nobody to ask.
        TrackNetError: The file cannot be written.
    """
    from tracknet.configs.library import packaged_configs
    from tracknet.configs.template import Chosen, choices, write_template

    asks = sys.stdin.isatty() and out is None
    if out is None and not asks:
        raise UsageError("new: name the file to write, such as: tracknet config new my.yaml --network WASB")
    if out is not None and out.exists():
        raise UsageError(f"new: {out} is there already")
    options = _parsing().options
    known = {
        "task": [cls.__name__ for cls in choices(options, "model")],
        "network": [cls.__name__ for cls in choices(options, "model", "network")],
        "data": [cls.__name__ for cls in choices(options, "data")],
        "env": [name.split("/")[-1][:-5] for name in packaged_configs() if name.startswith("configs/env/")],
    }
    given = {"task": task, "network": network, "data": data, "env": env}
    usual = Chosen()
    chosen = {
        what: name or (_ask(what, known[what], getattr(usual, what)) if asks else getattr(usual, what))
        for what, name in given.items()
    }
    if out is None:
        out = Path(input("file to write [my.yaml]: ").strip() or "my.yaml")
        if out.exists():
            raise UsageError(f"new: {out} is there already")
    text = write_template(options, Chosen(**chosen))
    with whole_file(out) as part:
        part.write_text(text, encoding="utf-8")
    print(f"{out}: check it with `tracknet config check {out}`, train with `tracknet fit --config {out}`")
    return 0


def migrate(words: list[str]) -> int:
    """Convert a configuration of the older tracknet, TrackNetV3 or WASB, and report every key.

    Args:
        words: Old files and KEY=VALUE, or a command line of TrackNetV3; ``--from`` legacy, tracknetv3 or wasb
            where the contents do not tell it, ``--out`` FILE for the new file, otherwise it is printed.

    Returns:
        Exit code 0.

    Raises:
        UsageError: The old configuration is wrong, missing or not recognised, or the new file is there.
        TrackNetError: The file cannot be written.
    """
    from tracknet.configs.migration import SOURCES
    from tracknet.configs.migration import migrate as migrated

    rest, source, out = list(words), _taken(words, "--from"), _taken(words, "--out")
    for flag in ("--from", "--out"):
        rest = _without(rest, flag)
    if source is not None and source not in SOURCES:
        raise UsageError(
            f"--from: found {source!r}{nearest(source, SOURCES)} (those are {', '.join(SOURCES)})"
        )
    if out is not None and Path(out).exists():
        raise UsageError(f"migrate: {out} is there already")
    migration = migrated(rest, source)
    if out is None:
        print(migration.yaml(), end="")
        print(migration.report(), file=sys.stderr)
        return 0
    with whole_file(Path(out)) as part:
        part.write_text(migration.yaml(), encoding="utf-8")
    print(migration.report())
    print(f"{out}: check it with `tracknet config check {out}`, train with `tracknet fit --config {out}`")
    return 0


def schema(out: Path | None = None) -> int:
    """Write the JSON Schema of fit configurations, with which editors complete and check YAML.

    In a YAML file, ``# yaml-language-server: $schema=FILE`` names it for VS Code; PyCharm takes it under
    Languages & Frameworks, Schemas and DTDs, JSON Schema Mappings.

    Args:
        out: File to write; default the terminal.

    Returns:
        Exit code 0.

    Raises:
        TrackNetError: The file cannot be written.
    """
    from tracknet.configs.schema import json_schema

    text = json.dumps(json_schema(_parsing().options), indent=1)
    if out is None:
        print(text)
        return 0
    with whole_file(out) as part:
        part.write_text(text + "\n", encoding="utf-8")
    return 0


def completion(shell: Literal["bash", "zsh"]) -> int:
    """Print a script with which the shell completes commands, options and class names.

    Args:
        shell: ``bash`` (``tracknet config completion bash > ~/.tracknet.bash``, sourced in ``~/.bashrc``) or
            ``zsh``.

    Returns:
        Exit code 0.
    """
    from tracknet.cli.completing import words_after
    from tracknet.cli.main import COMMANDS as ALL
    from tracknet.configs.completion import completion as script
    from tracknet.configs.library import packaged_configs

    training = [name for name, (room, _) in ALL.items() if room == "train"]
    words = {name: words_after(room) for name, (room, _) in ALL.items()}
    print(script(shell, _parsing().options, training, words, packaged_configs()), end="")
    return 0


def _ask(what: str, known: list[str], usual: str) -> str:
    print(f"{what}:")
    for number, name in enumerate(known, 1):
        print(f"  {number:>2}  {name}")
    while True:
        answer = input(f"number or name [{usual}]: ").strip() or usual
        if answer in known:
            return answer
        if answer.isdigit() and 0 < int(answer) <= len(known):
            return known[int(answer) - 1]
        print(f"no {what} {answer!r}{nearest(answer, known)}")


def _taken(words: Sequence[str], flag: str) -> str | None:
    """Give the value of an option among words that are not all ours."""
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name == flag:
            if not equals and place + 1 == len(words):
                raise UsageError(f"{flag}: expected a value")
            return value if equals else words[place + 1]
    return None


def _without(words: list[str], flag: str) -> list[str]:
    """Leave out an option and its value."""
    for place, word in enumerate(words):
        if word.partition("=")[0] == flag:
            return words[:place] + words[place + (1 if "=" in word else 2) :]
    return words


def _command(words: list[str]) -> tuple[TrainingCommand, list[str]]:
    """Split off the training command, which may be left out for ``fit``."""
    for command in ("fit", "validate", "test", "predict"):
        if words[:1] == [command]:
            return command, words[1:]
    return "fit", list(words)


def _parsing(command: TrainingCommand = "fit") -> Any:
    # Only here, and not even for the type: the training commands import torch.
    from tracknet.cli.parsing import Parsing

    return Parsing(command)


COMMANDS: dict[str, Callable[..., int]] = {
    "explain": explain,
    "show": show,
    "diff": diff,
    "check": check,
    "new": new,
    "list": list_,
    "migrate": migrate,
    "schema": schema,
    "completion": completion,
}
"""The sub-commands."""

_OF_WORDS = {"explain": explain, "check": check, "migrate": migrate}
"""Those that take words as they are, such as those of a training command."""

_MAY_COME_FIRST = {"new": "--out", "schema": "--out", "list": "--group"}
"""Options that need not be named when they come first."""
