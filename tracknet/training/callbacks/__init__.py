"""Callbacks that watch, time and record training."""

from tracknet.training.callbacks.experiment import Report
from tracknet.training.callbacks.monitoring import HeatmapImages

__all__ = ["HeatmapImages", "Report"]
