"""Networks on image backbones: shapes, learning, and pretrained weights that are frozen at first."""

from __future__ import annotations

import sys

import pytest
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging

from tracknet.cli.main import main
from tracknet.errors import TrackNetError, UsageError
from tracknet.evaluation.decoding import PeakDecoder
from tracknet.models import ConvNeXtFPN, ConvNeXtHRNet, TrackNetV2, ViTUpsample, stack_frames
from tracknet.models import backbones as module
from tracknet.tracking.export import export_tracker
from tracknet.training.callbacks import BackboneFreeze, PretrainedBackbone
from tracknet.training.hyperparameters import describe
from tracknet.training.lightning_module import HeatmapTracker

SMALL = {"widths": (4, 8, 12, 16), "depths": (1, 1, 1, 1), "lateral": 8}
TINY = {"embedding": 16, "layers": 1, "heads": 2, "widths": (16, 8, 8, 8)}
CHOICES = [
    (ConvNeXtFPN, "convnext", SMALL),
    (ConvNeXtFPN, "convnextv2", SMALL),
    (ConvNeXtFPN, "dinov3", SMALL),
    (ViTUpsample, "vit", TINY),
    (ViTUpsample, "dinov3", TINY),
]

pytestmark = pytest.mark.backbones


@pytest.fixture
def hub():
    return pytest.importorskip("transformers")


@pytest.mark.parametrize("background", ["none", "concat"])
@pytest.mark.parametrize(("network", "kind", "size"), CHOICES)
def test_heatmaps_have_half_the_size(network, kind, size, background):
    net = network(2, background, kind, **size).eval()
    x = stack_frames(torch.rand(2, 2, 3, 64, 96), torch.rand(2, 3, 64, 96), background)
    with torch.no_grad():
        assert net(x).shape == (2, 2, 32, 48)
        assert net(x).sigmoid().mean() < 0.2


@pytest.mark.parametrize(("network", "kind", "size"), CHOICES)
def test_a_gradient_reaches_what_is_trained(network, kind, size):
    torch.manual_seed(0)
    net = network(2, "none", kind, **size)
    net(torch.rand(2, 6, 64, 96)).square().mean().backward()
    trained = {name: one for name, one in net.named_parameters() if one.requires_grad}
    assert {name for name, one in trained.items() if one.grad is None} == set()
    assert set(dict(net.named_parameters())) - set(trained) <= {"backbone.embeddings.mask_token"}


def test_the_images_of_a_window_stay_apart():
    net = ViTUpsample(2, "concat", "vit", **TINY).eval()
    x = torch.rand(3, 9, 32, 32)
    images = net.by_image(x)
    assert images.shape == (9, 3, 32, 32)
    assert torch.allclose(images[4], net.normalise(x[1:2, 3:6])[0])


@pytest.mark.parametrize(
    ("network", "millions"), [(ConvNeXtFPN, 28.6), (ConvNeXtHRNet, 33.6), (ViTUpsample, 26.8)]
)
def test_size_of_the_defaults(network, millions):
    with torch.device("meta"):
        net = network()
    assert sum(one.numel() for one in net.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)


