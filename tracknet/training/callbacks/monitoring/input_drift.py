"""Whether the training batches still look like those at the start."""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
from jsonargparse.typing import PositiveFloat, PositiveInt
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from tracknet.training.callbacks.monitoring.telling import is_windows, log_figures, tell

FIGURES = {
    "brightness": "the mean brightness",
    "contrast": "the contrast (standard deviation of the brightness)",
    "visible": "the share of labelled frames with a ball",
    "x": "the mean horizontal position of the ball",
    "y": "the mean vertical position of the ball",
    "spread": "the spread of the ball's positions",
}
"""What is looked at, in words."""

_LEAST_SIGMA = 0.01


class InputDrift(Callback):
    """Logs what training batches look like, and says when they move away from the first ones.

    ``input/brightness`` and ``input/contrast`` (0..1), ``input/visible`` (share of the labelled frames with
    a ball), and ``input/x``, ``input/y`` and ``input/spread``: mean and standard deviation of the ball's
    position in shares of width and height. Batches are those that the network gets, augmented. When the
    mean of the last batches differs from that of the first ones by more than ``sigmas`` standard deviations
    of the first ones (at least 0.01), a notice says so, once for each figure. A run that is resumed keeps
    its first batches. Lightning looks at no data.

    Args:
        every_n_steps: Steps between batches that are looked at.
        reference: Number of first batches that are the measure.
        window: Number of last batches that are compared.
        sigmas: Standard deviations beyond which a notice is given.
    """

    def __init__(
        self,
        every_n_steps: PositiveInt = 20,
        reference: PositiveInt = 20,
        window: PositiveInt = 10,
        sigmas: PositiveFloat = 3.0,
    ) -> None:
        self.every_n_steps: int = every_n_steps
        self.reference: int = reference
        self.window: int = window
        self.sigmas: float = sigmas
        self._first: list[list[float]] = []
        self._last: deque[list[float]] = deque(maxlen=window)
        self._told: set[str] = set()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Look at a batch every so often."""
        if trainer.fit_loop.total_batch_idx % self.every_n_steps or not is_windows(batch):
            return
        found = appearance(batch).tolist()
        log_figures(
            trainer,
            {f"input/{n}": v for n, v in zip(FIGURES, found, strict=True) if v == v},
        )
        if len(self._first) < self.reference:
            self._first.append(found)
            return
        self._last.append(found)
        if len(self._last) == self.window:
            self._compare(trainer)

    def state_dict(self) -> dict[str, Any]:
        """Keep the first batches in the checkpoint."""
        return {"first": self._first, "told": sorted(self._told)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the first batches from a checkpoint."""
        self._first, self._told = state_dict["first"], set(state_dict["told"])

    def _compare(self, trainer: Trainer) -> None:
        first, last = torch.tensor(self._first), torch.tensor(list(self._last))
        mean, now = first.nanmean(dim=0), last.nanmean(dim=0)
        sigma = (first - mean).square().nanmean(dim=0).sqrt().clamp(min=_LEAST_SIGMA)
        beyond = (now - mean).abs() / sigma
        for place, (name, words) in enumerate(FIGURES.items()):
            if name not in self._told and float(beyond[place]) > self.sigmas:
                self._told.add(name)
                tell(
                    trainer,
                    f"{words} of the training batches has moved from {float(mean[place]):.3f} to "
                    f"{float(now[place]):.3f}, {float(beyond[place]):.1f} standard deviations of the first "
                    f"{len(first)} batches; look at the clips and at what augmentation and sampling change "
                    "during the run",
                )


def appearance(batch: dict[str, Tensor]) -> Tensor:
    """Describe a batch.

    Args:
        batch: A batch of `WindowDataset`.

    Returns:
        The figures of `FIGURES` in their order, float32 ``[6]``, on the device of the batch; NaN for those
        that nothing is known of.
    """
    frames, visible, labelled = batch["frames"], batch["visible"], batch["labelled"]
    # Every fourth row and column tells as much about brightness as all of them.
    light = frames[..., ::4, ::4].float()
    light = light / 255 if frames.dtype == torch.uint8 else light
    seen = visible & labelled
    count = seen.sum()
    size = batch["xy"].new_tensor([frames.shape[-1], frames.shape[-2]])
    places = torch.where(seen[..., None], batch["xy"] / size, 0.0).float()
    middle = places.sum(dim=(0, 1)) / count
    off = torch.where(seen[..., None], places - middle, 0.0)
    spread = (off.square().sum() / count).sqrt()
    share = count / labelled.sum()
    return torch.stack([light.mean(), light.std(), share, middle[0], middle[1], spread])
