"""Runs of several processes: begun by torchrun, gone on with by another number of them, requeued by SLURM."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tracknet.cli.main import main as tracknet
from tracknet.training.callbacks.interruption import InterruptBetweenSteps

NETWORK = '''
import os
import signal

from torch import Tensor, nn

from tracknet.models.network import BackgroundMode, HeatmapNetwork


class PlainNetwork(HeatmapNetwork):
    """Two convolutions; no batch normalisation, whose statistics each process has for itself."""

    def __init__(self, frames: int = 3, background: BackgroundMode = "none") -> None:
        super().__init__(frames, background, frames)
        self.layers = nn.Sequential(
            nn.Conv2d(3 * frames, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, frames, 3, padding=1)
        )
        self.steps = 0

    def forward(self, x: Tensor) -> Tensor:
        self.steps += 1
        for event in os.environ.get("EVENTS", "").split():
            name, step = event.split("@")
            if int(step) == self.steps and name == "ERROR":
                raise RuntimeError("out of luck")
            if int(step) == self.steps:
                signal.raise_signal(signal.Signals[name])
        return self.layers(x)
'''

CONFIG = """
seed_everything: 5
trainer:
  accelerator: cpu
  max_epochs: -1
  limit_train_batches: 3
  limit_val_batches: 0
  num_sanity_val_steps: 0
  enable_progress_bar: false
  enable_model_summary: false
  logger: {{class_path: RunLogger, init_args: {{save_dir: runs, name: "", version: run}}}}
  callbacks:
    - class_path: ModelCheckpoint
      init_args: {{filename: last, enable_version_counter: false, save_on_exception: true}}
    - class_path: MidEpochCheckpoint
      init_args: {{filename: recent, enable_version_counter: false, every_n_train_steps: 1}}
model:
  class_path: HeatmapTracker
  init_args: {{network: plain_network.PlainNetwork, loss: MSELoss, input_size: [32, 64]}}
data:
  class_path: FlatVideoDataModule
  init_args: {{root: {rallies}, train: [a, b], val: [d]}}
