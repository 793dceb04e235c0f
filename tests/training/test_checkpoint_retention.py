"""``CheckpointRetention``: what a training removes of its own checkpoints, compressed ones here."""

from __future__ import annotations

import errno
import os
import sys
import time
from pathlib import Path

import pytest

from tracknet.cli.main import main as tracknet
from tracknet.errors import UsageError
from tracknet.tracking.trajectory import read_trajectory
from tracknet.training.callbacks import CheckpointRetention
from tracknet.training.checkpoint_format import check_seal, read_metadata
from tracknet.training.checkpoints import TrackNetCheckpointIO

CONFIG = """
seed_everything: 5
trainer:
  accelerator: cpu
  max_epochs: 5
  limit_train_batches: 1
  limit_val_batches: 1
  num_sanity_val_steps: 0
  enable_progress_bar: false
  enable_model_summary: false
  logger: {{class_path: RunLogger, init_args: {{save_dir: runs, name: "", version: run}}}}
  plugins:
    - class_path: TrackNetCheckpointIO
      init_args: {{compression: zstd, level: 1}}
  callbacks:
    - class_path: ModelCheckpoint
      init_args: {{monitor: val/f1, mode: max, filename: "{name}{{epoch}}", auto_insert_metric_name: false,
        save_top_k: -1, dirpath: kept}}
    - class_path: CheckpointRetention
      init_args: {{{retention}}}
model:
  class_path: HeatmapTracker
  init_args:
    network: {{class_path: CompactTrackNet, init_args: {{frames: 3, stem: 2, widths: [2, 2, 2]}}}}
    loss: MSELoss
    input_size: [32, 64]
data:
  class_path: FlatVideoDataModule
  init_args: {{root: {rallies}, train: [a], val: [d], batch_size: 2}}
optimizer: {{class_path: SGD, init_args: {{lr: 0.0}}}}
"""
"""The figure stays the same with this rate, so that the first checkpoint is the best one."""

BACKGROUND = """
trainer:
  plugins!:
    - class_path: AsyncCheckpointIO
      init_args:
        checkpoint_io: {class_path: TrackNetCheckpointIO, init_args: {compression: zstd}}
"""


