"""Callbacks that let a person watch what the network does."""

from tracknet.training.callbacks.monitoring.clip_videos import ClipVideos
from tracknet.training.callbacks.monitoring.diagnosis import NoDetectionsDiagnosis
from tracknet.training.callbacks.monitoring.gradient_norms import GradientNorms
from tracknet.training.callbacks.monitoring.heatmap_images import HeatmapImages
from tracknet.training.callbacks.monitoring.input_drift import InputDrift
from tracknet.training.callbacks.monitoring.memory_use import MemoryUse
from tracknet.training.callbacks.monitoring.nonfinite import NonFiniteGuard
from tracknet.training.callbacks.monitoring.progress_lines import ProgressLines
from tracknet.training.callbacks.monitoring.replay import replay
from tracknet.training.callbacks.monitoring.throughput import Throughput
from tracknet.training.callbacks.monitoring.training_notices import TrainingNotices

__all__ = [
    "ClipVideos",
    "GradientNorms",
    "HeatmapImages",
    "InputDrift",
    "MemoryUse",
    "NoDetectionsDiagnosis",
    "NonFiniteGuard",
    "ProgressLines",
    "Throughput",
    "TrainingNotices",
    "replay",
]
