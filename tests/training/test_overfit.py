"""The whole way learns: two real rallies by heart, through the entry point."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tracknet.cli.main import main

CLIPS = ("00039", "00038")
"""Two short rallies of 91 and 168 frames: whole windows of 7, none seen in validation alone."""

CONFIG = """
seed_everything: 7
trainer:
  accelerator: cpu
  devices: 1
  precision: 32-true
  max_epochs: 104
  check_val_every_n_epoch: 104
  gradient_clip_val: 1.0
  log_every_n_steps: 10
  num_sanity_val_steps: 0
  enable_progress_bar: false
  enable_model_summary: false
  logger:
    class_path: RunLogger
    init_args: {save_dir: FOLDER, name: "", version: run}
  callbacks:
    - class_path: ModelCheckpoint
      init_args: {monitor: val/f1, mode: max, filename: best}
    - class_path: EMAWeightAveraging
      init_args: {decay: 0.97, update_every_n_steps: 1}
    - class_path: Report
model:
  class_path: HeatmapTracker
  init_args:
    network:
      class_path: CompactTrackNet
      init_args: {frames: 7, background: concat, widths: [32, 48, 64]}
    loss:
      class_path: WBCELoss
      init_args: {reduction: ball}
    decoder:
      class_path: PeakDecoder
      init_args: {threshold: 0.5}
    input_size: [288, 512]
data:
  class_path: FlatVideoDataModule
  init_args:
    root: DATA
    train: ["learn_*"]
    val: ["recite_*"]
    step: 7
    batch_size: 4
    crop:
      class_path: RandomCrop
      init_args: {size: [128, 192], on_ball: 0.7, epochs: 96}
optimizer:
  class_path: AdamW
  init_args: {lr: 0.004}
lr_scheduler:
  class_path: WarmupCosine
  init_args: {warmup: 0.05}
"""


@pytest.mark.slow
def test_two_rallies_are_learnt_by_heart(real_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    data = tmp_path / "data"
    data.mkdir()
    for clip in CLIPS:
        for suffix in ("mp4", "csv"):
            for name in (f"learn_{clip}", f"recite_{clip}"):
                (data / f"{name}.{suffix}").symlink_to(real_data / "badminton" / f"{clip}.{suffix}")
    config = tmp_path / "overfit.yaml"
    config.write_text(CONFIG.replace("FOLDER", str(tmp_path)).replace("DATA", str(data)))
    monkeypatch.setattr(sys, "argv", ["tracknet"])
    assert main(["fit", "--config", str(config)]) == 0
    best = tmp_path / "run" / "checkpoints" / "best.ckpt"
    words = ["test", "--config", str(config), "--ckpt_path", str(best)]
    assert main([*words, "--trainer.logger.version=test"]) == 0
    figures = json.loads((tmp_path / "test" / "test.json").read_text())
    assert figures["metric"] == "tracknetv2: d <= 4 px at 288x512"
    assert figures["clips"] == 2
    assert figures["f1"] >= 0.98, figures
