"""Networks used as they are used for finding balls, whatever they were doing before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(module: object) -> Iterator[None]:
    """Put a module in evaluation mode, and afterwards all of its parts back in theirs.

    In training mode, in which Lightning leaves a module behind ``fit`` and ``validate``, batch normalisation
    would take the statistics of what is looked at, and learn them.

    Args:
        module: The module; what is none, such as an exported graph, is left alone.
    """
    training = [one for one in module.modules() if one.training] if isinstance(module, nn.Module) else []
    for one in training:
        one.training = False
    try:
        yield
    finally:
        for one in training:
            one.training = True
