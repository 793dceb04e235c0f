"""Batch normalisation as part of the convolution before it: the same numbers, and only outside training."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from tracknet import models
from tracknet.models.folding import Layers, folds

NETWORKS = ["CompactTrackNet", "WASB", "TrackNetV3", "MonoTrack", "ResTrackNetV2"]


def lived_in(module: nn.Module) -> nn.Module:
    """Give normalisations statistics and weights as after training."""
    for norm in module.modules():
        if isinstance(norm, nn.BatchNorm2d):
            nn.init.normal_(norm.running_mean, std=0.3)
            nn.init.uniform_(norm.running_var, 0.2, 3.0)
            nn.init.uniform_(norm.weight, -0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.3)
    return module.eval()


def unfolded(monkeypatch, module, x):
    with monkeypatch.context() as patch:
        patch.setattr(torch.onnx, "is_in_onnx_export", lambda: True)
        return module(x)


def three_layers(dtype=torch.float64):
    conv = nn.Conv2d(3, 6, 3, stride=2, padding=2, dilation=2, groups=3)
    return lived_in(Layers(conv, nn.BatchNorm2d(6), nn.ReLU())).to(dtype)


class Doubling(nn.Conv2d):
    def forward(self, x):
        return 2 * super().forward(x)


class TestLayers:
    def test_they_give_what_one_after_the_other_gives(self):
        torch.manual_seed(0)
        layers, x = three_layers(), torch.randn(2, 3, 9, 8, dtype=torch.float64)
        torch.testing.assert_close(layers(x), nn.Sequential(*layers)(x), rtol=0, atol=1e-12)

    def test_a_normalisation_after_the_second_of_two_convolutions(self):
        torch.manual_seed(0)
        layers = lived_in(
            Layers(nn.Conv2d(3, 3, 3, groups=3), nn.Conv2d(3, 5, 1), nn.BatchNorm2d(5))
        ).double()
        x = torch.randn(2, 3, 9, 8, dtype=torch.float64)
        with torch.profiler.profile() as profile:
            folded = layers(x)
        assert not any("batch_norm" in event.name for event in profile.events())
        torch.testing.assert_close(folded, nn.Sequential(*layers)(x), rtol=0, atol=1e-12)

    def test_a_normalisation_first_and_a_convolution_last(self):
        torch.manual_seed(0)
        layers = lived_in(Layers(nn.BatchNorm2d(3), nn.Conv2d(3, 5, 1))).double()
        x = torch.randn(2, 3, 9, 8, dtype=torch.float64)
        assert torch.equal(layers(x), nn.Sequential(*layers)(x))

    def test_training_moves_the_statistics(self):
        torch.manual_seed(0)
        layers = three_layers().train()
        before = layers[1].running_mean.clone()
        layers(torch.randn(2, 3, 9, 8, dtype=torch.float64))
        assert not torch.equal(layers[1].running_mean, before)

    def test_weights_that_change_are_seen_at_once(self):
        torch.manual_seed(0)
        layers, x = three_layers(), torch.randn(1, 3, 9, 8, dtype=torch.float64)
        layers(x)
        with torch.no_grad():
            layers[0].weight.mul_(2)
            layers[1].running_mean.add_(1)
        torch.testing.assert_close(layers(x), nn.Sequential(*layers)(x), rtol=0, atol=1e-12)

    def test_gradients_are_the_same(self):
        torch.manual_seed(0)
        layers, x = three_layers(), torch.randn(1, 3, 9, 8, dtype=torch.float64)
        told = []
        for module in (layers, nn.Sequential(*layers)):
            layers.zero_grad()
            module(x).square().sum().backward()
            told.append([parameter.grad.clone() for parameter in layers.parameters()])
        for folded, plain in zip(*told, strict=True):
            torch.testing.assert_close(folded, plain)

    def test_in_sixteen_bits(self):
        torch.manual_seed(0)
        layers, x = three_layers(torch.bfloat16), torch.randn(2, 3, 9, 8, dtype=torch.bfloat16)
        y = layers(x)
        assert y.dtype == torch.bfloat16
        torch.testing.assert_close(y, nn.Sequential(*layers)(x), rtol=0.02, atol=0.05)

    @pytest.mark.parametrize(
        ("conv", "norm"),
        [
            (nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(4)),
            (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, affine=False)),
            (nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False)),
            (Doubling(3, 4, 3), nn.BatchNorm2d(4)),
        ],
    )
    def test_layers_that_are_no_plain_ones(self, conv, norm):
        torch.manual_seed(0)
        layers, x = Layers(conv, norm).eval().double(), torch.randn(2, 3, 9, 8, dtype=torch.float64)
        assert torch.equal(layers(x), nn.Sequential(*layers)(x))

    def test_pruned_weights_that_change_are_seen_at_once(self):
        torch.manual_seed(0)
        layers, x = three_layers(), torch.randn(1, 3, 9, 8, dtype=torch.float64)
        prune.l1_unstructured(layers[0], "weight", 0.5)
        with torch.no_grad():
            layers[0].weight_orig.mul_(2)
        assert torch.equal(layers(x), nn.Sequential(*layers)(x))

    @pytest.mark.parametrize("number", [0, 1])
    def test_hooks_are_called(self, number):
        layers, called = three_layers(), []
        handle = layers[number].register_forward_hook(lambda *_: called.append(1))
        layers(torch.zeros(1, 3, 9, 8, dtype=torch.float64))
        handle.remove()
        layers(torch.zeros(1, 3, 9, 8, dtype=torch.float64))
        assert called == [1]

    def test_what_is_folded(self):
        norm, x = nn.BatchNorm2d(2), torch.zeros(1, 2, 3, 3)
        assert not folds(norm, x)
        assert folds(norm.eval(), x)
        assert not folds(norm, x.to("meta"))


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_give_the_same_heatmaps(name, monkeypatch):
    torch.manual_seed(0)
    network = lived_in(getattr(models, name)()).double()
    frames = torch.randint(0, 256, (1, network.frames, 3, 32, 64), dtype=torch.uint8)
    background = (
        torch.randint(0, 256, (1, 3, 32, 64), dtype=torch.uint8) if network.needs_background else None
    )
    stacked = network.stack(frames, background)
    x = stacked if stacked.dtype == torch.uint8 else stacked.double()
    with torch.inference_mode():
        found, expected = network(x), unfolded(monkeypatch, network, x)
    assert expected.std() > 0
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9 * float(expected.abs().max()))


@pytest.mark.parametrize("background", ["none", "subtract", "subtract_concat", "concat"])
def test_the_compact_network_with_each_background(background, monkeypatch):
    torch.manual_seed(0)
    network = lived_in(models.CompactTrackNet(frames=3, background=background, widths=(8, 8, 8))).double()
    x = torch.rand(2, network.in_channels, 32, 48, dtype=torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(network(x), unfolded(monkeypatch, network, x), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["detail", "context", "fused", "fused.0", "fused.1"])
def test_hooks_at_the_end_of_the_compact_network_are_called(name):
    network, called = lived_in(models.CompactTrackNet(frames=2, widths=(8, 8, 8))), []
    network.get_submodule(name).register_forward_hook(lambda *_: called.append(1))
    network(torch.rand(1, network.in_channels, 32, 32))
    assert called == [1]
