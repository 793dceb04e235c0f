"""Types of classes without annotations are found without another process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import typeshed_client

from tracknet.cli.parsing import Parsing


@pytest.fixture
def no_process(monkeypatch):
    def refused(*words, **options):
        raise AssertionError(f"another process: {words}")

    monkeypatch.setattr(subprocess, "Popen", refused)


@pytest.mark.usefixtures("no_process")
def test_stubs_are_looked_for_on_the_path_of_this_process(tmp_path):
    assert Parsing("fit").parser
    assert typeshed_client.get_search_context().search_path == [Path(path) for path in sys.path if path]
    assert typeshed_client.get_search_context(search_path=[tmp_path]).search_path == [tmp_path]


def test_another_python_is_asked_where_one_is_named():
    found = typeshed_client.get_search_context(python_executable=sys.executable)
    assert Path(sys.prefix) in [parent for path in found.search_path for parent in path.parents]
