"""A page for each module of the package, filled by autodoc."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module

from sphinx.pycode import ModuleAnalyzer

import tracknet
from site_pages import rst

_FOLDER = "reference/api"


def api_pages() -> dict[str, str]:
    """Write the pages; a package lists its modules.

    Those of modules are in no list of the sidebar, which would be made anew, with hundreds of entries, for
    each page of the site.
    """
    modules = _modules()
    pages = {}
    for name, is_package in modules:
        inside = [one for one, _ in modules if one.rpartition(".")[0] == name] if is_package else []
        pages[f"{_FOLDER}/{name}.rst"] = _page(name, inside)
    rooms = [name for name, _ in modules if name.count(".") == 1]
    pages[f"{_FOLDER}/index.rst"] = "\n".join(
        [
            rst.heading("Python API"),
            "Everything public, from the docstrings. :doc:`/contributing` says which room of the house may "
            "import which.\n",
            rst.table(("package", "what it holds"), [_row(name) for name in rooms], "stacked"),
            rst.onward(
                ":doc:`/reference/classes/index`: the classes that a configuration chooses",
                ":doc:`/examples`: scripts that use them",
            ),
        ]
    )
    return pages


def public_names(module_name: str) -> list[str]:
    """Give the public classes and functions that a module defines, and its documented constants."""
    module = import_module(module_name)
    found = {
        name
        for name, thing in vars(module).items()
        if (inspect.isclass(thing) or inspect.isfunction(thing)) and thing.__module__ == module_name
    }
    constants = {name for scope, name in ModuleAnalyzer.for_module(module_name).find_attr_docs() if not scope}
    return sorted(name for name in found | constants if not name.startswith("_"))


def _modules() -> list[tuple[str, bool]]:
    found = pkgutil.walk_packages(tracknet.__path__, "tracknet.")
    return [(one.name, one.ispkg) for one in found if not one.name.rpartition(".")[2].startswith("_")]


def _page(name: str, inside: list[str]) -> str:
    names = ", ".join(public_names(name))
    options = {"members": names, "show-inheritance": ""} if names else {}
    parts = [":orphan:\n", rst.heading(name), rst.directive("automodule", name, **options)]
    if inside:
        parts.append(rst.table(("module", "what it holds"), [_row(one) for one in inside], "stacked"))
    above = name.rpartition(".")[0] if name.count(".") > 1 else "index"
    parts.append(rst.onward(f":doc:`{above}`", ":doc:`/reference/classes/index`"))
    return "\n".join(parts)


def _row(name: str) -> tuple[str, str]:
    line = (import_module(name).__doc__ or "").strip().partition("\n")[0]
    return f":doc:`{name}`", line