@pytest.fixture
def train(tmp_path, monkeypatch, tiny_rallies):
    """Train in a folder of the test; what comes back is the exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tracknet"])

    def run(retention, *words, name="e", folder="kept"):
        told = CONFIG.format(rallies=tiny_rallies, retention=retention, name=name)
        Path("small.yaml").write_text(told.replace("dirpath: kept", f"dirpath: {folder}"))
        return tracknet(["fit", "--config", "small.yaml", *words])

    return run


def left():
    return sorted(path.stem for path in Path("kept").glob("*.ckpt"))


def test_a_number_of_newest_ones_stays_beside_the_best(train, tiny_rallies, caplog, capsys):
    with caplog.at_level("INFO"):
        assert train("keep_last: 2") == 0
    assert left() == ["e0", "e3", "e4"]
    removed = [one for one in caplog.messages if one.startswith("note: removed ")]
    assert [Path(one.split()[2].rstrip(":")).stem for one in removed] == ["e1", "e2"]
    assert "not among the newest 2, 0.0 MB" in removed[0]
    (compressed,) = [one for one in caplog.messages if "compressed with zstd" in one]
    assert compressed.endswith(" s for e0.ckpt")
    # Files that are compressed serve for all that others do.
    assert all(read_metadata(path)["compression"]["method"] == "zstd" for path in Path("kept").iterdir())
    with caplog.at_level("INFO"):
        assert train("keep_last: 1", "--ckpt_path=kept/e4.ckpt", "--trainer.max_epochs=6") == 0
    assert left() == ["e0", "e5"]
    assert read_metadata(Path("kept/e5.ckpt"))["step"] == 6
    words = ["--ckpt_path", "kept", "--trainer.limit_test_batches=1"]
    assert tracknet(["test", "--config=small.yaml", *words]) == 0
    assert tracknet(["track", str(tiny_rallies / "d.mp4"), "--ckpt", "kept/e5.ckpt", "--device=cpu"]) == 0
    assert len(read_trajectory(Path("d_ball.csv"))) == 17
    assert tracknet(["checkpoint", "verify", "kept/e5.ckpt"]) == 0
    assert tracknet(["export", "kept/e5.ckpt", "--format", "torchscript"]) == 0


def test_a_budget_counts_files_of_this_run_alone(train):
    assert train("max_size: 1TB") == 0
    assert left() == ["e0", "e1", "e2", "e3", "e4"]
    room = (
        3 * Path("kept/e4.ckpt").stat().st_size + 1000
    )  # they differ by some bytes, as paths and figures do
    before = left()
    assert train(f"max_size: '{room}'", name="n") == 0
    assert set(before) < set(left())
    assert [name for name in left() if name.startswith("n")] == ["n0", "n3", "n4"]


def test_the_best_that_is_taken_along_into_another_folder_counts(train):
    assert train("max_size: 1TB", "--trainer.max_epochs=1") == 0
    room = 2.5 * Path("kept/e0.ckpt").stat().st_size
    words = ["--ckpt_path=kept/e0.ckpt", "--trainer.max_epochs=4"]
    assert train(f"max_size: '{room:.0f}'", *words, folder="moved") == 0
    assert sorted(path.stem for path in Path("moved").iterdir()) == ["e0", "e3"]


def test_older_ones_go_when_the_run_goes_on_and_the_newest_whole_one_stays(train):
    assert train("older_than: 2d") == 0
    assert left() == ["e0", "e1", "e2", "e3", "e4"]
    for number in range(5):
        then = time.time() - (3 * 86400 if number < 3 else 60) + number
        os.utime(f"kept/e{number}.ckpt", (then, then))
    words = ["--ckpt_path=kept/e4.ckpt", "--trainer.max_epochs=6"]
    assert train("older_than: 2d, keep_last: 4", *words) == 0
    assert left() == ["e0", "e2", "e3", "e4", "e5"]


def test_it_goes_with_saving_in_the_background(train):
    Path("background.yaml").write_text(BACKGROUND)
    assert train("keep_last: 1", "--config", "background.yaml") == 0
    assert {"e0", "e4"} <= set(left()) <= {"e0", "e3", "e4"}
    assert {check_seal(path) for path in Path("kept").iterdir()} == {"whole"}
    assert read_metadata(Path("kept/e4.ckpt"))["compression"]["method"] == "zstd"


def test_a_disk_that_refuses_does_not_end_the_training(train, monkeypatch):
    def refuse(self, path):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(TrackNetCheckpointIO, "remove_checkpoint", refuse)
    with pytest.warns(
        UserWarning, match=r"CheckpointRetention: .*e1.ckpt: Permission denied; the rest is kept"
    ):
        assert train("keep_last: 1") == 0
    assert left() == ["e0", "e1", "e2", "e3", "e4"]


@pytest.mark.parametrize(
    ("retention", "said"),
    [
        ("", "CheckpointRetention: set keep_last, older_than (30d) or max_size (5GB)"),
        ("older_than: soon", "CheckpointRetention: older_than soon: expected an age such as 30d, 12h or 2w"),
        ("max_size: much", "CheckpointRetention: max_size much: expected a size such as 5GB or 500MB"),
        ("keep_last: -1", "keep_last"),
    ],
)
def test_wrong_settings_are_told_before_training(train, retention, said, capsys):
    assert train(retention) == 2
    assert said in capsys.readouterr().err
    assert not Path("kept").exists()


def test_compression_without_its_package_is_told_before_training(train, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "zstandard", None)
    Path("background.yaml").write_text(BACKGROUND)
    for words in ([], ["--config", "background.yaml"]):
        assert train("keep_last: 1", *words) == 2
        told = capsys.readouterr().err
        assert "compression: zstd needs zstandard: pip install 'tracknet[zstd]'" in told
        assert "Traceback" not in told
    assert not Path("kept").exists()


def test_in_python_it_is_as_typed():
    with pytest.raises(UsageError, match="set keep_last"):
        CheckpointRetention()
    assert CheckpointRetention(3, "12h", "2KiB").retention == (
        type(CheckpointRetention(1).retention)(3, 0.5, 2048)
    )
