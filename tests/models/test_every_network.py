"""Every network, through the commands: a step of training, a checkpoint that loads, graphs, a trajectory."""

from __future__ import annotations

import sys
from inspect import isabstract
from pathlib import Path

import pytest
import yaml

from tracknet import models
from tracknet.cli.main import main
from tracknet.configs import find_config
from tracknet.models import HeatmapNetwork, LoRA
from tracknet.tracking.export import LARGEST_DIFFERENCE, LARGEST_SHIFT
from tracknet.tracking.trajectory import read_trajectory
from tracknet.training.checkpoints import load_tracker

STAGES = ["widths=[4,8,12,16]", "depths=[1,1,1,1]"]
TINY = ["embedding=16", "layers=1", "heads=2", "widths=[16,8,8,8]"]
NETWORKS = {
    "tracknetv1": ["width=4"],
    "tracknetv2": ["width=4"],
    "tracknetv3": ["width=4"],
    "tracknetv4": ["width=4"],
    "tracknetv5": ["width=4", "embedding=8"],
    "wasb": ["width=4"],
    "monotrack": ["width=8"],
    "restracknetv2": ["width=8"],
    "compact": ["stem=4", "widths=[8,12,16]"],
    "convnext_fpn": [*STAGES, "lateral=8"],
    "convnext_hrnet": [*STAGES, "branches=[4,6,8,10]", "fused=8"],
    "vit": TINY,
    "vit+lora": [*TINY, "lora=LoRA", "lora.r=2"],
}
EXTRAS = {"convnext_fpn": "backbones", "convnext_hrnet": "backbones", "vit": "backbones", "vit+lora": "lora"}
CASES = [
    pytest.param(name, marks=[getattr(pytest.mark, EXTRAS[name])] if name in EXTRAS else [])
    for name in NETWORKS
]
FEW = ["--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1", "--data.batch_size=2"]
FEW += ["--data.num_workers=0", "--data.train=[a]", "--data.val=[b]", "--model.input_size=[64,96]"]
SURE = 0.002
"""Confidence from which positions count; a network that has learnt nothing yet says 0.007 everywhere."""


def class_of(name):
    """The class that the YAML of a network names."""
    given = yaml.safe_load(find_config(f"configs/model/{name.partition('+')[0]}.yaml").read_text())
    return given["model"]["init_args"]["network"]["class_path"]


@pytest.fixture(scope="module", params=CASES)
def trained(request, tiny_rallies, tmp_path_factory):
    """Name of a network, and its checkpoint after one step."""
    sizes = [f"--model.network.{size}" for size in NETWORKS[request.param]]
    model, _, _ = request.param.partition("+")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp(model))
        patch.setattr(sys, "argv", ["tracknet"])
        words = ["fit", f"+model={model}", "+env=ci", f"--data.root={tiny_rallies}", *FEW, *sizes]
        assert main(words) == 0
        (checkpoint,) = Path.cwd().rglob("last.ckpt")
    return request.param, checkpoint


@pytest.fixture
def track(trained, tiny_rallies, tmp_path, monkeypatch):
    """Track a rally with a file, in an empty folder, and give the rows."""
    monkeypatch.chdir(tmp_path)

    def rows(file):
        video = str(tiny_rallies / "c.mp4")
        output = f"{file.suffix[1:]}.csv"
        words = ["track", video, "--ckpt", str(file), "--output", output, "--device", "cpu"]
        assert main([*words, "--threshold", str(SURE)]) == 0
        return read_trajectory(tmp_path / output)

    return rows


def test_none_is_left_out():
    found = [getattr(models, name) for name in models.__all__]
    classes = [one for one in found if isinstance(one, type) and issubclass(one, HeatmapNetwork)]
    assert {class_of(name) for name in NETWORKS} == {one.__name__ for one in classes if not isabstract(one)}


def test_a_step_a_checkpoint_a_graph_and_a_trajectory(trained, track):
    name, checkpoint = trained
    tracker = load_tracker(checkpoint)
    assert type(tracker.network).__name__ == class_of(name)
    assert isinstance(getattr(tracker.network, "_lora", None), LoRA) == ("+lora" in name)
    assert [row.frame for row in track(checkpoint)] == list(range(20))
    assert main(["export", str(checkpoint), "--format", "torchscript"]) == 0


@pytest.mark.slow
def test_an_onnx_graph_tracks_alike(trained, track):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    _, checkpoint = trained
    assert main(["export", str(checkpoint), "--format", "onnx"]) == 0
    for ours, theirs in zip(track(checkpoint), track(Path("last.onnx")), strict=True):
        assert theirs.confidence == pytest.approx(ours.confidence, abs=LARGEST_DIFFERENCE + 1e-4)
        assert (theirs.x, theirs.y) == pytest.approx((ours.x, ours.y), abs=LARGEST_SHIFT + 0.01)


@pytest.mark.slow
def test_its_graph_of_torch_export(trained, tmp_path, monkeypatch):
    _, checkpoint = trained
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(checkpoint), "--format", "torch_export"]) == 0
