"""``tracknet track --precision``: what computes in half precision, and where that is refused."""

from __future__ import annotations

import pytest
import torch

from tracknet.cli.engines import load_detector
from tracknet.cli.main import main as tracknet
from tracknet.cli.track_many import how_made
from tracknet.cli.video_tracker import TrackSettings
from tracknet.evaluation.decoding import PeakDecoder
from tracknet.models import CompactTrackNet
from tracknet.tracking.trajectory import read_trajectory
from tracknet.training.checkpoint_contents import PublicCheckpoint
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.public_checkpoints import save_tracker


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory):
    """Checkpoint of a small network with convolutions, which sees a ball everywhere or nowhere."""
    torch.manual_seed(0)
    network = CompactTrackNet(frames=3, stem=4, widths=(8, 8, 8))
    torch.nn.init.zeros_(network.predictor.bias)
    tracker = HeatmapTracker(network, decoder=PeakDecoder(), input_size=(32, 64))
    path = tmp_path_factory.mktemp("half") / "small.ckpt"
    save_tracker(tracker, path, PublicCheckpoint("WASB", {}), "x")
    return path


@pytest.fixture
def with_amx(monkeypatch):
    monkeypatch.setattr("tracknet.training.settings.computes_bf16", lambda: True)


def test_convolutions_compute_in_bf16_and_heatmaps_stay_exact(ckpt, with_amx):
    torch.manual_seed(1)
    frames = torch.randint(0, 256, (2, 3, 3, 32, 64), dtype=torch.uint8)
    background = torch.randint(0, 256, (2, 3, 32, 64), dtype=torch.uint8)
    seen = {}
    for precision in ("32", "bf16"):
        detector, place = load_detector(ckpt, "cpu", precision=precision)
        assert place == "cpu"
        kinds = []
        detector.network.predictor.register_forward_hook(
            lambda _, __, out, kinds=kinds: kinds.append(out.dtype)
        )
        # With a heatmap of 32 bits, positions and confidences are as exact as they were.
        heatmaps = detector.heatmaps(frames, background)
        found = detector.detect(frames, background)
        assert heatmaps.dtype == found.xy.dtype == found.confidence.dtype == torch.float32
        # So it is where windows share what is seen in each frame.
        with torch.inference_mode():
            features = tuple(one[None] for one in detector.frame_features(frames[0], background[0]))
            shared = detector.window_heatmaps(features)
        assert features[0].dtype == kinds[0]
        assert shared.dtype == torch.float32
        torch.testing.assert_close(shared, heatmaps[:1], rtol=0, atol=1e-6 if precision == "32" else 0.02)
        seen[precision] = kinds, heatmaps
    assert seen["32"][0] == [torch.float32] * 3
    assert seen["bf16"][0] == [torch.bfloat16] * 3
    assert not torch.equal(seen["32"][1], seen["bf16"][1])
    torch.testing.assert_close(seen["bf16"][1], seen["32"][1], rtol=0, atol=0.02)


class Tracker(HeatmapTracker):
    def heatmaps(self, frames, background=None):
        return super().heatmaps(frames, background)


class Network(CompactTrackNet):
    def forward(self, x):
        return super().forward(x)


@pytest.mark.parametrize(("kind", "network"), [(Tracker, CompactTrackNet), (HeatmapTracker, Network)])
@pytest.mark.parametrize("options", [{"precision": "bf16"}, {"engine": "compiled"}])
def test_what_a_class_has_of_its_own_is_not_passed_over(kind, network, options, ckpt, with_amx, monkeypatch):
    tracker = kind(network(frames=3, stem=4, widths=(8, 8, 8)), input_size=(32, 64))
    monkeypatch.setattr("tracknet.training.checkpoints.load_tracker", lambda *_: tracker)
    assert not tracker.framewise
    detector, _ = load_detector(ckpt, "cpu", **options)
    assert detector is tracker
    assert not detector.framewise


@pytest.mark.parametrize("options", [{"precision": "bf16"}, {"engine": "compiled"}])
def test_windows_share_their_frames_however_they_run(ckpt, with_amx, options):
    assert load_detector(ckpt, "cpu", **options)[0].framewise


def test_a_video_is_tracked_in_bf16(ckpt, with_amx, tiny_rallies, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = [
        "track",
        str(tiny_rallies / "a.mp4"),
        "--ckpt",
        str(ckpt),
        "--device",
        "cpu",
        "--threshold",
        "0.2",
    ]
    assert tracknet([*words, "--output", "32.csv"]) == 0
    assert tracknet([*words, "--output", "16.csv", "--precision", "bf16"]) == 0
    exact, half = (read_trajectory(tmp_path / f"{name}.csv") for name in ("32", "16"))
    assert [row.frame for row in half] == [row.frame for row in exact]
    difference = [abs(a.confidence - b.confidence) for a, b in zip(exact, half, strict=True)]
    assert 0 < max(difference) < 0.02


@pytest.mark.parametrize(("precision", "amx"), [("bf16", False), ("16", False), ("16", True)])
def test_what_a_cpu_would_emulate_is_refused(ckpt, tiny_rallies, monkeypatch, capsys, precision, amx):
    monkeypatch.setattr("tracknet.training.settings.computes_bf16", lambda: amx)
    words = ["track", str(tiny_rallies / "a.mp4"), "--ckpt", str(ckpt), "--device", "cpu"]
    assert tracknet([*words, "--precision", precision]) == 2
    assert f"--precision {precision} on this CPU, where it is emulated" in capsys.readouterr().err


def test_graphs_and_other_words_are_refused(tiny_rallies, tmp_path, capsys):
    words = ["track", str(tiny_rallies / "a.mp4"), "--ckpt", str(tmp_path / "a.onnx")]
    assert tracknet([*words, "--precision", "bf16"]) == 2
    assert "--precision bf16 is for checkpoints" in capsys.readouterr().err
    assert tracknet([*words, "--precision", "fp16"]) == 2
    assert "--precision" in capsys.readouterr().err


def test_many_videos_are_done_again_in_another_precision_only(ckpt):
    options = dict.fromkeys(TrackSettings._fields) | {"ckpt": ckpt, "mode": "single", "tracker": "none"}
    exact, half = (how_made(TrackSettings.chosen(options | {"precision": one})) for one in ("32", "bf16"))
    # Trajectories that were made before there was a choice are those of 32 bits.
    assert "precision" not in exact
    assert half == exact | {"precision": "bf16"}
