"""Two processes give the figures, tables and trajectories of one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).with_name("ddp_figures.py")
DEADLINE = 600
"""Seconds after which processes that wait for each other are given up."""


def run(processes: int, root: Path, folder: Path) -> None:
    folder.mkdir()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {"MASTER_PORT": str(port), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parents[2])}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PL_")} | own
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(processes), str(root), str(folder)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def folders(tiny_rallies, tmp_path_factory):
    if not torch.distributed.is_available():
        pytest.skip("PyTorch without torch.distributed")
    base = tmp_path_factory.mktemp("ddp")
    for processes in (1, 2):
        run(processes, tiny_rallies, base / str(processes))
    return base / "1", base / "2"


def told(folder, rank=0):
    return json.loads((folder / f"figures-{rank}.json").read_text())


def test_figures_are_those_of_one_process(folders):
    one, two = told(folders[0]), told(folders[1])
    assert (one["processes"], two["processes"]) == (1, 2)
    # 5, 4 and 4 windows: dealt to two, one is given twice.
    assert one["windows"] == two["windows"] == 13
    parts = (("val", "val"), ("validated", "val"), ("test", "test"), ("averaged", "test"))
    for name, part in parts:
        figures = one[name]
        counted = [figures[f"{part}/{kind}"] for kind in ("tp", "fp1", "fp2", "tn", "fn")]
        # 21, 20 and 17 frames, two of them without a label.
        assert sum(counted) == 56
        assert counted[0] > 0
        assert counted[1] > 0
        assert 0 < figures[f"{part}/pck@0.02"] < figures[f"{part}/pck@3"]
        assert two[name].keys() == figures.keys()
        for key, value in figures.items():
            exact = not key.endswith("/loss")
            assert two[name][key] == (value if exact else pytest.approx(value, abs=1e-6)), key
    # Batches of two windows in one process and in two are not the same batches: no mean of means.
    assert one["validated"]["val/loss"] == pytest.approx(one["val"]["val/loss"], abs=1e-6)
    assert one["val"]["val/loss"] > 1e-3


def test_all_processes_know_the_figures(folders):
    assert told(folders[1], 0) == told(folders[1], 1)


def test_the_files_of_a_run_are_there_once_and_the_same(folders):
    one, two = (sorted(p.relative_to(f).as_posix() for p in f.rglob("*") if p.is_file()) for f in folders)

    def without_times(names):
        return [name for name in names if "tfevents" not in name and "figures-" not in name]

    assert without_times(one) == without_times(two)
    expected = {
        "curves.png",
        "metrics.csv",
        "test.json",
        "test.png",
        "test_clips.csv",
        "checkpoints/best.ckpt",
    }
    expected |= {f"predictions/{clip}.csv" for clip in "acd"}
    assert {f"run/{name}" for name in expected} <= set(two)
    for name in ("test_clips.csv", *(f"predictions/{clip}.csv" for clip in "acd")):
        assert (folders[0] / "run" / name).read_text() == (folders[1] / "run" / name).read_text()
    tables = [json.loads((folder / "run" / "test.json").read_text()) for folder in folders]
    assert tables[0] == tables[1]
