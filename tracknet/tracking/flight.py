"""The likeliest flight through all candidates of a video, judged from what comes before and after."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from jsonargparse.typing import ClosedUnitInterval, PositiveFloat, PositiveInt
from numpy.typing import NDArray

from tracknet.tracking.sightings import Sighting

Array = NDArray[np.float64]

LEAST = 0.05
"""Confidence below which nothing is a candidate, but for thresholds that are lower."""
MOST = 8
"""Candidates of a frame that are looked at, the most confident ones."""
RATE = 30.0
"""Frames a second in which speeds are counted."""
_NEAR_CERTAIN = 1e-4


@dataclass(frozen=True)
class Prices:
    """What a flight pays, in natural logarithms of odds; lengths are shares of the height of the picture.

    The values were searched on twenty badminton rallies, fourteen of them with a network that had not seen
    them, the others with two networks that had not. Ways are counted by the frame at 30 frames a second.

    Attributes:
        hidden: A frame without a ball.
        missed: A frame in which the ball flies on unseen.
        reach: Most frames in a row in which it may.
        bend: Change of the way a frame that costs 1; the first way of a flight counts as changed by half.
        turn: The most that a change of the way costs: a hit.
        fast: Way a frame from which, where it has changed by as much, it is a leap.
        leap: What a leap costs more.
        appear: Coming into sight, or going, within the picture.
        edge: How near to its border that costs nothing.
        ahead: Frames within which its way may lead across the border, which costs nothing either.
    """

    hidden: float = 0.1
    missed: float = 1.35
    reach: int = 6
    bend: float = 0.05
    turn: float = 1.0
    fast: float = 0.125
    leap: float = 9.0
    appear: float = 6.5
    edge: float = 0.04
    ahead: int = 1


class FlightTracker:
    """Keeps in each frame the candidate that lies on the likeliest flight through the whole video.

    A dynamic programme over all candidates from a confidence of 0.05, or from a threshold below it (Viterbi,
    1967). A frame with the ball earns ``log(c / (1 - c)) - log(t / (1 - t))``, with its confidence c and the
    threshold t: a ball below the threshold counts where its flight needs it, and a racket above it does not
    where no flight leads there. The ball may turn, go unseen for some frames, and come and go at the border
    of the picture; what appears in the middle of it pays for that. It sees what comes after a frame, so live
    streams cannot have it.

    Args:
        prices: What a flight pays.
        lag: Frames that are looked at before the first of them is judged; twice as many are held.

    Example:
        >>> tracker = FlightTracker()
        >>> def sighting(frame, *found):  # the ball flies to the right, a lamp shines at the side
        ...     xy = np.array([xy for xy, _ in found]).reshape(-1, 2)
        ...     return Sighting(frame, xy, np.array([value for _, value in found]), 1.0)
        >>> flight = [sighting(n, ((100.0 + 9 * n, 300.0), 0.8)) for n in range(5)]
        >>> flight += [sighting(5, ((900.0, 500.0), 0.6), ((145.0, 300.0), 0.3))]
        >>> flight += [sighting(n, ((100.0 + 9 * n, 300.0), 0.8)) for n in range(6, 9)]
        >>> [choice for _, choice in tracker.follow(flight, (720, 1280), 30.0, 0.5)]
        [0, 0, 0, 0, 0, 1, 0, 0, 0]
    """

    def __init__(self, prices: Prices | None = None, lag: PositiveInt = 90) -> None:
        self.prices = prices or Prices()
        self.lag = lag

    def least(self, threshold: ClosedUnitInterval) -> float:
        """Give the confidence from which something is a candidate, see `CandidateTracker.least`."""
        return min(LEAST, float(threshold))

    def follow(
        self,
        sightings: Iterable[Sighting],
        size: tuple[int, int],
        fps: PositiveFloat,
        threshold: ClosedUnitInterval,
    ) -> Iterator[tuple[Sighting, int | None]]:
        """Choose among the candidates of each frame, see `CandidateTracker.follow`."""
        search = _Search(self.prices, size, fps, threshold, self.least(threshold))
        try:
            for sighting in sightings:
                search.add(sighting)
                if len(search.frames) == 2 * self.lag:
                    yield from search.take(self.lag)
        except (Exception, KeyboardInterrupt):
            # What was seen before a Ctrl-C, or before the video broke off, is not lost.
            yield from search.take(len(search.frames))
            raise
        yield from search.take(len(search.frames))


@dataclass
class _Frame:
    """The best flights that end at the candidates of a frame.

    Attributes:
        sighting: What was seen.
        chosen: Indices of the candidates that are looked at, ``[K]``.
        xy: Where they are, in heights of the picture, ``[K, 2]``.
        way: How the flight came there, in heights a frame, ``[K, 2]``; NaN where it has just come into sight.
        score: What it has earned, ``[K]``.
        before: Number and place of the candidate before, ``[K, 2]``; a place of -1 for none, and a number of
            -1 where the flight goes on unseen from before the video.
        hidden_from: Place of the candidate in the frame before, behind which the ball is out of sight in this
            one; -1 where it was so before.
        hidden: What the best flight has earned that is out of sight in this frame.
    """

    sighting: Sighting
    chosen: NDArray[np.int64]
    xy: Array
    way: Array
    score: Array
    before: NDArray[np.int64]
    hidden_from: int
    hidden: float


class _Search:
    def __init__(
        self, prices: Prices, size: tuple[int, int], fps: float, threshold: float, least: float
    ) -> None:
        self.frames: deque[_Frame] = deque()
        self._prices = prices
        self._height = float(size[0])
        self._wide = size[1] / size[0]
        self._rate = fps / RATE
        self._asked = _odds(np.array([threshold]))[0]
        self._least = least
        self._first = 0  # number of the first frame that is held
        self._next = 0
        self._unseen = 0.0  # what a flight has earned that is unseen since before the video

    def add(self, sighting: Sighting) -> None:
        """Take the next frame."""
        prices = self._prices
        chosen = np.argsort(-sighting.confidence, kind="stable")[:MOST]
        chosen = chosen[sighting.confidence[chosen] >= self._least]
        xy = (sighting.xy[chosen] + 0.5) / self._height
        count = len(chosen)
        last = self.frames[-1] if self.frames else None
        # Out of nowhere, or in flight since before the video.
        score = np.full(count, self._unseen)
        before = np.full((count, 2), -1)
        if last is not None:
            appears = last.hidden - np.where(self._border(xy) < prices.edge, 0.0, prices.appear)
            before[:, 0] = np.where(appears >= score, self._next - 1, -1)
            score = np.maximum(appears, score)
        self._unseen = self._unseen - prices.missed if self._next < prices.reach else -np.inf
        way = np.full((count, 2), np.nan)
        if count:
            self._go_on(xy, score, way, before)
        score += _odds(sighting.confidence[chosen]) - self._asked
        hidden, hidden_from = self._hide(last)
        self.frames.append(_Frame(sighting, chosen, xy, way, score, before, hidden_from, hidden))
        self._next += 1

    def _go_on(self, xy: Array, score: Array, way: Array, before: NDArray[np.int64]) -> None:
        """Let flights that were seen in one of the last frames go on, where that is better."""
        prices = self._prices
        recent = [self.frames[-n] for n in range(min(len(self.frames), prices.reach + 1), 0, -1)]
        at = np.concatenate([frame.xy for frame in recent]) if recent else np.empty((0, 2))
        if not len(at):
            return
        counts = [len(frame.xy) for frame in recent]
        number = np.repeat(np.arange(self._next - len(recent), self._next), counts)
        gap = (self._next - number)[:, None]
        step = (xy[None] - at[:, None]) / gap[..., None] * self._rate  # [before, now, 2]
        speed = np.linalg.norm(step, axis=-1)
        came = np.concatenate([frame.way for frame in recent])[:, None]
        bend = np.where(np.isnan(came[..., 0]), speed / 2, np.linalg.norm(step - came, axis=-1))
        # A ball that stays fast does not leap.
        leaps = np.minimum(speed, bend) > prices.fast
        paid = np.minimum(bend / prices.bend, prices.turn) + np.where(leaps, prices.leap, 0.0)
        paid = paid + prices.missed * (gap - 1)
        earned = np.concatenate([frame.score for frame in recent])[:, None] - paid
        best = earned.argmax(axis=0)
        now = np.arange(len(xy))
        better = earned[best, now] > score
        score[better] = earned[best, now][better]
        way[better] = step[best, now][better]
        place = np.concatenate([np.arange(count) for count in counts])
        before[better] = np.stack([number[best], place[best]], axis=1)[better]

    def _hide(self, last: _Frame | None) -> tuple[float, int]:
        """Say what is earned by being out of sight now, and behind which candidate of the last frame."""
        prices = self._prices
        if last is None:
            return -prices.hidden, -1
        hidden, place = last.hidden, -1
        if len(last.xy):
            ahead = last.xy + prices.ahead * np.nan_to_num(last.way)
            leaves = np.minimum(self._border(last.xy) - prices.edge, self._border(ahead)) < 0
            earned = last.score - np.where(leaves, 0.0, prices.appear)
            if earned.max() > hidden:
                hidden, place = float(earned.max()), int(earned.argmax())
        return hidden - prices.hidden, place

    def _border(self, xy: Array) -> Array:
        """Give how far points lie from the top of the picture, or three times that from its sides."""
        x, y = xy.T
        away: Array = np.minimum(y, 3 * np.minimum(x, self._wide - x))
        return away

    def take(self, count: int) -> Iterator[tuple[Sighting, int | None]]:
        """Judge the first frames that are held, by the best flight through all of them, and let them go."""
        choices: list[int | None] = [None] * len(self.frames)
        number, place = self._end()
        while number >= self._first:
            frame = self.frames[number - self._first]
            if place < 0:
                number, place = number - 1, frame.hidden_from
            else:
                choices[number - self._first] = int(frame.chosen[place])
                number, place = frame.before[place].tolist()
        for choice in choices[:count]:
            yield self.frames.popleft().sighting, choice
            self._first += 1
        if self.frames:
            # Only differences count; over hours the sums would lose their digits.
            ground = self.frames[-1].hidden
            self._unseen -= ground
            for frame in self.frames:
                frame.score -= ground
                frame.hidden -= ground

    def _end(self) -> tuple[int, int]:
        """Give number and place of the candidate that the best flight ends with; a place of -1 for hidden."""
        best, end = -np.inf, (self._next - 1, -1)
        if self.frames:
            best = self.frames[-1].hidden
        # It may also go on unseen.
        for gap, frame in enumerate(reversed(self.frames)):
            if gap > self._prices.reach:
                break
            if len(frame.xy) and frame.score.max() - self._prices.missed * gap > best:
                best = float(frame.score.max()) - self._prices.missed * gap
                end = self._next - 1 - gap, int(frame.score.argmax())
        return end


def _odds(confidence: Array) -> Array:
    sure = np.clip(confidence.astype(np.float64), _NEAR_CERTAIN, 1 - _NEAR_CERTAIN)
    odds: Array = np.log(sure / (1 - sure))
    return odds
