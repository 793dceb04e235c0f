"""The table of changes that tests notice."""

from __future__ import annotations

import re

import pytest

from tests import mutation
from tests.mutation import NOTICED, Mutant, as_markdown, examined


def a_change(outcome, change="", function="Metric.update"):
    return Mutant("name", "evaluation/metrics.py", function, change, outcome)


FOUND = [
    *[a_change(NOTICED)] * 7,
    a_change("survived", "- for a, b in zip(x, y, strict=True):\n+ for a, b in zip(x, y, strict=False):"),
    a_change("survived", "- x = y.to(z)\n+ x = y.to(None)"),
    a_change("no tests", "- return a < b\n+ return a <= b"),
]


def test_reasons_say_why_and_match_what_they_are_of():
    reasons = examined()
    assert all(one.why and isinstance(one.equal, bool) for one in reasons)
    assert [[one.equal for one in reasons if one.covers(found)] for found in FOUND[-3:]] == [
        [True],
        [False],
        [],
    ]


def test_the_table_counts_by_module_and_names_what_nobody_has_looked_at(monkeypatch):
    monkeypatch.setattr(mutation, "version", lambda name: "3.8.1")
    text = as_markdown(
        [*FOUND, Mutant("name", "data/windows.py", "slide", "", NOTICED)], examined(), "2026-11-28"
    )
    assert "| `data/windows.py` | 1 | 1 | 0 | 0 | 0 | 100.0 |" in text
    # 7 of the 9 that make a difference.
    assert "| `evaluation/metrics.py` | 10 | 7 | 1 | 1 | 1 | 77.8 |" in text
    assert "| all | 11 | 8 | 1 | 1 | 1 | 80.0 |" in text
    assert text.endswith("`Metric.update` (no tests):\n\n```diff\n- return a < b\n+ return a <= b\n```\n")
    assert "nobody has looked at" not in as_markdown(FOUND[:-1], examined(), "2026-11-28")


def test_each_module_has_tests_that_it_is_tried_against_again():
    text = (mutation.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    modules = re.findall(r'"tracknet/([a-z_/]+\.py)"', text)
    assert len(modules) > 9
    for module in modules:
        assert (mutation.ROOT / "tracknet" / module).is_file()
        (files,) = [files for start, files in mutation.TESTS.items() if module.startswith(start)]
        assert all((mutation.ROOT / one).exists() for one in files)


def test_another_folder_than_one_with_a_run_has_no_table(tmp_path, monkeypatch):
    pytest.importorskip("mutmut")
    monkeypatch.chdir(tmp_path)
    assert list(mutation.mutants()) == []


def test_nothing_is_written_where_there_is_no_run(tmp_path, monkeypatch, capsys):
    pytest.importorskip("mutmut")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.md").write_text("before")
    words = ["--no-run", "--folder", str(tmp_path), "--output", "table.md"]
    with pytest.raises(SystemExit):
        mutation.main(words)
    assert "it has no pyproject.toml" in capsys.readouterr().err
    (tmp_path / "pyproject.toml").touch()
    assert mutation.main(words) == 1
    assert "holds no run of mutmut" in capsys.readouterr().err
    assert (tmp_path / "table.md").read_text() == "before"
