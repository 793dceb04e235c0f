"""``tracknet track --rectifier``: what is filled, and how it is told."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tracknet.cli.track import main
from tracknet.data.video import VideoWriter
from tracknet.errors import UsageError
from tracknet.evaluation.decoding import Detections
from tracknet.tracking.trajectory import read_trajectory

WORDS = ["rally.mp4", "--ckpt", "best.ckpt", "--batch_size", "2"]


class Blinking:
    """Finds a ball at (10, 5) of the input, but not in frames 2 and 3."""

    frames = outputs = 2
    needs_background = False
    input_size = (24, 32)
    threshold = 0.5
    decoder = SimpleNamespace(threshold=0.5)
    calls = 0

    def detect(self, frames, background=None):
        confidence = torch.full((len(frames), 2), 0.8)
        if self.calls == 0:
            confidence[1] = 0.1
        self.calls += 1
        return Detections(torch.tensor([10.0, 5.0]).expand(len(frames), 2, 2), confidence)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a video of 7 frames, 48x64."""
    with VideoWriter(tmp_path / "rally.mp4", (48, 64), fps=25) as video:
        for number in range(7):
            video.write(np.full((48, 64, 3), 20 * number, np.uint8))
    module = SimpleNamespace(load_tracker=lambda path, device="cpu": Blinking())
    monkeypatch.setitem(sys.modules, "tracknet.training.checkpoints", module)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_filled_rows_are_marked(here, capsys):
    assert main([*WORDS, "--rectifier", "linear", "--overlay"]) == 0
    assert (here / "rally_ball.csv").read_text().startswith("Frame,Visibility,X,Y,Confidence,Filled\n")
    rows = read_trajectory(here / "rally_ball.csv")
    assert [row.visible for row in rows] == [True] * 7
    assert [row.filled for row in rows] == [False, False, True, True, False, False, False]
    assert rows[2][2:5] == rows[0][2:4] + (0.1,)
    assert "ball in 7 (100.0%), 2 of them filled\n" in capsys.readouterr().out
    assert (here / "rally_overlay.mp4").is_file()


def test_without_a_rectifier_gaps_stay_and_there_is_no_column(here):
    assert main([*WORDS, "--rectifier", "cubic"]) == 0
    assert main(WORDS) == 0  # replaces a rectified trajectory
    assert (here / "rally_ball.csv").read_text().startswith("Frame,Visibility,X,Y,Confidence\n")
    assert [row.visible for row in read_trajectory(here / "rally_ball.csv")] == [True] * 2 + [False] * 2 + [
        True
    ] * 3


def test_gaps_beyond_the_limit_stay(here, capsys):
    assert main([*WORDS, "--rectifier", "acceleration", "--max_gap", "1"]) == 0
    assert "ball in 5 (71.4%)\n" in capsys.readouterr().out


def test_an_unknown_rectifier_names_the_nearest(here):
    with pytest.raises(UsageError, match="--rectifier: no file 'cubik'; did you mean 'cubic'"):
        main([*WORDS, "--rectifier", "cubik"])
