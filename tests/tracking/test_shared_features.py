"""What a network sees in a frame alone: worked out once, and the same trajectory as without."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tracknet.data.video import FrameSource, VideoInfo
from tracknet.evaluation.decoding import PeakDecoder
from tracknet.models import CompactTrackNet, ConvNeXtFPN
from tracknet.tracking.shared_features import SharedFeatures
from tracknet.tracking.tracker import track
from tracknet.training.lightning_module import HeatmapTracker

SIZE = (32, 64)
WAYS = [(mode, flip) for mode in ("average", "triangular", "causal") for flip in (False, True)]


class Noise(FrameSource):
    """A video of random pictures."""

    def __init__(self, count):
        self.path = Path("noise.mp4")
        self.info = VideoInfo(SIZE[1], SIZE[0], 30.0, None)
        self.pictures = list(np.random.default_rng(3).integers(0, 256, (count, *SIZE, 3), dtype=np.uint8))

    def frames(self, size=None, threads=None):
        yield from self.pictures

    def sample(self, size, samples):
        return self.pictures[:samples]

    def files(self):
        return []

    def count(self):
        return len(self.pictures)


class PictureCounter(HeatmapTracker):
    """Counts the pictures that it is asked to look at alone, each by its first pixel."""

    def frame_features(self, frames, background=None):
        self.seen += frames[:, 0, 0, 0].tolist()
        self.backgrounds += [None if background is None else background.clone()] * len(frames)
        return super().frame_features(frames, background)


class Whole(HeatmapTracker):
    """Looks at each window as a whole."""

    framewise = False


def lived_in(kind, network):
    torch.manual_seed(0)
    tracker = kind(network(), decoder=PeakDecoder(threshold=0.0), input_size=SIZE)
    tracker.seen, tracker.backgrounds = [], []
    for layer in tracker.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, std=0.3)
            nn.init.uniform_(layer.running_var, 0.2, 3.0)
    return tracker.eval()


def compact():
    return CompactTrackNet(frames=4, stem=4, widths=(8, 8, 8))


def convnext():
    return ConvNeXtFPN(3, "concat", widths=(4, 8, 12, 16), depths=(1, 1, 1, 1), lateral=8)


def rows(tracker, count=13, **options):
    return list(track(Noise(count), tracker, progress=False, **options))


@pytest.mark.parametrize("network", [compact, pytest.param(convnext, marks=pytest.mark.backbones)])
@pytest.mark.parametrize(("mode", "flip"), WAYS)
def test_the_trajectory_is_that_of_whole_windows(network, mode, flip):
    shared, whole = (
        rows(lived_in(kind, network), mode=mode, flip=flip, batch_size=2) for kind in (PictureCounter, Whole)
    )
    assert [row.frame for row in shared] == list(range(13))
    for one, other in zip(shared, whole, strict=True):
        assert one == pytest.approx(other, abs=1e-3)
    assert len({(row.x, row.y) for row in shared}) > 3


@pytest.mark.parametrize(("mode", "flip"), [("average", False), ("triangular", True)])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_each_frame_is_looked_at_once(mode, flip, batch_size):
    tracker = lived_in(PictureCounter, compact)
    rows(tracker, mode=mode, flip=flip, batch_size=batch_size)
    pictures = Noise(13).pictures
    expected = [int(one[0, 0, 0]) for one in pictures]
    if flip:
        expected += [int(one[0, -1, 0]) for one in pictures]
    assert sorted(tracker.seen) == sorted(expected)


def test_frames_are_looked_at_again_with_a_new_background():
    tracker = lived_in(PictureCounter, compact)
    shared = SharedFeatures(tracker)
    frames = [torch.full((3, *SIZE), value, dtype=torch.uint8) for value in range(6)]
    dark, light = (torch.full((3, *SIZE), value, dtype=torch.uint8) for value in (100, 200))
    with torch.inference_mode():
        shared.heatmaps([frames[:4]], dark)
        shared.heatmaps([frames[1:5], frames[2:6]], dark)
        assert tracker.seen == [0, 1, 2, 3, 4, 5]
        seen = shared.heatmaps([frames[2:6]], light)
        assert tracker.seen[6:] == [2, 3, 4, 5]
        assert {int(one[0, 0, 0]) for one in tracker.backgrounds[6:]} == {200}
        torch.testing.assert_close(seen, tracker.heatmaps(torch.stack(frames[2:6])[None], light[None]))


def test_a_frame_that_comes_back_is_looked_at_again():
    tracker = lived_in(PictureCounter, compact)
    shared = SharedFeatures(tracker)
    still = torch.zeros(3, *SIZE, dtype=torch.uint8)
    frames = [torch.full((3, *SIZE), value, dtype=torch.uint8) for value in range(8)]
    with torch.inference_mode():
        for start in (0, 4, 0):
            shared.heatmaps([frames[start : start + 4]], still)
    assert tracker.seen == [*range(8), *range(4)]


def test_a_repeated_frame_is_looked_at_once():
    tracker = lived_in(PictureCounter, compact)
    frame = torch.full((3, *SIZE), 7, dtype=torch.uint8)
    with torch.inference_mode():
        newest = SharedFeatures(tracker).heatmaps([[frame] * 4], torch.zeros_like(frame), newest=2)
    assert tracker.seen == [7]
    assert newest.shape == (1, 2, 16, 32)


def parts_of_pictures():
    """The pieces of memory that pictures and maps of features lie in."""
    gc.collect()
    tensors = (one for one in gc.get_objects() if type(one) is torch.Tensor and one.dim() == 3)
    return len({one.untyped_storage().data_ptr() for one in tensors})


@pytest.mark.parametrize("mode", ["average", "causal"])
def test_what_is_held_does_not_grow_with_the_video(mode):
    held = {}
    tracker = lived_in(HeatmapTracker, compact)
    source = Noise(1)
    source.pictures *= 300
    source.count = lambda: 300
    for row in track(source, tracker, mode=mode, progress=False):
        if row.frame in (60, 180, 290):
            held[row.frame] = parts_of_pictures()
    # Of whole windows: 4 frames of features, what is in one batch of frames, and the background.
    assert 2 <= min(held.values()) <= max(held.values()) <= 20


class OwnForward(CompactTrackNet):
    """A network of a plugin that only changes what `forward` gives."""

    def forward(self, x):
        return super().forward(x) * 0 + 3.0


class OwnStack(CompactTrackNet):
    """One that sees other pictures."""

    def stack(self, frames, background=None):
        return super().stack(frames.flip(-2), None if background is None else background.flip(-2))


class OwnHeatmaps(HeatmapTracker):
    """A tracker that changes the heatmaps."""

    def heatmaps(self, frames, background=None):
        return 1 - super().heatmaps(frames, background)


class OwnLogits(HeatmapTracker):
    """A tracker that changes the logits."""

    def forward(self, frames, background=None):
        return -super().forward(frames, background)


def hooked(network):
    network.register_forward_hook(lambda _, __, logits: -logits)
    return network


def patched(network):
    whole = network.forward
    network.forward = lambda x: -whole(x)
    return network


def own(kind):
    return kind(frames=4, stem=4, widths=(8, 8, 8))


@pytest.mark.parametrize(
    ("kind", "network"),
    [
        (HeatmapTracker, lambda: own(OwnForward)),
        (HeatmapTracker, lambda: own(OwnStack)),
        (HeatmapTracker, lambda: hooked(compact())),
        (HeatmapTracker, lambda: patched(compact())),
        (OwnHeatmaps, compact),
        (OwnLogits, compact),
    ],
    ids=["forward", "stack", "hook", "patch", "heatmaps", "logits"],
)
@pytest.mark.parametrize("mode", ["average", "causal"])
def test_what_others_change_of_the_whole_is_not_passed_over(kind, network, mode):
    tracker, plain = lived_in(kind, network), lived_in(HeatmapTracker, compact)
    whole = type("OnlyWhole", (kind,), {"framewise": False})
    assert not tracker.framewise
    found = rows(tracker, mode=mode)
    assert found == rows(lived_in(whole, network), mode=mode)
    assert found != rows(plain, mode=mode)


def test_a_subclass_that_brings_both_parts_along_is_looked_at_in_parts():
    class Both(OwnForward):
        def window_logits(self, features, newest=None):
            return super().window_logits(features, newest) * 0 + 3.0

    class Named(CompactTrackNet):
        pass

    for network in (Both, Named):
        assert lived_in(HeatmapTracker, lambda network=network: own(network)).framewise
