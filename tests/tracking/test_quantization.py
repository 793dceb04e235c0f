"""Graphs with convolutions in 8 bits: what they keep, how they compare, and when none is written."""

from __future__ import annotations

import pytest
import torch

from tests.tracking.test_export import SIZE, save
from tracknet.cli.main import main as tracknet
from tracknet.data.video import VideoWriter, open_source
from tracknet.evaluation.decoding import Detections, PeakDecoder
from tracknet.models import CompactTrackNet
from tracknet.tracking import quantization
from tracknet.tracking.graph import METADATA, GraphInfo
from tracknet.tracking.onnx_detector import load_onnx
from tracknet.tracking.quantization import KEPT_FIRST, KEPT_LAST, agreement, windows_of
from tracknet.tracking.trajectory import read_trajectory

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def graphs(folder):
    """Names of all files but checkpoints, their cards and videos; hidden ones too."""
    kept = {".ckpt", ".yaml", ".mp4"}
    return sorted(path.name for path in folder.iterdir() if path.suffix not in kept)


def network(spread):
    torch.manual_seed(2)
    made = CompactTrackNet(2, "concat", stem=8, widths=(16, 16, 16)).eval()
    torch.nn.init.normal_(made.predictor.weight, std=spread)
    return made


def convolutions_in_8_bits(path):
    model = onnx.load(path)
    whole = {one.output[0] for one in model.graph.node if one.op_type == "DequantizeLinear"}
    convolutions = [one for one in model.graph.node if one.op_type == "Conv"]
    return [one.input[1] in whole for one in convolutions]


def told_in_32_bits(path):
    told = {one.key: one.value for one in onnx.load(path).metadata_props}
    return GraphInfo.from_json(told[METADATA]).in_32_bits


@pytest.mark.parametrize("positions", [False, True])
def test_a_graph_in_8_bits_says_nearly_the_same(here, tiny_rallies, capsys, positions):
    save(network(0.05), PeakDecoder(0.3), here / "a.ckpt")
    video, more = str(tiny_rallies / "a.mp4"), ["--positions"] if positions else []
    assert tracknet(["export", "a.ckpt", *more]) == 0
    assert tracknet(["export", "a.ckpt", *more, "--output", "b.onnx", "--int8", video]) == 0
    out = capsys.readouterr().out
    assert "check:  in 32 bits it differs from the checkpoint by at most " in out
    assert "int8:   says what the checkpoint says in " in out
    assert "track:  tracknet track VIDEO --ckpt b.onnx" in out
    assert graphs(here) == ["a.onnx", "b.onnx"]
    exact, other = load_onnx(here / "a.onnx", "cpu"), load_onnx(here / "b.onnx", "cpu")
    assert (other.frames, other.input_size, other.threshold) == (2, SIZE, 0.3)
    # The first and the last convolutions are as they were, all between them are not; frames and background
    # have their first one side by side.
    convolutions = convolutions_in_8_bits(here / "b.onnx")
    names = [one.name for one in onnx.load(here / "b.onnx").graph.node if one.op_type == "Conv"]
    in_32_bits = [name for name, in_8 in zip(names, convolutions, strict=True) if not in_8]
    assert told_in_32_bits(here / "a.onnx") is None
    assert sorted(told_in_32_bits(here / "b.onnx")) == sorted(in_32_bits)
    assert (convolutions.count(False), convolutions.count(True)) == (KEPT_FIRST + 1 + KEPT_LAST, 17)
    for window in windows_of([open_source(tiny_rallies / "a.mp4")], 2, SIZE, background=True):
        ours, theirs = exact.detect(*window), other.detect(*window)
        assert 0 < (ours.confidence - theirs.confidence).abs().max() < 0.02
    assert tracknet(["track", video, "--ckpt", "b.onnx", "--output", "b.csv"]) == 0
    assert len(read_trajectory(here / "b.csv")) == open_source(tiny_rallies / "a.mp4").count()


def test_a_graph_that_says_other_things_is_not_kept(here, tiny_rallies, capsys, monkeypatch):
    # A network that nobody trained sees balls everywhere, and no two graphs agree on a place to the last bit.
    monkeypatch.setattr(quantization, "ALIKE", 0.0)
    save(network(3.0), PeakDecoder(1e-6), here / "a.ckpt")
    assert tracknet(["export", "a.ckpt", "--int8", str(tiny_rallies / "a.mp4")]) == 1
    err = capsys.readouterr().err
    assert "frames of the videos the graph does not say what the checkpoint says; nothing was written" in err
    assert graphs(here) == []


def test_what_cannot_be_calibrated(here, tiny_rallies, bright_network, capsys):
    save(network(0.05), PeakDecoder(0.3), here / "a.ckpt")
    save(bright_network(3), PeakDecoder(0.3), here / "bright.ckpt")
    video = str(tiny_rallies / "a.mp4")
    assert tracknet(["export", "a.ckpt", "--format", "torchscript", "--int8", video]) == 2
    assert "--int8 goes with --format onnx, not with torchscript" in capsys.readouterr().err
    assert tracknet(["export", "a.ckpt", "--int8", "no.mp4"]) == 1
    assert "no.mp4: no such video" in capsys.readouterr().err
    with VideoWriter(here / "short.mp4", SIZE, 30) as writer:
        writer.write(torch.zeros(*SIZE, 3, dtype=torch.uint8).numpy())
    assert tracknet(["export", "a.ckpt", "--int8", "short.mp4"]) == 1
    assert "short.mp4: fewer than 4 frames" in capsys.readouterr().err
    assert tracknet(["export", "bright.ckpt", "--int8", video]) == 1
    assert "convolutions; expected more than 5" in capsys.readouterr().err
    assert graphs(here) == []


def test_agreement_by_hand():
    class Fixed:
        threshold = 0.5

        def __init__(self, x, confidence):
            self.found = Detections(torch.tensor([[[one, 0.0] for one in x]]), torch.tensor([confidence]))

        def detect(self, *window):
            return self.found

    # Alike: within a pixel, and no ball for both. Not: farther, and a ball for one of them only.
    one = Fixed([10.0, 10.0, 10.0, 10.0, 10.0], [0.9, 0.9, 0.9, 0.1, 0.1])
    other = Fixed([11.0, 11.5, 10.0, 50.0, 10.0], [0.6, 0.9, 0.4, 0.2, 0.5])
    found = agreement(one, other, [(), ()])
    assert (found.frames, found.alike, found.share) == (10, 4, 0.4)
