"""How large gradients, weights and updates are, by groups of layers."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jsonargparse.typing import PositiveInt
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from tracknet.training.callbacks.monitoring.telling import due, log_figures


class GradientNorms(Callback):
    """Logs the norms of gradients and weights and the size of an update, by groups of layers.

    ``grad_norm/GROUP`` and ``weight_norm/GROUP`` are Euclidean norms over all parameters of the group that
    are trained, the gradient as it is before clipping; ``update_ratio/GROUP`` is the norm of what the
    optimizer step changed divided by that of the weights (about 1e-3 is usual; far less learns nothing, far
    more does not settle). ``total`` stands for all groups.

    Lightning's ``grad_norm`` gives gradients only, one figure a parameter, and reads each from the device on
    its own. Here the norms of all parameters come from one ``foreach`` kernel each and are read together, and
    only in the steps that are logged.

    Args:
        every_n_steps: Optimizer steps between figures; None whenever Lightning logs.
        depth: Parts of a parameter's name that make its group: 2 puts ``network.encoder.0.conv.weight``
            into ``network.encoder``.
    """

    def __init__(self, every_n_steps: PositiveInt | None = None, depth: PositiveInt = 2) -> None:
        self.every_n_steps = every_n_steps
        self.depth: int = depth
        self._names: list[str] = []
        self._weights: list[Tensor] = []
        self._before: list[Tensor] = []
        self._norms: tuple[Tensor, Tensor] | None = None

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Take the gradients, and the weights as they are before the step."""
        if not due(trainer, self.every_n_steps, trainer.global_step + 1):
            return
        trained = [(name, one) for name, one in pl_module.named_parameters() if one.grad is not None]
        if not trained:
            return
        self._names = [group_of(name, self.depth) for name, _ in trained]
        self._weights = [one.detach() for _, one in trained]
        gradients = [one.grad.detach() for _, one in trained if one.grad is not None]
        self._norms = (_norms(gradients), _norms(self._weights))
        self._before = [one.clone() for one in self._weights]

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: object, batch: object, batch_idx: int
    ) -> None:
        """Compare with the weights after the step, and log."""
        if self._norms is None:
            return
        changed = _norms(torch._foreach_sub(self._weights, self._before))
        gradients, weights, changes = torch.stack([*self._norms, changed]).square().cpu().double()
        self._norms, self._weights, self._before = None, [], []
        figures: dict[str, float] = {}
        for group in dict.fromkeys([*self._names, "total"]):
            chosen = torch.tensor([group in (name, "total") for name in self._names])
            weight = float(weights[chosen].sum().sqrt())
            figures[f"grad_norm/{group}"] = float(gradients[chosen].sum().sqrt())
            figures[f"weight_norm/{group}"] = weight
            figures[f"update_ratio/{group}"] = float(changes[chosen].sum().sqrt()) / max(weight, 1e-12)
        log_figures(trainer, figures)


def group_of(name: str, depth: int) -> str:
    """Give the group of a parameter: the first parts of its name, without the parameter's own.

    Example:
        >>> group_of("network.encoder.0.conv.weight", 2), group_of("network.bias", 2)
        ('network.encoder', 'network')
    """
    return ".".join(name.split(".")[:-1][:depth]) or name


def _norms(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack(torch._foreach_norm([one.float() for one in tensors]))
