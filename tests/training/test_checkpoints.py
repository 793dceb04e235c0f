"""Trackers read back from files: of the command, of Python, and from what is no checkpoint."""

from __future__ import annotations

import os
import pickle
import sys
import types
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from tracknet.cli.main import main
from tracknet.data.datamodules import FlatVideoDataModule
from tracknet.errors import TrackNetError
from tracknet.evaluation.decoding import ComponentDecoder, PeakDecoder
from tracknet.evaluation.metrics import BallMetrics
from tracknet.models import CompactTrackNet, HeatmapNetwork, TrackNetV2
from tracknet.training import checkpoints
from tracknet.training.checkpoint_reading import _fault, mismatches
from tracknet.training.checkpoints import TrackNetCheckpointIO, _build, _folder_of, in_short, load_tracker
from tracknet.training.hyperparameters import describe, plain
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.losses import FocalLoss, MSELoss, QualityFocalLoss, WBCELoss
from tracknet.training.targets import DiscTarget, GaussianTarget, PeakTarget

SIZE = (64, 96)


class InPython(HeatmapTracker):
    """A tracker as a script sets it up; nobody but the script knows it."""

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


class WithRate(InPython):
    """A tracker with a parameter of its own."""

    def __init__(self, rate: float, network: HeatmapNetwork) -> None:
        super().__init__(network, input_size=SIZE)
        self.rate = rate


def a_network(**options):
    return CompactTrackNet(
        **{"frames": 3, "background": "subtract", "stem": 4, "widths": (8, 8, 8)} | options
    )


def a_trainer(folder, **options):
    return Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        max_epochs=1,
        limit_train_batches=2,
        limit_val_batches=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )


def saved(tracker, root, folder) -> Path:
    """Train for two steps, and save as `Trainer.fit` does."""
    data = FlatVideoDataModule(
        root,
        val=["b"],
        frames=tracker.frames,
        outputs=tracker.outputs,
        size=SIZE,
        background=tracker.needs_background,
    )
    trainer = a_trainer(folder)
    trainer.fit(tracker, datamodule=data)
    trainer.save_checkpoint(folder / "own.ckpt")
    return folder / "own.ckpt"


def assert_same(found, tracker):
    found_state, state = found.state_dict(), tracker.state_dict()
    assert found_state.keys() == state.keys()
    assert all(torch.equal(found_state[name], state[name]) for name in state)
    frames = torch.randint(0, 256, (1, tracker.frames, 3, *SIZE), dtype=torch.uint8)
    background = torch.randint(0, 256, (1, 3, *SIZE), dtype=torch.uint8)
    tracker.eval()
    found.eval()
    assert torch.equal(found.detect(frames, background).xy, tracker.detect(frames, background).xy)


@pytest.fixture(scope="module")
def of_the_command(tiny_rallies, tmp_path_factory):
    """Folder of a run of ``tracknet fit``."""
    folder = tmp_path_factory.mktemp("command")
    (folder / "run.yaml").write_text(
        f"""
        seed_everything: 3
        trainer:
          accelerator: cpu
          max_epochs: 1
          limit_train_batches: 2
          limit_val_batches: 2
          num_sanity_val_steps: 0
          enable_progress_bar: false
          enable_model_summary: false
          log_every_n_steps: 1
          logger:
            class_path: RunLogger
            init_args: {{save_dir: {folder}, name: "", version: run}}
          callbacks:
            - class_path: ModelCheckpoint
              init_args: {{monitor: val/f1, mode: max, filename: best, save_last: true}}
        model:
          class_path: HeatmapTracker
          init_args:
            network:
              class_path: CompactTrackNet
              init_args: {{frames: 3, background: concat, stem: 4, widths: [8, 8, 8]}}
            loss:
              class_path: FocalLoss
              init_args: {{gamma: 1.5}}
            decoder:
              class_path: PeakDecoder
              init_args: {{threshold: 0.2}}
            metrics:
              class_path: BallMetrics
              init_args: {{preset: wasb}}
            input_size: [64, 96]
        data:
          class_path: FlatVideoDataModule
          init_args:
            root: {tiny_rallies}
            val: [b]
            batch_size: 3
        optimizer:
          class_path: AdamW
          init_args: {{lr: 0.01}}
        lr_scheduler: WarmupCosine
        """
    )
    words = sys.argv
    try:
        assert main(["fit", "--config", str(folder / "run.yaml")]) == 0
    finally:
        sys.argv = words
    return folder / "run"


