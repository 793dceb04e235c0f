"""How a step of the Lightning module goes through a batch: whole, or in parts that fit into memory."""

from __future__ import annotations

import logging
from collections.abc import Callable
from itertools import pairwise
from math import ceil
from typing import Any, Literal, TypeVar

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.memory import garbage_collection_cuda, is_oom_error
from lightning_utilities.core.rank_zero import rank_prefixed_message
from torch import Tensor
from torch.autograd.function import once_differentiable

from tracknet.errors import TrackNetError
from tracknet.training.losses import HeatmapLoss
from tracknet.training.random_state import RandomState

Phase = Literal["train", "validate", "test", "predict"]
T = TypeVar("T")

# How PyTorch, and oneDNN under its convolutions, say on a CPU that there is no memory; the latter says the
# same of layers that it does not support, which smaller parts do not mend: the message is passed on then.
_HOST_IS_FULL = ("std::bad_alloc", "could not create a primitive", "could not create a memory object")

_log = logging.getLogger("lightning.pytorch.micro_batches")


class BatchLoss:
    """Loss of a batch of windows whose logits come in parts.

    Targets are drawn for the whole batch, once the first logits tell the size of the heatmaps.

    Args:
        loss: The loss.
        targets: Gives the target heatmaps of the whole batch, ``[B, L, h, w]``, for logits of a part of it.
        weight: Weight of each frame of the batch, ``[B, L]``.
    """

    def __init__(self, loss: HeatmapLoss, targets: Callable[[Tensor], Tensor], weight: Tensor) -> None:
        self._loss = loss
        self._targets = targets
        self._weight = weight
        self._drawn: tuple[Tensor, Tensor] | None = None

    def __call__(self, logits: Tensor, part: slice) -> tuple[Tensor, Tensor]:
        """Give what a part adds to the loss of the batch.

        Args:
            logits: Heatmap logits of the part.
            part: Which windows of the batch they are.

        Returns:
            The loss of the part divided by the total weight of the batch, and this weight; two scalars.
        """
        if self._drawn is None:
            target = self._targets(logits)
            self._drawn = target, self._loss.frame_weights(target, self._weight).sum()
        target, total = self._drawn
        loss: Tensor = self._loss(logits, target[part], self._weight[part], total)
        return loss, total


class WholeBatch:
    """Goes through every batch at once."""

    def loss(self, module: LightningModule, windows: int, loss_of: Callable[[slice], Tensor]) -> Tensor:
        """Give the loss of a training batch, for the backward pass.

        Args:
            module: The module that is trained.
            windows: Windows in the batch.
            loss_of: Gives the loss of some windows, divided by the normaliser of the whole batch: the losses
                of parts add up to the loss of the batch.

        Returns:
            The loss, a scalar whose backward pass fills the gradients of the parameters.
        """
        return loss_of(slice(0, windows))

    def results(
        self, phase: Phase, module: LightningModule, windows: int, result_of: Callable[[slice], T]
    ) -> list[T]:
        """Give the results of a batch that nobody learns from.

        Args:
            phase: What the batch is for; each phase needs its own amount of memory.
            module: The module that is asked.
            windows: Windows in the batch.
            result_of: Gives the result of some windows; it changes nothing.

        Returns:
            The results of the parts, in their order.
        """
        return [result_of(slice(0, windows))]


