"""Clipping of gradients, also of those that are spread over processes."""

from __future__ import annotations

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import GradClipAlgorithmType
from torch.optim import Optimizer


def clip_whole_norm(
    module: LightningModule,
    optimizer: Optimizer,
    gradient_clip_val: int | float | None = None,
    gradient_clip_algorithm: str | None = None,
) -> None:
    """Clip gradients; a class of modules has it as its ``configure_gradient_clipping``.

    FSDP alone knows the norm of gradients that it has spread over processes; Lightning leaves them to the
    module.

    Args:
        module: The module that is trained.
        optimizer: Whose gradients.
        gradient_clip_val: As the trainer has it; None or 0 for no clipping.
        gradient_clip_algorithm: As the trainer has it; None for the norm.
    """
    by_norm = gradient_clip_algorithm in (None, GradClipAlgorithmType.NORM)
    # By its name: not every PyTorch has FSDP.
    of_fsdp = getattr(module.trainer.model, "clip_grad_norm_", None)
    if of_fsdp is not None and gradient_clip_val and by_norm:
        of_fsdp(gradient_clip_val)
    else:
        module.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
