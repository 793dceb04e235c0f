"""The names of the ways to track; light enough to be read before PyTorch is loaded."""

from __future__ import annotations

from typing import Literal

Mode = Literal["single", "average", "triangular", "causal"]
"""How windows cover a video, see `tracknet.tracking.tracker.track`."""
