"""Classes and YAML files of other packages, found through the entry-point group ``tracknet.plugins``."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path

from tracknet.trust import PLUGINS

GROUP = PLUGINS
"""An entry point of this group names a module that defines or imports classes, or one class."""


@cache
def plugins() -> tuple[EntryPoint, ...]:
    """Give the plugins that are installed, by name; nothing is imported."""
    return tuple(sorted(entry_points(group=GROUP), key=lambda one: (one.name, one.value)))


@cache
def load_plugins() -> tuple[str, ...]:
    """Import all plugins, so that their classes are found by short name as ours are.

    jsonargparse looks short names up among the imported subclasses of what is wanted: nothing has to be
    registered.

    Returns:
        A line for each plugin that cannot be imported; it does not keep the others from being so.
    """
    faults: list[str] = []
    for plugin in plugins():
        try:
            plugin.load()
        except (Exception, SystemExit) as error:
            said = str(error).strip().partition("\n")[0]
            package = f" of the package {plugin.dist.name}" if plugin.dist else ""
            faults.append(
                f"plugin {plugin.name!r}{package} is left out: {plugin.value} cannot be imported: "
                f"{type(error).__name__}: {said}"
            )
    return tuple(faults)


def plugin_of(chosen: type) -> str | None:
    """Give the name of the plugin that a class comes from.

    Args:
        chosen: The class.

    Returns:
        The name of the entry point that names the class's module or the nearest package around it; None where
        there is none.
    """
    inside = chosen.__module__.split(".")
    best, shared = None, 0
    for plugin in plugins():
        module = plugin.module.split(".")
        same = next((n for n, (a, b) in enumerate(zip(inside, module, strict=False)) if a != b), None)
        same = min(len(inside), len(module)) if same is None else same
        if same > shared:
            best, shared = plugin.name, same
    return best


@cache
def plugin_libraries() -> tuple[Path, ...]:
    """Give the folders ``configs`` inside the plugins' packages, laid out as ours; nothing is imported."""
    folders: dict[Path, None] = {}
    for plugin in plugins():
        with suppress(ImportError, ValueError):
            found = find_spec(plugin.module.partition(".")[0])
            for place in (found and found.submodule_search_locations) or []:
                folders[Path(place) / "configs"] = None
    return tuple(folder for folder in folders if folder.is_dir())
