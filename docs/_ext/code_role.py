"""What docstrings write in single backticks: code, and a link where it names something of ours."""

from __future__ import annotations

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.roles import XRefRole
from sphinx.util.nodes import make_refnode
from sphinx.util.typing import ExtensionMetadata

ROLE = "code_or_link"


class CodeOrLink(XRefRole):
    """Refers to Python objects, also of other modules, by their last name."""

    def process_link(
        self, env: BuildEnvironment, refnode: nodes.Element, has_explicit_title: bool, title: str, target: str
    ) -> tuple[str, str]:
        """Tell the reference where it stands, so that names near by come first."""
        refnode["py:module"] = env.ref_context.get("py:module")
        refnode["py:class"] = env.ref_context.get("py:class")
        return title, target


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the role."""
    app.add_role(ROLE, CodeOrLink(innernodeclass=nodes.literal))
    app.connect("missing-reference", _link)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _link(
    app: Sphinx, env: BuildEnvironment, node: addnodes.pending_xref, contnode: nodes.TextElement
) -> nodes.Element | None:
    if node["reftype"] != ROLE:
        return None
    target = node["reftarget"].removesuffix("()")
    python = env.domains.python_domain
    found = python.find_obj(env, node.get("py:module"), node.get("py:class"), target, None, 1)
    if len(found) != 1:
        return contnode
    name, entry = found[0]
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, name)
