"""A batch that does not fit into memory is learnt from, and judged, as if it did."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from jsonargparse import ArgumentParser
from lightning.pytorch import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.callbacks import EMAWeightAveraging
from lightning.pytorch.plugins import MixedPrecision
from lightning.pytorch.profilers import SimpleProfiler
from torch import nn
from torch.utils.data import DataLoader

sys.path.insert(0, str(Path(__file__).parent))
from limited_network import LimitedNetwork

from tracknet.errors import TrackNetError, UsageError
from tracknet.evaluation.metrics import BallMetrics
from tracknet.training.callbacks import AdaptiveMicroBatch
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.losses import (
    FocalLoss,
    HeatmapLoss,
    MaskedFocalLoss,
    MaskedMSELoss,
    MSELoss,
    QualityFocalLoss,
    WBCELoss,
)
from tracknet.training.micro_batches import is_out_of_memory, split

SIZE = (16, 24)
SCRIPT = Path(__file__).with_name("ddp_micro_batches.py")


def batches(count=2, windows=5):
    generator = torch.Generator().manual_seed(3)
    made = []
    for number in range(count):
        draw = torch.rand(windows, 3, 4, generator=generator)
        made.append(
            {
                "frames": torch.randint(
                    0, 256, (windows, 3, 3, *SIZE), generator=generator, dtype=torch.uint8
                ),
                "xy": draw[..., :2] * torch.tensor([23.0, 15.0]),
                "visible": draw[..., 2] < 0.5,
                "labelled": draw[..., 3] < 0.7,
                "counted": torch.ones(windows, 3, dtype=torch.bool),
                "clip": torch.zeros(windows, dtype=torch.int64),
                "frame": 3 * (number * windows + torch.arange(windows))[:, None] + torch.arange(3),
                "source_size": torch.tensor([[32, 48]] * windows),
            }
        )
    return DataLoader(made, batch_size=None)


class Notes(Callback):
    """Keeps the gradients of each step, before they are clipped, the losses and the learning rates."""

    def __init__(self):
        self.gradients, self.losses, self.rates = [], [], []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.gradients.append([parameter.grad.clone() for parameter in pl_module.network.parameters()])

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.losses.append(float(trainer.callback_metrics["train/loss_step"]))
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])


class Tracker(HeatmapTracker):
    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=0.01)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.9**step)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def a_tracker(network=None, **options):
    torch.manual_seed(0)
    return Tracker(network or LimitedNetwork(), input_size=SIZE, **options)


def a_trainer(*callbacks, **options):
    settings = {
        "accelerator": "cpu",
        "max_epochs": 1,
        "callbacks": list(callbacks),
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return Trainer(**(settings | options))


def fit(network, *callbacks, count=2, loss=None, mixup=0.0, **options):
    notes = Notes()
    seed_everything(5, verbose=False)
    tracker = a_tracker(network, loss=loss, mixup=mixup)
    trainer = a_trainer(notes, *callbacks, **options)
    seed_everything(7, verbose=False)
    trainer.fit(tracker, batches(count))
    return tracker, trainer, notes


def a_network(**options):
    torch.manual_seed(11)
    return LimitedNetwork(**options)


def assert_same_gradients(one, two, limit=1e-12):
    assert len(one) == len(two) > 0
    for first, second in zip(one, two, strict=True):
        assert max(float(gradient.abs().max()) for gradient in first) > 1e-4
        for a, b in zip(first, second, strict=True):
            assert a.dtype == torch.float64
            assert float((a - b).abs().max()) <= limit


@pytest.mark.parametrize(
    ("loss", "mixup", "backward"),
    [
        (WBCELoss(), 0.5, True),
        (WBCELoss("ball"), 0.0, True),
        (FocalLoss(alpha=0.9), 0.0, False),
        (QualityFocalLoss(), 0.5, False),
        (MSELoss(), 0.0, True),
        (MaskedFocalLoss(), 0.5, True),
        (MaskedMSELoss(), 0.0, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, HeatmapLoss) else str(value),
)
def test_gradients_and_losses_are_those_of_the_whole_batch(loss, mixup, backward):
    _, _, whole = fit(a_network(), loss=loss, mixup=mixup)
    network = a_network(limit=2, backward=backward)
    profiler = SimpleProfiler()
    _, _, parts = fit(network, AdaptiveMicroBatch(), loss=loss, mixup=mixup, profiler=profiler)
    # Once whole, then three parts of at most two; the second batch knows.
    assert network.seen == [5, 2, 2, 1, 2, 2, 1]
    assert_same_gradients(whole.gradients, parts.gradients)
    assert parts.losses == pytest.approx(whole.losses, rel=1e-6)
    # The backward pass of the batch that fails in it is one, too.
    assert len(profiler.recorded_durations["[MicroBatches]Tracker.backward"]) == 6 + backward


def test_one_batch_is_one_step_with_accumulation_clipping_schedule_and_averaging():
    options = {"count": 5, "accumulate_grad_batches": 2, "gradient_clip_val": 0.01, "max_epochs": 2}

    class LateLimit(LimitedNetwork):
        """Runs out in the middle of accumulating."""

        def forward(self, x):
            self.limit = 99 if len(self.seen) < 1 else 3
            return super().forward(x)

    torch.manual_seed(11)
    late = LateLimit(backward=True)
    one, first, whole = fit(a_network(), EMAWeightAveraging(decay=0.5), **options)
    two, second, parts = fit(late, EMAWeightAveraging(decay=0.5), AdaptiveMicroBatch(), **options)
    assert late.seen[:6] == [5, 5, 2, 2, 1, 2]
    assert first.global_step == second.global_step == 6
    assert_same_gradients(whole.gradients, parts.gradients)
    assert parts.rates == whole.rates
    assert parts.losses == pytest.approx(whole.losses, rel=1e-6)
    for name, weight in one.network.state_dict().items():
        assert torch.allclose(two.network.state_dict()[name], weight, rtol=0, atol=1e-9), name


class Thaw(Callback):
    def on_fit_start(self, trainer, pl_module):
        pl_module.network.first.requires_grad_(False)

    def on_train_epoch_start(self, trainer, pl_module):
        if trainer.current_epoch == 1:
            pl_module.network.first.requires_grad_(True)
            pl_module.network.limit = 1


def test_a_size_is_kept_until_other_parameters_are_trained(caplog):
    network = a_network(limit=3)
    splits = AdaptiveMicroBatch(backoff=1.5)
    tracker = a_tracker(network)
    with caplog.at_level("INFO", "lightning.pytorch"):
        a_trainer(Thaw(), splits, max_epochs=2).fit(tracker, batches())
    first, second = [5, 3, 2, 3, 2], [5, 3, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]
    assert network.seen == first + second
    assert splits.sizes == {"train": 1}
    assert "train: 5 windows at once are too many for the memory; trying 3" in caplog.text


def test_parts_of_a_given_size_from_the_start():
    network = a_network()
    fit(network, AdaptiveMicroBatch(size=4))
    assert network.seen == [3, 2, 3, 2]
    assert split(8, 3) == [slice(0, 3), slice(3, 6), slice(6, 8)]
    assert split(2, 5) == [slice(0, 2)]


def test_a_failed_attempt_leaves_no_trace():
    """Batch statistics and random numbers are those of a run that knew the size from the start."""

    def noisy(limit):
        return a_network(
            limit=limit, extra=nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout2d(0.5)), backward=True
        )

    one, _, _ = fit(noisy(99), AdaptiveMicroBatch(size=2), mixup=0.5)
    two, _, _ = fit(noisy(2), AdaptiveMicroBatch(), mixup=0.5)
    assert int(two.network.between[0].num_batches_tracked) == 6
    for name, value in one.network.state_dict().items():
        assert torch.equal(two.network.state_dict()[name], value), name


@pytest.mark.parametrize(
    ("settings", "seen", "named"),
    [
        ({"retries": 1}, [5, 2], "after 1 retry; raise retries \\(now 1\\) or backoff \\(now 2\\)"),
        ({"retries": 0}, [5], "with 5 window\\(s\\) at once; raise retries \\(now 0\\)"),
        ({"min_size": 2}, [5, 2], "after 1 retry; lower min_size \\(now 2\\)"),
        ({"min_size": 9}, [5], "lower min_size \\(now 9\\)"),
        ({}, [5, 2, 1], "with 1 window\\(s\\) at once after 2 retries; take a smaller network"),
    ],
)
def test_when_nothing_helps_the_settings_are_named(settings, seen, named):
    network = a_network(limit=0)
    with pytest.raises(TrackNetError, match=f"AdaptiveMicroBatch: out of memory in train .*{named}.*7 GiB"):
        fit(network, AdaptiveMicroBatch(**settings))
    assert network.seen == seen


def test_other_errors_are_not_hidden():
    network = a_network(limit=2)
    network.error = RuntimeError("shapes do not match")
    with pytest.raises(RuntimeError, match="do not match"):
        fit(network, AdaptiveMicroBatch())
    assert network.seen == [5]


def test_what_running_out_of_memory_looks_like():
    cpu = "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"
    assert is_out_of_memory(RuntimeError(cpu))
    assert is_out_of_memory(torch.OutOfMemoryError("HIP out of memory"))
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("could not create a primitive"))
    assert not is_out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_figures_of_evaluation_are_those_of_whole_batches():
    def figures(network, *callbacks):
        tracker = a_tracker(network, metrics=BallMetrics(tolerance=4.0), loss=MaskedMSELoss())
        tracker.decoder.threshold = 0.3
        trainer = a_trainer(*callbacks)
        [validated] = trainer.validate(tracker, batches(), verbose=False)
        [tested] = trainer.test(tracker, batches(), verbose=False)
        found = trainer.predict(tracker, batches())
        return validated | tested, torch.cat([batch["xy"] for batch in found])

    splits = AdaptiveMicroBatch(min_size=2)
    whole, positions = figures(a_network())
    parts, same = figures(a_network(limit_eval=2), splits)
    assert splits.sizes == {"validate": 2, "test": 2, "predict": 2}
    assert whole["val/tn"] + whole["val/fn"] + whole["val/fp2"] + whole["val/fp1"] + whole["val/tp"] > 20
    assert 0 < whole["val/loss"] == whole["test/loss"]
    for name, value in whole.items():
        rel = 1e-6 if name.endswith("loss") else 0
        assert parts[name] == pytest.approx(value, rel=rel, abs=0, nan_ok=True), name
    assert torch.equal(same, positions)


@pytest.mark.parametrize("scale", [1024.0, 1e37], ids=["fits", "overflows"])
def test_loss_scaling_protects_the_gradients_of_parts(scale):
    class Tiny(MSELoss):
        """So small that float16 would lose the gradients."""

        def cell_loss(self, logits, target):
            return 1e-3 * super().cell_loss(logits, target)

    options = {"loss": Tiny(), "accumulate_grad_batches": 2, "gradient_clip_val": 1}

    def run(limit, *callbacks):
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        network = a_network(limit=limit, dtype=torch.float32)
        precision = MixedPrecision("16-mixed", "cpu", scaler)
        _, _, notes = fit(network, *callbacks, plugins=[precision], **options)
        return network, notes, scaler.get_scale()

    one, whole, scale_whole = run(99)
    two, parts, scale_parts = run(2, AdaptiveMicroBatch())
    assert scale_parts == pytest.approx(scale_whole) == pytest.approx(scale if scale < 1e9 else scale / 2)
    if scale < 1e9:
        for a, b in zip(whole.gradients[0], parts.gradients[0], strict=True):
            assert float(a.abs().max()) > 0
            assert torch.allclose(a, b, rtol=0.02, atol=0.02 * float(a.abs().max()))
    else:
        # The step was left out.
        for a, b in zip(one.parameters(), two.parameters(), strict=True):
            assert torch.equal(a, b)


def test_parts_in_bfloat16():
    """Parameters stay in float32; the backward pass runs outside autocast as Lightning's does."""
    results = []
    for limit, callbacks in ((99, []), (2, [AdaptiveMicroBatch()])):
        _, _, notes = fit(a_network(limit=limit, dtype=torch.float32), *callbacks, precision="bf16-mixed")
        results.append(notes.gradients[0])
    for a, b in zip(*results, strict=True):
        assert b.dtype == torch.float32
        assert torch.allclose(a, b, rtol=0.02, atol=0.02 * float(a.abs().max()))


