"""Callbacks that watch, time and record training."""

from tracknet.training.callbacks.experiment import Report
from tracknet.training.callbacks.monitoring import HeatmapImages, ProgressLines

__all__ = ["HeatmapImages", "ProgressLines", "Report"]
