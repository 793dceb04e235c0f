"""The short form of the campaign of faults."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_a_command_that_is_killed_or_interrupted_leaves_nothing_half(tmp_path):
    table = tmp_path / "faults.md"
    words = ["--moments=3", "--seed=1", f"--out={table}", "--formats=torchscript", "--only"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.faults", *words, "SIGKILL", "SIGTERM", "Ctrl-C"],
        cwd=Path(__file__).resolve().parents[2],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr + table.read_text()
    cells = [line.strip("| ").split(" | ") for line in table.read_text().splitlines() if line.startswith("|")]
    counted = [(fault, during, *numbers) for fault, during, *numbers in (row[:5] for row in cells[2:])]
    for activity in ("training", "filling the frame cache", "exporting", "tracking, CSV and overlay"):
        for fault in ("SIGKILL", "SIGTERM", "Ctrl-C"):
            assert (fault, activity, "1", "1", "0") in counted
