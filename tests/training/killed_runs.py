"""Trains, kills the training with SIGKILL at random moments, resumes it, and compares the weights in the end.

    python tests/training/killed_runs.py RALLIES FOLDER --kills 10 --seed 0

Each run is a process of its own; it is forked from one that has imported everything, which saves the seconds
that this takes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from tracknet.cli import train
from tracknet.cli.main import main

CONFIG = """
seed_everything: 3
trainer:
  accelerator: cpu
  max_epochs: 3
  limit_val_batches: 1
  num_sanity_val_steps: 0
  enable_progress_bar: false
  enable_model_summary: false
  log_every_n_steps: 1
  logger:
    class_path: RunLogger
    init_args: {{save_dir: runs, name: killed}}
  callbacks:
    - class_path: ModelCheckpoint
      init_args: {{monitor: val/f1, mode: max, filename: best}}
    - class_path: ModelCheckpoint
      init_args: {{filename: last, enable_version_counter: false, save_on_exception: true}}
    - class_path: MidEpochCheckpoint
      init_args: {{filename: recent, enable_version_counter: false, every_n_train_steps: 1}}
    - class_path: RunRecord
    - class_path: EMAWeightAveraging
      init_args: {{decay: 0.9, update_every_n_steps: 1}}
model:
  class_path: HeatmapTracker
  init_args:
    network:
      class_path: CompactTrackNet
      init_args: {{frames: 3, background: concat, stem: 4, widths: [8, 8, 8]}}
    input_size: [64, 96]
    mixup: 0.5
data:
  class_path: FlatVideoDataModule
  init_args:
    root: {root}
    val: [b]
    batch_size: 8
    num_workers: {workers}
    augmentation: Augmentation
    crop: {{size: [48, 64]}}
optimizer:
  class_path: AdamW
lr_scheduler: WarmupCosine
"""


def fork(folder: Path, words: list[str]) -> int:
    """Start ``tracknet fit`` in a folder."""
    child = os.fork()
    if child:
        return child
    os.setpgid(0, 0)  # its workers are killed with it
    os.chdir(folder)
    out = os.open("output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(out, 1)
    os.dup2(out, 2)
    code = 1
    try:
        code = main(["fit", "--config", "run.yaml", *words])
    finally:
        sys.stdout.flush()
        os._exit(code)


def final(folder: Path) -> list[dict]:
    """The checkpoints of the end that a run has left; one that was killed there has none, or two.

    Where the disk was full for `last` at the very end, `best` may be the only one of the last step.
    """
    found = [torch.load(path, weights_only=True) for path in folder.rglob("[bl][ea]st.ckpt")]
    newest = max((content["global_step"] for content in found), default=None)
    return [content for content in found if content["global_step"] == newest]


def leaves(content: dict) -> list:
    kept = {
        key: content.get(key)
        for key in ("state_dict", "current_model_state", "optimizer_states", "lr_schedulers", "global_step")
    }
    return torch.utils._pytree.tree_leaves(kept)


def same(first: dict, second: dict) -> bool:
    pairs = zip(leaves(first), leaves(second), strict=True)
    return all(
        one is other or torch.equal(torch.as_tensor(one), torch.as_tensor(other)) for one, other in pairs
    )


def wait_for(output: Path, lines: int, seconds: float) -> None:
    """Wait until a run has told so often that its data are ready, and not for ever."""
    until = time.monotonic() + 20 * seconds
    while time.monotonic() < until:
        if output.is_file() and output.read_text().count(": train ") >= lines:
            return
        time.sleep(0.02)


def campaign(rallies: Path, folder: Path, kills: int, seed: int, workers: int) -> dict:
    """Kill and resume until there were so many kills, a run has gone on, and the last one has ended."""
    most = 4 * kills
    draw = random.Random(seed)
    told = {"kills": 0, "after_checkpoint": 0, "runs": 0, "resumed": 0, "different": 0, "failed": 0}

    def begin(name: str) -> Path:
        (folder / name).mkdir(parents=True)
        (folder / name / "run.yaml").write_text(CONFIG.format(root=rallies, workers=workers))
        return folder / name

    whole = begin("whole")
    for _ in range(2):  # the first one fills the frame cache
        start = time.monotonic()
        assert os.waitpid(fork(whole, []), 0)[1] == 0, (whole / "output.txt").read_text()
        lasted = time.monotonic() - start
    expected, *others = final(whole)
    assert others
    assert all(same(expected, other) for other in others)
    while told["kills"] < kills:
        run = begin(f"run_{told['runs']}")
        while True:
            output = run / "output.txt"
            begun = output.read_text().count(": train ") if output.is_file() else 0
            child = fork(run, ["--ckpt_path", "last"])
            if told["kills"] < kills:
                # At any moment; mostly once it trains, as far as that can be seen from outside.
                if draw.random() < 0.8:
                    wait_for(output, begun + 1, lasted)
                time.sleep(draw.uniform(0.01, 0.6) * lasted)
                ended, status = os.waitpid(child, os.WNOHANG)
                if not ended:
                    os.killpg(child, signal.SIGKILL)
                    os.waitpid(child, 0)
                    told["kills"] += 1
                    told["after_checkpoint"] += any(run.rglob("[!.]*.ckpt"))
                    continue
            else:
                _, status = os.waitpid(child, 0)
            told["failed"] += status != 0
            break
        told["resumed"] += (run / "output.txt").read_text().count("Restored all states")
        told["different"] += any(not same(content, expected) for content in final(run))
        told["runs"] += 1
        if told["kills"] == kills < most and not told["resumed"]:
            kills += 1  # all came before the first checkpoint, as on a busy machine
    return told


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("rallies", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    assert train  # imported before the forks
    print(json.dumps(campaign(given.rallies, given.folder, given.kills, given.seed, given.workers)))
