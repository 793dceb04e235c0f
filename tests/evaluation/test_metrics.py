from __future__ import annotations

import copy
import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tracknet.evaluation.metrics import PRESETS, BallMetrics

INPUT = (288, 512)
HD = torch.tensor([[720, 1280]])  # 2.5 times the input
FULL_HD = torch.tensor([[1080, 1920]])  # 3.75 times


def judged(metric: BallMetrics, offset, size=INPUT, source=HD, detected=True, visible=True, counted=True):
    """Judge one frame whose ball is found ``offset`` away, and say which count it made."""
    metric.reset()
    target = torch.tensor([[[100.0, 50.0]]])
    metric.update(
        target + torch.tensor(offset),
        torch.tensor([[detected]]),
        target,
        torch.tensor([[visible]]),
        torch.tensor([[counted]]),
        size,
        source,
    )
    found = metric.compute()
    names = [name for name in ("tp", "fp1", "fp2", "tn", "fn") if found[name]]
    return names[0] if names else None


# At the edge, just within and just beyond it, in input pixels, for each preset.
@pytest.mark.parametrize(
    ("preset", "source", "edge", "at_edge"),
    [
        ("tracknetv1", HD, 2.0, "tp"),  # 5 px at 1280x720 = 2 px at 512x288
        ("tracknetv1", FULL_HD, 2.0, "tp"),  # whatever the source
        ("tracknetv2", HD, 4.0, "tp"),
        ("tracknetv2", FULL_HD, 4.0, "tp"),
        ("wasb", HD, 1.6, None),  # 4 px at 1280x720
        ("wasb", torch.tensor([[288, 512]]), 4.0, "fp1"),
        ("wasb", torch.tensor([[576, 1024]]), 2.0, "fp1"),
        ("v5", torch.tensor([[288, 512]]), 4.0, "tp"),
        ("v5", torch.tensor([[576, 1024]]), 2.0, "tp"),
        ("v5", FULL_HD, 4 / 3.75, None),
    ],
)
def test_the_tolerance_of_every_preset(preset, source, edge, at_edge):
    metric = BallMetrics(preset)
    for across, down in [(1, 0), (-1, 0), (0, 1), (0, -1)]:
        assert judged(metric, [across * (edge - 0.01), down * (edge - 0.01)], source=source) == "tp"
        assert judged(metric, [across * (edge + 0.01), down * (edge + 0.01)], source=source) == "fp1"
        if at_edge:  # where the edge is exact in binary
            assert judged(metric, [across * edge, down * edge], source=source) == at_edge


def test_the_distance_is_euclidean():
    metric = BallMetrics(tolerance=5.0)
    assert judged(metric, [3.0, 4.0]) == "tp"
    assert judged(metric, [3.0, 4.25]) == "fp1"
    assert judged(metric, [4.0, 4.0]) == "fp1"


def test_the_axes_are_scaled_each_by_its_own():
    metric = BallMetrics("v5")  # 4 px of a source twice as high and as wide as the input
    tall = torch.tensor([[1152, 512]])
    assert judged(metric, [4.0, 0.0], source=tall) == "tp"
    assert judged(metric, [0.0, 4.0], source=tall) == "fp1"
    assert judged(metric, [0.0, 1.0], source=tall) == "tp"


def test_every_kind_of_frame():
    metric = BallMetrics()
    assert judged(metric, [0.0, 0.0]) == "tp"
    assert judged(metric, [9.0, 0.0]) == "fp1"
    assert judged(metric, [0.0, 0.0], visible=False) == "fp2"
    assert judged(metric, [0.0, 0.0], visible=False, detected=False) == "tn"
    assert judged(metric, [0.0, 0.0], detected=False) == "fn"
    for visible in (True, False):
        assert judged(metric, [0.0, 0.0], visible=visible, counted=False) is None


def batch(kinds: str, distance: float = 1.0):
    """One window of frames: t tp, 1 fp1, 2 fp2, n tn, f fn, - not counted."""
    target = torch.full((1, len(kinds), 2), 100.0)
    offset = torch.tensor([50.0 if k == "1" else distance for k in kinds])
    xy = target.clone()
    xy[..., 0] += offset
    return (
        xy,
        torch.tensor([[k in "t12-" for k in kinds]]),
        target,
        torch.tensor([[k in "t1f-" for k in kinds]]),
        torch.tensor([[k != "-" for k in kinds]]),
        INPUT,
        HD,
    )


