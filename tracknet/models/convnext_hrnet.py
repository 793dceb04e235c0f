"""A ConvNeXt under parallel resolutions; it needs the extra ``tracknet[backbones]``."""

from __future__ import annotations

from typing import Literal

import torch
from jsonargparse.typing import PositiveInt
from torch import Tensor, nn

from tracknet.models.backbones import ConvNeXtKind, ConvNeXtNetwork, Four, Size
from tracknet.models.decoder_blocks import conv_block
from tracknet.models.folding import Layers
from tracknet.models.framewise import Features
from tracknet.models.lora import LoRA
from tracknet.models.network import expect_no_ball
from tracknet.models.wasb import Fusion


class ConvNeXtHRNet(ConvNeXtNetwork):
    """ConvNeXt with a decoder in the manner of HRNet, heatmaps at half the resolution (144x256 of 288x512).

    Liu et al., "A ConvNet for the 2020s", CVPR 2022; Wang et al., "Deep High-Resolution Representation
    Learning for Visual Recognition", 2019. Each of the four stages, of all frames together, becomes a branch
    of its own resolution; the branches are deepened and given each other again and again. Brought to a
    quarter of the resolution and put side by side they are fused, and a sub-pixel convolution doubles the
    size. With the defaults (the tiny size) 33.6 M parameters.

    Args:
        frames: Frames per window, L; also the number of heatmaps.
        background: ``concat`` shows the backbone the median background as one more image.
        kind: Whose weights fit: ``convnext`` and ``convnextv2`` (ImageNet), ``dinov3`` (self-supervised).
        widths: Channels of the four stages: 96 192 384 768 tiny and small, 128 256 512 1024 base.
        depths: Blocks of the four stages: 3 3 9 3 tiny, 3 3 27 3 small and base.
        branches: Channels of the branches at 1/4, 1/8, 1/16 and 1/32 of the resolution.
        num_units: How many times the branches are deepened and fused.
        fused: Channels of all branches fused in the end.
        heatmap_size: Height and width to which heatmaps are brought; None leaves them at half the input.
        lora: Adapters that are trained instead of the backbone.
    """

    def __init__(
        self,
        frames: PositiveInt = 3,
        background: Literal["none", "concat"] = "none",
        kind: ConvNeXtKind = "convnext",
        widths: Four = (96, 192, 384, 768),
        depths: Four = (3, 3, 9, 3),
        branches: Four = (32, 64, 128, 256),
        num_units: PositiveInt = 2,
        fused: PositiveInt = 64,
        heatmap_size: Size | None = None,
        lora: LoRA | None = None,
    ) -> None:
        super().__init__(frames, background, heatmap_size, kind, widths, depths, lora)
        self.branches, self.num_units, self.fused = branches, num_units, fused
        self.lateral = nn.ModuleList(
            Layers(nn.Conv2d(self.images * width, branch, kernel_size=1, bias=False), nn.BatchNorm2d(branch))
            for width, branch in zip(widths, branches, strict=True)
        )
        self.exchange = nn.Sequential(*(Fusion(branches, blocks=1) for _ in range(num_units)))
        self.upsample = nn.ModuleList(
            nn.Upsample(scale_factor=2**n, mode="bilinear") for n in range(len(branches))
        )
        self.fuse = conv_block(sum(branches), fused)
        self.predictor = nn.Conv2d(fused, 4 * frames, kernel_size=1)
        self.shuffle = nn.PixelShuffle(2)
        expect_no_ball(self.predictor)

    def window_logits(self, features: Features, newest: int | None = None) -> Tensor:
        """Give the logits of windows, see `FramewiseNetwork`."""
        stages = [stage.flatten(1, 2) for stage in features]
        branches = [lateral(stage).relu() for lateral, stage in zip(self.lateral, stages, strict=True)]
        branches = self.exchange(branches)  # [B, branches[i], H/4/2^i, W/4/2^i]
        y = torch.cat([up(branch) for up, branch in zip(self.upsample, branches, strict=True)], dim=1)
        logits = self.shuffle(self.predictor(self.fuse(y)))
        return self.sized(logits, newest)
