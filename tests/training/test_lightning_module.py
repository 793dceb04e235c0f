"""The module against figures computed by hand, and through the Trainer on rallies whose answer is known."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch.distributed.fsdp import FullyShardedDataParallel

from tracknet.data.cache import FrameCache
from tracknet.data.cached_clip import LabelledClip
from tracknet.data.datamodules import FlatVideoDataModule
from tracknet.data.geometry import resize_xy
from tracknet.data.labels import read_labels
from tracknet.data.video import open_source
from tracknet.data.windows import WindowDataset
from tracknet.errors import UsageError
from tracknet.evaluation.decoding import PeakDecoder
from tracknet.evaluation.metrics import BallMetrics
from tracknet.models import CompactTrackNet, HeatmapNetwork, stack_frames
from tracknet.tracking.tracker import track
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.losses import MSELoss, WBCELoss
from tracknet.training.rectifier import TrajectoryRectifier
from tracknet.training.targets import DiscTarget, GaussianTarget

SIZE = (64, 96)


class LastFrame(HeatmapNetwork):
    """One learnt number for each cell of the last frame's heatmap."""

    def __init__(self, frames: int = 3) -> None:
        super().__init__(frames, "none", outputs=1)
        self.gain = torch.nn.Parameter(torch.tensor(2.0))

    def forward(self, x):
        return self.gain * x[:, -3:-2]


def a_batch(windows=4, frames=3, background=False):
    generator = torch.Generator().manual_seed(3)
    batch = {
        "frames": torch.randint(0, 256, (windows, frames, 3, *SIZE), generator=generator, dtype=torch.uint8),
        "xy": torch.rand(windows, frames, 2, generator=generator) * torch.tensor([95.0, 63.0]),
        "visible": torch.rand(windows, frames, generator=generator) < 0.7,
        "labelled": torch.ones(windows, frames, dtype=torch.bool),
        "counted": torch.ones(windows, frames, dtype=torch.bool),
        "clip": torch.zeros(windows, dtype=torch.int64),
        "frame": torch.arange(windows)[:, None] * frames + torch.arange(frames),
        "source_size": torch.tensor([[128, 192]] * windows),
    }
    if background:
        batch["background"] = batch["frames"][:, 0].clone()
    return batch


def a_tracker(network=None, **options):
    torch.manual_seed(0)
    network = network or CompactTrackNet(frames=3, background="concat", stem=4, widths=(8, 8, 8))
    tracker = HeatmapTracker(network, input_size=SIZE, **options)
    # Steps log, which is no concern of these cases and needs a trainer.
    tracker.log = lambda *args, **kwargs: None
    return tracker


def by_hand(logits, target, weight):
    """Weighted binary cross-entropy as the paper writes it, mean over the cells of the frames that count."""
    p = logits.sigmoid()
    cells = -((1 - p) ** 2 * target * p.log() + p**2 * (1 - target) * (1 - p).log())
    return ((cells.mean(dim=(-2, -1)) * weight).sum() / weight.sum()).detach()


def test_the_training_loss_is_the_one_computed_by_hand():
    tracker, batch = a_tracker(), a_batch(background=True)
    x = stack_frames(batch["frames"], batch["background"], "concat")
    logits = tracker.network(x)
    assert logits.shape == (4, 3, 32, 48)
    target = torch.zeros_like(logits)
    for window in range(4):
        for frame in range(3):
            for row in range(32):
                for column in range(48):
                    at = torch.tensor([2 * column + 0.5, 2 * row + 0.5])
                    near = (batch["xy"][window, frame] - at).square().sum() <= 2.5**2
                    target[window, frame, row, column] = batch["visible"][window, frame] & near
    loss = tracker.training_step(batch, 0)
    loss.backward()
    assert loss.item() == pytest.approx(float(by_hand(logits, target, torch.ones(4, 3))), rel=1e-5)
    assert all(parameter.grad is not None for parameter in tracker.network.parameters())


def test_unlabelled_frames_weigh_nothing_in_training():
    tracker, batch = a_tracker(), a_batch(background=True)
    batch["labelled"][0, 1] = batch["labelled"][2, 0] = batch["labelled"][2, 2] = False
    loss = tracker.training_step(batch, 0)
    batch["xy"][~batch["labelled"]] = torch.nan
    batch["visible"][~batch["labelled"]] ^= True
    assert tracker.training_step(batch, 0).item() == loss.item()
    batch["xy"][1, 1] += 9
    batch["visible"][1, 1] = True
    assert tracker.training_step(batch, 0).item() != loss.item()


