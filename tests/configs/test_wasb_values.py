"""What single values of WASB's files become, where that depends on other values of theirs."""

from __future__ import annotations

import pytest

from tracknet.configs.migration import wasb_values as values

SIGMAS = {"dataloader.heatmap.sigmas": [2.5, 5.0]}
BINARY = {"dataloader.heatmap.name": "binary_fixed_size"}


def test_the_plain_cross_entropy_is_a_focal_loss_without_focus():
    assert values.loss("bce", {}).value == {"class_path": "FocalLoss", "init_args": {"gamma": 0.0}}
    assert "gamma" not in str(values.loss("wbce", {}).value)
    assert values.loss("combo", {}).value["class_path"] == "ComboLoss"


def test_targets_and_their_floor():
    told = values.target("binary_fixed_size", SIGMAS)
    assert (told.kind, told.value["class_path"], told.value["init_args"]) == (
        "renamed",
        "DiscTarget",
        {"radius": 2.5},
    )
    assert values.target("real", SIGMAS).value["class_path"] == "PeakTarget"
    assert values.floor(0.6, {}) == 0.6
    assert values.floor(0.6, BINARY).kind == "dropped"


@pytest.mark.parametrize(
    ("method", "weighed", "value"),
    [
        ("concomp", True, {"class_path": "ComponentDecoder", "init_args": {"select": "score"}}),
        ("concomp", False, {"class_path": "ComponentDecoder", "init_args": {"select": "area"}}),
        ("nms", True, {"class_path": "PeakDecoder"}),
    ],
)
def test_decoders(method, weighed, value):
    assert values.blobs(method, {"detector.postprocessor.use_hm_weight": weighed}).value == value


def test_peaks_have_no_size():
    peaks = {"detector.postprocessor.blob_det_method": "nms"}
    assert [values.weighed(one, {}) for one in (True, False)] == ["score", "area"]
    assert values.weighed(True, peaks).kind == "dropped"


def test_windows_overlap_or_not():
    assert values.step(3, {"model.frames_in": 3}).value == "single"
    assert values.step(1, {"model.frames_in": 3}).value == "average"


def test_augmentation_that_never_happens_is_dropped():
    assert values.at_half(0.2, {"transform.train.color_jitter.p": 0}).kind == "dropped"
    told = values.at_half(0.2, {"transform.train.color_jitter.p": 0.5})
    assert (told.value, told.note) == (0.2, "in all windows, was in 0.5 of them")
    assert values.zoom(0.2, {}).kind == "dropped"
    # The picture is enlarged by 1 + max_rescale, and the crop has the size that it had.
    assert values.zoom(0.125, {"transform.train.crop.p": 0.5}).value == [1.0, 1.125]
    assert values.zoom(1.0, {"transform.train.crop.p": 0.5}).value == [1.0, 2.0]


def test_schedules():
    told = values.schedule("multistep", {"optimizer.scheduler.stepsize": [5, 9]})
    assert told.value == {"class_path": "MultiStepLR", "init_args": {"milestones": [5, 9], "gamma": 0.1}}
    for name, kind in (("constant", "renamed"), (None, "renamed"), ("multistep_warmup", "changed")):
        told = values.schedule(name, {})
        assert (told.kind, told.value["class_path"]) == (kind, "ConstantLR")
    assert "multistep_warmup" in told.note
    assert values.factor(0.5, {"optimizer.scheduler.name": "constant"}) == 0.5
    assert values.factor(0.5, {"optimizer.scheduler.name": "multistep"}).kind == "dropped"
    assert values.stepped([5], {"optimizer.scheduler.name": "multistep"}) == [5]
    assert values.stepped([5], {}).kind == "dropped"


def test_devices():
    assert [values.devices(one, {}) for one in ([0, 1], 0)] == [2, 1]
    assert [values.accelerator(one, {}).value for one in ("cuda", "cpu", "mps")] == ["auto", "cpu", "auto"]


def test_a_batch_is_parted_among_the_devices():
    assert [values.batch(8, old) for old in ({}, {"runner.gpus": [0]}, {"runner.gpus": 0})] == [8, 8, 8]
    for whole, part in ((8, 2), (9, 2), (3, 1)):
        told = values.batch(whole, {"runner.gpus": [0, 1, 2, 3]})
        assert (told.kind, told.value) == ("changed", part)
    assert told.note == "of each process, was 3 on 4 GPUs"


def test_clips_that_are_not_named():
    assert values.names([1, "a"], {}) == ["1", "a"]
    assert values.names(None, {}) is None
