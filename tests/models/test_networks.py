from __future__ import annotations

import pytest
import torch

from tracknet.models import CompactTrackNet, HeatmapNetwork, TrackNetV2, input_channels, stack_frames
from tracknet.models.network import BackgroundMode

MODES: list[BackgroundMode] = ["none", "subtract", "subtract_concat", "concat"]


@pytest.mark.parametrize(
    ("frames", "background", "count"), [(3, "none", 11_330_307), (8, "concat", 11_341_000)]
)
def test_tracknetv2_has_the_published_number_of_parameters(frames, background, count):
    found = sum(p.numel() for p in TrackNetV2(frames, background).parameters())
    assert found == count if background == "none" else abs(found - count) < 500


def test_tracknetv2_uses_the_names_of_the_public_checkpoints():
    names = TrackNetV2().state_dict()
    assert names["down_block_1.conv_1.conv.weight"].shape == (64, 9, 3, 3)
    assert names["up_block_3.conv_2.bn.running_var"].shape == (64,)
    assert names["predictor.bias"].shape == (3,)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("network", "stride"), [(TrackNetV2, 1), (CompactTrackNet, 2)])
def test_every_background_mode_gives_one_heatmap_a_frame(network, stride, mode):
    net: HeatmapNetwork = network(frames=4, background=mode).eval()
    frames = torch.randint(0, 256, (2, 4, 3, 32, 48), dtype=torch.uint8)
    background = torch.randint(0, 256, (2, 3, 32, 48), dtype=torch.uint8)
    x = stack_frames(frames, background, mode)
    assert x.shape[1] == net.in_channels == input_channels(4, mode)
    with torch.no_grad():
        assert net(x).shape == (2, 4, 32 // stride, 48 // stride)


def test_stacking_follows_the_order_of_the_field():
    frames = torch.arange(2 * 3, dtype=torch.uint8).reshape(1, 2, 3, 1, 1) * 10  # 0 10 20 | 30 40 50
    background = torch.tensor([5, 5, 5], dtype=torch.uint8).reshape(1, 3, 1, 1)

    def stacked(mode):
        return (stack_frames(frames, background, mode).flatten() * 255).round().int().tolist()

    assert stacked("none") == [0, 10, 20, 30, 40, 50]
    assert stacked("concat") == [5, 5, 5, 0, 10, 20, 30, 40, 50]
    assert stacked("subtract") == [5 + 5 + 15, 25 + 35 + 45]
    assert stacked("subtract_concat") == [0, 10, 20, 25, 30, 40, 50, 105]


def test_the_difference_is_capped_at_full_scale():
    white = torch.full((1, 1, 3, 1, 1), 255, dtype=torch.uint8)
    assert stack_frames(white, torch.zeros(1, 3, 1, 1, dtype=torch.uint8), "subtract").item() == 1.0


def test_a_missing_background_is_named():
    with pytest.raises(ValueError, match="'concat' needs the median background"):
        stack_frames(torch.zeros(1, 3, 3, 8, 8), None, "concat")


def test_float_frames_are_not_scaled_again():
    frames = torch.rand(1, 3, 3, 4, 4)
    assert torch.equal(stack_frames(frames, None, "none"), frames.flatten(1, 2))


def test_compact_treats_all_frames_alike():
    # The stem and the head are shared: a still window must give stem features that do not depend on the frame.
    net = CompactTrackNet(frames=3, background="none").eval()
    still = torch.rand(1, 1, 3, 32, 32).expand(1, 3, 3, 32, 32)
    by_frame = net._by_frame(stack_frames(still, None, "none"))
    assert torch.equal(by_frame[0], by_frame[2])
    background = torch.rand(1, 3, 32, 32)
    concat = CompactTrackNet(frames=3, background="concat")._by_frame(stack_frames(still, background, "concat"))
    assert torch.allclose(concat[1, 3:], still[0, 0] - background[0])
