"""What a person does with a training, from the first command to the video with the ball drawn in."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tracknet.cli.main import main
from tracknet.training.checkpoint_format import check_seal, read_metadata

pytestmark = pytest.mark.slow

SETTINGS = {
    "trainer": {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 3,
        "limit_train_batches": 2,
        "limit_val_batches": 1,
        "num_sanity_val_steps": 0,
        "enable_progress_bar": False,
    },
    "model": {
        "init_args": {
            "network": {
                "class_path": "CompactTrackNet",
                "init_args": {"frames": 3, "background": "concat", "stem": 4, "widths": [8, 8, 8]},
            },
            "input_size": [32, 64],
        }
    },
}
RUN = Path("runs/tracknet/version_0")
BEST = RUN / "checkpoints" / "best.ckpt"


@pytest.fixture(scope="module")
def trained(tiny_rallies, tmp_path_factory):
    """A folder in which all callbacks that watch and three loggers have seen a training of three epochs."""
    folder = tmp_path_factory.mktemp("training")
    data = {
        "class_path": "FlatVideoDataModule",
        "init_args": {"root": str(tiny_rallies), "val": ["b"], "batch_size": 2, "num_workers": 0},
    }
    (folder / "mine.yaml").write_text(yaml.safe_dump(SETTINGS | {"data": data}))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("WANDB_API_KEY", "0123456789abcdef0123456789abcdef01234567")
        assert main(fit()) == 0
        yield folder


def fit(*words: str) -> list[str]:
    files = ["--config", "configs/base.yaml", "--config", "mine.yaml"]
    return ["fit", *files, "+callbacks=debug", "+logging=tensorboard_csv", *words]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def newest() -> Path:
    found = Path("runs").glob("tracknet/version_*/checkpoints/last.ckpt")
    return max(found, key=lambda path: path.stat().st_mtime_ns)


def events(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0})
    found.Reload()
    return found


def test_every_logger_has_every_figure_once(trained):
    found = events(RUN)
    tags = found.Tags()["scalars"]
    assert {"train/loss_step", "val/f1", "val/loss"} <= set(tags)
    for tag in set(tags) - {"epoch"}:  # which Lightning adds to whatever is logged
        steps = [event.step for event in found.Scalars(tag)]
        assert steps == sorted(set(steps)), f"{tag} at {steps}"
    assert [event.step for event in found.Scalars("val/f1")] == [1, 3, 5]
    assert [event.step for event in found.Scalars("train/loss_step")] == [0, 1, 2, 3, 4, 5]
    for name in (RUN / "metrics.csv", Path("runs/tracknet_files/version_0/metrics.csv")):
        rows = table(name)
        columns = {key for row in rows for key, value in row.items() if value}
        assert columns == {*tags, "step"}, name
        for tag in ("val/f1", "val/loss", "train/loss_step"):
            written = [(int(row["step"]), float(row[tag])) for row in rows if row.get(tag)]
            logged = [(event.step, event.value) for event in found.Scalars(tag)]
            assert [step for step, _ in written] == [step for step, _ in logged]
            assert [value for _, value in written] == pytest.approx([value for _, value in logged])
    pictures = found.Tags()["images"]
    assert pictures
    for tag in pictures:
        steps = [event.step for event in found.Images(tag)]
        assert steps == sorted(set(steps)), f"{tag} at {steps}"


def test_no_file_of_the_run_holds_a_secret(trained):
    files = [path for path in Path("runs").rglob("*") if path.is_file()]
    assert {"config.yaml", "run.json", "best.ckpt", "metrics.csv"} <= {path.name for path in files}
    for path in files:
        assert os.environ["WANDB_API_KEY"].encode() not in path.read_bytes(), path


def test_train_then_test_then_track_then_overlay(trained, tiny_rallies, capsys):
    assert main(["test", "--ckpt_path", str(BEST)]) == 0
    assert main(["track", str(tiny_rallies / "a.mp4"), "--ckpt", str(BEST), "--overlay"]) == 0
    capsys.readouterr()
    (found,) = Path().glob("a*.csv")
    assert len(table(found)) == 21
    (video,) = Path().glob("a*.mp4")
    assert video.stat().st_size > 0


def test_a_checkpoint_of_an_older_version_tracks_the_same_and_is_brought_forward(
    trained, tiny_rallies, tmp_path, capsys
):
    content = torch.load(BEST, weights_only=True)
    assert content.pop("tracknet_format") == 2
    torch.save(content, tmp_path / "old.ckpt")
    assert check_seal(tmp_path / "old.ckpt") == "none"
    new = tmp_path / "new.ckpt"
    assert main(["checkpoint", "convert", str(tmp_path / "old.ckpt"), "--output", str(new)]) == 0
    assert main(["checkpoint", "verify", str(new)]) == 0
    told = []
    for name in (BEST, tmp_path / "old.ckpt", new):
        output = tmp_path / f"{name.stem}.csv"
        words = ["track", str(tiny_rallies / "b.mp4"), "--ckpt", str(name), "--output", str(output)]
        assert main(words) == 0
        told.append(output.read_text())
    assert told[0] == told[1] == told[2]


def test_saved_loaded_and_saved_again(trained):
    before = read_metadata(RUN / "checkpoints" / "last.ckpt")
    assert main(fit("--ckpt_path", "last", "--trainer.max_epochs=4")) == 0
    after = read_metadata(newest())
    assert (before["step"], after["step"]) == (6, 8)
    assert main(fit("--ckpt_path", str(newest()), "--trainer.max_epochs=5")) == 0
    assert read_metadata(newest())["step"] == 10
    assert [event.step for event in events(newest().parents[1]).Scalars("val/f1")] == [9]