optimizer: {{class_path: AdamW, init_args: {{lr: 0.01}}}}
"""

REPORT = "    - class_path: Report\nmodel:\n"

# One process of four windows a step, or two of two.
ONE = ["--trainer.devices=1", "--data.batch_size=4"]
TWO = ["--trainer.devices=2", "--trainer.strategy=ddp", "--data.batch_size=2"]


@pytest.fixture
def here(tmp_path, monkeypatch, tiny_rallies):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tracknet"])
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "plain_network.py").write_text(NETWORK)
    (tmp_path / "small.yaml").write_text(CONFIG.format(rallies=tiny_rallies))
    return tmp_path


def fit(name, *words):
    """Train in this process; give the newest state within an epoch."""
    run = f"--trainer.logger.init_args.version={name}"
    assert tracknet(["fit", "--config", "small.yaml", run, *words]) == 0
    return recent(name)


def torchrun(name, *words):
    """Train in two processes that torchrun starts."""
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "tracknet", "fit"]
    run = f"--trainer.logger.init_args.version={name}"
    paths = os.pathsep.join([str(Path.cwd()), *sys.path])
    done = subprocess.run(
        [sys.executable, *command, "--config", "small.yaml", run, *TWO, *words],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return recent(name)


def recent(name):
    return Path("runs") / name / "checkpoints" / "recent.ckpt"


def state(path):
    return torch.load(path, weights_only=True)


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(here):
    whole = state(fit("whole", *ONE, "--trainer.max_steps=8"))
    # Four steps are one epoch of three and a third of the next one.
    of_one = fit("of_one", *ONE, "--trainer.max_steps=4")
    of_two = torchrun("of_two", "--trainer.max_steps=4")
    first, second = state(of_one), state(of_two)
    assert first["global_step"] == second["global_step"] == 4
    to_two = state(torchrun("to_two", f"--ckpt_path={of_one}", "--trainer.max_steps=8"))
    to_one = state(fit("to_one", *ONE, f"--ckpt_path={of_two}", "--trainer.max_steps=8"))
    for before, after in ((first, second), (whole, to_two), (whole, to_one)):
        assert after["global_step"] == before["global_step"]
        assert after["epoch"] == before["epoch"]
        for name, weight in before["state_dict"].items():
            # The same windows in each step; only the order of their sum differs.
            torch.testing.assert_close(after["state_dict"][name], weight, rtol=1e-4, atol=1e-6)
    moved = [(whole["state_dict"][name] - weight).abs().max() for name, weight in first["state_dict"].items()]
    assert max(moved) > 1e-3


def slurm(here, rank=0, tasks=1):
    """Variables of one process of a SLURM job, whose requests to requeue it are kept in ``requeued.txt``."""
    scontrol = here / "bin" / "scontrol"
    scontrol.parent.mkdir(exist_ok=True)
    scontrol.write_text(f'#!/bin/sh\necho "$@" >> {here / "requeued.txt"}\n')
    scontrol.chmod(0o755)
    job = {"NTASKS": tasks, "JOB_NAME": "train", "JOB_ID": 77, "PROCID": rank, "LOCALID": rank, "NODEID": 0}
    job |= {"NTASKS_PER_NODE": tasks, "NODELIST": "localhost"}
    return {f"SLURM_{name}": str(value) for name, value in job.items()} | {
        "PATH": f"{scontrol.parent}{os.pathsep}{os.environ['PATH']}"
    }


@pytest.mark.slow
@pytest.mark.usefixtures("plain_sigterm")
def test_a_job_that_slurm_requeues_goes_on_where_it_was(here, monkeypatch):
    for name, value in slurm(here).items():
        monkeypatch.setenv(name, value)
    begun = []
    plain = InterruptBetweenSteps.on_train_batch_start

    def watched(self, trainer, module, batch, batch_idx):
        plain(self, trainer, module, batch, batch_idx)
        begun.append(trainer.global_step)
        if len(begun) == 3:
            signal.raise_signal(signal.SIGUSR1)  # SLURM's warning, as --signal=SIGUSR1@120 asks for it
            signal.raise_signal(signal.SIGTERM)  # and the end, which requeueing brings about

    monkeypatch.setattr(InterruptBetweenSteps, "on_train_batch_start", watched)
    words = ["fit", "--config=small.yaml", "--config=configs/env/cluster.yaml", *ONE, "--trainer.max_steps=6"]
    words += ["--trainer.accelerator=cpu", "--trainer.strategy=auto", "--trainer.precision=32-true"]
    words += ["--trainer.sync_batchnorm=false", "--data.num_workers=0", "--ckpt_path", "last"]
    assert tracknet(words) == 143
    assert (here / "requeued.txt").read_text() == "requeue 77\n"
    assert [path.name for path in here.glob("runs/job-77/*")] == ["hpc_ckpt_1.ckpt"]
    assert begun == [0, 1, 2]  # the step that was begun is taken before the job ends
    assert tracknet(words) == 0
    assert begun == list(range(6))
    # Nothing is left where jobs that begin anew would take it for theirs.
    assert not list(here.glob("*.ckpt"))


def begin(here, events):
    """Begin a job of two processes, each with what happens in its steps."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    words = ["fit", "--config=small.yaml", "--config=configs/env/cluster.yaml", *TWO]
    words += ["--trainer.accelerator=cpu", "--trainer.precision=32-true", "--trainer.sync_batchnorm=false"]
    words += ["--data.num_workers=0", "--trainer.max_steps=50", "--ckpt_path=last"]
    paths = os.pathsep.join([str(Path.cwd()), *sys.path])
    return [
        subprocess.Popen(
            [sys.executable, "-m", "tracknet", *words],
            env=os.environ
            | meeting
            | slurm(here, rank, tasks=2)
            | {"EVENTS": heard, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank, heard in enumerate(events)
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("events", "code", "saved"),
    [
        # SLURM warns all processes and then ends them; they hear it in other steps.
        (["SIGUSR1@2 SIGTERM@6", "SIGUSR1@4 SIGTERM@5"], 143, {"hpc_ckpt_1.ckpt": 2, "last.ckpt": 5}),
        (["", "SIGINT@3"], 130, {"last.ckpt": 3}),
    ],
)
def test_processes_stop_behind_the_same_step_whichever_of_them_is_told(here, events, code, saved):
    both = begin(here, events)
    try:
        said = [process.communicate(timeout=300)[1] for process in both]
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [code, code], said
    assert "Traceback" not in "".join(said)
    found = {path.name: state(path)["global_step"] for path in here.rglob("*.ckpt")}
    assert {name: found[name] for name in found if name != "recent.ckpt"} == saved
    if code == 143:
        assert (here / "requeued.txt").read_text() == "requeue 77\n"


@pytest.mark.slow
def test_a_process_that_fails_ends_the_other(here):
    (here / "small.yaml").write_text((here / "small.yaml").read_text().replace("model:\n", REPORT, 1))
    both = begin(here, ["", "ERROR@3"])
    try:
        said = [process.communicate(timeout=300)[1] for process in both]
    finally:
        for process in both:
            process.kill()
    assert [process.returncode for process in both] == [1, 1]
    assert "out of luck" in said[1]