def test_one_window_is_learnt():
    torch.manual_seed(0)
    net = ConvNeXtFPN(2, **SMALL)
    x = torch.zeros(1, 6, 64, 64)
    x[:, :, 24:28, 40:44] = 1
    target = torch.zeros(1, 2, 32, 32)
    target[:, :, 12:14, 20:22] = 1
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = torch.nn.functional.binary_cross_entropy_with_logits(net(x), target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


def test_heads_must_divide_the_embedding():
    with pytest.raises(UsageError, match=r"embedding is 16; expected a multiple of heads \(3\)"):
        ViTUpsample(embedding=16, heads=3)


def test_without_the_package_the_remedy_is_told(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(module, "import_module", missing)
    with pytest.raises(TrackNetError, match=r"pip install 'tracknet\[backbones\]'"):
        ConvNeXtFPN()


class FakeTrainer:
    def __init__(self, ckpt_path=None, world_size=1):
        self.ckpt_path, self.world_size = ckpt_path, world_size
        self.callbacks = []


def fetched(network, weights, ckpt_path=None):
    tracker = HeatmapTracker(network, input_size=(64, 64))
    trainer, average = FakeTrainer(ckpt_path), EMAWeightAveraging()
    trainer.callbacks = [average, PretrainedBackbone(str(weights), download=False)]
    for callback in trainer.callbacks:
        callback.setup(trainer, tracker, "fit")
    state = network.backbone.state_dict()
    averaged = average._average_model.module.network.backbone.state_dict()
    assert all(torch.equal(averaged[name], value) for name, value in state.items())
    return state


class TestPretrainedBackbone:
    @pytest.mark.parametrize(("network", "kind", "size"), CHOICES)
    def test_a_folder_of_weights(self, network, kind, size, tmp_path):
        torch.manual_seed(1)
        other = network(1, "none", kind, **size).backbone
        other.save_pretrained(tmp_path)
        state = fetched(network(2, "none", kind, **size), tmp_path)
        assert all(torch.equal(state[name], value) for name, value in other.state_dict().items())

    def test_a_classifier_of_the_hub(self, hub, tmp_path):
        config = hub.ConvNextConfig(hidden_sizes=[4, 8, 12, 16], depths=[1, 1, 1, 1])
        other = hub.ConvNextForImageClassification(config)
        other.save_pretrained(tmp_path)
        state = fetched(ConvNeXtFPN(2, **SMALL), tmp_path)
        name = "embeddings.patch_embeddings.weight"
        assert torch.equal(state[name], other.state_dict()[f"convnext.{name}"])

    def test_a_resumed_run_keeps_its_own(self, tmp_path):
        net = ConvNeXtFPN(1, **SMALL)
        before = {name: value.clone() for name, value in net.backbone.state_dict().items()}
        state = fetched(net, tmp_path / "nothing here", ckpt_path="last.ckpt")
        assert all(torch.equal(state[name], value) for name, value in before.items())

    def test_another_size_is_refused(self, tmp_path):
        ConvNeXtFPN(1, **SMALL | {"depths": (2, 1, 1, 1)}).backbone.save_pretrained(tmp_path)
        with pytest.raises(UsageError, match=r"depths \[2, 1, 1, 1\]; .* depths \[1, 1, 1, 1\]"):
            fetched(ConvNeXtFPN(1, **SMALL), tmp_path)

    def test_another_kind_of_the_same_size_is_refused(self, hub, tmp_path):
        sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
        gated = hub.DINOv3ViTConfig(**sizes, intermediate_size=128, patch_size=16, use_gated_mlp=True)
        hub.DINOv3ViTModel(gated).save_pretrained(tmp_path)
        network = ViTUpsample(frames=1, embedding=32, layers=1, heads=2, widths=(8, 8, 8, 8))
        before = {name: value.clone() for name, value in network.state_dict().items()}
        with pytest.raises(UsageError, match=r"of another kind of dinov3_vit: .* has no .*gate_proj"):
            fetched(network, tmp_path)
        assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())

    def test_missing_weights_are_named(self, tmp_path):
        with pytest.raises(TrackNetError, match=r"nowhere is no folder, .*; expected .*download: true"):
            fetched(ConvNeXtFPN(1, **SMALL), tmp_path / "nowhere")

    def test_nothing_is_downloaded_unasked(self):
        assert not PretrainedBackbone("facebook/convnext-tiny-224").download

    def test_a_network_without_backbone(self, tmp_path):
        with pytest.raises(UsageError, match="no backbone in TrackNetV2; ConvNeXtFPN, ConvNeXtH"):
            fetched(TrackNetV2(1, width=1), tmp_path)


class TestBackboneFreeze:
    @pytest.fixture
    def tracker(self):
        return HeatmapTracker(ViTUpsample(2, **TINY), input_size=(64, 64))

    def frozen(self, tracker):
        return [name for name, one in tracker.network.named_parameters() if not one.requires_grad]

    def test_for_some_epochs(self, tracker, monkeypatch):
        monkeypatch.setattr(type(tracker), "trainer", FakeTrainer())
        freeze = BackboneFreeze(epochs=2)
        freeze.freeze_before_training(tracker)
        names = self.frozen(tracker)
        assert len(names) == len(list(tracker.network.backbone.parameters()))
        freeze.finetune_function(tracker, 1, None)
        assert self.frozen(tracker) == names
        freeze.finetune_function(tracker, 2, None)
        assert self.frozen(tracker) == ["backbone.embeddings.mask_token"]

    @pytest.mark.parametrize(("epoch", "kept"), [(0, True), (1, False)])
    def test_in_a_run_that_is_resumed_within_an_epoch(self, tracker, monkeypatch, epoch, kept):
        trainer = FakeTrainer()
        trainer.optimizers, trainer.current_epoch = [None], epoch
        monkeypatch.setattr(type(tracker), "trainer", trainer)
        freeze = BackboneFreeze(epochs=1)
        freeze.freeze_before_training(tracker)
        names = self.frozen(tracker)
        freeze.on_train_start(trainer, tracker)
        assert (self.frozen(tracker) == names) == kept

    def test_on_several_devices_gradients_are_dropped(self, tracker, monkeypatch):
        monkeypatch.setattr(type(tracker), "trainer", FakeTrainer(world_size=2))
        freeze = BackboneFreeze(epochs=1)
        freeze.freeze_before_training(tracker)
        freeze.finetune_function(tracker, 0, None)

        def stepped():
            tracker.network(torch.rand(2, 6, 32, 32)).sum().backward()
            freeze.on_before_optimizer_step(None, tracker, None)
            network = tracker.network
            return [
                any(one.grad is not None for one in part.parameters()) for part in (network.backbone, network)
            ]

        assert stepped() == [False, True]
        freeze.finetune_function(tracker, 1, None)
        assert stepped() == [True, True]


FEW = ["--trainer.accelerator=cpu", "--trainer.enable_model_summary=false", "--trainer.max_epochs=2"]
FEW += ["--trainer.enable_progress_bar=false", "--data.batch_size=2", "--model.input_size=[64,96]"]
FEW += [
    "--trainer.limit_train_batches=1",
    "--trainer.limit_val_batches=1",
    "--trainer.num_sanity_val_steps=0",
]
SIZES = {
    "convnext_fpn": ["--model.network.widths=[4,8,12,16]", "--model.network.depths=[1,1,1,1]"],
    "convnext_hrnet": [
        "--model.network.widths=[4,8,12,16]",
        "--model.network.depths=[1,1,1,1]",
        "--model.network.branches=[4,6,8,10]",
    ],
    "vit": ["--model.network.embedding=16", "--model.network.layers=1", "--model.network.heads=2"],
}


@pytest.mark.parametrize("name", SIZES)
def test_its_yaml_trains_frozen_and_then_unfrozen(name, tiny_rallies, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tracknet"])
    words = ["--config", "configs/base.yaml", "--config", f"configs/model/{name}.yaml"]
    seen, seen_last = [], []
    original = BackboneFreeze.finetune_function

    def watched(self, pl_module, epoch, optimizer):
        original(self, pl_module, epoch, optimizer)
        backbone = list(pl_module.network.backbone.parameters())
        seen.append((epoch, any(one.requires_grad for one in backbone), backbone[0].detach().clone()))
        seen_last[:] = backbone[:1]

    monkeypatch.setattr(BackboneFreeze, "finetune_function", watched)
    add = ["--trainer.callbacks+=BackboneFreeze", "--trainer.callbacks.epochs=1"]
    root = [f"--data.root={tiny_rallies}", "--data.val=[c]"]
    assert main(["fit", *words, *add, *root, *SIZES[name], *FEW]) == 0
    # At the start of the training and of each epoch.
    assert [one[:2] for one in seen] == [(0, False), (0, False), (1, True)]
    assert torch.equal(seen[0][2], seen[2][2])
    assert not torch.equal(seen[2][2], seen_last[0])


@pytest.mark.parametrize(("network", "kind", "size"), CHOICES[1:])
def test_graphs_hold_any_number_of_windows(network, kind, size, tmp_path):
    net, decoder = network(2, "concat", kind, **size).eval(), PeakDecoder(0.3)
    found = export_tracker(
        net, decoder, (64, 96), tmp_path / "a.pt", "torchscript", positions=False, recipe=describe(decoder)
    )
    assert found.probability <= 1e-6
