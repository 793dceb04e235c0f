"""Adapters: what is trained, that a network begins as its backbone, and pretrained weights below them."""

from __future__ import annotations

import pytest
import torch

from tracknet.errors import TrackNetError, UsageError
from tracknet.models import ConvNeXtFPN, LoRA, ViTUpsample
from tracknet.models import lora as module
from tracknet.training.callbacks import BackboneFreeze, PretrainedBackbone
from tracknet.training.hyperparameters import describe
from tracknet.training.lightning_module import HeatmapTracker

TINY = {"embedding": 16, "layers": 1, "heads": 2, "widths": (16, 8, 8, 8)}
STAGES = {"widths": (4, 8, 12, 16), "depths": (1, 1, 1, 1), "lateral": 8}


class FakeTrainer:
    ckpt_path = None
    world_size = 1
    callbacks = ()


def trained(network):
    return {name for name, one in network.backbone.named_parameters() if one.requires_grad}


def answer(network, x):
    return network.backbone(x, interpolate_pos_encoding=True).last_hidden_state


@pytest.mark.lora
class TestAdapters:
    @pytest.mark.parametrize("kind", ["vit", "dinov3"])
    def test_only_adapters_and_the_head_are_trained(self, kind):
        net = ViTUpsample(1, kind=kind, **TINY, lora=LoRA(2))
        names = trained(net)
        assert names
        assert all(".lora_" in name for name in names)
        assert all(one.requires_grad for one in net.decoder.parameters())
        # Two matrices of rank 2 for q, k, v, o (16 -> 16) and the two layers of the perceptron (16 <-> 64).
        count = sum(one.numel() for one in net.backbone.parameters() if one.requires_grad)
        assert count == 2 * (4 * 32 + 2 * 80)
        net(torch.rand(1, 3, 32, 32)).sum().backward()
        assert all(one.grad is not None for one in net.parameters() if one.requires_grad)

    def test_chosen_layers_and_their_biases(self):
        net = ViTUpsample(1, kind="vit", **TINY, lora=LoRA(2, target_modules=["q_proj"], bias="lora_only"))
        ends = {name.partition("q_proj.")[2] for name in trained(net)}
        assert ends == {"lora_A.default.weight", "lora_B.default.weight", "base_layer.bias"}

    def test_it_begins_as_the_pretrained_backbone_and_adds_ba(self, tmp_path):
        torch.manual_seed(1)
        plain = ViTUpsample(1, kind="vit", **TINY).eval()
        plain.backbone.save_pretrained(tmp_path)
        net = ViTUpsample(1, kind="vit", **TINY, lora=LoRA(2, alpha=6, target_modules=["q_proj"])).eval()
        tracker = HeatmapTracker(net, input_size=(32, 32))
        PretrainedBackbone(str(tmp_path), download=False).setup(FakeTrainer(), tracker, "fit")
        x = torch.rand(1, 3, 32, 32)
        with torch.no_grad():
            expected = answer(plain, x)
            torch.testing.assert_close(answer(net, x), expected)
            state = net.backbone.state_dict()
            (a,) = [value for name, value in state.items() if "lora_A" in name]
            (b,) = [value for name, value in state.items() if "lora_B" in name]
            b.normal_()
            (weight,) = [
                one for name, one in plain.backbone.named_parameters() if name.endswith("q_proj.weight")
            ]
            weight += 6 / 2 * b @ a
            expected = answer(plain, x)
            torch.testing.assert_close(answer(net, x), expected)

    def test_freezing_for_some_epochs_does_not_wake_the_backbone(self, monkeypatch):
        net = ConvNeXtFPN(1, **STAGES, lora=LoRA(2))
        tracker = HeatmapTracker(net, input_size=(64, 64))
        before = trained(net)
        monkeypatch.setattr(type(tracker), "trainer", FakeTrainer())
        freeze = BackboneFreeze(epochs=1)
        freeze.freeze_before_training(tracker)
        assert trained(net) == set()
        freeze.finetune_function(tracker, 1, None)
        assert trained(net) == before

    def test_it_is_in_the_recipe_of_checkpoints(self):
        net = ViTUpsample(1, **TINY, lora=LoRA(2, 4, 0.5, ["q_proj", "v_proj"], "all"))
        assert describe(net)["init_args"]["lora"] == {
            "class_path": "tracknet.models.lora.LoRA",
            "init_args": {
                "r": 2,
                "alpha": 4,
                "dropout": 0.5,
                "target_modules": ["q_proj", "v_proj"],
                "bias": "all",
            },
        }

    def test_wrong_layers_are_told(self):
        with pytest.raises(UsageError, match="no layer 'q_prj'; did you mean 'q_proj'"):
            ViTUpsample(1, kind="vit", **TINY, lora=LoRA(2, target_modules=["q_prj"]))
        with pytest.raises(UsageError, match="no layer 'zzz'; those are fc1, fc2, k_proj"):
            ViTUpsample(1, kind="vit", **TINY, lora=LoRA(2, target_modules=["zzz"]))
        odd = LoRA(3, target_modules=["dwconv"])
        with pytest.raises(UsageError, match=r"LoRA: .*groups"):
            ConvNeXtFPN(1, **STAGES, lora=odd)


def test_without_the_package_the_remedy_is_told(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(module, "import_module", missing)
    with pytest.raises(TrackNetError, match=r"pip install 'tracknet\[lora\]'"):
        LoRA().adapt(torch.nn.Linear(1, 1))