def test_a_checkpoint_of_the_command_is_enough_to_build_the_tracker(of_the_command):
    path = of_the_command / "checkpoints" / "last.ckpt"
    tracker = load_tracker(path)
    weights = torch.load(path, weights_only=True)["state_dict"]
    assert all(torch.equal(weights[name], value) for name, value in tracker.state_dict().items())
    assert weights.keys() == tracker.state_dict().keys()
    assert not tracker.training
    assert (tracker.frames, tracker.needs_background, tracker.input_size) == (3, True, (64, 96))
    assert isinstance(tracker.loss, FocalLoss)
    assert tracker.loss.gamma == 1.5
    assert isinstance(tracker.decoder, PeakDecoder)
    assert tracker.threshold == 0.2
    assert tracker.val_metrics.preset == "wasb"


def test_it_holds_what_lightning_and_the_command_read_too(of_the_command):
    path = of_the_command / "checkpoints" / "best.ckpt"
    assert_same(HeatmapTracker.load_from_checkpoint(path), load_tracker(path))


@pytest.mark.parametrize("of", ["command", "python"])
def test_the_command_tests_any_checkpoint(of, of_the_command, tiny_rallies, tmp_path, monkeypatch, capsys):
    path = of_the_command / "checkpoints" / "best.ckpt"
    if of == "python":
        path = saved(InPython(a_network(background="concat"), input_size=SIZE), tiny_rallies, tmp_path)
    monkeypatch.setattr(sys, "argv", ["tracknet"])
    words = ["test", "--config", str(of_the_command / "config.yaml"), "--ckpt_path", str(path)]
    words += [f"--trainer.logger.save_dir={tmp_path}", "--trainer.logger.version=test"]
    assert main(words) == 0
    assert "test/f1" in capsys.readouterr().out


class TestInPython:
    def test_a_tracker_without_the_command(self, tiny_rallies, tmp_path):
        tracker = InPython(
            a_network(),
            loss=FocalLoss(gamma=1.0, alpha=0.25),
            target=GaussianTarget(sigma=1.5),
            decoder=ComponentDecoder(threshold=0.3, select="score"),
            metrics=BallMetrics(preset="tracknetv1", tolerance=7.0),
            input_size=SIZE,
            mixup=0.5,
        )
        path = saved(tracker, tiny_rallies, tmp_path)
        found = load_tracker(path)
        assert_same(found, tracker)
        assert (found.loss.gamma, found.loss.alpha, found.target.sigma) == (1.0, 0.25, 1.5)
        assert (found.decoder.threshold, found.decoder.select) == (0.3, "score")
        assert found.val_metrics.label == found.test_metrics.label == tracker.val_metrics.label
        assert (found.input_size, found.mixup) == (SIZE, 0.5)
        # Lightning's own way, for the script that knows its class.
        assert_same(InPython.load_from_checkpoint(path), tracker)

    def test_its_file_holds_plain_values_only(self, tiny_rallies, tmp_path):
        path = saved(InPython(a_network(), input_size=SIZE), tiny_rallies, tmp_path)
        recipe = torch.load(path, weights_only=True)["hyper_parameters"]
        assert recipe["network"] == {
            "class_path": "tracknet.models.compact.CompactTrackNet",
            "init_args": {"frames": 3, "background": "subtract", "stem": 4, "widths": [8, 8, 8]},
        }
        assert plain(dict(recipe)) == dict(recipe)

    def test_a_class_that_is_gone_is_read_as_a_heatmap_tracker(self, tiny_rallies, tmp_path):
        tracker = InPython(a_network(), input_size=SIZE)
        path = saved(tracker, tiny_rallies, tmp_path)
        content = torch.load(path, weights_only=True)
        for gone in ("no_such_module.InPython", f"{__name__}.NoSuchClass", "", "os.path.join"):
            content["hyper_parameters"]["_class_path"] = gone
            torch.save(content, path)
            found = load_tracker(path)
            assert type(found) is HeatmapTracker
            assert_same(found, tracker)

    def test_a_class_with_parameters_of_its_own(self, tiny_rallies, tmp_path, monkeypatch):
        module = types.ModuleType("training_script")
        module.WithRate = WithRate
        monkeypatch.setitem(sys.modules, "training_script", module)
        monkeypatch.setattr(WithRate, "__module__", "training_script")
        tracker = WithRate(0.5, a_network())
        path = saved(tracker, tiny_rallies, tmp_path)
        found = load_tracker(path)
        assert isinstance(found, WithRate)
        assert found.rate == 0.5
        assert_same(found, tracker)
        monkeypatch.delitem(sys.modules, "training_script")
        assert_same(load_tracker(path), tracker)

    def test_loading_and_saving_again_changes_nothing(self, tiny_rallies, tmp_path):
        first = saved(InPython(a_network(), input_size=SIZE), tiny_rallies, tmp_path)
        tracker = load_tracker(first)
        trainer = a_trainer(tmp_path)
        trainer.strategy.connect(tracker)
        trainer.save_checkpoint(tmp_path / "again.ckpt", weights_only=True)
        assert_same(load_tracker(tmp_path / "again.ckpt"), tracker)

    def test_a_network_that_cannot_be_described_is_told_at_once_and_when_loading(self, tmp_path):
        class Local(CompactTrackNet):
            pass

        class Forgetful(TrackNetV2):
            def __init__(self, depth: int = 3) -> None:
                super().__init__()

        Forgetful.__qualname__ = "Forgetful"
        with pytest.warns(UserWarning, match="Local is defined inside a function"):
            HeatmapTracker(Local(frames=2, stem=1, widths=(1, 1, 1)))
        with pytest.warns(UserWarning, match="Forgetful does not keep its parameter 'depth'"):
            tracker = HeatmapTracker(Forgetful())
        trainer = a_trainer(tmp_path)
        trainer.strategy.connect(tracker)
        trainer.save_checkpoint(tmp_path / "own.ckpt", weights_only=True)
        with pytest.raises(TrackNetError, match="expected the keys state_dict and hyper_parameters"):
            load_tracker(tmp_path / "own.ckpt")


