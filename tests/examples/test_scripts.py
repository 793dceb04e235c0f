"""The example scripts do what their docstrings say; here those that take no training of their own."""

from __future__ import annotations

import ast
import json
import re
import shutil

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from tracknet.data.datamodules import FlatVideoDataModule
from tracknet.data.labels import read_labels
from tracknet.data.video import open_source
from tracknet.errors import TrackNetError
from tracknet.models import CompactTrackNet
from tracknet.tracking.trajectory import read_trajectory
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.loggers import RunLogger

SIZE = (64, 96)


@pytest.fixture
def json_rallies(tiny_rallies, here):
    """The tiny rallies, labelled as the example of an own data set reads them."""
    for video in tiny_rallies.glob("*.mp4"):
        shutil.copy(video, here / f"m{video.stem}_{video.name}")
        labels, _ = read_labels(video.with_suffix(".csv"), open_source(video).count(), SIZE)
        balls = [
            [float(x), float(y)] if seen else None
            for (x, y), seen in zip(labels.xy, labels.visible, strict=True)
        ]
        (here / f"m{video.stem}_{video.stem}.json").write_text(json.dumps({"ball": balls}))
    return here


def test_an_own_dataset_gives_batches(example, json_rallies):
    own = example("own_dataset")
    data = own.JsonDataModule(json_rallies, val=["ma"], frames=3, outputs=3, size=SIZE)
    data.prepare_data()
    data.setup("fit")
    assert data.clip_names("val") == ["ma_a"]
    assert data.clip_names("train") == ["mb_b", "mc_c", "md_d"]
    [_, second, *_] = list(data.val_dataloader().dataset)
    assert second["visible"].tolist() == [True, False, False]
    (json_rallies / "ma_a.json").write_text('{"ball": [[1, 2], [200, 3]]}')
    (json_rallies / "mb_b.json").unlink()
    with pytest.raises(
        TrackNetError, match=r"(?s)mb_b\.mp4: has no labels.*ma_a\.json:2: x 200 is beyond the width of 96"
    ):
        own.JsonDataModule(json_rallies, size=SIZE).prepare_data()


def test_an_own_network_gives_a_heatmap_for_each_frame(example):
    network = example("own_network").DilatedTrackNet(frames=4, width=8)
    logits = network(torch.rand(2, network.in_channels, *SIZE))
    assert logits.shape == (2, 4, 32, 48)
    assert logits.mean() < -3


def test_an_own_callback_tracks_after_each_epoch(example, tiny_rallies, here):
    class Descent(HeatmapTracker):
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    follow = example("own_callback").TrackAfterEpoch(tiny_rallies / "a.mp4", every_n_epochs=2)
    tracker = Descent(CompactTrackNet(3, "none", 4, (8, 8, 8)), input_size=SIZE)
    logger = RunLogger(here, name="", version="run")
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=3,
        limit_train_batches=1,
        limit_val_batches=1,
        logger=logger,
        callbacks=[follow],
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(tracker, FlatVideoDataModule(tiny_rallies, frames=3, size=SIZE))
    assert sorted(path.name for path in (here / "run" / "tracked").iterdir()) == [
        "epoch_0.csv",
        "epoch_2.csv",
    ]
    assert len(read_trajectory(here / "run" / "tracked" / "epoch_2.csv")) == 21
    assert "tracked/visible" in (here / "run" / "metrics.csv").read_text()


def test_a_live_camera_gives_the_ball_of_each_frame(example, bright_checkpoint, tiny_rallies, capsys):
    example("live_camera").main(bright_checkpoint, str(tiny_rallies / "a.mp4"))
    found = {
        int(frame): (float(x), float(y))
        for frame, x, y in re.findall(r"frame (\d+): ball at ([\d.]+), ([\d.]+) \(", capsys.readouterr().out)
    }
    labels, _ = read_labels(tiny_rallies / "a.csv", 21, SIZE)
    # Frames that come while the network works on others are passed over.
    assert 20 in found
    for frame, place in found.items():
        assert labels.visible[frame]
        assert place == pytest.approx(labels.xy[frame], abs=1.0)


def test_a_trajectory_is_drawn(example, tiny_rallies, here):
    words = [tiny_rallies / "a.mp4", tiny_rallies / "a.csv", here / "drawn.png", here / "overlay.mp4"]
    example("draw_trajectory").main(*words)
    assert (here / "drawn.png").read_bytes().startswith(b"\x89PNG")
    drawn, bare = (list(open_source(path).frames()) for path in (words[3], words[0]))
    assert len(drawn) == len(bare) == 21
    labels, _ = read_labels(words[1], 21, SIZE)
    x, y = labels.xy[10].round().astype(int)
    around = np.abs(drawn[10].astype(int) - bare[10])[y - 14 : y + 15, x - 14 : x + 15]
    assert around.max() > 80


def test_the_script_without_torch_imports_neither_torch_nor_tracknet(examples):
    tree = ast.parse((examples / "onnx_without_torch.py").read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert names == {"json", "sys", "av", "numpy", "onnxruntime"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]


def test_each_example_has_its_line_with_a_small_picture_that_is_there(examples):
    readme = (examples / "README.md").read_text()
    for pattern in ("*.py", "*.sh", "*.yaml", "notebooks/*.ipynb"):
        for path in examples.glob(pattern):
            assert path.name in readme, f"{path.name} has no line in examples/README.md"
    rows = [row for row in readme.splitlines() if row.startswith("| `")]
    pictures = [re.search(r"!\[[^\]]+\]\((pictures/[^)]+)\) \|$", row) for row in rows]
    assert [row for row, picture in zip(rows, pictures, strict=True) if not picture] == []
    shown = sorted(picture[1] for picture in pictures if picture)
    assert shown == sorted(f"pictures/{path.name}" for path in (examples / "pictures").iterdir())
    for name in shown:
        assert 0 < (examples / name).stat().st_size <= 60_000


@pytest.mark.slow
def test_the_graph_without_torch_finds_what_the_checkpoint_finds(
    example, bright_checkpoint, tiny_rallies, here, capsys
):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from tracknet.cli.main import main as tracknet

    words = ["export", str(bright_checkpoint), "--format", "onnx", "--output"]
    assert tracknet([*words, "heatmaps.onnx"]) == 0
    assert tracknet([*words, "best.onnx", "--positions"]) == 0
    with pytest.raises(SystemExit, match=r"heatmaps\.onnx: gives heatmaps; export it with --positions"):
        example("onnx_without_torch").main("heatmaps.onnx", "none.mp4")
    video = str(tiny_rallies / "b.mp4")
    assert tracknet(["track", video, "--ckpt", "best.onnx", "--output", "expected.csv"]) == 0
    capsys.readouterr()
    example("onnx_without_torch").main("best.onnx", video)
    (here / "found.csv").write_text(capsys.readouterr().out)
    found, expected = read_trajectory(here / "found.csv"), read_trajectory(here / "expected.csv")
    assert [row.visible for row in found] == [row.visible for row in expected]
    assert sum(row.visible for row in found) >= 15
    for one, other in zip(found, expected, strict=True):
        assert (one.x, one.y) == pytest.approx((other.x, other.y), abs=0.02)
