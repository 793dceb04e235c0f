"""Pieces of reStructuredText."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_CODE = re.compile(r"``?([^`]+)``?|(?<![^\s(])(--[a-z][\w.-]*\w)")
_BEFORE, _AFTER = " \n\"'([{<-/:", " \n\"')]}>-/:.,;!?"
_SPECIAL = re.compile(r"([\\*_|`])")


def heading(text: str, line: str = "=") -> str:
    """Underline a heading."""
    return f"{text}\n{line * len(text)}\n"


def label(name: str) -> str:
    """Name the heading that follows, for ``:ref:``."""
    return f".. _{name}:\n"


def plain(text: str) -> str:
    """Make text of help and docstrings harmless; options and what stands in backticks are code."""
    shown, end = "", 0
    for found in _CODE.finditer(text):
        shown += _escaped(text[end : found.start()])
        # Markup must begin and end where words do; the escaped space is not shown.
        before = "\\ " if shown[-1:] not in _BEFORE else ""
        after = "\\ " if text[found.end() : found.end() + 1] not in _AFTER else ""
        shown += f"{before}``{(found[1] or found[2]).strip()}``{after}"
        end = found.end()
    return shown + _escaped(text[end:])


def _escaped(text: str) -> str:
    # No links to the beginnings of addresses that help texts name.
    return _SPECIAL.sub(r"\\\1", text).replace("://", r":\//")


def indented(text: str, by: int = 3) -> str:
    """Indent all lines."""
    return "\n".join(" " * by + line if line.strip() else "" for line in text.splitlines())


def directive(name: str, argument: str = "", body: str = "", /, **options: str) -> str:
    """Write a directive."""
    lines = [
        f".. {name}:: {argument}".rstrip(),
        *(f"   :{key}: {value}".rstrip() for key, value in options.items()),
    ]
    return "\n".join([*lines, "", indented(body), ""])


def table(titles: Sequence[str], rows: Iterable[Sequence[str]], css: str, widths: str = "auto") -> str:
    """Write a table whose cells may hold several lines."""
    lines = []
    for row in (titles, *rows):
        for place, cell in enumerate(row):
            first, *rest = cell.splitlines() or [""]
            lines.append(f"{'*' if place == 0 else ' '} - {first}".rstrip())
            lines += [f"    {line}".rstrip() for line in rest]
    options = {"header-rows": "1", "class": css, "widths": widths}
    return directive("list-table", "", "\n".join(lines), **options)


def toctree(names: Iterable[str], **options: str) -> str:
    """List pages."""
    return directive("toctree", "", "\n".join(names), **options)


def onward(*links: str) -> str:
    """End a page with where to go next."""
    return "\n".join([directive("rubric", "Where to go next"), *(f"- {link}" for link in links), ""])