@pytest.mark.parametrize(
    "component",
    [
        a_network(),
        TrackNetV2(frames=1),
        WBCELoss("ball"),
        FocalLoss(gamma=3.0, alpha=0.3, reduction="ball"),
        QualityFocalLoss(beta=1.0),
        MSELoss("ball"),
        DiscTarget(3.5),
        GaussianTarget(3.5),
        PeakTarget(3.5, 0.7),
        PeakDecoder(0.4, window=7),
        ComponentDecoder(0.4, "score", "box"),
        BallMetrics("v5", tolerance=3.0, space=(100, 200), strict=True, recall="visible", groups=2),
        BallMetrics("wasb"),
    ],
    ids=lambda component: type(component).__name__,
)
def test_every_component_can_be_built_again_from_its_description(component):
    told = describe(component)
    assert told["class_path"] == f"{type(component).__module__}.{type(component).__name__}"
    again = type(component)(**told["init_args"])
    assert describe(again) == told
    default = type(component)()
    assert (
        isinstance(component, HeatmapNetwork)
        or describe(default) != told
        or told["init_args"] == {**told["init_args"], "preset": "wasb"}
    )


def test_values_are_plain_or_refused():
    assert plain((1, 2.5, "a", None, True, Path("b"), {"c": [1]})) == [
        1,
        2.5,
        "a",
        None,
        True,
        "b",
        {"c": [1]},
    ]

    class Restricted(int):
        pass

    assert type(plain(Restricted(3))) is int
    assert type(plain(True)) is bool
    with pytest.raises(ValueError, match="not a plain value"):
        plain(object())


# What is no checkpoint -------------------------------------------------------------------------------


