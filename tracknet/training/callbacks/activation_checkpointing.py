"""Activations that are computed again instead of being kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from fnmatch import fnmatch
from functools import partial
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import is_grad_enabled, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint

from tracknet.errors import UsageError, nearest


class ActivationCheckpointing(Callback):
    """Computes parts of the network again in the backward pass, instead of keeping all that they computed.

    Training takes less memory, and up to a third more time (Chen et al., "Training Deep Nets with Sublinear
    Memory Cost", 2016). Lightning offers it with FSDP only. Gradients are the same; running statistics of
    batch normalisation take in each batch once.

    Args:
        parts: Names of parts of the network, such as ``down1`` or ``up*``; default all that it is made of.
            What is kept is what goes into a part: few large parts take less memory than many small ones.
    """

    def __init__(self, parts: list[str] | None = None) -> None:
        self.parts = parts
        self._wrapped: list[nn.Module] = []

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Wrap the parts, at the start of ``fit``.

        Args:
            trainer: The trainer.
            pl_module: The module; ``network`` is what it trains.
            stage: Stage of the trainer.

        Raises:
            UsageError: There is no such part.
        """
        if stage != "fit":
            return
        network = getattr(pl_module, "network", pl_module)
        for module in self._chosen(network):
            module.forward = partial(_forward, module, module.forward)
            self._wrapped.append(module)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Unwrap the parts."""
        for module in self._wrapped:
            del module.forward
        self._wrapped = []

    def _chosen(self, network: nn.Module) -> list[nn.Module]:
        if self.parts is None:
            return [child for child in network.children() if any(True for _ in child.parameters())]
        named = {name: module for name, module in network.named_modules() if name}
        chosen = []
        for wanted in self.parts:
            found = [module for name, module in named.items() if fnmatch(name, wanted)]
            if not found:
                raise UsageError(
                    f"ActivationCheckpointing: parts: no part {wanted!r} of {type(network).__name__}"
                    f"{nearest(wanted, named)} (it has {', '.join(dict(network.named_children()))})"
                )
            chosen += found
        return list(dict.fromkeys(chosen))


def _forward(module: nn.Module, plain: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    if not (module.training and is_grad_enabled()):
        return plain(*args, **kwargs)
    contexts = partial(_contexts, module)
    return checkpoint(partial(plain, **kwargs), *args, use_reentrant=False, context_fn=contexts)


def _contexts(module: nn.Module) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Give what is around the first computation, and around the one in the backward pass."""
    return nullcontext(), _statistics_kept(module)


@contextmanager
def _statistics_kept(module: nn.Module) -> Iterator[None]:
    """Let copies take what batch normalisation adds to its running statistics."""
    norms = [one for one in module.modules() if isinstance(one, _NormBase)]
    own = [dict(norm.named_buffers(recurse=False)) for norm in norms]
    for norm, buffers in zip(norms, own, strict=True):
        norm._buffers.update({name: buffer.clone() for name, buffer in buffers.items()})
    try:
        yield
    finally:
        for norm, buffers in zip(norms, own, strict=True):
            norm._buffers.update(buffers)
