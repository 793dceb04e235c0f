"""Networks through torch.compile: what is compiled, when, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from tracknet.errors import TrackNetError
from tracknet.models.framewise import FramewiseNetwork

AFTER = 8
"""Calls in a row with input of one shape before it is compiled."""


def compile_network(network: nn.Module, tell: Callable[[str], None], after: int = AFTER) -> None:
    """Let a network run through torch.compile, in place.

    Compiling takes as long as some hundreds of windows, and is done for one shape of the input at a time, so
    that it is worth it only for shapes that come many times in a row: not for the last windows of a video.
    The weights and their names stay, and a copy of the network is one that is not compiled.

    Args:
        network: The network.
        tell: Is told, after each shape that is compiled, how long it took, and of breaks: places where
            torch.compile had to go back to Python, each of which costs time.
        after: Calls in a row with input of one shape before it is compiled.
    """
    # What nn.Module.compile() sets, which would compile each shape the first time that it comes.
    network._compiled_call_impl = _ByShape(network._call_impl, tell, after)


def compile_windows(network: FramewiseNetwork, tell: Callable[[str], None], after: int = AFTER) -> None:
    """Let what a network does with windows that share frames run through torch.compile, too, in place.

    What it sees in each frame alone stays as written: there the shape changes with the frames that are new.

    Args:
        network: The network; it is only for tracking from then on, and not for being copied.
        tell: As in `compile_network`.
        after: As in `compile_network`.
    """
    network.window_logits = _ByShape(network.window_logits, tell, after)  # type: ignore[method-assign, assignment]


def run_as_written(network: nn.Module) -> None:
    """Undo `compile_network`."""
    network._compiled_call_impl = None


class _ByShape:
    def __init__(self, plain: Callable[..., Tensor], tell: Callable[[str], None], after: int) -> None:
        self._plain = plain
        self._compiled: Callable[..., Tensor] = torch.compile(self._plain, dynamic=False)
        self._tell, self._after = tell, after
        self._row: tuple[Any, int] = (None, 0)
        self._known: set[Any] = set()

    def __call__(self, *inputs: Any) -> Tensor:
        leaves = tree_leaves(inputs)
        tensors = [one for one in leaves if isinstance(one, Tensor)]
        shapes = ((one.shape, one.dtype) if isinstance(one, Tensor) else one for one in leaves)
        kind = (torch.is_grad_enabled(), *shapes)
        last, count = self._row
        self._row = kind, count + 1 if kind == last else 1
        if kind in self._known:
            return self._compiled(*inputs)
        if self._row[1] < self._after:
            return self._plain(*inputs)
        began, before = time.monotonic(), _counted()
        try:
            found = self._compiled(*inputs)
        except torch._dynamo.exc.TorchDynamoException as error:
            reason = " ".join(str(error).strip().splitlines()[:2])
            raise TrackNetError(
                f"torch.compile cannot compile this network here ({reason}); on CPUs it needs a C++ compiler "
                "such as g++, on GPUs Triton; the network runs without it, too"
            ) from error
        self._known.add(kind)
        seconds = time.monotonic() - began
        graphs, reasons = (now - then for now, then in zip(_counted(), before, strict=True))
        shape = ", ".join("x".join(map(str, one.shape)) for one in tensors)
        if not graphs:
            self._tell(f"not compiled for {shape}, as torch.compile has had enough of shapes, or skips it")
            return found
        breaks = graphs - 1
        parts = f"{graphs} graph{'s' * (graphs != 1)}, {breaks} break{'s' * (breaks != 1)}"
        why = "; ".join(sorted(reason.splitlines()[0] for reason in reasons))
        self._tell(f"compiled for {shape} in {seconds:.0f} s: {parts}{': ' * bool(why)}{why}")
        return found


def _counted() -> tuple[Any, Any]:
    """Give how many graphs this process has made, and the reasons of breaks between them."""
    counters = torch._dynamo.utils.counters
    return counters["stats"]["unique_graphs"], {*counters["graph_break"], *counters["unimplemented"]}
