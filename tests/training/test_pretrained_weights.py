"""Fine-tuning from the weights of a checkpoint that fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging
from torch import Tensor, nn

from tracknet.cli.bare_weights import load_weights
from tracknet.errors import UsageError
from tracknet.models.compact import CompactTrackNet
from tracknet.models.network import HeatmapNetwork
from tracknet.training.callbacks import PretrainedWeights
from tracknet.training.checkpoint_contents import read_file
from tracknet.training.checkpoint_format import write_checkpoint
from tracknet.training.lightning_module import HeatmapTracker


def tracker(frames: int = 3) -> HeatmapTracker:
    network = CompactTrackNet(frames, "none", stem=4, widths=[8, 8, 8])
    return HeatmapTracker(network, input_size=(32, 64))


@pytest.fixture
def trained(tmp_path):
    torch.manual_seed(5)
    module = tracker()
    write_checkpoint(
        {"state_dict": module.state_dict(), "pytorch-lightning_version": "2.6"}, tmp_path / "a.ckpt"
    )
    return tmp_path / "a.ckpt", module


def load(callback: PretrainedWeights, module: HeatmapTracker) -> None:
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    callback.setup(trainer, module, "fit")


def test_a_number_of_numpy_beside_the_weights_is_no_hindrance(trained, caplog):
    path, before = trained
    torch.save({"max_val_acc": np.float64(0.9), "model": before.state_dict()}, path)
    module = tracker()
    load(PretrainedWeights(str(path)), module)
    assert torch.equal(
        module.state_dict()["network.predictor.bias"], before.state_dict()["network.predictor.bias"]
    )
    assert torch.equal(
        module.state_dict()["network.stem.0.0.weight"], before.state_dict()["network.stem.0.0.weight"]
    )


def test_all_of_it_where_the_network_is_the_same(trained, caplog):
    path, before = trained
    module = tracker()
    with caplog.at_level("INFO"):
        load(PretrainedWeights(str(path)), module)
    for name, value in before.state_dict().items():
        assert torch.equal(module.state_dict()[name], value), name
    count = len(before.state_dict())
    assert f"{path}: {count} of {count} weights taken (100.0% of the numbers)" in caplog.text


@pytest.mark.parametrize("prefix", ["", "model.", "module.", "model._orig_mod."])
def test_files_that_hold_the_network_alone(trained, prefix, caplog):
    path, before = trained
    state = before.network.state_dict()
    weights = {f"{prefix}{name}": one for name, one in state.items()} | {"criterion.weight": torch.ones(1)}
    torch.save({"state_dict": weights, "pytorch-lightning_version": "2.5.0"}, path)
    module = tracker()
    load(PretrainedWeights(str(path)), module)
    for name, value in state.items():
        assert torch.equal(module.network.state_dict()[name], value), name


class Own(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 1, 1))


class Wrapped(HeatmapNetwork):
    def __init__(self) -> None:
        super().__init__(3, "none", 3)
        self.model = nn.Sequential(nn.Conv2d(9, 4, 3, padding=1), nn.Conv2d(4, 3, 1))

    def forward(self, windows: Tensor) -> Tensor:
        return self.model(windows)


MODEL = {
    "class_path": "HeatmapTracker",
    "init_args": {"network": f"{__name__}.Wrapped", "input_size": [32, 64]},
}


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "model.model."])
def test_a_module_may_have_a_model_of_its_own(tmp_path, prefix, caplog):
    before = Own()
    state = {f"{prefix}{name}": one for name, one in before.state_dict().items()}
    torch.save({"state_dict": state}, tmp_path / "a.ckpt")
    module = Own()
    with caplog.at_level("INFO"):
        load(PretrainedWeights(str(tmp_path / "a.ckpt")), module)
    assert "4 of 4 weights taken" in caplog.text
    for name, value in before.state_dict().items():
        assert torch.equal(module.state_dict()[name], value), name


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "network.", "module.network."])
def test_a_network_may_have_a_model_of_its_own(tmp_path, prefix):
    before = Wrapped()
    torch.save({f"{prefix}{name}": one for name, one in before.state_dict().items()}, tmp_path / "a.pt")
    module = HeatmapTracker(Wrapped(), input_size=(32, 64))
    load(PretrainedWeights(str(tmp_path / "a.pt")), module)
    for name, value in before.state_dict().items():
        assert torch.equal(module.network.state_dict()[name], value), name
    imported = load_weights(MODEL, read_file(tmp_path / "a.pt"), tmp_path / "a.pt").network.state_dict()
    for name, value in before.state_dict().items():
        assert torch.equal(imported[name], value), name


@pytest.mark.parametrize("order", [1, -1])
def test_averages_begin_with_them_in_whatever_order(trained, order):
    path, before = trained
    average = EMAWeightAveraging(update_starting_at_step=100)
    callbacks = [average, PretrainedWeights(str(path))][::order]
    module = tracker()
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu", callbacks=callbacks)
    for callback in callbacks:
        callback.setup(trainer, module, "fit")
    for name, value in before.state_dict().items():
        assert torch.equal(average._average_model.module.state_dict()[name], value), name


def test_what_fits_where_it_is_another_and_what_does_not_is_named(trained, caplog):
    path, before = trained
    module = tracker(frames=5)
    own = {name: value.clone() for name, value in module.state_dict().items()}
    fitting = [name for name, one in own.items() if one.shape == before.state_dict()[name].shape]
    other = [name for name in own if name not in fitting]
    assert fitting
    assert other
    with caplog.at_level("INFO"):
        load(PretrainedWeights(str(path), leave_out=[fitting[0]]), module)
    for name, value in module.state_dict().items():
        expected = before.state_dict()[name] if name in fitting[1:] else own[name]
        assert torch.equal(value, expected), name
    assert f"{len(fitting) - 1} of {len(own)} weights taken" in caplog.text
    assert f"left out: {fitting[0]}" in caplog.text
    was, now = list(before.state_dict()[other[0]].shape), list(own[other[0]].shape)
    assert f"of another shape: {other[0]} {was} for {now}" in caplog.text


def test_what_does_not_fit_at_all_is_refused_and_a_resumed_run_keeps_its_own(trained, tmp_path):
    path, _ = trained
    write_checkpoint({"state_dict": {"conv.weight": torch.ones(2)}}, tmp_path / "b.ckpt")
    with pytest.raises(
        UsageError, match=r"b.ckpt: nothing of it fits this HeatmapTracker: 0 of .*\n.*not in"
    ):
        load(PretrainedWeights(str(tmp_path / "b.ckpt")), tracker())
    trainer = Trainer(logger=False, enable_checkpointing=False, accelerator="cpu")
    trainer.ckpt_path = str(path)
    PretrainedWeights("nowhere.ckpt").setup(trainer, tracker(), "fit")
