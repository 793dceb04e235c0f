"""Callbacks that watch, time and record training."""

from tracknet.training.callbacks.activation_checkpointing import ActivationCheckpointing
from tracknet.training.callbacks.compiling import CompileNetwork
from tracknet.training.callbacks.experiment import Report
from tracknet.training.callbacks.finetuning import BackboneFreeze, PretrainedBackbone
from tracknet.training.callbacks.hard_frames import HardFrameMining, HardFrameTarget
from tracknet.training.callbacks.micro_batching import AdaptiveMicroBatch
from tracknet.training.callbacks.mid_epoch import MidEpochCheckpoint
from tracknet.training.callbacks.monitoring import (
    ClipVideos,
    GradientNorms,
    HeatmapImages,
    InputDrift,
    MemoryUse,
    NoDetectionsDiagnosis,
    NonFiniteGuard,
    ProgressLines,
    Throughput,
    TrainingNotices,
)
from tracknet.training.callbacks.pretrained_weights import PretrainedWeights
from tracknet.training.callbacks.profiler import Profile
from tracknet.training.callbacks.retention import CheckpointRetention
from tracknet.training.callbacks.run_record import RunRecord

__all__ = [
    "ActivationCheckpointing",
    "AdaptiveMicroBatch",
    "BackboneFreeze",
    "CheckpointRetention",
    "ClipVideos",
    "CompileNetwork",
    "GradientNorms",
    "HardFrameMining",
    "HardFrameTarget",
    "HeatmapImages",
    "InputDrift",
    "MemoryUse",
    "MidEpochCheckpoint",
    "NoDetectionsDiagnosis",
    "NonFiniteGuard",
    "PretrainedBackbone",
    "PretrainedWeights",
    "Profile",
    "ProgressLines",
    "Report",
    "RunRecord",
    "Throughput",
    "TrainingNotices",
]
