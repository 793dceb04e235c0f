"""The table of the metric's presets, from the code."""

from __future__ import annotations

from docutils import nodes
from docutils.statemachine import StringList
from site_pages import rst
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from tracknet.evaluation.metrics import PRESETS


class Presets(SphinxDirective):
    """Writes a row for each preset."""

    def run(self) -> list[nodes.Node]:
        """Give the table."""
        rows = []
        for name, preset in PRESETS.items():
            space = "the video's own" if preset.space == "source" else "{}x{}".format(*preset.space)
            near = f"d {'<' if preset.strict else '<='} {preset.tolerance:g} px"
            rows.append((f"``{name}``", near, space, f"recall\\ :sub:`{preset.recall}`"))
        text = rst.table(("preset", "TP", "pixels of", "recall"), rows, "presets")
        container = nodes.container()
        self.state.nested_parse(StringList(text.splitlines(), "presets"), 0, container)
        return container.children


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the directive."""
    app.add_directive("presets", Presets)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
