"""Pieces of reStructuredText."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_SPECIAL = re.compile(r"([\\*_|`])")


def heading(text: str, line: str = "=") -> str:
    """Underline a heading."""
    return f"{text}\n{line * len(text)}\n"


def label(name: str) -> str:
    """Name the heading that follows, for ``:ref:``."""
    return f".. _{name}:\n"


def plain(text: str) -> str:
    """Make text of help and docstrings harmless; what stands in backticks is code."""
    parts = re.split(r"``?([^`]+)``?", text)
    shown = [
        f"``{part.strip()}``" if place % 2 else _SPECIAL.sub(r"\\\1", part)
        for place, part in enumerate(parts)
    ]
    joined = shown[0]
    for part in shown[1:]:
        # Markup must end at a word's end; the escaped space is not shown.
        joined += (
            f"\\ {part}" if joined and part and not (joined[-1].isspace() or part[0].isspace()) else part
        )
    return joined


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
