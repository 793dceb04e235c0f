"""The scripts of `examples/`, loaded from where they lie."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from tracknet.evaluation.decoding import ComponentDecoder

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
SIZE = (64, 96)


@pytest.fixture
def examples(monkeypatch):
    """Give the folder; what lies in it can be imported by name, as with PYTHONPATH=examples."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(EXAMPLES)
    yield EXAMPLES
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == EXAMPLES:
            del sys.modules[name]


@pytest.fixture
def example(examples):
    """The function that loads a script by its name."""
    return importlib.import_module


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder, the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def bright_checkpoint(bright_network, tmp_path_factory):
    """Checkpoint of a tracker that finds the dot of the tiny rallies without training."""
    from tracknet.training.checkpoint_contents import PublicCheckpoint
    from tracknet.training.lightning_module import HeatmapTracker
    from tracknet.training.public_checkpoints import save_tracker

    path = tmp_path_factory.mktemp("bright") / "best.ckpt"
    tracker = HeatmapTracker(bright_network(3), decoder=ComponentDecoder(), input_size=SIZE)
    save_tracker(tracker, path, PublicCheckpoint("WASB", {}), "x")
    return path
