"""``tracknet profile`` through the entry point, on tiny clips."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
import torch
import yaml
from torch.optim.lr_scheduler import OneCycleLR

from tracknet.cli.main import main
from tracknet.cli.profiled_fit import ProfiledCLI
from tracknet.training.callbacks import profiler
from tracknet.training.profiling import measures
from tracknet.training.profiling.results import read_profile

TINY = """
seed_everything: 5
trainer:
  accelerator: cpu
  devices: 1
  max_epochs: 1
  limit_train_batches: 5
  num_sanity_val_steps: 0
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
  logger: {{class_path: RunLogger, init_args: {{save_dir: runs, name: tiny}}}}
  callbacks:
    - {{class_path: ModelCheckpoint, init_args: {{monitor: val/f1, mode: max, filename: best}}}}
    - {{class_path: EarlyStopping, init_args: {{monitor: val/f1, mode: max}}}}
    - class_path: LearningRateMonitor
model:
  class_path: HeatmapTracker
  init_args:
    network: {{class_path: CompactTrackNet, init_args: {{frames: 4, stem: 4, widths: [8, 8, 8]}}}}
    decoder: PeakDecoder
    input_size: [64, 96]
data:
  class_path: FlatVideoDataModule
  init_args: {{root: {rallies}, val: [c], test: [d], batch_size: 2}}
optimizer: {{class_path: AdamW, init_args: {{lr: 0.01}}}}
"""
SHORT = ["--profile.start_step=1", "--profile.steps=2", "--profile.trace_steps=1"]
PLATEAU = ["--lr_scheduler=ReduceLROnPlateau", "--lr_scheduler.monitor=val/f1"]  # without mode: max


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, tiny_rallies, monkeypatch):
    """A folder with a configuration, the process's own words back, a quick measure of the peak."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tracknet"])
    monkeypatch.setattr(
        profiler, "measure_peak", lambda device, dtype: measures.measure_peak(device, dtype, 0)
    )
    (tmp_path / "tiny.yaml").write_text(TINY.format(rallies=tiny_rallies))


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


WRITTEN = ["profile.html", "profile.json", "trace.json"]


def test_a_training_with_the_callback_then_its_run_profiled_again_and_compared(tmp_path, capsys):
    words = [
        "--trainer.callbacks+=Profile",
        "--trainer.callbacks.steps=1",
        "--trainer.callbacks.start_step=0",
    ]
    assert main(["fit", "--config", "tiny.yaml", "--trainer.max_epochs=4", *words]) == 0
    run = tmp_path / "runs" / "tiny" / "version_0"
    assert files(run / "profile") == WRITTEN
    first = read_profile(run)
    assert first.run == str(run)
    assert first.validation_seconds > 0
    assert (first.network, first.windows, len(first.step_seconds)) == ("CompactTrackNet", 2, 1)
    before = files(run)
    shutil.copy(run / "profile" / "profile.json", tmp_path / "first.json")
    capsys.readouterr()

    # The run's own configuration holds the callback, a training that is over, and what it was resumed from.
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["ckpt_path"] is None
    (run / "config.yaml").write_text(yaml.safe_dump(config | {"ckpt_path": "gone/last.ckpt"}))
    assert main(["profile", "runs/tiny/version_0", *SHORT, "--data.batch_size=4"]) == 0
    out = capsys.readouterr().out
    second = read_profile(run)
    assert (second.windows, len(second.step_seconds), second.validation_seconds) == (4, 2, None)
    assert out.count(second.verdict) == 1
    assert "profile: runs/tiny/version_0/profile/profile.html" in out
    assert files(run) == before
    assert files(tmp_path / "runs") == [f"tiny/version_0/{name}" for name in before]

    assert main(["profile", "compare", "first.json", "runs/tiny/version_0"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["windows", "2", "4"] in lines
    assert any(line[:3] == ["network", "alone,", "windows/s"] for line in lines)


def test_configurations_are_merged_and_what_waits_for_a_validation_is_left_out(tmp_path, capsys):
    (tmp_path / "more.yaml").write_text("data: {init_args: {batch_size: 3}}\n")
    assert main(["profile", "tiny.yaml", "more.yaml", *PLATEAU, *SHORT, "--output=new/place"]) == 0
    assert files(tmp_path / "new" / "place") == WRITTEN
    found = read_profile(tmp_path / "new" / "place")
    assert (found.windows, found.workers_key) == (3, "data.init_args.num_workers")
    assert not (tmp_path / "runs").exists()
    assert capsys.readouterr().out.rstrip().endswith("profile: new/place/profile.html")


def test_a_cycle_is_as_long_as_the_training_and_not_as_what_is_profiled():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    cycle = OneCycleLR(optimizer, max_lr=1.0, total_steps=8)
    assert ProfiledCLI.configure_optimizers(None, optimizer, cycle) is optimizer


def test_too_little_to_measure(tmp_path, capsys):
    assert main(["profile", "tiny.yaml", *SHORT, "--trainer.limit_train_batches=1"]) == 1
    err = capsys.readouterr().err
    assert "tracknet profile: nothing measured: an epoch has 1 batches" in err
    assert "Traceback" not in err


def test_a_folder_that_may_not_be_written_is_told_before_anything_is_measured(tmp_path, monkeypatch, capsys):
    (tmp_path / "locked").mkdir()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != "locked" and access(path, mode))
    assert main(["profile", "tiny.yaml", *SHORT, "--output=locked/a"]) == 1
    out, err = capsys.readouterr()
    assert "--output locked/a: cannot be written: Permission denied; choose a folder" in err
    assert "Seed set" not in out + err
    assert files(tmp_path / "locked") == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "expected a run or a configuration (see tracknet profile --help)"),
        (["--data.batch_size=2"], "expected a run or a configuration before --data.batch_size=2"),
        (["runs/no.yaml"], "runs/no.yaml"),
        (["."], ".: no config.yaml there; expected the folder of a run or a configuration"),
        (["tiny.yaml", "--profile.step=3"], "profile.step"),
        (["tiny.yaml", "--profile.steps=0"], "expected a whole number above 0"),
        (["tiny.yaml", "--output=tiny.yaml"], "--output tiny.yaml: tiny.yaml is a file; expected a folder"),
        (["tiny.yaml", "--output=tiny.yaml/a/b"], "tiny.yaml is a file; expected a folder"),
        (["tiny.yaml", "--data.batchsize=3"], "did you mean 'batch_size'?"),
        (["compare", "a"], "compare: expected two profiles, found 1"),
        (["compare", "a", "."], "a: no profile.json there or in profile/"),
    ],
)
def test_wrong_usage(words, told, capsys):
    assert main(["profile", *words]) == 2
    out, err = capsys.readouterr()
    assert err.startswith("tracknet profile: ")
    assert told in err
    assert out == ""


@pytest.mark.parametrize("words", [["--help"], ["compare", "--help"]])
def test_help_of_each(words, capsys):
    assert main(["profile", *words]) == 0
    assert "tracknet profile compare A B" in capsys.readouterr().out


def test_help_without_torch(tmp_path):
    code = "import sys; from tracknet.cli.main import main; main(['profile', '--help'])"
    code += "; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[0] == "usage: tracknet profile RUN|CONFIG... [--output FOLDER] [fit options]"
    assert lines[-1] == "False"
    assert "--trainer.callbacks+=Profile" in done.stdout
