"""What ``test`` and ``predict`` make of single frames: the options of a trajectory."""

from __future__ import annotations

from typing import Optional

from jsonargparse import Namespace
from jsonargparse.typing import PositiveInt
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import LightningArgumentParser

from tracknet.cli.rectifier import choose_fill
from tracknet.data.datamodules import RallyDataModule
from tracknet.errors import UsageError
from tracknet.evaluation.gaps import MAX_GAP
from tracknet.tracking.sightings import CandidateTracker
from tracknet.tracking.trackers import TrackerName, choose_tracker
from tracknet.tracking.trajectory_figures import TrajectoryFigures
from tracknet.tracking.writer import TrajectoryWriter
from tracknet.training.lightning_module import HeatmapTracker


def add_trajectory_options(parser: LightningArgumentParser, subcommand: str) -> None:
    """Give ``test`` and ``predict`` the options of a trajectory.

    Args:
        parser: Parser of the command.
        subcommand: Its name.
    """
    if subcommand not in ("test", "predict"):
        return
    does = "Judge what it chooses, too" if subcommand == "test" else "Who chooses among candidates"
    told = f"{does}: flight (default), online, or none: frame by frame."
    parser.add_argument("--tracker", type=Optional[TrackerName], default=None, help=told)  # noqa: UP045
    does = "Judge with gaps filled, too" if subcommand == "test" else "Fill gaps, and mark them"
    told = f"{does}: linear, acceleration, cubic, or a checkpoint."
    parser.add_argument("--rectifier", type=Optional[str], default=None, help=told)  # noqa: UP045
    told = "Longest gap that the rectifier fills, in frames."
    parser.add_argument("--max_gap", type=PositiveInt, default=MAX_GAP, help=told)


def judge_trajectories(
    chosen: Namespace, trainer: Trainer, model: LightningModule, data: LightningDataModule | None
) -> None:
    """Let ``test`` judge trajectories, too.

    Args:
        chosen: The options of the command.
        trainer: Its trainer, which gets a callback.
        model: What is tested.
        data: On which data.

    Raises:
        UsageError: There is no such rectifier.
    """
    tracker = _tracker(chosen, model, data, "test_step")
    if tracker is not None or chosen.rectifier is not None:
        fill = None if chosen.rectifier is None else choose_fill(chosen.rectifier)
        trainer.callbacks.append(TrajectoryFigures(tracker, fill, chosen.max_gap))  # type: ignore[attr-defined]


def write_trajectories(
    chosen: Namespace, trainer: Trainer, model: LightningModule, data: LightningDataModule | None
) -> None:
    """Let ``predict`` write whole trajectories.

    Args:
        chosen: The options of the command.
        trainer: Its trainer, whose `TrajectoryWriter` is told.
        model: What predicts.
        data: On which data.

    Raises:
        UsageError: There is no such rectifier, or nothing that writes trajectories.
    """
    callbacks = trainer.callbacks  # type: ignore[attr-defined]
    writers = [one for one in callbacks if isinstance(one, TrajectoryWriter)]
    for option in ("tracker", "rectifier"):
        if chosen[option] is not None and not writers:
            raise UsageError(f"--{option}: no TrajectoryWriter among trainer.callbacks, which writes rows")
    for writer in writers:
        writer.choose_with(_tracker(chosen, model, data, "predict_step"))
        if chosen.rectifier is not None:
            writer.fill_with(choose_fill(chosen.rectifier), chosen.max_gap)


def _tracker(
    chosen: Namespace, model: LightningModule, data: LightningDataModule | None, step: str
) -> CandidateTracker | None:
    """Make the tracker that is asked for; by default that of ``track``, where it has what it needs."""
    if chosen.tracker is not None:
        return choose_tracker(chosen.tracker)
    # A class of the user's own may do something else in its steps.
    ours = getattr(type(model), step) is getattr(HeatmapTracker, step, None)
    return choose_tracker("flight" if ours and isinstance(data, RallyDataModule) else "none")
