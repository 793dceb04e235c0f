"""What shells complete after the commands that have parsers of their own."""

from __future__ import annotations

from argparse import PARSER, SUPPRESS, Action
from importlib import import_module

from jsonargparse import ArgumentParser

from tracknet.cli.subcommands import parsers_in
from tracknet.configs.completion import Words
from tracknet.configs.wording import choices
from tracknet.errors import TrackNetError


def words_after(room: str) -> Words:
    """Give what may follow a command.

    Args:
        room: Its module below `tracknet.cli`.

    Returns:
        Its options and commands; none where it has no parser of its own, or needs a package that is missing.
    """
    make = getattr(import_module(f"tracknet.cli.{room}"), "make_parser", None)
    try:
        return Words() if make is None else _words_of(make())
    except TrackNetError:
        return Words()


def _words_of(parser: ArgumentParser) -> Words:
    shown = [action for action in parser._actions if action.help != SUPPRESS]
    flags = {
        word: _values(action)
        for action in shown
        for word in action.option_strings
        if word.startswith("--") and not word.endswith(".help")
    }
    commands = {name: _words_of(inner) for name, inner in parsers_in(parser).items()}
    places = [action for action in shown if not action.option_strings and action.nargs != PARSER]
    return Words(flags, commands, _values(places[0]) if places else ())


def _values(action: Action) -> list[str]:
    return choices(getattr(action, "_typehint", None)) or [str(one) for one in action.choices or ()]
