"""Callbacks that watch, time and record training."""

from tracknet.training.callbacks.experiment import Report
from tracknet.training.callbacks.finetuning import BackboneFreeze, PretrainedBackbone
from tracknet.training.callbacks.hard_frames import HardFrameMining, HardFrameTarget
from tracknet.training.callbacks.micro_batching import AdaptiveMicroBatch
from tracknet.training.callbacks.mid_epoch import MidEpochCheckpoint
from tracknet.training.callbacks.monitoring import HeatmapImages, ProgressLines
from tracknet.training.callbacks.profiler import Profile

__all__ = [
    "AdaptiveMicroBatch",
    "BackboneFreeze",
    "HardFrameMining",
    "HardFrameTarget",
    "HeatmapImages",
    "MidEpochCheckpoint",
    "PretrainedBackbone",
    "Profile",
    "ProgressLines",
    "Report",
]
