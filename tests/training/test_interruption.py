"""A training that is stopped from outside ends between two steps."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys

import torch

from tracknet.cli.main import main


def fit(rallies, workers, steps):
    """Words of a short training without validation."""
    words = ["fit", "+env=ci", "+model=compact", "+callbacks=minimal", f"--data.root={rallies}"]
    words += ["--data.batch_size=1", f"--data.num_workers={workers}", "--model.input_size=[32,64]"]
    words += ["--model.network.stem=4", "--model.network.widths=[8,8,8]", "--model.network.frames=4"]
    words += ["--trainer.max_epochs=1", f"--trainer.limit_train_batches={steps}"]
    return [*words, "--trainer.limit_val_batches=0", "--trainer.num_sanity_val_steps=0"]


def test_a_worker_that_is_lost_during_a_step_stops_the_training_after_it(
    tiny_rallies, tmp_path, monkeypatch, capsys
):
    steps = []
    plain = torch.optim.AdamW.step

    def step(self, closure=None):
        steps.append("begun")
        if len(steps) == 5:
            (worker,) = multiprocessing.active_children()
            os.kill(worker.pid, signal.SIGKILL)
            os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)
        result = plain(self, closure)
        steps.append("whole")
        return result

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    monkeypatch.setattr(sys, "argv", ["tracknet"])
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGINT)
    assert main(fit(tiny_rallies, workers=1, steps=8)) == 1
    assert steps == ["begun", "whole"] * 3
    assert "a process that loads data was lost" in capsys.readouterr().err
    (last,) = tmp_path.rglob("last.ckpt")
    assert torch.load(last, weights_only=True)["global_step"] == 3
    assert signal.getsignal(signal.SIGINT) is before


def test_a_warning_of_the_cluster_is_heeded_after_the_step(tiny_rallies, tmp_path, monkeypatch):
    steps = []
    plain = torch.optim.AdamW.step

    def step(self, closure=None):
        steps.append("begun")
        if steps.count("begun") > 1:
            signal.raise_signal(signal.SIGUSR1)
        result = plain(self, closure)
        steps.append("whole")
        return result

    def heed(number, frame):
        steps.append("heeded")

    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    monkeypatch.setattr(sys, "argv", ["tracknet"])
    monkeypatch.chdir(tmp_path)
    before = signal.signal(signal.SIGUSR1, heed)
    try:
        assert main(fit(tiny_rallies, workers=0, steps=3)) == 0
        assert signal.getsignal(signal.SIGUSR1) is heed
    finally:
        signal.signal(signal.SIGUSR1, before)
    # The second one comes during the last step of all.
    assert steps == ["begun", "whole", "begun", "whole", "heeded", "begun", "whole", "heeded"]
