"""Networks that fill gaps."""

from __future__ import annotations

import pytest
import torch

from tracknet.models.inpaintnet import InpaintNet, ResidualInpaintNet


def parameters(network):
    return sum(weight.numel() for weight in network.parameters())


def test_inpaintnet_is_the_published_one():
    network = InpaintNet()
    assert parameters(network) == 520_610
    blocks = [*(f"down_{n}" for n in (1, 2, 3)), "buttleneck.conv_1", "buttleneck.conv_2"]
    blocks += [f"up_{n}" for n in (1, 2, 3)]
    names = [f"{block}.conv.{kind}" for block in blocks for kind in ("weight", "bias")]
    assert list(network.state_dict()) == [*names, "predictor.weight", "predictor.bias"]


@pytest.mark.parametrize("network", [InpaintNet(), ResidualInpaintNet(8)])
@pytest.mark.parametrize("length", [1, 7, 16, 48])
def test_any_length_goes_in(network, length):
    xy, seen = torch.rand(3, length, 2), torch.rand(3, length) < 0.7
    filled = network(xy, seen, torch.rand(3, length) < 0.3)
    assert filled.shape == (3, length, 2)
    assert filled.isfinite().all()


@pytest.mark.parametrize("network", [InpaintNet(), ResidualInpaintNet(8)])
def test_what_is_hidden_is_not_looked_at(network):
    torch.manual_seed(1)
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.1)
    xy, seen, mask = torch.rand(2, 16, 2), torch.rand(2, 16) < 0.7, torch.rand(2, 16) < 0.3
    hidden = torch.where((seen & ~mask)[..., None], xy, torch.rand(2, 16, 2))
    torch.testing.assert_close(network(hidden, seen, mask), network(xy, seen, mask))
    moved = torch.where((seen & ~mask)[..., None], torch.rand(2, 16, 2), xy)
    assert not torch.allclose(network(moved, seen, mask), network(xy, seen, mask))


def test_a_new_residual_network_gives_the_cubic():
    t = torch.arange(12.0)
    xy = torch.stack([0.2 + 0.01 * t + 0.0004 * t**3, 0.5 - 0.03 * t + 0.002 * t**2], dim=1)[None]
    mask = torch.zeros(1, 12, dtype=torch.bool)
    mask[:, 3:9] = True
    filled = ResidualInpaintNet()(xy, torch.ones_like(mask), mask)
    torch.testing.assert_close(filled, xy, atol=1e-5, rtol=0)
    assert parameters(ResidualInpaintNet()) == 63_874


def test_a_new_residual_network_goes_straight_with_one_ball_on_a_side():
    xy = torch.tensor([[[0.1, 0.9], [0.5, 0.5], [0.5, 0.5], [0.4, 0.3], [0.9, 0.9]]])
    seen = torch.tensor([[True, True, True, True, False]])
    mask = torch.tensor([[False, True, True, False, False]])
    filled = ResidualInpaintNet()(xy, seen, mask)
    torch.testing.assert_close(filled[0, 1:3], torch.tensor([[0.2, 0.7], [0.3, 0.5]]))
    torch.testing.assert_close(filled[0, 4], torch.tensor([0.4, 0.3]))  # after the last ball it stays there
