"""Keeps sentences with a colon whole where Napoleon would take what is before it for a type.

Types stand in the signatures here: ``Exit code: 0, or 2 ...`` under ``Returns`` or beside a constant is text.
"""

from __future__ import annotations

import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

_SHIELD = "\ue000"
_SECTION = re.compile(r"\s*(Returns|Yields):\s*$")


def setup(app: Sphinx) -> ExtensionMetadata:
    """Come before Napoleon, and again after it."""
    app.connect("autodoc-process-docstring", shield, priority=400)
    app.connect("autodoc-process-docstring", restore, priority=600)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def shield(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Hide the colons of the first lines in question."""
    starts = {at + 1 for at, line in enumerate(lines) if _SECTION.match(line)}
    if what in ("attribute", "data", "property"):
        starts.add(0)
    for at in starts:
        if at < len(lines):
            lines[at] = lines[at].replace(":", _SHIELD)


def restore(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Give the colons back."""
    lines[:] = [line.replace(_SHIELD, ":") for line in lines]
