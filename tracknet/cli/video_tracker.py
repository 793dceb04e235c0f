"""How a video is tracked, by itself or among many: a checkpoint and settings in, rows of each video out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from tracknet.cli.engines import Device, Engine, Precision, load_detector
from tracknet.data.video import FrameSource
from tracknet.errors import TrackNetError
from tracknet.tracking.finder import gives_heatmaps
from tracknet.tracking.modes import Mode
from tracknet.tracking.rectification import rectify
from tracknet.tracking.tracker import track
from tracknet.tracking.trackers import TrackerName, choose_tracker
from tracknet.tracking.trajectory import TrajectoryRow


class TrackSettings(NamedTuple):
    """How to track; see `track_video` for the meaning."""

    ckpt: Path
    mode: Mode
    step: int | None
    lookahead: int
    flip: bool
    tracker: TrackerName | None
    max_jump: float
    background_seconds: float
    batch_size: int
    device: Device
    engine: Engine
    precision: Precision
    threshold: float | None
    rectifier: str | None
    max_gap: int

    @classmethod
    def chosen(cls, options: Mapping[str, Any]) -> TrackSettings:
        """Take the settings out of the options of the command.

        Args:
            options: Those of `track_video` by name; others are passed over.
        """
        settings = cls(**{name: options[name] for name in cls._fields})
        return settings._replace(mode=settings.mode or "single")

    def tracker_of(self, heatmaps: bool) -> TrackerName:
        """Say who chooses among the candidates of a frame.

        Args:
            heatmaps: Whether the detector gives heatmaps, without which there are none.
        """
        return self.tracker or ("flight" if heatmaps and self.mode != "causal" else "none")


class VideoTracker:
    """Tracks one video after the other with one detector.

    Args:
        settings: How.
        progress: Show the progress of each video.

    Attributes:
        threshold: Confidence from which a ball counts as visible.
        fills: Whether gaps are filled, so that rows have a column for it.

    Raises:
        TrackNetError: The checkpoint, the rectifier or the device cannot be used.
    """

    def __init__(self, settings: TrackSettings, progress: bool = False) -> None:
        self._settings = settings
        self._progress = progress
        self._fill = None
        if settings.rectifier is not None:
            from tracknet.cli.rectifier import choose_fill  # brings Lightning, which graphs can do without

            self._fill = choose_fill(settings.rectifier)
        self._detector, self._place = load_detector(
            settings.ckpt, settings.device, settings.engine, settings.threshold, settings.precision
        )
        self.threshold = self._detector.threshold
        self.fills = self._fill is not None

    @contextmanager
    def rows(self, source: FrameSource) -> Iterator[Iterable[TrajectoryRow]]:
        """Give the rows of a video, found as they are asked for inside of the block.

        Args:
            source: The video.

        Yields:
            One row a frame.

        Raises:
            UsageError: The settings do not go with the checkpoint, whatever the video.
            TrackNetError: The video cannot be read, or the memory does not suffice.
        """
        settings = self._settings
        chosen = settings.tracker_of(gives_heatmaps(self._detector))
        tracked = track(
            source,
            self._detector,
            mode=settings.mode,
            step=settings.step,
            lookahead=settings.lookahead,
            flip=settings.flip,
            tracker=choose_tracker(chosen, settings.max_jump),
            batch_size=settings.batch_size,
            device=self._place,
            background_seconds=settings.background_seconds,
            progress=self._progress,
        )
        try:
            with closing(tracked):
                size = (source.info.height, source.info.width)
                fill = self._fill
                yield tracked if fill is None else rectify(tracked, fill, size, settings.max_gap)
        except torch.OutOfMemoryError as error:
            raise TrackNetError(
                f"{source.path}: no memory left on {self._place} with --batch_size {settings.batch_size}: "
                "use a smaller one"
            ) from error
