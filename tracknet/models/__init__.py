"""The networks: stacked frames in, heatmap logits out."""

from tracknet.models.compact import CompactTrackNet
from tracknet.models.network import BackgroundMode, HeatmapNetwork, input_channels, stack_frames
from tracknet.models.tracknetv2 import TrackNetV2

__all__ = [
    "BackgroundMode",
    "CompactTrackNet",
    "HeatmapNetwork",
    "TrackNetV2",
    "input_channels",
    "stack_frames",
]