def test_a_batch_without_labels_gives_no_loss_and_no_gradient():
    tracker, batch = a_tracker(), a_batch(background=True)
    batch["labelled"][:] = False
    loss = tracker.training_step(batch, 0)
    loss.backward()
    assert loss.item() == 0
    assert all(float(p.grad.abs().sum()) == 0 for p in tracker.network.parameters() if p.grad is not None)


def test_a_crop_is_its_own_input_size():
    tracker, batch = a_tracker(target=GaussianTarget(3.0), loss=MSELoss()), a_batch(background=True)
    crop = dict(batch)
    crop["frames"], crop["background"] = (
        batch["frames"][..., 16:48, 32:80],
        batch["background"][..., 16:48, 32:80],
    )
    crop["xy"] = batch["xy"] - torch.tensor([32.0, 16.0])
    logits = tracker(crop["frames"], crop["background"])
    target = GaussianTarget(3.0)(crop["xy"], crop["visible"], (32, 48), (16, 24))
    expected = (logits.sigmoid() - target).square().mean()
    assert tracker.training_step(crop, 0).item() == pytest.approx(expected.item(), rel=1e-5)


def test_mixup_is_the_formula():
    tracker, batch = a_tracker(mixup=0.5), a_batch(background=True)
    batch["labelled"][1, 2] = False
    torch.manual_seed(11)
    loss = tracker.training_step(batch, 0)

    torch.manual_seed(11)
    alpha = torch.tensor(0.5)
    share = torch.distributions.Beta(alpha, alpha).sample((4, 1, 1, 1))
    share = torch.maximum(share, 1 - share)
    partner = torch.randperm(4)
    assert (partner != torch.arange(4)).any()
    x = stack_frames(batch["frames"], batch["background"], "concat")
    logits = tracker.network(share * x + (1 - share) * x[partner])
    pure = DiscTarget(2.5)(batch["xy"], batch["visible"], SIZE, (32, 48))
    target = share * pure + (1 - share) * pure[partner]
    weight = (batch["labelled"] & batch["labelled"][partner]).float()
    assert loss.item() == pytest.approx(float(by_hand(logits, target, weight)), rel=1e-5)


def test_mixup_is_for_training_only():
    plain, mixing, batch = a_tracker(), a_tracker(mixup=0.5), a_batch(background=True)
    for tracker in (plain, mixing):
        tracker.eval()
        with torch.no_grad():
            tracker.validation_step(batch, 0)
    assert float(plain.val_loss.compute()) == float(mixing.val_loss.compute())


def test_a_network_of_one_output_is_trained_on_the_last_frame():
    tracker, batch = a_tracker(LastFrame()), a_batch()
    batch["labelled"][0, 2] = False
    loss = tracker.training_step(batch, 0)
    logits = 2.0 * batch["frames"][:, 2:, 0].float() / 255
    target = DiscTarget(2.5)(batch["xy"][:, 2:], batch["visible"][:, 2:], SIZE, SIZE)
    weight = torch.tensor([[0.0], [1.0], [1.0], [1.0]])
    assert loss.item() == pytest.approx(float(by_hand(logits, target, weight)), rel=1e-5)


def test_predictions_of_one_output_are_of_the_last_frame_and_in_source_pixels():
    tracker, batch = a_tracker(LastFrame(), decoder=PeakDecoder(window=1)), a_batch()
    batch["counted"][1, 2] = False
    found = tracker.predict_step(batch, 0)
    assert found["frame"].tolist() == [[2], [5], [8], [11]]
    assert found["counted"].tolist() == [[True], [False], [True], [True]]
    peak = batch["frames"][:, 2, 0].flatten(1).argmax(dim=1)
    x, y = peak % 96, peak // 96
    # 64x96 -> 128x192: the middle of a pixel moves to the middle of two.
    assert found["xy"][:, 0].tolist() == [
        [2 * a + 0.5, 2 * b + 0.5] for a, b in zip(x.tolist(), y.tolist(), strict=True)
    ]
    light = batch["frames"][:, 2, 0].flatten(1).max(dim=1).values / 255
    assert found["confidence"][:, 0].tolist() == pytest.approx((2 * light).sigmoid().tolist())