def test_settings_are_checked():
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--callback", type=Callback)

    def read(**settings):
        return parser.parse_object({"callback": {"class_path": "AdaptiveMicroBatch", "init_args": settings}})

    assert parser.instantiate_classes(read(backoff=3)).callback.micro_batches.backoff == 3
    for wrong in ({"backoff": 1}, {"min_size": 0}, {"size": -1}, {"retries": -1}):
        with pytest.raises(Exception, match=next(iter(wrong))):
            read(**wrong)
    with pytest.raises(UsageError, match="size 2 is less than min_size 4"):
        AdaptiveMicroBatch(size=2, min_size=4)
    with pytest.raises(UsageError, match="LightningModule cannot split"):
        AdaptiveMicroBatch().setup(a_trainer(), LightningModule(), "fit")


def test_processes_that_synchronise_batch_normalisation_must_split_alike():
    tracker = a_tracker()
    tracker.norm = torch.nn.SyncBatchNorm(3)
    several, alone = SimpleNamespace(world_size=2), SimpleNamespace(world_size=1)
    with pytest.raises(UsageError, match="sync_batchnorm all processes have to split"):
        AdaptiveMicroBatch().on_fit_start(several, tracker)
    AdaptiveMicroBatch().on_fit_start(alone, tracker)
    AdaptiveMicroBatch(size=2, retries=0).on_fit_start(several, tracker)
    AdaptiveMicroBatch().on_fit_start(several, a_tracker())


@pytest.mark.slow
def test_two_processes_may_split_differently(tmp_path):
    if not torch.distributed.is_available():
        pytest.skip("PyTorch without torch.distributed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    own = {"MASTER_PORT": str(port), "OMP_NUM_THREADS": "1", "PYTHONPATH": str(SCRIPT.parents[2])}
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PL_")} | own
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in (0, 1)]
    # Four batches a process; only the first process runs out.
    assert ranks[0]["seen"][:4] == [5, 2, 2, 1]
    assert ranks[1]["seen"] == [5] * 4
    for told in ranks:
        assert_same_gradients(told["whole"], told["parts"])
    assert_same_gradients(ranks[0]["parts"], ranks[1]["parts"])