class MicroBatches(WholeBatch):
    """Goes through batches in parts, smaller ones when memory runs out; see `AdaptiveMicroBatch`.

    The gradients of the parts are computed within `loss` and kept beside those of the parameters, which take
    them over in the one backward pass that Lightning makes. Until then nothing that an error would have to
    undo has been touched: neither gradients that are being accumulated nor the reducer of DDP, which sees one
    backward pass a step, also where processes split differently. Loss scaling, clipping and the hooks around
    the backward pass are Lightning's own.

    Args:
        size: Windows of the first parts that are tried; 0 for whole batches.
        min_size: Windows below which a part is not split.
        backoff: What the size is divided by when memory runs out, > 1.
        retries: How many times one batch may be tried again.

    Attributes:
        sizes: The size that has worked, by phase, where it is less than the first one.
    """

    def __init__(self, size: int, min_size: int, backoff: float, retries: int) -> None:
        self.size = size
        self.min_size = min_size
        self.backoff = backoff
        self.retries = retries
        self.sizes: dict[Phase, int] = {}
        self._trained: list[int] = []

    def loss(self, module: LightningModule, windows: int, loss_of: Callable[[slice], Tensor]) -> Tensor:
        """Give the loss of a training batch, part by part; arguments as in `WholeBatch.loss`."""
        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self._forget_if_changed(parameters)
        seed = _gradient_of_loss(module)
        profiler = module.trainer.profiler  # type: ignore[attr-defined]

        def attempt(parts: list[slice]) -> tuple[Tensor, list[Tensor | None]]:
            value = torch.zeros((), device=seed.device)
            total: list[Tensor | None] = [None] * len(parameters)
            for part in parts:
                loss = loss_of(part)
                value = value + loss.detach()
                # Told to Lightning's profiler as its own backward pass is.
                told = profiler.profile(f"[{type(self).__name__}]{type(module).__name__}.backward")
                with told, torch.autocast(loss.device.type, enabled=False):
                    found = torch.autograd.grad(loss, parameters, seed.to(loss.dtype), allow_unused=True)
                # Not in place: autograd may give one tensor to several parameters.
                total = [_plus(before, new) for before, new in zip(total, found, strict=True)]
                del loss, found
            return value, total

        value, gradients = self._fitting("train", module, windows, attempt)
        reached = [
            (parameter, gradient)
            for parameter, gradient in zip(parameters, gradients, strict=True)
            if gradient is not None
        ]
        del gradients
        result: Tensor = _Computed.apply(  # type: ignore[no-untyped-call]
            value, seed, [gradient for _, gradient in reached], *(parameter for parameter, _ in reached)
        )
        return result

    def results(
        self, phase: Phase, module: LightningModule, windows: int, result_of: Callable[[slice], T]
    ) -> list[T]:
        """Give the results of a batch, part by part; arguments as in `WholeBatch.results`."""
        return self._fitting(phase, module, windows, lambda parts: [result_of(part) for part in parts])

    def _fitting(
        self, phase: Phase, module: LightningModule, windows: int, attempt: Callable[[list[slice]], T]
    ) -> T:
        """Try a batch with smaller and smaller parts until they fit into memory."""
        size = min(self.sizes.get(phase, self.size or windows), windows)
        undo = _remember(module)
        failures = 0
        while True:
            parts = split(windows, size)
            try:
                result = attempt(parts)
            except Exception as error:
                if not is_out_of_memory(error):
                    raise
                # The error itself holds on to the tensors of the failed attempt.
                said = str(error).partition("\n")[0]
            else:
                if failures:
                    self.sizes[phase] = size
                return result
            undo()
            garbage_collection_cuda()
            largest = parts[0].stop
            if largest <= self.min_size or failures == self.retries:
                raise TrackNetError(self._surrender(phase, largest, failures, said))
            failures += 1
            size = max(self.min_size, min(int(size / self.backoff), largest - 1))
            notice = f"{phase}: {largest} windows at once are too many for the memory; trying {size}"
            several = module.trainer.world_size > 1
            _log.info(rank_prefixed_message(notice, module.global_rank if several else None))

    def _surrender(self, phase: Phase, windows: int, failures: int, said: str) -> str:
        remedy = "take a smaller network or input_size, or lower precision"
        if windows > self.min_size:
            remedy = f"raise retries (now {self.retries}) or backoff (now {self.backoff:g}) or lower size"
        elif windows > 1:
            remedy = f"lower min_size (now {self.min_size}), or {remedy}"
        again = f" after {failures} {'retry' if failures == 1 else 'retries'}" if failures else ""
        return (
            f"AdaptiveMicroBatch: out of memory in {phase} with {windows} window(s) at once{again}; "
            f"{remedy} ({said})"
        )

    def _forget_if_changed(self, parameters: list[torch.nn.Parameter]) -> None:
        trained = [id(parameter) for parameter in parameters]
        if trained != self._trained:
            self.sizes.clear()
            self._trained = trained


def split(windows: int, size: int) -> list[slice]:
    """Split a batch into as few parts as a size allows, of equal lengths as far as possible.

    Args:
        windows: Windows in the batch, >= 1.
        size: Most windows in a part, >= 1.

    Returns:
        The parts, the longer ones first.

    Example:
        >>> split(7, 3)
        [slice(0, 3, None), slice(3, 5, None), slice(5, 7, None)]
    """
    count = ceil(windows / size)
    ends = [(windows * number + count - 1) // count for number in range(count + 1)]
    return [slice(start, end) for start, end in pairwise(ends)]


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that memory has run out, on the device or on the host.

    Args:
        error: The error.

    Returns:
        Whether a smaller batch may help.
    """
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or is_oom_error(error):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _HOST_IS_FULL)


def _plus(before: Tensor | None, new: Tensor | None) -> Tensor | None:
    if before is None or new is None:
        return new if before is None else before
    return before + new


def _gradient_of_loss(module: LightningModule) -> Tensor:
    """Foresee the gradient that reaches the loss, so that half-precision gradients do not vanish before."""
    gradient = torch.ones((), device=module.device) / module.trainer.accumulate_grad_batches
    scaler = getattr(module.trainer.precision_plugin, "scaler", None)
    if scaler is not None:
        gradient = scaler.scale(gradient)
    return gradient


def _remember(module: LightningModule) -> Callable[[], None]:
    """Keep what a training step changes before its backward pass; give the function that brings it back."""
    buffers = [(buffer, buffer.clone()) for buffer in module.buffers()] if module.training else []
    random = RandomState.now(module.device)

    def undo() -> None:
        with torch.no_grad():
            for buffer, before in buffers:
                buffer.copy_(before)
        random.restore(module.device)

    return undo


class _Computed(torch.autograd.Function):
    """A loss whose gradients are known already, for a gradient of the loss itself that was foreseen."""

    @staticmethod
    def forward(
        ctx: Any, value: Tensor, seed: Tensor, gradients: list[Tensor], *parameters: Tensor
    ) -> Tensor:
        ctx.seed = seed
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        factor = upstream[0] / ctx.seed
        scaled = []
        gradients: list[Tensor] = ctx.gradients[::-1]
        ctx.gradients = []
        # One by one: two copies of all gradients would not have to fit into memory.
        while gradients:
            gradient = gradients.pop()
            scaled.append(gradient * factor.to(gradient.dtype))
        return None, None, None, *scaled
