"""A tracknet plugin: importing it is all that makes its classes choosable."""

from tracknet_example.callback import WeightHistograms
from tracknet_example.loss import SmoothL1Loss
from tracknet_example.network import DepthwiseTrackNet

__all__ = ["DepthwiseTrackNet", "SmoothL1Loss", "WeightHistograms"]
