"""``tracknet checkpoint``: what it writes and where, what it says, and its exit codes."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from tracknet.cli.main import main as tracknet
from tracknet.models import TrackNetV3
from tracknet.tracking.trajectory import read_trajectory


class Touch:
    """Creates a file when it is unpickled."""

    def __reduce__(self):
        return open, ("trap", "w")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with a published checkpoint of a narrow network in it."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(1)
    content = {
        "epoch": 29,
        "max_val_acc": np.float64(0.5),
        "model": TrackNetV3(3, "concat", width=4).state_dict(),
        "param_dict": {"model_name": "TrackNet", "seq_len": 3, "bg_mode": "concat"},
    }
    torch.save(content, "TrackNet_best.pt")
    return tmp_path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_import_then_inspect_then_track(here, tiny_rallies, capsys):
    assert tracknet(["checkpoint", "import", "TrackNet_best.pt"]) == 0
    assert names(here) == ["TrackNet_best.ckpt", "TrackNet_best.pt", "TrackNet_best.yaml"]
    assert capsys.readouterr().out == (
        "imported:   TrackNet: 3 frames of 288x512, background concat\n"
        "checkpoint: TrackNet_best.ckpt\n"
        "to track:   tracknet track VIDEO --ckpt TrackNet_best.ckpt\n"
        "to test:    tracknet test --config configs/base.yaml --config TrackNet_best.yaml "
        "--ckpt_path TrackNet_best.ckpt\n"
    )
    for name in ("TrackNet_best.pt", "TrackNet_best.ckpt"):
        assert tracknet(["checkpoint", "inspect", name]) == 0
        assert "max_val_acc" in capsys.readouterr().out
    words = ["--ckpt", "TrackNet_best.ckpt", "--device", "cpu"]
    assert tracknet(["track", str(tiny_rallies / "d.mp4"), *words]) == 0
    assert len(read_trajectory(here / "d_ball.csv")) == 17


def test_the_imported_checkpoint_can_be_tested(here, tiny_rallies, capsys):
    assert tracknet(["checkpoint", "import", "TrackNet_best.pt", "--output", "v3.ckpt"]) == 0
    words = ["--config", "configs/base.yaml", "--config", "v3.yaml", "--ckpt_path", "v3.ckpt"]
    words += ["--data.root", str(tiny_rallies), "--model.input_size", "[64, 96]", "--data.test", "[d]"]
    words += ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
    done = subprocess.run(
        [sys.executable, "-m", "tracknet", "test", *words], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "test figures (tracknetv2: d <= 4 px at 288x512)" in done.stdout


def test_nothing_is_written_over(here, capsys):
    (here / "old.yaml").write_text("mine")
    assert tracknet(["checkpoint", "import", "TrackNet_best.pt", "--output", "old.ckpt"]) == 2
    error = "tracknet checkpoint: old.yaml: exists and is left alone; choose another --output\n"
    assert capsys.readouterr().err == error
    (here / "out").mkdir()
    assert tracknet(["checkpoint", "import", "TrackNet_best.pt", "--output", "out"]) == 0
    assert names(here / "out") == ["TrackNet_best.ckpt", "TrackNet_best.yaml"]
    assert tracknet(["checkpoint", "import", "out/TrackNet_best.ckpt", "--output", "x.ckpt"]) == 1
    assert "already; nothing to import" in capsys.readouterr().err


def test_code_in_a_file_is_not_run(here, capsys):
    torch.save({"model": Touch()}, "bad.pt")
    for command in ("import", "inspect"):
        assert tracknet(["checkpoint", command, "bad.pt"]) == 1
        error = capsys.readouterr().err
        assert error == (
            "tracknet checkpoint: bad.pt: not a readable checkpoint: it holds more than tensors and plain "
            "values, which could be code and is not opened\n"
        )
    assert names(here) == ["TrackNet_best.pt", "bad.pt"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "expected one of import, inspect, verify, convert, prune, diff, average (see "),
        (["imprt"], 2, "there is no 'imprt'; did you mean 'import'?"),
        (["import", "a.pt", "--outptu", "x"], 2, "unknown argument '--outptu'; did you mean '--output'?"),
        (["import", "a.pt", "--output", "x.pt"], 2, "--output x.pt: expected a name in .ckpt"),
        (["import", "a.pt", "--background", "concta"], 2, "found 'concta'; did you mean 'concat'?"),
        (["import"], 2, "import: the following arguments are required: file"),
        (["import", "a.pt"], 1, "a.pt: no such checkpoint"),
        (["import", "TrackNet_best.pt", "--background", "none"], 2, "TrackNet_best.pt: --background none: "),
    ],
)
def test_wrong_words(here, words, code, message, capsys):
    assert tracknet(["checkpoint", *words]) == code
    assert message in capsys.readouterr().err
    assert names(here) == ["TrackNet_best.pt"]
