"""Training that is killed with SIGKILL at random moments, and resumed each time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "kills"), [(0, 10), (2, 4)])
def test_a_run_that_is_killed_again_and_again_ends_with_the_same_weights(
    tiny_rallies, tmp_path, workers, kills
):
    script = Path(__file__).with_name("killed_runs.py")
    words = [str(tiny_rallies), str(tmp_path / "runs"), f"--kills={kills}", f"--workers={workers}"]
    done = subprocess.run([sys.executable, str(script), *words], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["kills"] >= kills
    assert told["resumed"] >= 1
    assert (told["different"], told["failed"]) == (0, 0)
