"""The examples that train: their YAML, their scripts and the cluster job, each for a few steps."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tracknet.cli.main import main as tracknet

pytestmark = pytest.mark.slow

SIZE = (64, 96)
SHORT = [
    "--trainer.accelerator=cpu",
    "--trainer.devices=1",
    "--trainer.max_epochs=1",
    "--trainer.limit_train_batches=2",
    "--trainer.limit_val_batches=1",
    "--trainer.enable_progress_bar=false",
    "--data.batch_size=2",
    "--data.num_workers=0",
    "--model.input_size=[64,96]",
]
CROPPED = "--data.crop.size=[32,48]"


def saved(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open()))


def test_the_yaml_of_the_own_dataset(examples, tiny_rallies, here):
    for video in tiny_rallies.glob("*.mp4"):
        shutil.copy(video, here)
        balls = [
            [float(row["X"]), float(row["Y"])] if row["Visibility"] == "1" else None
            for row in rows(video.with_suffix(".csv"))
        ]
        (here / f"{video.stem}.json").write_text(json.dumps({"ball": balls}))
    words = ["--config", str(examples / "own_dataset.yaml"), f"--data.root={here}", CROPPED]
    assert tracknet(["fit", *words, *SHORT]) == 0
    run = here / "runs" / "tracknet" / "version_0"
    assert "class_path: own_dataset.JsonDataModule" in (run / "config.yaml").read_text()
    assert "best.ckpt" in saved(run)


def test_the_yaml_of_the_own_network(examples, tiny_rallies, here):
    words = ["--config", str(examples / "own_network.yaml"), f"--data.root={tiny_rallies}", CROPPED]
    assert tracknet(["fit", *words, *SHORT]) == 0
    best = here / "runs" / "tracknet" / "version_0" / "checkpoints" / "best.ckpt"
    # The checkpoint builds the network again.
    assert tracknet(["track", str(tiny_rallies / "a.mp4"), "--ckpt", str(best), "--output", "a.csv"]) == 0
    assert len(rows(here / "a.csv")) == 21


def test_the_yaml_of_the_own_callback(examples, tiny_rallies, here):
    words = ["--config", str(examples / "own_callback.yaml"), f"--data.root={tiny_rallies}", CROPPED]
    assert tracknet(["fit", *words, *SHORT, f"--trainer.callbacks.video={tiny_rallies / 'a.mp4'}"]) == 0
    run = here / "runs" / "tracknet" / "version_0"
    assert len(rows(run / "tracked" / "epoch_0.csv")) == 21
    assert (run / "run.json").is_file()  # the usual callbacks are there too


def test_several_loggers_get_the_same_figures(examples, tiny_rallies, here):
    words = ["--config", str(examples / "multi_logger.yaml"), f"--data.root={tiny_rallies}", CROPPED]
    assert tracknet(["fit", *words, *SHORT]) == 0
    figures = [
        {row["step"]: row["val/loss"] for row in rows(path) if row.get("val/loss")}
        for path in (
            here / "runs" / "several" / "version_0" / "metrics.csv",
            here / "shared_figures" / "latest" / "metrics.csv",
        )
    ]
    assert figures[0]
    assert figures[0].keys() == figures[1].keys()
    for step, loss in figures[0].items():
        assert float(loss) == pytest.approx(float(figures[1][step]), rel=1e-4)


def test_training_from_python(example, tiny_rallies, here):
    best = example("train_from_python").main(tiny_rallies, 1, size=SIZE)
    assert Path(best).name == "best.ckpt"
    assert Path(best).is_file()


def test_a_sweep_tries_settings_and_reports_them(examples, tiny_rallies, here, monkeypatch, capsys):
    pytest.importorskip("optuna")
    monkeypatch.setattr(sys, "argv", ["tracknet"])
    flags = [f"--data.root={tiny_rallies}", CROPPED, *SHORT]
    words = ["sweep", str(examples / "sweep.yaml"), "--trials=2", f"--config+={json.dumps(flags)}"]
    assert tracknet(words) == 0
    assert "trial 1: val/loss" in capsys.readouterr().out
    sweep = here / "sweeps" / "sweep"
    report = (sweep / "report.md").read_text()
    assert all(part in report for part in ("2 complete", "optimizer.lr", "+optimizer"))
    assert (sweep / "slice.png").read_bytes().startswith(b"\x89PNG")
    assert "best.ckpt" in saved(sweep / "trial_1")


def test_the_speed_of_two_networks(example, tiny_rallies, here, capsys):
    words = ["--trainer.accelerator=cpu", "--data.batch_size=2", "--model.input_size=[64,96]"]
    words += ["--profile.start_step=1", "--profile.steps=2", "--profile.trace_steps=1"]
    words += ["--model.network.init_args.width=4"]
    picture = example("compare_speed").main(str(tiny_rallies), ("tracknetv2", "tracknetv4"), words)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert (here / "speed" / "tracknetv4" / "profile.html").is_file()
    assert "TrackNetV4" in capsys.readouterr().out


def test_the_cluster_job_trains_and_goes_on(examples, tiny_rallies, here):
    """With an `srun` that runs one process here."""
    (here / "bin").mkdir()
    (here / "bin" / "srun").write_text('#!/bin/sh\necho "srun: $*"\nexec "$@"\n')
    (here / "bin" / "srun").chmod(0o755)
    script = "import sys; from tracknet.cli.main import main; sys.exit(main())"
    (here / "bin" / "tracknet").write_text(f"#!/bin/sh\nexec {sys.executable} -c '{script}' \"$@\"\n")
    (here / "bin" / "tracknet").chmod(0o755)
    told = subprocess.run(
        [
            "bash",
            str(examples / "cluster_job.sh"),
            *SHORT,
            f"--data.root={tiny_rallies}",
            "--trainer.strategy=auto",
            "--trainer.precision=32-true",
            "--trainer.sync_batchnorm=false",
        ],
        env={
            **os.environ,
            "PATH": f"{here / 'bin'}:{os.environ['PATH']}",
            "TRACKNET_CONFIG": str(examples / "cluster_job.yaml"),
            "SLURM_SUBMIT_DIR": str(here),
            "SLURM_TMPDIR": str(here / "node"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert "srun: tracknet fit --config" in told.stdout
    run = here / "runs" / "cluster_job" / "version_0"
    assert {"best.ckpt", "last.ckpt"} <= set(saved(run))
    assert any((here / "node" / "tracknet-frames").iterdir())


FAILS_ONCE = """
import os

