"""Which trajectories `test` and `predict` make, by what they are given."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from jsonargparse import Namespace
from lightning.pytorch import LightningDataModule

from tracknet.cli.trajectory_options import judge_trajectories, write_trajectories
from tracknet.data.datamodules import FlatVideoDataModule
from tracknet.errors import UsageError
from tracknet.tracking.flight import FlightTracker
from tracknet.tracking.online import OnlineTracker
from tracknet.tracking.trajectory_figures import TrajectoryFigures
from tracknet.tracking.writer import TrajectoryWriter
from tracknet.training.lightning_module import HeatmapTracker

SIZE = (64, 96)


class OwnSteps(HeatmapTracker):
    """What its steps give is its own business."""

    def test_step(self, batch, batch_idx):
        """Say nothing."""

    def predict_step(self, batch, batch_idx):
        """Say nothing."""


class OwnInit(HeatmapTracker):
    """Another default."""

    def __init__(self, network):
        super().__init__(network, input_size=SIZE)


def figures(model, data, tracker=None, rectifier=None):
    trainer = SimpleNamespace(callbacks=[])
    chosen = Namespace(tracker=tracker, rectifier=rectifier, max_gap=4)
    judge_trajectories(chosen, trainer, model, data)
    return trainer.callbacks


@pytest.fixture
def rallies(tiny_rallies):
    return FlatVideoDataModule(tiny_rallies, frames=3, outputs=3, size=SIZE)


@pytest.mark.parametrize("kind", [HeatmapTracker, OwnInit])
def test_a_flight_is_judged_unless_something_else_is_asked_for(bright_network, rallies, kind):
    model = kind(bright_network(3))
    [callback] = figures(model, rallies)
    assert isinstance(callback, TrajectoryFigures)
    assert isinstance(callback.tracker, FlightTracker)
    assert callback.method is None
    [callback] = figures(model, rallies, "online", "linear")
    assert isinstance(callback.tracker, OnlineTracker)
    assert (type(callback.method).__name__, callback.max_gap) == ("LinearFill", 4)
    assert figures(model, rallies, "none") == []


def test_what_has_no_candidates_is_left_alone_unless_they_are_asked_for(bright_network, rallies):
    own = OwnSteps(bright_network(3), input_size=SIZE)
    for model, data in (
        (own, rallies),
        (HeatmapTracker(bright_network(3)), LightningDataModule()),
        (HeatmapTracker(bright_network(3)), None),
    ):
        assert figures(model, data) == []
        assert isinstance(figures(model, data, "flight")[0].tracker, FlightTracker)


def test_predict_writes_by_the_same_rule(bright_network, rallies):
    for model, tracker, kind in (
        (HeatmapTracker(bright_network(3)), None, FlightTracker),
        (HeatmapTracker(bright_network(3)), "online", OnlineTracker),
        (HeatmapTracker(bright_network(3)), "none", type(None)),
        (OwnSteps(bright_network(3)), None, type(None)),
    ):
        writer = TrajectoryWriter()
        chosen = Namespace(tracker=tracker, rectifier=None, max_gap=4)
        write_trajectories(chosen, SimpleNamespace(callbacks=[writer]), model, rallies)
        assert isinstance(writer.tracker, kind)
    chosen = Namespace(tracker="online", rectifier=None, max_gap=4)
    with pytest.raises(UsageError, match="--tracker: no TrajectoryWriter among trainer"):
        write_trajectories(chosen, SimpleNamespace(callbacks=[]), model, rallies)