def test_windows_of_different_videos_go_back_to_their_own_size(bright_network):
    tracker, batch = a_tracker(bright_network()), a_batch()
    batch["source_size"] = torch.tensor([[64, 96], [128, 192], [720, 1280], [1080, 1920]])
    found = tracker.predict_step(batch, 0)
    with torch.no_grad():
        own = tracker.detect(batch["frames"]).xy
    for window, size in enumerate(batch["source_size"].tolist()):
        assert torch.equal(found["xy"][window], resize_xy(own[window], SIZE, size))


def test_the_background_must_be_there_for_networks_that_want_it():
    with pytest.raises(ValueError, match="needs the median background"):
        a_tracker()(a_batch()["frames"])


def test_defaults_are_those_of_the_papers():
    tracker = HeatmapTracker(CompactTrackNet(frames=2, stem=1, widths=(1, 1, 1)))
    assert (type(tracker.loss), type(tracker.target)) == (WBCELoss, DiscTarget)
    assert tracker.val_metrics.label == "tracknetv2: d <= 4 px at 288x512"
    assert (tracker.frames, tracker.outputs, tracker.needs_background) == (2, 2, True)
    assert (tracker.input_size, tracker.threshold) == ((288, 512), 0.5)
    assert tracker.val_metrics is not tracker.test_metrics


# Through the trainer ---------------------------------------------------------------------------------


def evaluated(tracker, root, stage="validate", **options):
    data = FlatVideoDataModule(
        root,
        val=["*"],
        train=None,
        batch_size=3,
        frames=tracker.frames,
        outputs=tracker.outputs,
        size=SIZE,
        background=tracker.needs_background,
        eval_step=tracker.eval_step,
        **options,
    )
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        barebones=False,
    )
    figures = getattr(trainer, stage)(tracker, datamodule=data, verbose=False)[0]
    part = "val" if stage == "validate" else "test"
    return {name.removeprefix(f"{part}/"): value for name, value in figures.items()}


def counts(figures):
    return tuple(int(figures[name]) for name in ("tp", "fp1", "fp2", "tn", "fn"))


# Clips of 21, 19, 20 and 17 frames: 77, of which 2 have no label and 5 no ball.
PERFECT = (70, 0, 0, 5, 0)


@pytest.mark.parametrize(("frames", "outputs"), [(3, 3), (4, 4), (8, 8), (3, 1), (30, 30)])
@pytest.mark.parametrize("stage", ["validate", "test"])
def test_whoever_sees_the_ball_scores_one_and_each_labelled_frame_counts_once(
    tiny_rallies, bright_network, frames, outputs, stage
):
    tracker = HeatmapTracker(bright_network(frames, outputs=outputs), input_size=SIZE)
    figures = evaluated(tracker, tiny_rallies, stage)
    assert counts(figures) == PERFECT
    assert [figures[name] for name in ("f1", "precision", "recall", "accuracy")] == [1.0] * 4
    # One input pixel is 5.3 by 4.5 px of the metric.
    assert 0 < figures["rmse"] < 1.0
    assert figures["loss"] > 0


@pytest.mark.parametrize(("right", "down"), [(1, 0), (-1, 0), (0, 1), (0, -1)])
def test_a_shift_by_one_pixel_of_the_input_is_too_far(tiny_rallies, bright_network, right, down):
    tracker = HeatmapTracker(bright_network(right=right, down=down), input_size=SIZE)
    figures = evaluated(tracker, tiny_rallies)
    assert counts(figures) == (0, 70, 0, 5, 0)
    assert figures["f1"] == 0.0
    assert np.isnan(figures["rmse"])


def test_a_shift_within_the_tolerance_is_the_error_that_is_told(tiny_rallies, bright_network):
    tracker = HeatmapTracker(bright_network(right=1), metrics=BallMetrics(tolerance=8.0), input_size=SIZE)
    figures = evaluated(tracker, tiny_rallies)
    assert counts(figures) == PERFECT
    assert figures["rmse"] == pytest.approx(512 / 96, abs=0.5)


