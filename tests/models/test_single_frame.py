"""Single-frame heatmap networks: sizes of heatmaps, decoders' options, and training from the command line."""

from __future__ import annotations

import csv
import sys

import pytest
import torch
from torch import nn

from tracknet.cli.main import main
from tracknet.evaluation.decoding import ComponentDecoder
from tracknet.models import ConvNeXtFPN, ConvNeXtHRNet, ViTUpsample
from tracknet.models.decoder_blocks import BlockStyle, SqueezeExcitation, conv_block
from tracknet.training.hyperparameters import describe
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.targets import GaussianTarget

STAGES = {"widths": (4, 8, 12, 16), "depths": (1, 1, 1, 1)}
TINY = {"embedding": 16, "layers": 1, "heads": 2, "widths": (16, 8, 8, 8)}
NETWORKS = [
    (ConvNeXtFPN, {**STAGES, "lateral": 8}),
    (ConvNeXtFPN, {**STAGES, "lateral": 8, "fuse": "concat"}),
    (ConvNeXtHRNet, {**STAGES, "branches": (4, 6, 8, 10), "fused": 8}),
    (ViTUpsample, TINY),
]

pytestmark = pytest.mark.backbones


@pytest.mark.parametrize(("network", "size"), NETWORKS)
@pytest.mark.parametrize(("wanted", "found"), [(None, (32, 48)), ((24, 40), (24, 40)), ((64, 48), (64, 48))])
def test_heatmaps_of_any_size_in_which_every_parameter_learns(network, size, wanted, found):
    net = network(1, heatmap_size=wanted, **size)
    logits = net(torch.rand(2, 3, 64, 96))
    assert logits.shape == (2, 1, *found)
    logits.square().mean().backward()
    trained = {name for name, one in net.named_parameters() if one.requires_grad}
    assert {name for name, one in net.named_parameters() if one.grad is None and name in trained} == set()
    assert describe(net)["init_args"]["heatmap_size"] == (None if wanted is None else list(wanted))


class Drawn(nn.Module):
    """A network's last layer that answers with a Gaussian at a place of the input."""

    def __init__(self, xy, sigma, size):
        super().__init__()
        self.xy, self.sigma, self.size = xy, sigma, size

    def forward(self, y):
        xy = torch.tensor(self.xy).expand(len(y), 1, 2)
        seen = torch.ones(len(y), 1, dtype=torch.bool)
        return GaussianTarget(self.sigma)(xy, seen, self.size, (y.shape[-2], y.shape[-1]))


@pytest.mark.parametrize("wanted", [(48, 64), (36, 96), (60, 90)])
def test_a_ball_stays_where_it_is_when_the_heatmap_is_resized(wanted):
    size, xy = (96, 128), (71.3, 40.6)
    net = ViTUpsample(1, heatmap_size=wanted, **TINY)
    net.predictor = Drawn(xy, 5.0, size)
    with torch.no_grad():
        found = ComponentDecoder(0.1)(net(torch.rand(1, 3, *size))[:, 0], size)
    assert torch.allclose(found.xy, torch.tensor([xy]), atol=0.1)
    net.predictor = Drawn((xy[0] + 1, xy[1]), 5.0, size)
    with torch.no_grad():
        moved = ComponentDecoder(0.1)(net(torch.rand(1, 3, *size))[:, 0], size)
    assert (moved.xy - found.xy)[0].tolist() == pytest.approx([1.0, 0.0], abs=0.1)


def test_heatmaps_of_another_size_in_half_precision():
    torch.manual_seed(0)
    net, x = ViTUpsample(1, heatmap_size=(9, 15), **TINY).eval(), torch.rand(1, 3, 32, 64)
    with torch.inference_mode():
        exact = net(x)
        with torch.autocast("cpu", torch.bfloat16):
            half = net(x)
    assert exact.shape == half.shape == (1, 1, 9, 15)
    torch.testing.assert_close(half, exact, rtol=0, atol=0.1)


@pytest.mark.parametrize("size", [(288, 512), (360, 640), (224, 224), (144, 256)])
def test_targets_at_144x256_are_read_back_to_the_tenth_of_a_pixel(size):
    height, width = size
    xy = torch.tensor([[[width * 0.31, height * 0.57], [width * 0.9 + 0.37, height * 0.11], [20.0, 30.0]]])
    seen = torch.ones(1, 3, dtype=torch.bool)
    target = GaussianTarget(2.0, "heatmap")(xy, seen, size, (144, 256))
    found = ComponentDecoder()(target[0], size)
    assert torch.allclose(found.xy, xy[0], atol=0.1)
    # A network that answers one cell too far right is off by a cell's width.
    shifted = ComponentDecoder()(target[0].roll(1, dims=-1), size)
    assert torch.allclose(shifted.xy - found.xy, torch.tensor([width / 256, 0.0]), atol=0.02)