class Evil:
    """A pickle that writes a file when it is opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.write_text, (self.path, "run"))


def refused(path):
    with pytest.raises(TrackNetError) as caught:
        load_tracker(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert "weights_only" not in message
    assert len(message) < len(str(path)) + 400
    return message.removeprefix(f"{path}: ")


def test_no_such_file(tmp_path):
    (tmp_path / "best.ckpt").touch()
    assert refused(tmp_path / "bets.ckpt") == "no such checkpoint; did you mean 'best.ckpt'?"
    assert refused(tmp_path / "nowhere" / "best.ckpt") == "no such checkpoint"
    assert refused(tmp_path) == "is a folder; expected a checkpoint file such as best.ckpt"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"seventeen random bytes", "it is not a file of PyTorch"),
        (bytes(range(256)) * 9, "it is not a file of PyTorch"),
        (b"PK\x03\x04 and then nothing", "it is cut short"),
        (b"\x80\x02 and then nothing", "it is damaged, or a pickle, which could hold code and is not opened"),
        *(
            (
                bytes((0x80, protocol, 0x95)),
                "it is damaged, or a pickle, which could hold code and is not opened",
            )
            for protocol in (2, 3, 4, 5)
        ),
    ],
)
def test_files_of_other_kinds(tmp_path, content, reason):
    path = tmp_path / "x.ckpt"
    path.write_bytes(content)
    assert refused(path) == f"not a readable checkpoint: {reason}"


def test_a_zip_file_of_another_kind(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.ckpt", "w") as file:
        file.writestr("letter.txt", "dear")
    assert refused(tmp_path / "x.ckpt") == (
        "not a readable checkpoint: it is damaged, or not a file of PyTorch"
    )


def test_a_checkpoint_cut_short(of_the_command, tmp_path):
    whole = (of_the_command / "checkpoints" / "last.ckpt").read_bytes()
    for share in (0.1, 0.5, 0.99):
        (tmp_path / "x.ckpt").write_bytes(whole[: int(len(whole) * share)])
        assert refused(tmp_path / "x.ckpt") == "not a readable checkpoint: it is cut short"


@pytest.mark.parametrize("form", ["torch", "pickle"])
def test_code_in_a_file_is_not_run(tmp_path, form):
    path, mark = tmp_path / "x.ckpt", tmp_path / "mark"
    content = {"state_dict": {}, "hyper_parameters": Evil(mark)}
    if form == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content))
    message = refused(path)
    assert message.startswith("not a readable checkpoint: it ")
    assert form == "pickle" or "could be code and is not opened" in message
    assert not mark.exists()
    # The case itself is right: opened without care, the file does write.
    if form == "torch":
        torch.load(path, weights_only=False)
        assert mark.exists()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (
            {f"layer{n}.weight": torch.zeros(1) for n in range(300)},
            "found " + ", ".join(f"layer{n}.weight" for n in range(5)) + " and 295 more",
        ),
        (dict.fromkeys("abcde", 1), "found a, b, c, d, e"),
        (dict.fromkeys("abcdef", 1), "found a, b, c, d, e and 1 more"),
        ({"epoch": 3, "model": {}, "param_dict": {}}, "found epoch, model, param_dict"),
        ({"state_dict": {}}, "found state_dict"),
        (torch.zeros(3), "found a Tensor"),
        ([1, 2], "found a list"),
        ({}, "found nothing"),
    ],
)
def test_torch_files_of_other_kinds(tmp_path, content, found):
    torch.save(content, tmp_path / "x.ckpt")
    message = refused(tmp_path / "x.ckpt")
    assert message.startswith("not a checkpoint of `tracknet fit`: expected the keys state_dict and")
    assert f"{found} (weights of others: tracknet checkpoint import {tmp_path / 'x.ckpt'}, with" in message


def test_a_number_of_numpy_as_in_published_files_names_the_command_that_reads_them(tmp_path):
    torch.save({"max_val_acc": np.float64(0.9), "model": {}}, tmp_path / "x.ckpt")
    told = "it holds a NumPy number, or settings of OmegaConf, as files of other trackers do; first: "
    command = f"tracknet checkpoint import {tmp_path / 'x.ckpt'}, with --config YAML"
    assert f"not a readable checkpoint: {told}{command}" in refused(tmp_path / "x.ckpt")


def test_the_keys_that_are_told_are_those_of_the_file(tmp_path):
    torch.save({"state_dict": {}, "pytorch-lightning_version": "2.5.0"}, tmp_path / "x.ckpt")
    assert "found state_dict, pytorch-lightning_version (weights of" in refused(tmp_path / "x.ckpt")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"a": (2, 3), "b": (4,)}, ""),
        ({"a": (2, 3)}, "there is no b"),
        ({"c": (1,), "b": (4,)}, "there is no a; c is unknown"),
        ({"a": (3, 2), "b": (4,), "c": ()}, "c is unknown; a is [3, 2], expected [2, 3]"),
        (
            {"c": (), "d": (), "e": ()},
            "there is no a; there is no b; c is unknown; d is unknown; e is unknown",
        ),
        (
            {"c": (), "d": (), "e": (), "f": (), "g": ()},
            "there is no a; there is no b; c is unknown; d is unknown; e is unknown and 2 more",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(given, told):
    expected = {"a": torch.zeros(2, 3), "b": torch.zeros(4)}
    assert mismatches(expected, {name: torch.zeros(shape) for name, shape in given.items()}) == told


STRANGER = """
from tracknet.models import CompactTrackNet
from tracknet.training.lightning_module import HeatmapTracker

