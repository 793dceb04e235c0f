"""The networks: stacked frames in, heatmap logits out."""

from tracknet.models.backbones import ConvNeXtFPN, ViTUpsample
from tracknet.models.compact import CompactTrackNet
from tracknet.models.convnext_hrnet import ConvNeXtHRNet
from tracknet.models.framewise import FramewiseNetwork
from tracknet.models.lora import LoRA
from tracknet.models.monotrack import MonoTrack
from tracknet.models.network import BackgroundMode, HeatmapNetwork, input_channels, stack_frames
from tracknet.models.restracknetv2 import ResTrackNetV2
from tracknet.models.tracknetv1 import TrackNetV1
from tracknet.models.tracknetv2 import TrackNetV2
from tracknet.models.tracknetv3 import TrackNetV3
from tracknet.models.tracknetv4 import TrackNetV4
from tracknet.models.tracknetv5 import TrackNetV5
from tracknet.models.wasb import WASB

__all__ = [
    "WASB",
    "BackgroundMode",
    "CompactTrackNet",
    "ConvNeXtFPN",
    "ConvNeXtHRNet",
    "FramewiseNetwork",
    "HeatmapNetwork",
    "LoRA",
    "MonoTrack",
    "ResTrackNetV2",
    "TrackNetV1",
    "TrackNetV2",
    "TrackNetV3",
    "TrackNetV4",
    "TrackNetV5",
    "ViTUpsample",
    "input_channels",
    "stack_frames",
]
