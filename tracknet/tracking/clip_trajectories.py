"""Trajectories of the clips of a data set, put together from batches of windows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from jsonargparse.typing import PositiveInt
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from tracknet.data.cached_clip import LabelledClip
from tracknet.data.datamodules import RallyDataModule
from tracknet.data.geometry import resize_xy
from tracknet.errors import TrackNetError
from tracknet.evaluation.decoding import Detections
from tracknet.evaluation.gaps import MAX_GAP
from tracknet.tracking.flight import RATE
from tracknet.tracking.processes import frames_of_all_processes
from tracknet.tracking.rectification import GapFill, fill_known
from tracknet.tracking.sightings import CandidateTracker, Sighting, row_of
from tracknet.tracking.trajectory import TrajectoryRow

Size = tuple[int, int]


class ClipTrajectories:
    """Makes of each clip the trajectory that ``tracknet track`` makes of its video.

    Args:
        tracker: Chooses among the candidates of each frame; default the decoder's choice, frame by frame.
    """

    def __init__(self, tracker: CandidateTracker | None = None) -> None:
        self.tracker = tracker
        self._seen: dict[int, dict[int, tuple[Sighting, Size]]] = defaultdict(dict)

    def begin(self, module: LightningModule) -> None:
        """Begin anew, whatever an interrupted run has left, and ask for the candidates of a tracker.

        Args:
            module: A `HeatmapTracker`.

        Raises:
            TrackNetError: Another tracker has asked for others.
        """
        self._seen.clear()
        if self.tracker is None:
            return
        threshold = float(module.threshold)  # type: ignore[arg-type]
        least = self.tracker.least(threshold)
        wanted = threshold if least is None else least
        asked = getattr(module, "candidates_from", None)
        if asked not in (None, wanted):
            raise TrackNetError(
                f"{type(self.tracker).__name__} wants candidates from {wanted:g}, another tracker of this "
                f"run from {asked:g}; give each a run of its own"
            )
        module.candidates_from = wanted  # type: ignore[assignment]

    def end(self, module: LightningModule) -> None:
        """Ask for no candidates any more, as after a run that has broken off.

        Args:
            module: As in `begin`.
        """
        if self.tracker is not None:
            module.candidates_from = None  # type: ignore[assignment]

    def add(
        self, module: LightningModule, batch: Mapping[str, Tensor], outputs: Mapping[str, Any], xy: Tensor
    ) -> None:
        """Keep the frames that a batch of windows speaks for.

        Args:
            module: As in `begin`.
            batch: A batch of `WindowDataset`.
            outputs: What ``test_step`` or ``predict_step`` gave for it.
            xy: Best positions in pixels of the source, ``[B, L_out, 2]``.
        """
        last = slice(-xy.shape[1], None)
        counted = batch["counted"][:, last].cpu()
        window = counted.nonzero()[:, 0]
        candidates: list[Detections] | None = outputs.get("candidates")
        if self.tracker is not None and candidates is None:
            raise TrackNetError(
                f"{type(self.tracker).__name__} chooses among candidates, and the steps of this model give "
                "none (see HeatmapTracker.candidates_from); use --tracker none"
            )
        rows = zip(
            batch["clip"].cpu()[window].tolist(),
            batch["frame"][:, last].cpu()[counted].tolist(),
            batch["source_size"].cpu()[window].tolist(),
            xy.cpu()[counted].double().numpy(),
            outputs["confidence"].cpu()[counted].tolist(),
            strict=True,
        )
        for place, (clip, frame, (height, width), best, confidence) in enumerate(rows):
            places, values, highest = best[None], np.array([confidence]), confidence
            if self.tracker is not None and candidates is not None:
                found, size = candidates[place], module.input_size
                places = resize_xy(found.xy.cpu().double(), size, (height, width)).numpy()  # type: ignore[arg-type]
                values = found.confidence.cpu().double().numpy()
                highest = float(values.max(initial=confidence))
            self._seen[clip][frame] = Sighting(frame, places, values, highest), (height, width)

    def rows(self, trainer: Trainer, module: LightningModule) -> dict[int, list[TrajectoryRow]]:
        """Give the trajectories, and keep nothing; all processes must ask.

        Args:
            trainer: The trainer that runs them. Its data tell the rate of each clip, where they are a
                `RallyDataModule`; otherwise it counts as 30 frames a second.
            module: As in `begin`.

        Returns:
            One row for each frame that was seen, in order, by clip; positions in pixels of the source. A
            flight does not go on across frames that were left out.
        """
        seen = frames_of_all_processes(trainer, self._seen)
        self._seen.clear()
        self.end(module)
        data = getattr(trainer, "datamodule", None)
        clips = data.parts["test"] if isinstance(data, RallyDataModule) else []
        threshold = float(module.threshold)  # type: ignore[arg-type]
        return {
            number: [
                row
                for part in _unbroken([frames[frame][0] for frame in sorted(frames)])
                for row in self._follow(part, frames[part[0].frame][1], _rate(clips, number), threshold)
            ]
            for number, frames in sorted(seen.items())
        }

    def _follow(
        self, sightings: list[Sighting], size: Size, fps: float, threshold: float
    ) -> Iterator[TrajectoryRow]:
        if self.tracker is None:
            for sighting in sightings:
                yield row_of(sighting, 0 if sighting.highest >= threshold else None)
            return
        for sighting, choice in self.tracker.follow(sightings, size, fps, threshold):
            yield row_of(sighting, choice)


def _rate(clips: Sequence[LabelledClip], number: int) -> float:
    return clips[number].fps if clips else RATE


def _unbroken(sightings: Sequence[Sighting]) -> Iterator[list[Sighting]]:
    """Give the parts of a clip without a frame left out."""
    numbered = enumerate(sightings)
    for _, part in groupby(numbered, key=lambda one: one[1].frame - one[0]):
        yield [sighting for _, sighting in part]


def filled_rows(
    rows: Sequence[TrajectoryRow], method: GapFill, size: tuple[int, int], max_gap: PositiveInt = MAX_GAP
) -> list[TrajectoryRow]:
    """Fill the gaps of a trajectory; frames that were left out lengthen a gap.

    Args:
        rows: The trajectory.
        method: How a gap is filled.
        size: Height and width of the source.
        max_gap: Longest gap that is filled, in frames.

    Returns:
        The same rows, those of filled frames with a ball and marked as filled.
    """
    xy, visible = np.array([(row.x, row.y) for row in rows]), np.array([row.visible for row in rows])
    positions, filled = fill_known([row.frame for row in rows], xy, visible, method, size, max_gap)
    return [
        row._replace(visible=True, x=x, y=y, filled=True) if new else row
        for row, (x, y), new in zip(rows, positions.tolist(), filled, strict=True)
    ]
