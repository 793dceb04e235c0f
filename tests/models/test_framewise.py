"""Networks that see each frame alone first: both parts, one after the other, are the network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tracknet import models
from tracknet.models.framewise import FramewiseNetwork

BACKBONE = pytest.mark.backbones
STAGES = {"widths": (4, 8, 12, 16), "depths": (1, 1, 1, 1)}
TINY = {"embedding": 16, "layers": 1, "heads": 2, "widths": (16, 8, 8, 8)}
BACKGROUNDS = ("none", "subtract", "subtract_concat", "concat")
CASES = [("CompactTrackNet", {"background": mode, "stem": 4, "widths": (8, 8, 8)}) for mode in BACKGROUNDS]
CASES += [
    pytest.param(name, {"background": mode, **size}, marks=BACKBONE)
    for mode in ("none", "concat")
    for name, size in (
        ("ConvNeXtFPN", {**STAGES, "lateral": 8}),
        ("ConvNeXtFPN", {**STAGES, "lateral": 8, "fuse": "concat"}),
        ("ConvNeXtHRNet", {**STAGES, "branches": (4, 6, 8, 10), "fused": 8}),
        ("ViTUpsample", {**TINY, "kind": "vit"}),
        ("ViTUpsample", {**TINY, "heatmap_size": (24, 40)}),
    )
]


def lived_in(network):
    """Give normalisations statistics as after training, and heatmaps that differ from cell to cell."""
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, std=0.3)
            nn.init.uniform_(layer.running_var, 0.2, 3.0)
    return network.eval()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize(("name", "options"), CASES)
def test_both_parts_are_the_network(name, options, dtype):
    torch.manual_seed(0)
    network = lived_in(getattr(models, name)(frames=3, **options))
    assert isinstance(network, FramewiseNetwork)
    frames, background = torch.randint(256, (5, 3, 64, 96)), torch.randint(256, (3, 64, 96))
    if dtype == torch.float32:
        frames, background = frames / 255, background / 255
    frames, background = frames.to(dtype), background.to(dtype)
    windows = torch.stack([frames[k : k + 3] for k in range(3)])
    with torch.inference_mode():
        shared = background.expand(3, -1, -1, -1)
        expected = network(network.stack(windows, shared if network.needs_background else None))
        seen = network.frame_features(frames, background)
        if network.images > 3:
            first = network.frame_features(background[None], background)
            seen = tuple(torch.cat([still, each]) for still, each in zip(first, seen, strict=True))
        at = torch.arange(3)[:, None] + torch.arange(3)
        if network.images > 3:
            at = torch.cat([torch.zeros(3, 1, dtype=int), at + 1], dim=1)
        features = tuple(one[at] for one in seen)
        assert expected.std() > 1e-4
        torch.testing.assert_close(network.window_logits(features), expected)
        for newest in (1, 2, 3):
            logits = network.window_logits(features, newest)
            torch.testing.assert_close(logits, expected[:, -newest:])


def test_a_hook_on_a_layer_sees_the_newest_frame_too():
    torch.manual_seed(0)
    network = lived_in(models.CompactTrackNet(frames=3, background="none", stem=4, widths=(8, 8, 8)))
    seen = []
    with torch.inference_mode():
        features = network.frame_features(torch.rand(6, 3, 32, 48))
        windows = tuple(one.unflatten(0, (2, 3)) for one in features)
        expected = network.window_logits(windows, newest=1)
        network.context.register_forward_hook(lambda *_: seen.append(1))
        torch.testing.assert_close(network.window_logits(windows, newest=1), expected)
    assert seen == [1]


def test_in_double_the_parts_agree_to_twelve_places():
    network = lived_in(models.CompactTrackNet(frames=2, stem=4, widths=(8, 8, 8))).double()
    frames, background = torch.rand(2, 3, 32, 48).double(), torch.rand(3, 32, 48).double()
    with torch.no_grad():
        features = tuple(one[None] for one in network.frame_features(frames, background))
        expected = network(network.stack(frames[None], background[None]))
        torch.testing.assert_close(network.window_logits(features), expected, rtol=0, atol=1e-12)
