from __future__ import annotations

import pytest
import torch

from tracknet.models import CompactTrackNet, HeatmapNetwork, TrackNetV2, input_channels, stack_frames
from tracknet.models.compact import LIGHT, MEAN_LIGHT, MOTION
from tracknet.models.network import BackgroundMode

MODES: list[BackgroundMode] = ["none", "subtract", "subtract_concat", "concat"]


@pytest.mark.parametrize(
    ("frames", "background", "count"), [(3, "none", 11_330_307), (8, "concat", 11_341_000)]
)
def test_tracknetv2_has_the_published_number_of_parameters(frames, background, count):
    found = sum(p.numel() for p in TrackNetV2(frames, background).parameters())
    assert found == count if background == "none" else abs(found - count) < 500


def test_compact_has_the_documented_number_of_parameters():
    assert sum(p.numel() for p in CompactTrackNet().parameters()) == 1_635_921


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


@pytest.mark.parametrize("mode", ["none", "subtract", "subtract_concat", "concat"])
def test_compact_sees_light_and_motion_of_each_frame_scaled(mode):
    frames, background = torch.rand(2, 3, 3, 16, 16).double(), torch.rand(2, 3, 16, 16).double()
    light = (frames - MEAN_LIGHT) / LIGHT
    motion = (frames - background[:, None]) / MOTION
    difference = (frames - background[:, None]).abs().sum(2, keepdim=True).clamp(max=1) / MOTION
    seen = {
        "none": [light],
        "subtract": [difference],
        "subtract_concat": [light, difference],
        "concat": [light, motion],
    }[mode]
    net = CompactTrackNet(frames=3, background=mode).double()
    conv, norm, relu = net.stem[0]
    expected = relu(norm(conv(torch.cat(seen, dim=2).flatten(0, 1))))
    found = []
    net.stem[0].register_forward_hook(lambda layer, given, made: found.append(made))
    net(stack_frames(frames, background, mode))
    net(net.stack(frames, background))
    for one in found:
        torch.testing.assert_close(one, expected, rtol=1e-10, atol=1e-10)
    assert len(found) == 2


def test_compact_takes_bytes_as_they_are():
    pictures = torch.randint(0, 256, (2, 4, 16, 32, 3), dtype=torch.uint8).movedim(-1, 2)  # as decoded
    frames, background = pictures[:, 1:], pictures[:, 0]
    net = CompactTrackNet(frames=3, background="concat", stem=4, widths=(8, 8, 8)).eval()
    stacked = net.stack(frames, background)
    assert torch.equal(stacked, pictures)
    assert stacked.dtype == torch.uint8
    assert stacked.flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    planar = net.stack(frames.contiguous(), background.contiguous())  # as cached
    assert torch.equal(planar, pictures)
    assert planar.stride() == stacked.stride()
    expected = net(stack_frames(frames, background, "concat"))
    torch.testing.assert_close(net(stacked), expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(net(stacked / 255), expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="background mode 'concat' needs the median background"):
        net.stack(frames)


def test_compact_learns_one_still_ball():
    torch.manual_seed(0)
    net = CompactTrackNet(frames=2, background="none", stem=4, widths=(8, 8, 8))
    x = torch.zeros(1, 6, 32, 32)
    x[:, :, 10:13, 20:23] = 1
    target = torch.zeros(1, 2, 16, 16)
    target[:, :, 5, 10] = 1
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(net(x), target)
        loss.backward()
        optimizer.step()
    assert net(x).sigmoid().flatten(2).argmax(-1).tolist() == [[5 * 16 + 10] * 2]
