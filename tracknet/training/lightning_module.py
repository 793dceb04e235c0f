"""The Lightning module that trains, evaluates and runs a heatmap network."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any, Literal, NamedTuple, TypedDict, cast

import torch
from jsonargparse import Namespace
from jsonargparse.typing import NonNegativeFloat, PositiveInt
from lightning.pytorch import LightningModule
from torch import Tensor
from torchmetrics import MeanMetric, Metric

from tracknet.data.geometry import resize_xy
from tracknet.data.trajectories import TrajectoryDataModule
from tracknet.errors import UsageError
from tracknet.evaluation.decoding import ComponentDecoder, Detections, HeatmapDecoder
from tracknet.evaluation.distances import distance_names
from tracknet.evaluation.ensemble import WindowEnsemble, check_step
from tracknet.evaluation.metrics import FIGURES, KINDS, BallMetrics
from tracknet.models.evaluating import evaluating
from tracknet.models.framewise import Features, FramewiseNetwork, parts_speak_for
from tracknet.models.network import HeatmapNetwork, in_unit_range
from tracknet.training.clipping import clip_whole_norm
from tracknet.training.hyperparameters import save_recipe
from tracknet.training.losses import HeatmapLoss, WBCELoss
from tracknet.training.micro_batches import BatchLoss, Phase, WholeBatch
from tracknet.training.mixup import Mix
from tracknet.training.settings import check_data, check_monitors, check_sizes
from tracknet.training.targets import DiscTarget, HeatmapTarget

Batch = dict[str, Tensor]
Stage = Literal["val", "test"]
EvalMode = Literal["single", "average", "triangular"]


class Predictions(TypedDict):
    """What `HeatmapTracker.predict_step` gives for one batch of windows.

    Attributes:
        xy: Positions in pixels of the source, ``[B, L, 2]``.
        confidence: Confidence in 0..1, ``[B, L]``.
        clip: Index of the clip, ``[B]``.
        frame: Number of the frame in its clip, ``[B, L]``.
        counted: Whether this window speaks for the frame (one window does for each), ``[B, L]``.
        candidates: Of each counted frame, window by window, all that may be a ball, in pixels of the
            network's input; None unless `HeatmapTracker.candidates_from` asks for them.
    """

    xy: Tensor
    confidence: Tensor
    clip: Tensor
    frame: Tensor
    counted: Tensor
    candidates: list[Detections] | None


class _Found(NamedTuple):
    """What a batch of windows shows; see `Detections` and `Predictions`."""

    xy: Tensor
    confidence: Tensor
    candidates: list[Detections] | None


class HeatmapTracker(LightningModule):
    """Trains a heatmap network to find the ball, and finds it.

    Normalising, background, heatmap targets and mixup run on the device, on whole batches. The optimizer and
    the learning-rate scheduler are chosen beside the module (``--optimizer``, ``--lr_scheduler``).

    Args:
        network: The network; it tells frames per window and background mode to the data.
        loss: Loss between logits and target heatmaps; default `WBCELoss`.
        target: Target heatmaps from ball positions; default `DiscTarget` of radius 2.5 px.
        decoder: From heatmap to ball position; default `ComponentDecoder`.
        metrics: How a position is judged; default 4 px at 288x512 as in TrackNetV2. `BallDistances` adds mean
            distance and PCK.
        input_size: Height and width of the network's input; the data follow it.
        mixup: Alpha of the Beta distribution of sample mixup (TrackNetV3 trains with 0.5); 0 for none.
        eval_mode: Windows of ``validate``, ``test`` and ``predict``. ``single``: they do not overlap.
            ``average``, ``triangular``: one begins every `eval_step` frames, and a frame's heatmap is the
            (weighted) mean of those that see it, as in TrackNetV3; costs up to L times as much.
        eval_step: Frames from one window to the next where they overlap, 1 to L; default 1. The cost falls as
            it rises; ``track`` has it as ``--step``.

    Attributes:
        candidates_from: Confidence from which `test_step` and `predict_step` also give all that may be a
            ball, for a tracker to choose from; None for not at all.
    """

    configure_gradient_clipping = clip_whole_norm

    def __init__(
        self,
        network: HeatmapNetwork,
        loss: HeatmapLoss | None = None,
        target: HeatmapTarget | None = None,
        decoder: HeatmapDecoder | None = None,
        metrics: BallMetrics | None = None,
        input_size: tuple[PositiveInt, PositiveInt] = (288, 512),
        mixup: NonNegativeFloat = 0.0,
        eval_mode: EvalMode = "single",
        eval_step: PositiveInt | None = None,
    ) -> None:
        super().__init__()
        self.network: HeatmapNetwork = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.loss = loss or WBCELoss()
        self.target = target or DiscTarget()
        self.decoder = decoder or ComponentDecoder()
        self.input_size = (int(input_size[0]), int(input_size[1]))
        self.mixup = mixup
        self.batches = WholeBatch()
        self.candidates_from: float | None = None
        self.eval_mode: EvalMode = eval_mode
        self.eval_step = _step_between(eval_mode, eval_step, self.outputs)
        self.val_metrics: BallMetrics = metrics or BallMetrics()
        self._ensemble: WindowEnsemble | None = None
        if self.eval_step:
            at = "overlapping windows" if self.eval_step == 1 else f"windows every {self.eval_step} frames"
            self.val_metrics.note = f"{eval_mode} of {at}"
        self.test_metrics: BallMetrics = deepcopy(self.val_metrics)
        self.val_loss = MeanMetric()
        self.test_loss = MeanMetric()
        save_recipe(
            self,
            network=self.network,
            loss=self.loss,
            target=self.target,
            decoder=self.decoder,
            metrics=self.val_metrics,
        )

    @classmethod
    def check_config(cls, key: str, config: Namespace) -> Iterator[tuple[str, str]]:
        """Say which monitors nobody logs, which sizes, steps and data do not go with the rest."""
        figures = ("loss", *KINDS, *FIGURES, *distance_names(config.get(f"{key}.init_args.metrics")))
        logged = ["train/loss", "train/loss_step", "train/loss_epoch", *(f"val/{name}" for name in figures)]
        yield from check_monitors(config, logged)
        yield from check_sizes(key, config)
        mode, step = (config.get(f"{key}.init_args.{name}") for name in ("eval_mode", "eval_step"))
        if step is not None and mode == "single":
            yield f"{key}.init_args.eval_step", _no_step(step)
        yield from check_data(
            config, TrajectoryDataModule, cls.__name__, "rallies, such as a FlatVideoDataModule"
        )

    @property
    def frames(self) -> int:
        """Frames per window, L."""
        return self.network.frames

    @property
    def outputs(self) -> int:
        """Heatmaps per window: L, or 1 for the last frame only."""
        return self.network.outputs

    @property
    def needs_background(self) -> bool:
        """Whether the network wants the median background of the clip."""
        return self.network.needs_background

    @property
    def threshold(self) -> float:
        """Confidence from which a ball counts as visible."""
        return float(self.decoder.threshold)

    def forward(self, frames: Tensor, background: Tensor | None = None) -> Tensor:
        """Give heatmap logits for windows of frames.

        Args:
            frames: RGB frames at the input size, uint8, ``[B, L, 3, H, W]``.
            background: Median background, uint8, ``[B, 3, H, W]``, where the network wants it.

        Returns:
            Logits, ``[B, L_out, h, w]``.
        """
        logits: Tensor = self.network(self.network.stack(frames, background))
        return logits

    def heatmaps(self, frames: Tensor, background: Tensor | None = None) -> Tensor:
        """Give ball probabilities for windows of frames; arguments as in `forward`."""
        probabilities: Tensor = self(frames, background).float().sigmoid()
        return probabilities

    @property
    def framewise(self) -> bool:
        """Whether windows that overlap can share what the network sees in each frame alone."""
        return (
            isinstance(self.network, FramewiseNetwork)
            and self.network.in_parts
            and parts_speak_for(self, ("forward", "heatmaps"), ("frame_features", "window_heatmaps"))
        )

    @property
    def images(self) -> int:
        """Pictures a window whose features `window_heatmaps` takes, see `FramewiseNetwork`."""
        return self._by_frame.images

    def frame_features(self, frames: Tensor, background: Tensor | None = None) -> Features:
        """Give what a network that is `framewise` sees in pictures, see `FramewiseNetwork`."""
        return self._by_frame.frame_features(frames, background)

    def window_heatmaps(self, features: Features, newest: int | None = None) -> Tensor:
        """Give ball probabilities of windows; arguments as in `FramewiseNetwork.window_logits`."""
        return self._by_frame.window_logits(features, newest).float().sigmoid()

    @property
    def _by_frame(self) -> FramewiseNetwork:
        return cast("FramewiseNetwork", self.network)

    @torch.inference_mode()
    def detect(self, frames: Tensor, background: Tensor | None = None) -> Detections:
        """Find the ball in windows of frames, in evaluation mode.

        Args:
            frames: As in `forward`.
            background: As in `forward`.

        Returns:
            Positions in input pixels, ``[B, L_out, 2]``, and confidences, ``[B, L_out]``.
        """
        with evaluating(self):
            return self._decode(self.heatmaps(frames, background))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Give the loss of one batch of `WindowDataset`."""
        x = self.network.stack(batch["frames"], batch.get("background"))
        weight = self._of_outputs(batch["labelled"]).float()
        mix = Mix.draw(len(x), self.mixup, x.device) if self.mixup else None
        if mix is not None:
            x = mix.blend(in_unit_range(x))
            weight = weight * weight[mix.partner]

        def targets(logits: Tensor) -> Tensor:
            drawn = self._targets(batch, logits)
            return drawn if mix is None else mix.blend(drawn)

        loss_of = BatchLoss(self.loss, targets, weight)
        loss = self.batches.loss(self, len(x), lambda part: loss_of(self._answer(x[part]), part)[0])
        self.log(
            "train/loss", loss, prog_bar=True, on_step=True, on_epoch=True, sync_dist=True, batch_size=len(x)
        )
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one batch to the validation figures."""
        self._evaluate(batch, "validate", self.val_metrics, self.val_loss)

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, Any]:
        """Add one batch to the test figures, and give what `detect` finds, by name, and the candidates."""
        return self._evaluate(batch, "test", self.test_metrics, self.test_loss)._asdict()

    def predict_step(self, batch: Batch, batch_idx: int) -> Predictions:
        """Find the ball in one batch of windows."""
        found = self._find(batch, self._logits("predict", batch))
        sizes = batch["source_size"].tolist()
        source = [
            resize_xy(xy, self.input_size, (height, width))
            for xy, (height, width) in zip(found.xy, sizes, strict=True)
        ]
        return {
            "xy": torch.stack(source).cpu(),
            "confidence": found.confidence.cpu(),
            "clip": batch["clip"].cpu(),
            "frame": self._of_outputs(batch["frame"]).cpu(),
            "counted": self._of_outputs(batch["counted"]).cpu(),
            "candidates": found.candidates,
        }

    def on_validation_epoch_start(self) -> None:
        """Begin with windows that nobody has seen, and figures of none."""
        self._begin_windows()
        _begin_figures(self.val_metrics, self.val_loss)

    def on_test_epoch_start(self) -> None:
        """Begin with windows that nobody has seen, and figures of none."""
        self._begin_windows()
        _begin_figures(self.test_metrics, self.test_loss)

    def on_predict_epoch_start(self) -> None:
        """Begin with windows that nobody has seen."""
        self._begin_windows()

    def on_validation_epoch_end(self) -> None:
        """Log the figures of the validation set."""
        self._log_figures("val", self.val_metrics, self.val_loss)

    def on_test_epoch_end(self) -> None:
        """Log the figures of the test set."""
        self._log_figures("test", self.test_metrics, self.test_loss)

    def _evaluate(self, batch: Batch, phase: Phase, metrics: BallMetrics, losses: MeanMetric) -> _Found:
        counted = self._of_outputs(batch["counted"] & batch["labelled"])
        loss_of = BatchLoss(self.loss, lambda logits: self._targets(batch, logits), counted.float())

        def judge(part: slice) -> tuple[Tensor, Tensor, Tensor]:
            answer = self._answer(self._input(batch, part))
            return self.loss.heatmap_logits(self.network, answer), *loss_of(answer, part)

        parts = self.batches.results(phase, self, len(counted), judge)
        logits = torch.cat([logits for logits, _, _ in parts])
        total = parts[0][2]
        if total > 0:
            losses.update(torch.stack([loss for _, loss, _ in parts]).sum(), weight=total)
        found = self._find(batch, logits)
        metrics.update(
            found.xy,
            found.confidence >= self.threshold,
            self._of_outputs(batch["xy"]),
            self._of_outputs(batch["visible"]),
            counted,
            self.input_size,
            batch["source_size"],
        )
        return found

    def _answer(self, x: Tensor) -> Tensor:
        """Ask the network for what the loss judges: heatmap logits, for nearly all losses."""
        return _full(self.loss.ask(self.network, x))

    def _logits(self, phase: Phase, batch: Batch) -> Tensor:
        def ask(part: slice) -> Tensor:
            return _full(self.network(self._input(batch, part)))

        return torch.cat(self.batches.results(phase, self, len(batch["frames"]), ask))

    def _input(self, batch: Batch, part: slice) -> Tensor:
        background = batch.get("background")
        return self.network.stack(batch["frames"][part], None if background is None else background[part])

    def _log_figures(self, stage: Stage, metrics: BallMetrics, losses: MeanMetric) -> None:
        # Every process has computed the same figures of the whole set: their mean is themselves.
        self.log(f"{stage}/loss", losses.compute(), sync_dist=True)
        for name, value in metrics.compute().items():
            self.log(f"{stage}/{name}", value.float(), sync_dist=True, prog_bar=name == "f1")

    def _begin_windows(self) -> None:
        self._ensemble = None
        if self.eval_mode != "single" and self.eval_step:
            self._ensemble = WindowEnsemble(self.eval_mode, self.outputs)

    def _find(self, batch: Batch, logits: Tensor) -> _Found:
        heatmaps = logits.sigmoid()
        counted = self._of_outputs(batch["counted"])
        if self._ensemble is None:
            found = self._decode(heatmaps)
        else:
            frames = self._of_outputs(batch["frame"])
            heatmaps = self._ensemble.merge(heatmaps, batch["clip"], frames, counted)
            # Most heatmaps of a window speak of frames that other windows count.
            judged = self.decoder(heatmaps[counted], self.input_size)
            xy = judged.xy.new_zeros(*counted.shape, 2)
            confidence = judged.confidence.new_zeros(counted.shape)
            xy[counted], confidence[counted] = judged
            found = Detections(xy, confidence)
        candidates = None
        if self.candidates_from is not None:
            candidates = self.decoder.candidates(heatmaps[counted], self.input_size, self.candidates_from)
        return _Found(*found, candidates)

    def _decode(self, heatmaps: Tensor) -> Detections:
        found = self.decoder(heatmaps.flatten(0, 1), self.input_size)
        shape = heatmaps.shape[:2]
        return Detections(found.xy.reshape(*shape, 2), found.confidence.reshape(shape))

    def _targets(self, batch: Batch, logits: Tensor) -> Tensor:
        # Training windows may be crops: their own size counts, not the input size.
        input_size = (batch["frames"].shape[-2], batch["frames"].shape[-1])
        heatmap_size = (logits.shape[-2], logits.shape[-1])
        xy, visible = self._of_outputs(batch["xy"]), self._of_outputs(batch["visible"])
        target: Tensor = self.target(xy, visible, input_size, heatmap_size)
        return target

    def _of_outputs(self, values: Tensor) -> Tensor:
        """Keep of ``[B, L, ...]`` the frames that the network speaks of."""
        return values[:, -self.network.outputs :]


def _step_between(mode: EvalMode, step: int | None, outputs: int) -> int | None:
    """Give the frames from one evaluation window to the next where they overlap."""
    if step is not None:
        if mode == "single":
            raise UsageError(f"eval_step: {_no_step(step)}")
        check_step(step, outputs, "eval_step")
    return None if mode == "single" or outputs == 1 else step or 1


def _no_step(step: int) -> str:
    return f"found {step}, which goes with eval_mode average or triangular, not with single"


def _begin_figures(*metrics: Metric) -> None:
    """Empty metrics where they are filled: what is made in inference mode cannot be added to elsewhere."""
    for metric in metrics:
        metric.reset()


def _full(logits: Tensor) -> Tensor:
    """Give logits of half precision in float32: losses add up thousands of cells."""
    return logits if logits.dtype == torch.float64 else logits.float()
