"""TrackNetV2 (Sun et al., 2020)."""

from __future__ import annotations

from jsonargparse.typing import PositiveInt
from torch import Tensor, nn

from tracknet.models.network import BackgroundMode, expect_no_ball
from tracknet.models.unet import UNet


class TrackNetV2(UNet):
    """The U-Net of TrackNetV2: full-resolution heatmaps, one for each frame of the window.

    Sun et al., "TrackNetV2: Efficient Shuttlecock Tracking Network", ICPAI 2020; blocks as in the public
    PyTorch code of TrackNetV3. 3 frames without background: 11,330,307 parameters, 112.2 GMAC a forward at
    288x512.

    Args:
        frames: Frames per window, L; also the number of heatmaps.
        background: What the network sees of the median background.
        width: Channels at full resolution, doubled with each level; published with 64.
    """

    def __init__(
        self, frames: PositiveInt = 3, background: BackgroundMode = "none", width: PositiveInt = 64
    ) -> None:
        super().__init__(frames, background, width)
        self.predictor = nn.Conv2d(width, frames, kernel_size=1)
        expect_no_ball(self.predictor)

    def forward(self, x: Tensor) -> Tensor:
        """Give one heatmap a frame: ``[B, C_in, H, W] -> [B, L, H, W]``; H and W divisible by 8."""
        logits: Tensor = self.predictor(self.features(x))
        return logits
