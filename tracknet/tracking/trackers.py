"""The trackers that choose among the candidates of a frame, by name."""

from __future__ import annotations

from typing import Literal

from jsonargparse.typing import PositiveFloat

from tracknet.tracking.flight import FlightTracker
from tracknet.tracking.online import MAX_JUMP, OnlineTracker

TrackerName = Literal["none", "online", "flight"]
"""Who chooses among the candidates of a frame; with ``none`` the decoder does, frame by frame."""


def choose_tracker(
    name: TrackerName, max_jump: PositiveFloat = MAX_JUMP
) -> OnlineTracker | FlightTracker | None:
    """Make a tracker.

    Args:
        name: Its name.
        max_jump: See `OnlineTracker`.

    Returns:
        The tracker; None for ``none``.
    """
    if name == "online":
        return OnlineTracker(max_jump)
    return FlightTracker() if name == "flight" else None
