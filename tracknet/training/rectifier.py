"""The Lightning module that trains a network to fill the gaps of trajectories."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from jsonargparse import Namespace
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torchmetrics import MeanMetric
from typing_extensions import override

from tracknet.data.datamodules import RallyDataModule
from tracknet.errors import TrackNetError
from tracknet.evaluation.gaps import acceleration_curve, cubic_curve, linear_curve
from tracknet.models.inpaintnet import ResidualInpaintNet, TrajectoryNetwork
from tracknet.training.checkpoint_reading import read_checkpoint
from tracknet.training.clipping import clip_whole_norm
from tracknet.training.hyperparameters import describe
from tracknet.training.settings import check_data
from tracknet.trust import check_recipe, limited, refusal_of

SPACE = (288, 512)
"""Height and width at which errors are measured, in pixels."""

TOLERANCE = 4.0
"""Error up to which a filled position is right, in those pixels."""

CURVES = {"linear": linear_curve, "acceleration": acceleration_curve, "cubic": cubic_curve}
"""What a network must beat, on the same gaps."""

_SAVED_AS = "rectifier"

Batch = dict[str, Tensor]
Stage = Literal["val", "test"]


class TrajectoryRectifier(LightningModule):
    """Trains a network to fill gaps, and tells how it compares with simple curves on the same gaps.

    Figures: the mean error of the filled positions in pixels at 288x512, ``val/error``, and the share within
    4 px, ``val/within_4px``; the same of each simple curve, such as ``val/cubic_error``.

    Args:
        network: The network; default `ResidualInpaintNet`.
        loss: ``mse`` is the mean square over the masked steps, as TrackNetV3 trains, but x and y are in
            shares of the height, where there each is one of its own side; ``huber`` is that up to 4 px at
            288x512 and grows linearly beyond, so that hits inside of a gap, which nobody can foresee, do not
            rule the training.
    """

    configure_gradient_clipping = clip_whole_norm

    def __init__(
        self, network: TrajectoryNetwork | None = None, loss: Literal["mse", "huber"] = "huber"
    ) -> None:
        super().__init__()
        self.network = network or ResidualInpaintNet()
        self.loss: Literal["mse", "huber"] = loss
        self.figures = nn.ModuleDict()
        for stage in ("val", "test"):
            for name in ("loss", *_figure_names("")):
                self.figures[f"{stage}_{name}"] = MeanMetric()
            for curve in CURVES:
                for name in _figure_names(f"{curve}_"):
                    self.figures[f"{stage}_{name}"] = MeanMetric()

    @classmethod
    def check_config(cls, key: str, config: Namespace) -> Iterator[tuple[str, str]]:
        """Say that rallies are no trajectories."""
        yield from check_data(config, RallyDataModule, cls.__name__, "a TrajectoryDataModule")

    def forward(self, xy: Tensor, seen: Tensor, mask: Tensor) -> Tensor:
        """Fill masked steps, see `TrajectoryNetwork.forward`."""
        filled: Tensor = self.network(xy, seen, mask)
        return filled

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Give the loss over the masked steps with a ball; see `TrajectoryDataModule` for the batch."""
        seen = batch.get("found_xy", batch["xy"]), batch.get("found", batch["visible"])
        loss = self._loss(self(*seen, batch["mask"]), batch)
        self.log(
            "train/loss",
            loss,
            prog_bar=True,
            on_step=True,
            on_epoch=True,
            sync_dist=True,
            batch_size=len(batch["xy"]),
        )
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one batch of gaps to the validation figures."""
        self._evaluate(batch, "val")

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Add one batch of gaps to the test figures."""
        self._evaluate(batch, "test")

    def on_validation_epoch_end(self) -> None:
        """Log the figures of the validation set."""
        self._log_figures("val")

    def on_test_epoch_end(self) -> None:
        """Log the figures of the test set."""
        self._log_figures("test")

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Say in the checkpoint how to build the network, for `load_rectifier`."""
        checkpoint[_SAVED_AS] = describe(self.network)

    def _loss(self, filled: Tensor, batch: Batch) -> Tensor:
        wanted = (batch["mask"] & batch["visible"]).unsqueeze(2).to(filled)
        scale = filled.new_tensor([SPACE[1], SPACE[0]])
        error = (filled - batch["xy"]) * scale * wanted
        if self.loss == "huber":
            total = nn.functional.huber_loss(error, torch.zeros_like(error), delta=TOLERANCE, reduction="sum")
        else:
            total = (error / SPACE[0]).square().sum()
        return total / (2 * wanted.sum()).clamp(min=1)

    def _evaluate(self, batch: Batch, stage: Stage) -> None:
        xy, visible, mask = batch["xy"], batch["visible"], batch["mask"]
        filled = self(xy, visible, mask)
        self._figure(stage, "loss").update(self._loss(filled, batch), weight=mask.sum())
        self._count(stage, "", filled, batch)
        for name, curve in CURVES.items():
            self._count(stage, f"{name}_", _along(curve, batch).to(xy), batch)

    def _count(self, stage: Stage, prefix: str, filled: Tensor, batch: Batch) -> None:
        scale = filled.new_tensor([SPACE[1], SPACE[0]])
        wanted = batch["mask"] & batch["visible"]
        distance = ((filled - batch["xy"]) * scale).norm(dim=2)[wanted]
        error, within = _figure_names(prefix)
        self._figure(stage, error).update(distance)
        self._figure(stage, within).update((distance <= TOLERANCE).float())

    def _log_figures(self, stage: Stage) -> None:
        # Every process has computed the same figures of the whole set: their mean is themselves.
        names = [key.removeprefix(f"{stage}_") for key in self.figures if key.startswith(f"{stage}_")]
        found = {name: self._figure(stage, name).compute() for name in names}
        for name, value in found.items():
            self._figure(stage, name).reset()
            self.log(f"{stage}/{name}", value, sync_dist=True, prog_bar=name == "error")
        trainer = self.trainer
        if stage == "val" and trainer.is_global_zero and not trainer.sanity_checking:
            ways = {"network": ""} | {curve: f"{curve}_" for curve in CURVES}
            shown = (
                f"{way} {found[f'{prefix}error']:.2f} px ({found[f'{prefix}within_4px']:.1%})"
                for way, prefix in ways.items()
            )
            place = f"epoch {trainer.current_epoch + 1}"
            print(f"{place}: mean error (within 4 px): {', '.join(shown)}", flush=True)

    def _figure(self, stage: Stage, name: str) -> MeanMetric:
        return cast(MeanMetric, self.figures[f"{stage}_{name}"])


def load_rectifier(path: Path, trust: bool = False) -> TrajectoryNetwork:
    """Build the network that fills gaps from a checkpoint; the file alone is enough.

    Args:
        path: Checkpoint of ``tracknet fit`` with a `TrajectoryRectifier`.
        trust: Let it name any class; see `tracknet.trust.check_recipe`.

    Returns:
        The network, in evaluation mode, on the CPU.

    Raises:
        TrackNetError: There is no such file, it is no such checkpoint, or it names a class of another module.
    """
    content = read_checkpoint(path)
    weights = content.get("state_dict") if isinstance(content, dict) else None
    if not isinstance(weights, dict) or _SAVED_AS not in content:
        raise TrackNetError(
            f"{path}: not a checkpoint of a rectifier; it holds a tracker, or something else "
            "(train one with --config configs/experiment/rectifier.yaml)"
        )
    prefix = "network."
    try:
        more = check_recipe(path, content[_SAVED_AS], trust)
        with limited(more is not None, more or ()):
            network = _build(content[_SAVED_AS])
        network.load_state_dict(
            {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        )
    except (ImportError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise TrackNetError(f"{path}: the rectifier cannot be built from it ({reason})") from error
    return network.eval()


def _build(recipe: dict[str, Any]) -> TrajectoryNetwork:
    module, _, name = str(recipe["class_path"]).rpartition(".")
    if reason := refusal_of(str(recipe["class_path"])):
        raise ValueError(reason)
    cls = getattr(import_module(module), name)
    if not (isinstance(cls, type) and issubclass(cls, TrajectoryNetwork)):
        raise ValueError(f"{name} is not a TrajectoryNetwork")
    return cls(**recipe["init_args"])


def _along(curve: Callable[[np.ndarray, np.ndarray, int, int], np.ndarray], batch: Batch) -> Tensor:
    """Fill the gap of each window along a curve."""
    filled = batch["xy"].double().cpu().numpy().copy()
    visible = batch["visible"].cpu().numpy()
    for n, mask in enumerate(batch["mask"].cpu().numpy()):
        hidden = np.flatnonzero(mask)
        start, stop = int(hidden[0]), int(hidden[-1]) + 1
        filled[n, start:stop] = curve(filled[n], visible[n] & ~mask, start, stop)
    return torch.from_numpy(filled)


def _figure_names(prefix: str) -> tuple[str, str]:
    return f"{prefix}error", f"{prefix}within_4px"
