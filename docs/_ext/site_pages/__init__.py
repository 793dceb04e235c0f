"""Pages of the site that are written from the code when it is built, so that nothing is written twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.util.typing import ExtensionMetadata

from site_pages.api import api_pages
from site_pages.classes import class_pages
from site_pages.commands import command_pages
from site_pages.configs import config_pages
from site_pages.measured import measured_pages, notebooks

Pages = Mapping[str, str]
"""Path below ``docs/`` -> content."""

WRITERS: tuple[Callable[[], Pages], ...] = (
    command_pages,
    class_pages,
    config_pages,
    api_pages,
    measured_pages,
    notebooks,
)


def setup(app: Sphinx) -> ExtensionMetadata:
    """Write the pages before the sources are read."""
    app.connect("builder-inited", lambda app: write_pages(Path(app.srcdir)))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def write_pages(docs: Path) -> None:
    """Write all generated pages; those that are as before stay untouched, those of no use any more go.

    Args:
        docs: Folder of the sources.
    """
    for writer in WRITERS:
        pages = writer()
        for name, text in pages.items():
            path = docs / name
            if not path.is_file() or path.read_text(encoding="utf-8") != text:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
        folders = {docs / Path(name).parent for name in pages} - {docs / "reference"}
        kept = {docs / name for name in pages}
        for stale in {file for folder in folders for file in folder.glob("*.*")} - kept:
            stale.unlink()
