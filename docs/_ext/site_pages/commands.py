"""A page for each command, from its parser."""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from importlib import import_module

from jsonargparse import ArgumentParser

from site_pages import rst
from site_pages.values import shown, words_of
from tracknet.cli.main import COMMANDS
from tracknet.cli.parsing import Parsing
from tracknet.cli.subcommands import parsers_in


def parser_of(command: str) -> ArgumentParser | None:
    """Give the parser that a command reads its words with; None for one that reads them itself."""
    room = COMMANDS[command][0]
    if room == "train":
        return Parsing(command).parser
    make: Callable[[], ArgumentParser] | None
    make = getattr(import_module(f"tracknet.cli.{room}"), "make_parser", None)
    return make() if make else None


def help_of(command: str) -> str:
    """Give what ``tracknet COMMAND --help`` prints."""
    with redirect_stdout(io.StringIO()) as told:
        import_module(f"tracknet.cli.{COMMANDS[command][0]}").main(["--help"])
    return told.getvalue()


def command_pages() -> dict[str, str]:
    """Write a page for each command, and their list."""
    pages = {f"reference/commands/{command}.rst": _page(command) for command in COMMANDS}
    rows = [(f":doc:`tracknet {name} <{name}>`", rst.plain(line)) for name, (_, line) in COMMANDS.items()]
    pages["reference/commands/index.rst"] = "\n".join(
        [
            rst.heading("Commands"),
            "Every page is made of what ``tracknet COMMAND --help`` reads.\n",
            rst.table(("command", "what it does"), rows, "stacked"),
            rst.toctree(COMMANDS, hidden=""),
            rst.onward(
                ":doc:`/reference/keys`: what YAML files and the options of the training commands set"
            ),
        ]
    )
    return pages


def _page(command: str) -> str:
    parser = parser_of(command)
    parts = [rst.label(f"command-{command}"), rst.heading(f"tracknet {command}")]
    if parser is None:
        parts += [
            rst.plain(COMMANDS[command][1]) + "\n",
            rst.directive("code-block", "text", help_of(command)),
        ]
    elif COMMANDS[command][0] == "train":
        parts += _of_training(command, parser)
    else:
        parts += [rst.plain(_description(parser)) + "\n"]
        parts += list(_options(f"tracknet {command}", parser))
        for name, sub in parsers_in(parser).items():
            parts += [
                rst.label(f"command-{command}-{name}"),
                rst.heading(f"tracknet {command} {name}", "-"),
                rst.plain(_description(sub)) + "\n",
                *_options(f"tracknet {command} {name}", sub),
            ]
        if parser.epilog:
            parts.append(rst.plain(parser.epilog) + "\n")
    parts.append(rst.onward(*_onward(command)))
    return "\n".join(parts)


def _of_training(command: str, parser: ArgumentParser) -> Iterator[str]:
    yield rst.plain(COMMANDS[command][1]) + "\n"
    yield rst.directive(
        "code-block", "console", f"$ tracknet {command} [--config FILE] [+GROUP=NAME] [--KEY VALUE]"
    )
    yield rst.plain(str(parser.epilog or "")) + "\n"
    yield "Every key of :doc:`/reference/keys` is an option too, such as ``--trainer.max_epochs 5``.\n"
    yield rst.heading("Options of its own", "-")
    yield from _options(f"tracknet {command}", parser, dotted=False)


def _description(parser: ArgumentParser) -> str:
    return " ".join((parser.description or "").split())


def _options(program: str, parser: ArgumentParser, dotted: bool = True) -> Iterator[str]:
    actions = [one for one in parser._actions if _is_shown(one) and (dotted or "." not in one.dest)]
    words = [program, *(_usage(one) for one in actions if not one.option_strings), "[options]"]
    if parsers_in(parser):
        words = [program, "COMMAND", "[options]"]
    if dotted:
        yield rst.directive("code-block", "console", f"$ {' '.join(words)}")
    if actions:
        yield rst.directive("program", program)
    for action in actions:
        yield rst.directive("option", _signature(action), _explained(action))


def _is_shown(action: argparse.Action) -> bool:
    internal = isinstance(action, (argparse._HelpAction, argparse._SubParsersAction))
    return not internal and action.help != argparse.SUPPRESS and not action.dest.endswith(".help")


def _usage(action: argparse.Action) -> str:
    name = _metavar(action)
    return f"{name} ..." if action.nargs == "+" else f"[{name}]" if action.nargs == "?" else name


def _metavar(action: argparse.Action) -> str:
    if isinstance(action.metavar, tuple):
        return " ".join(action.metavar)
    if action.metavar == "[ITEM,...]" and not action.option_strings:
        return f"{action.dest.upper()} ..."
    return action.metavar or action.dest.rpartition(".")[2].upper()


def _signature(action: argparse.Action) -> str:
    if not action.option_strings:
        return _metavar(action)
    value = "" if action.nargs == 0 else f" {_metavar(action)}"
    value = f" [{_metavar(action)}]" if action.nargs == "?" else value
    return ", ".join(f"{word}{value}" for word in action.option_strings)


def _explained(action: argparse.Action) -> str:
    facts = ", ".join(part for part in (rst.plain(words_of(action)), _given(action)) if part)
    text = rst.plain(" ".join((action.help or "").split()))
    return f".. rst-class:: facts\n\n{facts}\n\n{text}"


def _given(action: argparse.Action) -> str:
    if action.required or not (action.option_strings or action.nargs == "?"):
        return "required"
    if not action.option_strings:
        return "may be left out"
    if action.nargs == 0 or action.default == argparse.SUPPRESS:
        return "off unless given"
    return "optional" if action.default is None else f"default ``{shown(action.default)}``"


def _onward(command: str) -> list[str]:
    links = [":doc:`/reference/commands/index`", ":doc:`/reference/configs`: the packaged YAML files"]
    if COMMANDS[command][0] == "train":
        links.insert(0, ":doc:`/reference/keys`: all that a configuration sets")
    return links