def test_the_figures_by_hand():
    metric = BallMetrics()
    metric.update(*batch("ttt12nnf-", distance=2.0))
    found = metric.compute()
    counts = {name: int(found[name]) for name in ("tp", "fp1", "fp2", "tn", "fn")}
    assert counts == {"tp": 3, "fp1": 1, "fp2": 1, "tn": 2, "fn": 1}
    assert found["accuracy"].item() == pytest.approx(5 / 8)
    assert found["precision"].item() == pytest.approx(3 / 5)
    assert found["recall"].item() == pytest.approx(3 / 4)
    assert found["f1"].item() == pytest.approx(2 * 0.6 * 0.75 / 1.35)
    assert found["rmse"].item() == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("preset", "recall"), [("tracknetv1", 3 / 5), ("tracknetv2", 3 / 4), ("wasb", 3 / 4), ("v5", 3 / 4)]
)
def test_the_recall_of_every_preset(preset, recall):
    metric = BallMetrics(preset)
    metric.update(*batch("ttt12nnf-"))
    found = metric.compute()
    assert found["recall"].item() == pytest.approx(recall)
    assert found["f1"].item() == pytest.approx(2 * 0.6 * recall / (0.6 + recall))


def test_small_errors_are_not_rounded_away():
    metric = BallMetrics()
    metric.update(*batch("ttt", distance=0.125))
    metric.update(*batch("t", distance=0.5))
    assert metric.compute()["rmse"].item() == pytest.approx(math.sqrt((3 / 64 + 1 / 4) / 4), rel=1e-5)


def test_rmse_is_over_the_hits_in_pixels_of_the_space():
    for preset, factor in [("tracknetv2", 1.0), ("tracknetv1", 2.5), ("v5", 2.5)]:
        metric = BallMetrics(preset, tolerance=20.0)
        metric.update(*batch("t1", distance=3.0))
        metric.update(*batch("t2", distance=4.0))
        assert metric.compute()["rmse"].item() == pytest.approx(math.sqrt(12.5) * factor)


@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
@pytest.mark.parametrize("kinds", ["", "-", "n", "f", "2", "1"])
def test_nothing_to_divide_by_gives_zero_but_no_error(kinds):
    metric = BallMetrics()
    if kinds:
        metric.update(*batch(kinds))
    found = metric.compute()
    for name in ("precision", "recall", "f1"):
        assert found[name] == 0
    assert found["rmse"].isnan()
    assert found["accuracy"] == (1 if kinds == "n" else 0)


def test_a_position_that_is_no_number_is_a_miss():
    metric = BallMetrics()
    xy, *rest = batch("tt")
    xy[0, 0] = math.nan
    metric.update(xy, *rest)
    found = metric.compute()
    assert (found["tp"], found["fp1"]) == (1, 1)
    assert found["rmse"] == 1.0


def test_labels_that_are_no_number_do_not_matter_without_a_ball():
    metric = BallMetrics()
    xy, detected, target, *rest = batch("2n-")
    metric.update(xy, detected, torch.full_like(target, math.nan), *rest)
    found = metric.compute()
    assert (found["fp2"], found["tn"], found["accuracy"]) == (1, 1, 0.5)


def random_batch(generator: torch.Generator, windows: int, groups: int):
    shape = (windows, 3)
    target = torch.rand(*shape, 2, generator=generator) * 200
    xy = target + torch.randn(*shape, 2, generator=generator) * 3
    flags = [torch.rand(*shape, generator=generator) < share for share in (0.7, 0.7, 0.8)]
    sizes = torch.tensor([[720, 1280], [1080, 1920]])[torch.randint(2, (windows,), generator=generator)]
    group = torch.randint(groups, (windows,), generator=generator)
    return (xy, flags[0], target, flags[1], flags[2], INPUT, sizes, group)


@pytest.mark.parametrize("preset", list(PRESETS))
@given(seed=st.integers(0, 2**31), split=st.lists(st.integers(1, 5), min_size=2, max_size=6))
@settings(max_examples=25)
def test_two_processes_together_equal_one(preset, seed, split):
    generator = torch.Generator().manual_seed(seed)
    batches = [random_batch(generator, windows, 3) for windows in split]
    whole, first, second = (BallMetrics(preset, groups=3) for _ in range(3))
    for n, one in enumerate(batches):
        (first if n % 2 else second).update(*one)
    together = [torch.cat([b[i] for b in batches]) if i != 5 else INPUT for i in range(8)]
    whole.update(*together)
    # What torchmetrics does between processes: states are gathered and reduced by dist_reduce_fx.
    merged = BallMetrics(preset, groups=3)
    for name, reduce in merged._reductions.items():
        setattr(merged, name, reduce(torch.stack([getattr(first, name), getattr(second, name)])))
    merged._update_count = 1
    assert torch.equal(merged.counts, whole.counts)
    assert torch.equal(merged.squared_error, whole.squared_error)
    expected = whole.compute()
    for name, value in merged.compute().items():
        assert torch.equal(value, expected[name]) or (value.isnan() and expected[name].isnan())
    assert merged.counts.sum() == together[4].sum()


