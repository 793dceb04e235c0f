"""The model of a cluster: its sums by hand."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest


@pytest.fixture
def scaling(monkeypatch):
    """The module; the benchmarks lie beside the package, not in it."""
    monkeypatch.syspath_prepend(str(Path(__file__).resolve().parents[2]))
    return import_module("benchmarks.scaling")


def test_a_ring(scaling):
    # Each of 4 sends 3/4 of its bytes twice, in 6 messages.
    assert scaling.ring_seconds(4, 8.0, 2.0, 0.5) == 2 * 3 / 4 * 8 / 2 + 6 * 0.5


def test_a_cluster_by_hand(scaling, capsys):
    words = ["--hours=1", "--fps=10", "--gpus=2", "--height=10", "--width=10", "--batch=10", "--epochs=2"]
    words += ["--train_rate=100", "--track_rate=50", "--decode_rate=30", "--read_rate=1000", "--cores=1"]
    words += ["--storage=45000", "--price=3", "--hidden=1", "--parameters=1"]
    assert scaling.main(words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "1 h of video at 10 frames/s: 36,000 frames"
    rows = [line.split() for line in lines if line[:5].strip().isdigit() and "of" not in line]
    # One GPU: 100 frames/s, 0.1 h an epoch, 2 epochs of it at 3 an hour. Two would read 60 kB/s, but get 45.
    assert rows[0] == ["1", "100", "100%", "0.10", "1", "network"]
    assert rows[1] == ["2", "150", "75%", "0.07", "1", "storage"]
    tracking = rows[len(rows) // 2 :]
    assert tracking[0] == ["1", "30", "0.33", "1", "decoding"]
    assert tracking[1] == ["2", "60", "0.17", "1", "decoding"]
