"""Mean distance and PCK: by hand, in parts, and over processes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from jsonargparse import Namespace

from tracknet.evaluation.distances import BallDistances, distance_names
from tracknet.evaluation.metrics import BallMetrics
from tracknet.training.hyperparameters import describe

SOURCE = torch.tensor([[720, 1280], [1080, 1920]])
# Distances 3, 5 and 0.5 of balls that count; 9 px off but not counted; no ball; 12.5 px off.
TARGET = torch.tensor([[[10, 20], [30, 40], [5, 5]], [[0, 0], [7, 7], [100, 50]]], dtype=torch.float64)
OFFSET = torch.tensor([[[3, 0], [-3, 4], [0.3, 0.4]], [[9, 0], [50, 0], [-7.5, 10]]], dtype=torch.float64)
VISIBLE = torch.tensor([[True, True, True], [True, False, True]])
COUNTED = torch.tensor([[True, True, True], [False, True, True]])
DETECTED = torch.tensor([[True, False, True], [True, True, False]])


def updated(metric, rows=slice(None), input_size=(288, 512)):
    metric.update(
        (TARGET + OFFSET)[rows],
        DETECTED[rows],
        TARGET[rows],
        VISIBLE[rows],
        COUNTED[rows],
        input_size,
        SOURCE[rows],
    )
    return metric


def test_by_hand_and_beside_the_other_figures():
    found = updated(BallDistances(pck=(3.0, 0.4, 12.5))).compute()
    assert found["l2"].item() == pytest.approx((3 + 5 + 0.5 + 12.5) / 4, abs=1e-6)
    assert [found[f"pck@{radius}"].item() for radius in ("3", "0.4", "12.5")] == [0.5, 0.0, 1.0]
    plain = updated(BallMetrics()).compute()
    assert {name: found[name] for name in plain} == plain
    # In pixels of a picture half as wide and a quarter as high.
    half = updated(BallDistances(pixels=(72, 256))).compute()
    lengths = [1.5, 3.25**0.5, 0.0325**0.5, 20.3125**0.5]
    assert half["l2"].item() == pytest.approx(sum(lengths) / 4, abs=1e-6)
    assert half["pck@3"].item() == 0.75
    # Pixels are those of the input, whatever the space of the other figures.
    other = updated(BallDistances("wasb"), input_size=(144, 256)).compute()
    assert other["l2"] == found["l2"]
    assert other["rmse"] != found["rmse"]


OPTIONS = {
    "tolerance": {"tolerance": 0.7},
    "space": {"space": (36, 64)},
    "strict": {"tolerance": 3.0, "strict": True},
    "recall": {"recall": "visible"},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_options_of_the_other_figures_are_heeded(options):
    found, plain = updated(BallDistances(**options)), updated(BallMetrics(**options))
    assert found.label == plain.label != BallMetrics().label
    figures = plain.compute()
    assert {name: found.compute()[name] for name in figures} == figures


def test_groups_are_counted_apart():
    assert len(updated(BallDistances()).per_group()) == 1
    found, plain = BallDistances(groups=2), BallMetrics(groups=2)
    for metric in (found, plain):
        metric.update(
            TARGET + OFFSET,
            DETECTED,
            TARGET,
            VISIBLE,
            COUNTED,
            (288, 512),
            SOURCE,
            group=torch.tensor([1, 0]),
        )
    np.testing.assert_equal(found.per_group(), plain.per_group())
    assert [figures["tp"] for figures in found.per_group()] == [0, 2]


def test_one_pixel_further_is_seen():
    metric = BallDistances(pck=(3.0,))
    xy = TARGET[:1, :1] + torch.tensor([4.0, 0.0])
    yes = torch.tensor([[True]])
    metric.update(xy, yes, TARGET[:1, :1], yes, yes, (288, 512), SOURCE[:1])
    found = metric.compute()
    assert (found["l2"].item(), found["pck@3"].item()) == (4.0, 0.0)


def test_without_a_ball_and_after_a_reset_there_is_no_distance():
    metric = BallDistances()
    assert metric.compute()["l2"].isnan()
    assert metric.compute()["pck@3"] == 0.0
    updated(metric).reset()
    assert metric.compute()["l2"].isnan()


def test_sums_of_processes_are_those_of_one():
    whole = updated(BallDistances(pck=(1.0, 3.0)))
    parts = [updated(BallDistances(pck=(1.0, 3.0)), slice(b, b + 1)) for b in range(2)]
    # What torchmetrics does between processes: each state by its own reduction.
    for name, reduction in whole._reductions.items():
        summed = reduction(torch.stack([getattr(part, name) for part in parts]))
        assert torch.equal(summed, getattr(whole, name)), name
        assert getattr(BallDistances(), name).dtype == torch.int64


def test_it_describes_itself_for_checkpoints():
    found = describe(BallDistances("wasb", pck=(2.0, 5.0)))
    assert found["class_path"] == "tracknet.evaluation.distances.BallDistances"
    assert found["init_args"]["pck"] == [2.0, 5.0]
    assert found["init_args"]["preset"] == "wasb"


@pytest.mark.parametrize(
    ("name", "radii", "expected"),
    [
        ("tracknet.evaluation.distances.BallDistances", (3.0, 5.5), ["l2", "pck@3", "pck@5.5"]),
        ("BallDistances", None, ["l2"]),
        ("tracknet.evaluation.metrics.BallMetrics", None, []),
    ],
)
def test_the_names_of_the_figures_that_a_configuration_adds(name, radii, expected):
    chosen = Namespace(class_path=name, init_args=Namespace(pck=radii))
    assert distance_names(chosen) == expected
    assert distance_names(None) == []
    if radii:
        assert {*expected} == updated(
            BallDistances(pck=radii)
        ).compute().keys() - BallMetrics().compute().keys()