def test_groups_are_counted_apart():
    metric = BallMetrics(groups=3)
    one, two = batch("tt1"), batch("f2n", distance=2.0)
    metric.update(*one, torch.tensor([0]))
    metric.update(*two, torch.tensor([2]))
    metric.update(*batch("t", distance=3.0), torch.tensor([2]))
    metric.update(*batch("ttt", distance=2.0), torch.tensor([0]))
    groups = metric.per_group()
    assert [g["tp"] for g in groups] == [5, 0, 1]
    assert groups[0]["precision"] == pytest.approx(5 / 6)
    assert groups[0]["rmse"] == pytest.approx(math.sqrt((2 * 1 + 3 * 4) / 5))
    assert math.isnan(groups[1].pop("rmse"))
    assert groups[1] == dict.fromkeys(groups[1], 0)
    assert (groups[2]["fn"], groups[2]["fp2"], groups[2]["tn"]) == (1, 1, 1)
    assert groups[2]["rmse"] == pytest.approx(3.0)
    assert sum(metric.compute()[n] for n in ("tp", "fp1", "fp2", "tn", "fn")) == 10


def test_windows_of_one_batch_may_share_a_group():
    metric = BallMetrics(groups=2)
    parts = [batch("tt"), batch("t1"), batch("nf")]
    together = [torch.cat([p[i] for p in parts]) if i != 5 else INPUT for i in range(7)]
    metric.update(*together, torch.tensor([1, 1, 0]))
    assert [g["tp"] for g in metric.per_group()] == [0, 3]


@pytest.mark.filterwarnings("ignore:The ``compute`` method:UserWarning")
def test_batches_add_up_and_reset_forgets():
    metric = BallMetrics()
    metric.update(*batch("t"))
    metric.update(*batch("t"))
    assert metric.compute()["tp"] == 2
    metric.reset()
    assert metric.compute()["tp"] == 0


def test_a_reset_under_inference_mode_does_not_hinder():
    metric = BallMetrics()
    with torch.inference_mode():
        metric.update(*batch("t"))
        metric.reset()
    metric.update(*batch("tt"))
    assert metric.compute()["tp"] == 2


def test_forward_gives_the_figures_of_the_batch_and_adds_them():
    metric = BallMetrics()
    metric(*batch("tt"))
    assert metric(*batch("t1"))["tp"] == 1
    assert metric.compute()["tp"] == 3


@pytest.mark.parametrize(
    ("options", "label"),
    [
        ({}, "tracknetv2: d <= 4 px at 288x512"),
        ({"preset": "tracknetv1"}, "tracknetv1: d <= 5 px at 720x1280"),
        ({"preset": "wasb"}, "wasb: d < 4 px at source size"),
        ({"preset": "v5"}, "v5: d <= 4 px at source size"),
        ({"preset": "v5", "tolerance": 4}, "v5: d <= 4 px at source size"),
        (
            {"preset": "wasb", "tolerance": 2.5, "space": (288, 512), "recall": "visible"},
            "changed wasb: d < 2.5 px at 288x512, recall of visible balls",
        ),
        ({"strict": True}, "changed tracknetv2: d < 4 px at 288x512, recall of detected balls"),
        ({"space": [288, 512]}, "tracknetv2: d <= 4 px at 288x512"),
    ],
)
def test_the_label_names_the_conventions(options, label):
    metric = BallMetrics(**options)
    assert metric.label == label
    metric.note = "average of overlapping windows"
    assert ", average of overlapping windows" in metric.label


def test_frames_are_one_group_where_nothing_else_is_said():
    assert len(BallMetrics().per_group()) == 1


def test_settings_override_the_preset():
    metric = BallMetrics(
        "tracknetv1", tolerance=3.0, space="source", strict=True, recall="detected", groups=2
    )
    assert (metric.tolerance, metric.space, metric.strict, metric.recall) == (3.0, "source", True, "detected")
    assert metric.groups == 2
    assert judged(BallMetrics(strict=True), [4.0, 0.0]) == "fp1"
    assert judged(BallMetrics("wasb", strict=False), [4.0, 0.0], source=torch.tensor([[288, 512]])) == "tp"


def test_copies_keep_settings_and_do_not_share_counts():
    metric = BallMetrics("wasb", groups=2)
    for other in (metric.clone(), copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        other.update(*batch("t"), torch.tensor([1]))
        assert other.label == metric.label
        assert other.per_group()[1]["tp"] == 1
    assert metric.per_group()[1]["tp"] == 0
