"""The network of WASB (Tarashima et al., 2023): a small HRNet that never leaves full resolution."""

from __future__ import annotations

from collections.abc import Sequence

from jsonargparse.typing import PositiveInt
from torch import Tensor, nn

from tracknet.models.folding import Layers, normalised
from tracknet.models.imagenet import ImageNetInput
from tracknet.models.network import BackgroundMode, HeatmapNetwork, expect_no_ball

STEM = 64
BOTTLENECK = 32
EXPANSION = 4
"""Channels of the stem, inside the first stage's block, and how many times more come out of it."""


class WASB(HeatmapNetwork):
    """HRNet with a stem of stride 1: branches at full, half, quarter and eighth size, fused again and again.

    Tarashima et al., "Widely Applicable Strong Baseline for Sports Ball Detection and Tracking", BMVC 2023,
    after Wang et al., "Deep High-Resolution Representation Learning for Visual Recognition", 2019. Trained
    there with `QualityFocalLoss` on real-valued heatmaps. 3 frames in, 3 heatmaps out: 1,481,427 parameters,
    27.1 GMAC a forward at 288x512.

    The names of the layers are those of the public HRNet code and of WASB's checkpoints. The colours are
    normalised as for ImageNet inside. The last fusion has, as published, also outputs at lower resolutions
    that nothing reads: 193,248 of the parameters. They are kept so that the checkpoints fit, but neither
    computed nor trained; with them it would be the published 28.15 GMAC.

    Args:
        frames: Frames per window, L; also the number of heatmaps.
        background: What the network sees of the median background; published without.
        width: Channels of the branch at full resolution, doubled with each branch; published with 16.
    """

    stride = 8

    def __init__(
        self, frames: PositiveInt = 3, background: BackgroundMode = "none", width: PositiveInt = 16
    ) -> None:
        super().__init__(frames, background, outputs=frames)
        self.width = width
        widths = [width, 2 * width, 4 * width, 8 * width]
        wide = EXPANSION * BOTTLENECK
        self.normalise = ImageNetInput(frames, background)
        self.conv1 = _conv3x3(self.in_channels, STEM)  # [B, 64, H, W]
        self.bn1 = nn.BatchNorm2d(STEM)
        self.conv2 = _conv3x3(STEM, STEM)
        self.bn2 = nn.BatchNorm2d(STEM)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = nn.Sequential(_Bottleneck(STEM, BOTTLENECK))  # [B, 128, H, W]
        self.transition1 = _transition([wide], widths[:2])  # [B, C, H, W], [B, 2C, H/2, W/2]
        self.stage2 = nn.Sequential(Fusion(widths[:2]))
        self.transition2 = _transition(widths[:2], widths[:3])  # and [B, 4C, H/4, W/4]
        self.stage3 = nn.Sequential(Fusion(widths[:3]))
        self.transition3 = _transition(widths[:3], widths)  # and [B, 8C, H/8, W/8]
        self.stage4 = nn.Sequential(Fusion(widths))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        last = nn.Conv2d(width, frames, kernel_size=1)
        expect_no_ball(last)
        self.final_layers = nn.ModuleList([last])
        # Training on several devices refuses parameters that get no gradient.
        for unread in list(self.stage4[0].fuse_layers)[1:]:  # type: ignore[arg-type]
            unread.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Give one heatmap a frame: ``[B, C_in, H, W] -> [B, L, H, W]``; H and W divisible by 8."""
        y = self.relu(normalised(self.conv1, self.bn1, self.normalise(x)))
        y = self.layer1(self.relu(normalised(self.conv2, self.bn2, y)))
        branches = [step(y) for step in self.transition1]
        for stage, transition in ((self.stage2, self.transition2), (self.stage3, self.transition3)):
            branches = stage(branches)
            # A new branch begins at the smallest one before it; the others go on as they are.
            branches += [transition[-1](branches[-1])]
        full: Tensor = self.stage4[0].fuse(self.stage4[0].deepen(branches), 0)  # type: ignore[operator]
        logits: Tensor = self.final_layers[0](full)
        return logits


class Fusion(nn.Module):
    """Deepen each branch by residual blocks, then add to it all the others at its size (HRNet).

    Args:
        widths: Channels of the branches; each has half the resolution of the one before.
        blocks: Residual blocks of a branch.
    """

    def __init__(self, widths: Sequence[int], blocks: int = 2) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(_Basic(width) for _ in range(blocks))) for width in widths
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(_resize(widths, source, target) for source in range(len(widths)))
            for target in range(len(widths))
        )

    def forward(self, branches: list[Tensor]) -> list[Tensor]:
        """Give branches of the same shapes: ``[B, widths[i], h/2^i, w/2^i]`` each."""
        branches = self.deepen(branches)
        return [self.fuse(branches, i) for i in range(len(branches))]

    def deepen(self, branches: list[Tensor]) -> list[Tensor]:
        """Give the branches after their residual blocks."""
        return [deepen(y) for deepen, y in zip(self.branches, branches, strict=True)]

    def fuse(self, branches: list[Tensor], target: int) -> Tensor:
        """Give one branch with all the others added.

        Args:
            branches: Branches after their residual blocks.
            target: Which one.
        """
        layers: nn.ModuleList = self.fuse_layers[target]  # type: ignore[assignment]
        parts = [layer(y) for layer, y in zip(layers, branches, strict=True)]
        return nn.functional.relu(sum(parts[1:], parts[0]))


class _Basic(nn.Module):
    """Two 3x3 convolutions around a skip."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _conv3x3(channels, channels)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _conv3x3(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.relu(normalised(self.conv1, self.bn1, x), inplace=True)
        return nn.functional.relu(x + normalised(self.conv2, self.bn2, y))


