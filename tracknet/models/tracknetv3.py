"""The tracking network of TrackNetV3 (Chen and Wang, 2023)."""

from __future__ import annotations

from jsonargparse.typing import PositiveInt

from tracknet.models.network import BackgroundMode
from tracknet.models.tracknetv2 import TrackNetV2


class TrackNetV3(TrackNetV2):
    """TrackNetV2 that sees longer windows and, before them, the median background.

    Chen and Wang, "TrackNetV3: Enhancing ShuttleCock Tracking with Augmentations and Trajectory
    Rectification", MMAsia 2023. The layers are those of TrackNetV2; what is new are the input and mixup in
    training. As published, 8 frames and the background, 27 channels: 11,341,000 parameters, 113.8 GMAC a
    forward at 288x512, 14.2 a frame. Its public checkpoints also hold 3L, L and 4L channels, which are the
    other background modes.

    Args:
        frames: Frames per window, L; also the number of heatmaps.
        background: What the network sees of the median background.
        width: Channels at full resolution, doubled with each level; published with 64.
    """

    def __init__(
        self, frames: PositiveInt = 8, background: BackgroundMode = "concat", width: PositiveInt = 64
    ) -> None:
        super().__init__(frames, background, width)
