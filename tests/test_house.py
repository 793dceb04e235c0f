"""The arrows between the rooms point downwards."""

from __future__ import annotations

import ast
import configparser
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "tracknet"

MAY_IMPORT = {
    "models": set(),
    "data": set(),
    "evaluation": {"data", "models"},
    "tracking": {"evaluation", "data", "models"},
    "training": {"evaluation", "data", "models"},
    "configs": set(),
    "cli": {"configs", "training", "tracking", "evaluation", "data", "models"},
    "scripts": {"cli", "configs", "training", "data"},
}


def imported_rooms(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write imports in full"
            names.add(node.module or "")
    rooms = {name.split(".")[1] for name in names if name.startswith("tracknet.")}
    return rooms - {"errors", "trust"}


@pytest.mark.parametrize("room", sorted(MAY_IMPORT))
def test_a_room_imports_only_rooms_below_it(room):
    files = sorted((PACKAGE / room).rglob("*.py"))
    assert files
    for path in files:
        beyond = imported_rooms(path) - MAY_IMPORT[room] - {room}
        assert not beyond, f"{path.relative_to(PACKAGE)} imports {', '.join(sorted(beyond))}"


def test_no_modules_import_each_other():
    """Nor in a circle of several; an import in a function, or for types alone, is one, too."""
    files = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    needs = {}
    for name, path in files.items():
        found: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                whole = {f"{node.module}.{alias.name}" for alias in node.names}
                found |= whole & files.keys() or {node.module or ""}
        needs[name] = (found & files.keys()) - {name}
    TopologicalSorter(needs).prepare()  # a CycleError names the modules


def test_no_module_is_named_for_whatever_comes():
    """A name says what is in a file; these say only that others take something from it."""
    files = [path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py")]
    vague = {"util", "utils", "helper", "helpers", "common", "manager", "managers", "misc"}
    assert [str(path) for path in files if vague & set(path.stem.split("_"))] == []


def test_every_room_is_named():
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert rooms == set(MAY_IMPORT)


def test_every_folder_of_code_is_in_the_wheel():
    settings = configparser.ConfigParser()
    settings.read(PACKAGE.parent / "setup.cfg")
    named = set(settings["options"]["packages"].split())
    folders = {path.parent.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("*.py")}
    assert named == {".".join(folder.parts) for folder in folders} | {"tracknet.configs.yaml"}