class _Bottleneck(nn.Module):
    """1x1, 3x3 and widening 1x1 convolution around a widening skip."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        wide = EXPANSION * channels
        self.conv1 = nn.Conv2d(channels_in, channels, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _conv3x3(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, wide, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(wide)
        self.downsample = Layers(
            nn.Conv2d(channels_in, wide, kernel_size=1, bias=False), nn.BatchNorm2d(wide)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.relu(normalised(self.conv1, self.bn1, x), inplace=True)
        y = nn.functional.relu(normalised(self.conv2, self.bn2, y), inplace=True)
        return nn.functional.relu(self.downsample(x) + normalised(self.conv3, self.bn3, y))


def _transition(before: Sequence[int], after: Sequence[int]) -> nn.ModuleList:
    """Give the way from the branches before to those after, of which the last one is new."""
    steps = nn.ModuleList()
    for i, width in enumerate(after):
        if i >= len(before):
            steps.append(nn.Sequential(_conv_bn_relu(before[-1], width, stride=2)))
        elif width != before[i]:
            steps.append(_conv_bn_relu(before[i], width))
        else:
            steps.append(nn.Identity())
    return steps


def _resize(widths: Sequence[int], source: int, target: int) -> nn.Module:
    """Give the way from one branch to the size and width of another."""
    if source == target:
        return nn.Identity()
    if source > target:
        return Layers(
            nn.Conv2d(widths[source], widths[target], kernel_size=1, bias=False),
            nn.BatchNorm2d(widths[target]),
            nn.Upsample(scale_factor=2 ** (source - target), mode="nearest"),
        )
    steps = [_conv_bn_relu(widths[source], widths[source], stride=2) for _ in range(target - source - 1)]
    last = Layers(_conv3x3(widths[source], widths[target], stride=2), nn.BatchNorm2d(widths[target]))
    return nn.Sequential(*steps, last)


def _conv_bn_relu(channels_in: int, channels_out: int, stride: int = 1) -> Layers:
    return Layers(
        _conv3x3(channels_in, channels_out, stride), nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True)
    )


def _conv3x3(channels_in: int, channels_out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, kernel_size=3, stride=stride, padding=1, bias=False)
