"""What damage takes away of a video or a stream."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tracknet.data.faults import are, plural

HELD_BACK = 16
"""Frames that a decoder holds back at most."""

_AROUND = 2 * HELD_BACK
"""Frames behind damage whose times tell what is missing there."""

_NEW_CLOCK = 10.0
"""Seconds between two frames that tell of a camera that was restarted, not of lost frames."""


@dataclass
class Damage:
    """What could not be decoded, or not whole, and how many frames their times say are missing there.

    Attributes:
        packets: Packets that could not be decoded, or not whole.
        first: Frame before which the first of them came.
        missing: Frames that are missing.
    """

    packets: int = 0
    first: int = 0
    missing: float = 0.0
    _near: int = 0
    _latest: float | None = None
    _seconds: float = 0.0
    _steps: int = 0
    _gap: float | None = None  # where the newest gap begins

    def add(self, number: int) -> None:
        """Take down a packet that came before a frame."""
        if not self.packets:
            self.first = number
        self.packets += 1
        self._near = _AROUND

    def see(self, second: float | None) -> None:
        """Look at the time of a frame: near damage the step to it is compared with those elsewhere."""
        if second is None:
            return
        step = 0.0 if self._latest is None else max(second - self._latest, 0.0)
        if self._is_new_clock(second):
            step, self._latest, self._gap = 0.0, second, None
        elif not self._near:
            self._seconds, self._steps = self._seconds + step, self._steps + (self._latest is not None)
        elif self._seconds:
            # Behind damage frames may come out of order: one that is late takes its place in a gap of before.
            missing = step * self._steps / self._seconds - 1
            self.missing += missing
            self._gap = self._latest if missing > 0.5 else self._gap
        self._near = max(self._near - 1, 0)
        self._latest = second if self._latest is None else self._latest + step

    def _is_new_clock(self, second: float) -> bool:
        """Say whether the times begin anew, as where a camera is restarted."""
        if self._latest is None:
            return False
        usual = self._seconds / self._steps if self._seconds else _NEW_CLOCK
        back = min(HELD_BACK * usual, _NEW_CLOCK)
        first = self._latest if self._gap is None or not self._near else self._gap
        return not first - back <= second <= self._latest + _NEW_CLOCK

    @property
    def lost(self) -> int:
        """Whole frames that are missing."""
        return max(round(self.missing), 0)

    @property
    def lost_frames(self) -> str:
        """The lost frames in words, such as ``1 frame is lost``."""
        return f"{plural(self.lost, 'frame')} {are(self.lost)} lost"

    def in_words(self) -> Iterator[str]:
        """Say what was lost of a stream; nothing where nothing was."""
        if not self.packets:
            return
        times = "once" if self.packets == 1 else f"{self.packets} times"
        told = f"by the times of the rest about {self.lost_frames}, and" if self.lost else "lost frames"
        yield (
            f"{times} what came could not be decoded, or not whole, first before frame {self.first}; "
            f"{told} have no number"
        )