@pytest.fixture(scope="module")
def fanned(bright_network):
    """A network that is wrong by a pixel to another side at each place of a window; the mean is right."""

    class Fanned(bright_network):
        def forward(self, x):
            logits = super().forward(x)
            return torch.stack([logits[:, k].roll(k - 1, dims=-1) for k in range(3)], dim=1)

    return Fanned


@pytest.mark.parametrize("stage", ["validate", "test"])
def test_overlapping_windows_judge_the_mean_of_what_they_say(tiny_rallies, fanned, stage):
    alone = evaluated(HeatmapTracker(fanned(), input_size=SIZE), tiny_rallies, stage)
    # The last window of a clip is moved back, and its frames are at other places then.
    assert alone["tp"] < 30 < alone["fp1"]
    for mode in ("average", "triangular"):
        tracker = HeatmapTracker(fanned(), input_size=SIZE, eval_mode=mode)
        assert tracker.val_metrics.label.endswith(f"288x512, {mode} of overlapping windows")
        figures = evaluated(tracker, tiny_rallies, stage)
        # Seen at one place only: the first and the last frame of a clip; 6 of these 8 show a ball.
        assert counts(figures) == (64, 6, 0, 5, 0)
        assert figures["loss"] > 0


def test_a_step_between_windows_is_told(fanned):
    tracker = HeatmapTracker(fanned(), input_size=SIZE, eval_mode="average", eval_step=2)
    assert tracker.val_metrics.label.endswith("288x512, average of windows every 2 frames")
    with pytest.raises(UsageError, match=r"eval_step: found 2, .* not with single"):
        HeatmapTracker(fanned(), input_size=SIZE, eval_step=2)
    with pytest.raises(UsageError, match="eval_step is 4, but a window speaks of 3 frames: expected 1 to 3"):
        HeatmapTracker(fanned(), input_size=SIZE, eval_mode="average", eval_step=4)


@pytest.mark.parametrize("step", [None, 2, 3])
def test_overlapping_windows_predict_what_track_finds(tiny_rallies, fanned, step):
    tracker = HeatmapTracker(fanned(), input_size=SIZE, eval_mode="triangular", eval_step=step).eval()
    data = FlatVideoDataModule(
        tiny_rallies, val=["*"], batch_size=3, frames=3, outputs=3, size=SIZE, eval_step=tracker.eval_step
    )
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    found = {}
    for batch in trainer.predict(tracker, datamodule=data):
        for row, place in batch["counted"].nonzero().tolist():
            found[int(batch["clip"][row]), int(batch["frame"][row, place])] = batch["xy"][row, place]
    for clip, name in enumerate(data.clip_names("test")):
        source = open_source(tiny_rallies / f"{name}.mp4")
        rows = list(track(source, tracker, mode="triangular", step=step, progress=False))
        assert len(rows) == sum(number == clip for number, _ in found)
        seen = [row for row in rows if row.visible]
        assert len(seen) > 10
        for row in seen:
            assert found[clip, row.frame].tolist() == pytest.approx([row.x, row.y], abs=0.01)


def test_the_loss_of_unlabelled_frames_is_not_counted(tiny_rallies, write_rally, tmp_path, bright_network):
    def loss(unlabelled, hidden):
        root = tmp_path / f"{len(unlabelled)}{len(hidden)}"
        write_rally(root, "rally", 12, unlabelled=unlabelled, hidden=hidden)
        # Says no everywhere: the loss is that of the visible balls alone.
        tracker = HeatmapTracker(bright_network(), input_size=SIZE)
        tracker.network.contrast.data.fill_(0.0)
        return evaluated(tracker, root)

    # With p = 1/2 each cell costs log(2) / 4, whatever the label.
    assert loss((), ())["loss"] == pytest.approx(np.log(2) / 4, rel=1e-5)
    assert loss((3, 4, 5), ())["loss"] == pytest.approx(np.log(2) / 4, rel=1e-5)
    assert sum(counts(loss((3, 4, 5), ()))) == 9
    assert sum(counts(loss((), (7,)))) == 12


def test_figures_begin_anew_with_each_validation(tiny_rallies, bright_network):
    tracker = HeatmapTracker(bright_network(), input_size=SIZE)
    assert counts(evaluated(tracker, tiny_rallies)) == counts(evaluated(tracker, tiny_rallies)) == PERFECT