def test_blocks_of_a_decoder():
    style = BlockStyle("gn", "gelu", depthwise=True, se_reduction=4, dropout=0.25)
    block = conv_block(12, 20, style)
    kinds = [nn.Conv2d, nn.Conv2d, nn.GroupNorm, nn.GELU, SqueezeExcitation, nn.Dropout2d]
    assert [type(layer) for layer in block] == kinds
    assert (block[0].groups, block[0].out_channels, block[2].num_groups, block[5].p) == (12, 12, 4, 0.25)
    assert [type(layer) for layer in conv_block(12, 20)] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    with torch.no_grad():
        net = ViTUpsample(
            1, **TINY, blocks=2, norm="gn", activation="gelu", depthwise=True, se_reduction=4, dropout=0.1
        ).eval()
        assert net(torch.rand(1, 3, 32, 32)).shape == (1, 1, 16, 16)
    assert sum(isinstance(layer, SqueezeExcitation) for layer in net.modules()) == 1 + 3 * 2
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in net.modules())


def test_squeeze_and_excitation_by_hand():
    layer = SqueezeExcitation(2, 2)
    with torch.no_grad():
        for one, value in zip(layer.parameters(), (1.0, 0.0, 1.0, 0.0), strict=True):
            one.fill_(value)
        x = torch.tensor([1.0, 3.0, 2.0, 2.0]).reshape(1, 2, 1, 2)
        torch.testing.assert_close(layer(x), x * torch.tensor(4.0).sigmoid())


def test_the_branches_of_the_hrnet_hear_each_other():
    torch.manual_seed(0)
    net = ConvNeXtHRNet(1, **STAGES, branches=(4, 6, 8, 10), num_units=1, fused=8).eval()
    sides = (16, 8, 4, 2)
    branches = [
        torch.rand(1, width, side, side, requires_grad=True)
        for width, side in zip(net.branches, sides, strict=True)
    ]
    for target, fused in enumerate(net.exchange(branches)):
        assert fused.shape == branches[target].shape
        heard = torch.autograd.grad(fused.sum(), branches, retain_graph=True)
        assert all(one.abs().sum() > 0 for one in heard)


LEGACY = [
    "--model.network.frames=1",
    "--model.network.heatmap_size=[36,64]",
    "--model.loss=MaskedFocalLoss",
    "--model.target=GaussianTarget",
    "--model.target.sigma=2.0",
    "--model.target.unit=heatmap",
    "--model.metrics=BallDistances",
    "--model.metrics.pck=[3,10]",
    "--trainer.callbacks+=EarlyStopping",
    "--trainer.callbacks.monitor=val/pck@3",
    "--trainer.callbacks.mode=max",
]
FEW = ["--trainer.accelerator=cpu", "--trainer.max_epochs=1", "--trainer.enable_progress_bar=false"]
FEW += ["--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1", "--data.batch_size=2"]
FEW += ["--trainer.num_sanity_val_steps=0", "--model.input_size=[64,96]"]
SMALL = {
    "convnext_hrnet": [
        "--model.network.widths=[4,8,12,16]",
        "--model.network.depths=[1,1,1,1]",
        "--model.network.branches=[4,6,8,10]",
    ],
    "vit": ["--model.network.embedding=16", "--model.network.layers=1", "--model.network.heads=2"],
}


@pytest.mark.parametrize("name", ["convnext_hrnet", pytest.param("vit", marks=pytest.mark.slow)])
def test_a_single_frame_network_trains_and_is_read_back(name, tiny_rallies, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tracknet"])
    root = [f"--data.root={tiny_rallies}", "--data.val=[c]"]
    assert main(["fit", f"+model={name}", "+logging=csv", *LEGACY, *SMALL[name], *root, *FEW]) == 0
    (file,) = tmp_path.rglob("metrics.csv")
    with file.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    for figure in ("val/loss", "val/l2", "val/pck@3", "val/pck@10", "val/f1"):
        values = [float(row[figure]) for row in rows if row.get(figure)]
        assert len(values) == 1, figure
        assert values[0] >= 0, figure
    (file,) = tmp_path.rglob("last.ckpt")
    tracker = HeatmapTracker.load_from_checkpoint(file)
    assert tracker.network.heatmap_size == (36, 64)
    assert tracker.target.unit == "heatmap"
    assert tracker.val_metrics.pck == (3.0, 10.0)


def test_a_radius_that_nobody_counts_cannot_be_watched(tiny_rallies, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["tracknet"])
    words = [*LEGACY, "--trainer.callbacks.monitor=val/pck@5", f"--data.root={tiny_rallies}"]
    assert main(["fit", "+model=vit", *words, *FEW]) == 2
    assert "nothing logs 'val/pck@5'; did you mean 'val/pck@3'" in capsys.readouterr().err
