"""TrackNetV4 (Raj et al., 2024): TrackNetV2 with motion attention."""

from __future__ import annotations

from typing import Literal

import torch
from jsonargparse.typing import PositiveInt
from torch import Tensor, nn

from tracknet.errors import UsageError
from tracknet.models.motion import PowerNormalisation, light
from tracknet.models.network import BackgroundMode, expect_no_ball
from tracknet.models.unet import UNet


class TrackNetV4(UNet):
    """TrackNetV2 whose last features are multiplied by maps of where something moved.

    Raj et al., "TrackNetV4: Enhancing Fast Sports Object Tracking with Motion Attention Maps", ICASSP 2025.
    The absolute difference of light between neighbouring frames becomes an attention map
    (`PowerNormalisation`, two learnt numbers), which scales the logits of a frame. 3 frames: 11,330,309
    parameters. 112.2 GMAC a forward at 288x512, as TrackNetV2: the maps cost next to nothing; a published
    comparison says 112.9, counting more than convolutions. The first public code has biases in its
    convolutions and ReLU before batch normalisation; here the blocks are those of `TrackNetV2`, so that the
    two can be compared.

    Args:
        frames: Frames per window, L, at least 2; also the number of heatmaps.
        background: What the network sees of the median background. With ``subtract`` the difference is taken
            between the frames' differences from it.
        fusion: Which map scales which frame. ``before`` (published as type A): that of the step from the
            frame before, the first frame is left as it is. ``around`` (type B): the mean of the steps before
            and after, the first and the last frame have one.
        width: Channels at full resolution, doubled with each level; published with 64.

    Raises:
        UsageError: There is only one frame.
    """

    def __init__(
        self,
        frames: PositiveInt = 3,
        background: BackgroundMode = "none",
        fusion: Literal["before", "around"] = "before",
        width: PositiveInt = 64,
    ) -> None:
        if frames < 2:
            raise UsageError("TrackNetV4: frames is 1; motion needs at least 2")
        super().__init__(frames, background, width)
        self.fusion: Literal["before", "around"] = fusion
        self.motion = PowerNormalisation(a=0.1, b=0.0)
        self.predictor = nn.Conv2d(width, frames, kernel_size=1)
        expect_no_ball(self.predictor)

    def forward(self, x: Tensor) -> Tensor:
        """Give one heatmap a frame: ``[B, C_in, H, W] -> [B, L, H, W]``; H and W divisible by 8."""
        logits: Tensor = self.predictor(self.features(x))
        return logits * self.attention(x)

    def attention(self, x: Tensor) -> Tensor:
        """Give what scales each frame, in 0..1: ``[B, C_in, H, W] -> [B, L, H, W]``."""
        maps = self.motion(light(x, self.frames, self.background).diff(dim=1))  # [B, L-1, H, W]
        if self.fusion == "before":
            return torch.cat([torch.ones_like(maps[:, :1]), maps], dim=1)
        return torch.cat([maps[:, :1], (maps[:, :-1] + maps[:, 1:]) / 2, maps[:, -1:]], dim=1)