def test_no_pixel_is_lost_between_video_cache_window_target_and_decoder(tmp_path, write_rally):
    """Video 128x192 -> input 64x96: the dot in the cached frame, its label and its heatmap agree."""
    truth = write_rally(tmp_path, "rally", 14, size=(128, 192), sigma=3.0)
    source = open_source(tmp_path / "rally.mp4")
    cache = FrameCache(tmp_path / "cache", SIZE)
    cache.build([source], progress=False)
    labels, faults = read_labels(tmp_path / "rally.csv", 14, (128, 192))
    assert not faults
    clip = LabelledClip("rally", cache.open(source), labels, (128, 192), 30.0)
    dataset = WindowDataset([clip], 4, 4, SIZE, False, step=None)
    rows, columns = torch.meshgrid(torch.arange(64.0), torch.arange(96.0), indexing="ij")
    seen = []
    for index in range(len(dataset)):
        sample = dataset[index]
        light = (sample["frames"].float().mean(dim=1) - 60).clamp(min=0)
        total = light.sum(dim=(-2, -1))
        dot = torch.stack(
            [(light * columns).sum((-2, -1)) / total, (light * rows).sum((-2, -1)) / total], dim=-1
        )
        assert torch.dist(dot, sample["xy"], p=torch.inf) < 0.1
        for shape in (SIZE, (32, 48)):
            # A disc of few cells cannot say better than half a cell where its middle is.
            for target, within in ((GaussianTarget(3.0), 0.1), (DiscTarget(2.5), 0.6)):
                heatmaps = target(sample["xy"][None], sample["visible"][None], SIZE, shape)[0]
                found = PeakDecoder()(heatmaps, SIZE).xy
                assert (found - sample["xy"]).abs().max() < within
                assert (found - dot).abs().max() < within + 0.1
        back = resize_xy(sample["xy"].numpy(), SIZE, (128, 192))
        assert np.abs(back - truth.xy[sample["frame"]]).max() < 0.01
        seen += sample["frame"][sample["counted"]].tolist()
    assert seen == list(range(14))


def test_a_tracker_built_in_python_warns_of_nothing():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        HeatmapTracker(CompactTrackNet(frames=2, stem=1, widths=(1, 1, 1)))


def test_one_tracker_is_judged_and_trained_in_any_order(tiny_rallies):
    class Descent(HeatmapTracker):
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    tracker = Descent(CompactTrackNet(3, "none", 4, (8, 8, 8)), input_size=SIZE)
    data = FlatVideoDataModule(
        tiny_rallies, train=["a"], val=["c"], test=["d"], size=SIZE, outputs=3, frames=3, batch_size=4
    )
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}

    def trainer():
        return Trainer(accelerator="cpu", max_epochs=1, enable_model_summary=False, **quiet)

    before = trainer().validate(tracker, data, verbose=False)
    np.testing.assert_equal(trainer().validate(tracker, data, verbose=False), before)
    trainer().fit(tracker, data)
    (after,) = trainer().validate(tracker, data, verbose=False)
    assert after["val/loss"] != before[0]["val/loss"]
    trainer().test(tracker, data, verbose=False)
    trainer().fit(tracker, data)


@pytest.mark.parametrize(("algorithm", "sharded"), [(None, True), ("norm", True), ("value", False)])
@pytest.mark.parametrize("model", [HeatmapTracker, TrajectoryRectifier])
def test_gradients_that_fsdp_shards_are_clipped_by_its_own_norm(model, algorithm, sharded, monkeypatch):
    sized = {"network": CompactTrackNet(3, "none", 4, (8, 8, 8)), "input_size": SIZE}
    tracker = model(**sized if model is HeatmapTracker else {})
    tracker.trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False)
    calls = []
    monkeypatch.setattr(tracker, "clip_gradients", lambda *given: calls.append(given))
    monkeypatch.setattr(FullyShardedDataParallel, "clip_grad_norm_", lambda _, most: calls.append(most))
    tracker.configure_gradient_clipping(None, 1.0, algorithm)
    assert calls.pop() == (None, 1.0, algorithm)

    tracker.trainer.strategy.model = FullyShardedDataParallel.__new__(FullyShardedDataParallel)
    tracker.configure_gradient_clipping(None, 1.0, algorithm)
    tracker.configure_gradient_clipping(None, None, algorithm)
    assert calls == [1.0 if sharded else (None, 1.0, algorithm), (None, None, algorithm)]