from lightning.pytorch import Callback


class FailsOnce(Callback):
    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        begun = trainer.global_step == 2 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
        if begun and trainer.global_rank == 1:
            os._exit(1)
"""


def test_what_torchrun_starts_goes_on_after_a_process_has_failed(examples, tiny_rallies, here):
    """In two processes here, of which one ends at the first step of the second epoch."""
    (here / "fails_once.py").write_text(FAILS_ONCE)
    (here / "bin").mkdir()
    (here / "bin" / "torchrun").write_text(
        f'#!/bin/sh\nexec {sys.executable} -m torch.distributed.run "$@"\n'
    )
    (here / "bin" / "torchrun").chmod(0o755)
    told = subprocess.run(
        [
            str(examples / "torchrun.sh"),
            *(word for word in SHORT if word != "--trainer.devices=1"),
            f"--data.root={tiny_rallies}",
            "--trainer.max_epochs=2",
            "--trainer.precision=32-true",
            "--trainer.sync_batchnorm=false",
            "--trainer.callbacks+=fails_once.FailsOnce",
        ],
        env={
            **os.environ,
            "PATH": f"{here / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join([str(here), *sys.path]),
            "TRACKNET_CONFIG": str(examples / "cluster_job.yaml"),
            "PROCESSES": "2",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    runs = here / "runs" / "cluster_job"
    # Started again once, and not again for addresses of the first start.
    again = f"--ckpt_path last: {runs.relative_to(here) / 'version_0'}"
    assert (told.stdout + told.stderr).count(again) == 1
    [last] = runs.glob("version_1/checkpoints/last.ckpt")
    assert torch.load(last, weights_only=True)["global_step"] == 4