class Net(CompactTrackNet): ...

class Tracker(HeatmapTracker): ...
"""


def test_classes_of_a_stranger_are_built_on_trust_only(of_the_command, tmp_path, monkeypatch):
    content = torch.load(of_the_command / "checkpoints" / "last.ckpt", weights_only=True)
    content = {name: content[name] for name in ("state_dict", "hyper_parameters")}  # no more is needed
    content["hyper_parameters"]["network"]["class_path"] = "stranger.deep.Net"
    content["hyper_parameters"]["_class_path"] = "stranger.deep.Tracker"
    torch.save(content, tmp_path / "x.ckpt")
    (tmp_path / "stranger").mkdir()
    (tmp_path / "stranger" / "deep.py").write_text(STRANGER)
    monkeypatch.syspath_prepend(tmp_path)
    assert "stranger.deep" in refused(tmp_path / "x.ckpt")
    assert "stranger" not in sys.modules
    tracker = load_tracker(tmp_path / "x.ckpt", trust=True)
    assert [type(one).__name__ for one in (tracker, tracker.network)] == ["Tracker", "Net"]
    for name in ("stranger", "stranger.deep"):
        del sys.modules[name]


def test_a_network_that_cannot_be_built_without_memory_is_compared_with_it(
    of_the_command, tmp_path, monkeypatch
):
    content = torch.load(of_the_command / "checkpoints" / "last.ckpt", weights_only=True)
    name, _ = content["state_dict"].popitem()
    torch.save(content, tmp_path / "x.ckpt")
    monkeypatch.setattr(checkpoints, "_refuse_other", lambda content: None)
    assert f": there is no {name})" in refused(tmp_path / "x.ckpt")


def test_a_network_is_compared_before_it_takes_memory(of_the_command, tmp_path, monkeypatch):
    content = torch.load(of_the_command / "checkpoints" / "last.ckpt", weights_only=True)
    name = next(iter(content["state_dict"]))
    content["state_dict"][name] = torch.zeros(7)
    torch.save(content, tmp_path / "x.ckpt")
    devices = []
    build = checkpoints._build

    def noting(recipe):
        tracker = build(recipe)
        devices.append(next(tracker.parameters()).device.type)
        return tracker

    monkeypatch.setattr(checkpoints, "_build", noting)
    message = refused(tmp_path / "x.ckpt")
    assert message.startswith("the tracker cannot be built from it (")
    assert f"{name} is [7], expected [" in message
    assert devices == ["meta"]


def test_nothing_but_the_class_and_the_network_is_needed_to_build(of_the_command):
    content = torch.load(of_the_command / "checkpoints" / "last.ckpt", weights_only=True)
    recipe = content["hyper_parameters"]
    assert type(_build({name: recipe[name] for name in ("network", "input_size")})) is HeatmapTracker
    for other in ("torch.nn.Linear", "tracknet.training.losses.no_such_thing", "tracknet.models", ".", "a"):
        assert type(_build(recipe | {"_class_path": other})) is HeatmapTracker
    with pytest.raises(ValueError, match=r"^it does not say how to build the network$"):
        _build({})


def test_reasons_are_told_in_few_words(tmp_path):
    assert in_short(ValueError()) == "ValueError"
    assert in_short(ValueError("two\n   lines")) == "two lines"
    assert in_short(ValueError("w" * 300)) == "w" * 300
    assert in_short(ValueError("w" * 301)) == "w" * 300 + " ..."
    assert _fault(tmp_path / "gone", ValueError()) == "No such file or directory"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"network": {"class_path": "tracknet.models.NoSuchNetwork", "init_args": {}}}, "NoSuchNetwork"),
        ({"network": {"class_path": "tracknet.models.TrackNetV2", "init_args": {"dept": 3}}}, "dept"),
        ({"network": {"class_path": "tracknet.models.TrackNetV2", "init_args": {}}}, "state_dict"),
        ({"network": {"class_path": "os.path.join"}}, ""),
        ({"input_size": [0, 96]}, "input_size"),
        ({"decoder": {"class_path": "PeakDecoder", "init_args": {"window": 4}}}, "odd number"),
    ],
)
def test_a_recipe_that_does_not_build(of_the_command, tmp_path, change, reason):
    content = torch.load(of_the_command / "checkpoints" / "last.ckpt", weights_only=True)
    content["hyper_parameters"] |= change
    torch.save(content, tmp_path / "x.ckpt")
    message = refused(tmp_path / "x.ckpt")
    assert message.startswith("the tracker cannot be built from it (")
    assert reason in message


def test_a_recipe_without_a_network(of_the_command, tmp_path):
    content = torch.load(of_the_command / "checkpoints" / "last.ckpt", weights_only=True)
    del content["hyper_parameters"]["network"]
    torch.save(content, tmp_path / "x.ckpt")
    assert "it does not say how to build the network" in refused(tmp_path / "x.ckpt")


def test_a_device_that_is_not_there(of_the_command):
    with pytest.raises(TrackNetError, match="cannot be built from it"):
        load_tracker(of_the_command / "checkpoints" / "last.ckpt", device="meta:no")


def test_loading_says_nothing(of_the_command, capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_tracker(of_the_command / "checkpoints" / "best.ckpt")
    assert capsys.readouterr() == ("", "")


def test_secrets_of_hyperparameters_do_not_get_into_a_file(tmp_path):
    content = {"state_dict": {}, "pytorch-lightning_version": "2.6"}
    names = ("hyper_parameters", "datamodule_hyper_parameters")
    content |= {name: {"hub_token": "0123456789", "rate": 0.5} for name in names}
    TrackNetCheckpointIO().save_checkpoint(content, tmp_path / "a.ckpt")
    found = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert [found[name] for name in names] == [{"hub_token": "<redacted>", "rate": 0.5}] * 2


def test_the_folder_of_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "link").symlink_to("a")
    assert _folder_of("best.ckpt") == _folder_of("./best.ckpt") == str(tmp_path)
    assert _folder_of(Path("a/best.ckpt")) == _folder_of("link/best.ckpt") == str(tmp_path / "a")
    assert _folder_of("s3://bucket/a/../b/best.ckpt") == "s3://bucket/a/../b"
    assert [_folder_of(name) for name in ("a/..", "a/.", "a/", "..", "")] == [""] * 5


def test_dates_are_kept_in_order_where_the_drive_allows_it(tmp_path, monkeypatch):
    path = tmp_path / "a.ckpt"
    path.touch()
    writer, first = TrackNetCheckpointIO(), path.stat().st_mtime_ns
    writer._date(path)
    writer._date(path)  # another one at the same moment
    assert path.stat().st_mtime_ns == first + 10**6

    def refuse(*args, **options):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "utime", refuse)
    writer._date(path)
    assert path.stat().st_mtime_ns == first + 10**6


def test_a_checkpoint_is_newer_than_the_one_before_it_whatever_the_clock_says(tmp_path):
    content = {"state_dict": {}, "pytorch-lightning_version": "2.6"}
    first, second, third = (tmp_path / name for name in ("first.ckpt", "second.ckpt", "third.ckpt"))
    TrackNetCheckpointIO().save_checkpoint(content, first)
    ahead = first.stat().st_mtime_ns + 3600 * 10**9
    os.utime(first, ns=(ahead, ahead))  # then the clock was set back by an hour
    session = TrackNetCheckpointIO()
    session.load_checkpoint(first)
    session.save_checkpoint(content, second)
    session.save_checkpoint(content, third)
    assert [path.stat().st_mtime_ns - ahead for path in (first, second, third)] == [0, 10**6, 2 * 10**6]
