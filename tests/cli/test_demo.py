from __future__ import annotations

import json

import pytest

from tracknet.cli.main import main

TINY = """
seed_everything: 1
trainer:
  accelerator: cpu
  devices: 1
  max_epochs: 1
  limit_train_batches: 2
  num_sanity_val_steps: 0
  enable_progress_bar: false
  enable_model_summary: false
  logger: {class_path: RunLogger}
  callbacks:
    - class_path: ModelCheckpoint
      init_args: {monitor: val/f1, mode: max, filename: best}
    - class_path: Report
model:
  class_path: HeatmapTracker
  init_args:
    network:
      class_path: CompactTrackNet
      init_args: {frames: 4, stem: 4, widths: [8, 8, 8]}
    decoder: PeakDecoder
    input_size: [96, 160]
data:
  class_path: GeneratedDataModule
  init_args:
    root: unused
    train_rallies: 1
    val_rallies: 1
    test_rallies: 1
    rally_frames: 10
    batch_size: 1
optimizer: {class_path: AdamW}
"""


def test_the_demo_goes_the_whole_way(tmp_path, capsys):
    config = tmp_path / "tiny.yaml"
    config.write_text(TINY)
    assert main(["demo", "--folder", str(tmp_path / "demo"), "--config", str(config)]) == 0
    said = capsys.readouterr().out
    (run,) = (tmp_path / "demo").glob("run-*")
    for part in ("curves.png", "config.yaml", "test/test.png", "test/test_clips.csv", "rally.mp4"):
        assert (run / part).stat().st_size > 0
        if part != "config.yaml":
            assert str(run / part) in said
    assert len((run / "rally.csv").read_text().splitlines()) == 1 + 10
    figures = json.loads((run / "test" / "test.json").read_text())
    assert f"test F1 on unseen courts: {figures['f1']:.4f}  (tracknetv2: d <= 4 px at 288x512)" in said
    assert f"followed through a rally: {figures['tracked_f1']:.4f}" in said
    assert "background difference:" in said


def test_a_step_that_fails_ends_the_demo_with_its_code(tmp_path, capsys):
    config = tmp_path / "wrong.yaml"
    config.write_text(TINY.replace("CompactTrackNet", "CompactTrackNot"))
    assert main(["demo", "--folder", str(tmp_path / "demo"), "--config", str(config)]) == 2
    assert "no class 'CompactTrackNot'; did you mean 'CompactTrackNet'?" in capsys.readouterr().err
    with pytest.raises(StopIteration):
        next((tmp_path / "demo").glob("run-*"))
