"""Commands that hold commands: functions whose parameters are the options."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Mapping, Sequence
from inspect import signature

from jsonargparse import ArgumentParser

from tracknet.cli.trusting import TRUSTING, add_trust
from tracknet.errors import UsageError, nearest


def run_subcommand(
    name: str, description: str, functions: Mapping[str, Callable[..., int]], argv: Sequence[str]
) -> int:
    """Run the function that the first word names.

    Parameters without a default are positional, the others options; a first one that is a list takes all
    words up to the first option. The first line of the docstring is the help of the command.

    Args:
        name: The command that holds them, as in ``tracknet NAME``.
        description: What it is for.
        functions: A function for each sub-command.
        argv: The words after the name.

    Returns:
        Exit code of the function.

    Raises:
        UsageError: A wrong command or option.
        TrackNetError: As the function raises it.
    """
    # The options of the others are not asked for, and take longer to make than most commands to run.
    chosen = {word: functions[word] for word in argv[:1] if word in functions}
    parser = commands_parser(name, description, chosen or functions)
    try:
        parsed = parser.parse_args(_with_list(list(argv), functions))
    except argparse.ArgumentError as error:
        raise UsageError(usage_of_commands(name, str(error), argv, parsers_in(parser))) from error
    return functions[parsed.command](**vars(parsed[parsed.command]))


def commands_parser(
    name: str, description: str, functions: Mapping[str, Callable[..., int]]
) -> ArgumentParser:
    """Make the parser of a command that holds commands; see `run_subcommand`."""
    parser = ArgumentParser(
        prog=f"tracknet {name}", description=description, allow_abbrev=False, exit_on_error=False
    )
    commands = parser.add_subcommands(required=True, dest="command", metavar="COMMAND")
    for command, function in functions.items():
        line = (function.__doc__ or "").partition("\n")[0]
        inner = ArgumentParser(description=line, allow_abbrev=False, exit_on_error=False)
        inner.add_function_arguments(function, as_group=False, as_positional=True)
        if (name, command) in TRUSTING:
            add_trust(inner)
        commands.add_subcommand(command, inner, help=line)
    return parser


def parsers_in(parser: ArgumentParser) -> dict[str, ArgumentParser]:
    """Give the parsers of the commands that a command holds, by their names."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _with_list(words: list[str], functions: Mapping[str, Callable[..., int]]) -> list[str]:
    """Put the words that a first parameter takes as a list into one, as jsonargparse wants it."""
    function = functions.get(words[0]) if words else None
    first = next(iter(signature(function).parameters.values()), None) if function else None
    if first is None or first.default is not first.empty or not str(first.annotation).startswith("list["):
        return words
    end = next((place for place, word in enumerate(words) if place and word.startswith("-")), len(words))
    return [words[0], json.dumps(words[1:end]), *words[end:]] if end > 1 else words


def usage_of_commands(
    name: str, message: str, argv: Sequence[str], parsers: Mapping[str, ArgumentParser]
) -> str:
    """Make one message of what is wrong with the words of a command that holds commands.

    Args:
        name: The command, as in ``tracknet NAME``.
        message: The report of jsonargparse.
        argv: The words after the name.
        parsers: The parser of each sub-command.

    Returns:
        What is wrong, and where to read on.
    """
    command = argv[0] if argv else ""
    if command not in parsers:
        found = f"there is no {command!r}{nearest(command, parsers)}; " if command else ""
        return f"{found}expected one of {', '.join(parsers)} (see tracknet {name} --help)"
    message = usage_message(message, parsers[command]).replace(f"{command}.", "")
    return f"{command}: {message} (see tracknet {name} {command} --help)"


def usage_message(message: str, parser: ArgumentParser) -> str:
    """Make one line of a report of jsonargparse.

    Args:
        message: The report.
        parser: The parser that takes the options.

    Returns:
        The option, what was found, what was expected and the nearest valid name, as far as the report tells.
    """
    if message.startswith("unrecognized arguments: "):
        word = message.split()[2]
        if word.startswith("-") and os.path.lexists(word):
            return f"unknown argument {word!r}; for the file of this name write ./{word}"
        plain = word.lstrip("-").partition("=")[0].removesuffix("_path")
        named = [action.dest for action in parser._actions if not action.option_strings]
        if plain in named:
            place = "first" if plain == named[0] else "next"
            return f"unknown argument {word!r}; {plain} is the {place} word, without a flag"
        options = [option for action in parser._actions for option in action.option_strings]
        return f"unknown argument {word!r}{nearest(word, options)}"
    if "\n" in message:
        from tracknet.cli.explaining import explain  # takes a moment, which only a wrong word waits for

        _, told = explain(message, [], [])
        return f"--{told}".replace("a list", "a list such as '[A,B]'")
    return message
