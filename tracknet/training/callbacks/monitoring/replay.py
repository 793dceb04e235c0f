"""Batches that made a step go wrong: saved, and run again with an eye on every layer."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn

from tracknet.data.whole_file import whole_file
from tracknet.errors import TrackNetError
from tracknet.training.random_state import RandomState

_MOST_WINDOWS = 8


@dataclass(frozen=True)
class Recorded:
    """A training batch with all that its loss depends on but the weights.

    Attributes:
        batch: The batch as the module got it.
        index: Its number in the epoch.
        random: The random numbers before it.
    """

    batch: dict[str, Tensor]
    index: int
    random: RandomState


def save_recorded(
    path: Path, recorded: Recorded, module: LightningModule, step: int, names: Sequence[str]
) -> None:
    """Write a batch, the weights and the random numbers as tensors and plain values.

    Args:
        path: The file; ``torch.load(path, weights_only=True)`` reads it.
        recorded: The batch.
        module: The module, with the weights before the step.
        step: Number of the step.
        names: Names of the training clips, by the batch's clip numbers; may be empty.
    """
    random = {"host": recorded.random.host}
    if recorded.random.device is not None:
        random["device"] = recorded.random.device
    content = {
        "step": step,
        "batch_idx": recorded.index,
        "clips": list(names),
        "batch": {name: value.cpu() for name, value in recorded.batch.items()},
        "random": random,
        "state_dict": {name: value.cpu() for name, value in module.state_dict().items()},
    }
    with whole_file(path) as part:
        torch.save(content, part)


def replay(path: Path | str, module: LightningModule) -> str:
    """Run a batch that `NonFiniteGuard` saved once more.

    Args:
        path: The file, ``RUN/nonfinite/step_N.pt``.
        module: A module of the same layers; it takes the weights of the file.

    Returns:
        What is not finite, in words; empty when all is finite.

    Raises:
        TrackNetError: The file cannot be read, or the module has other layers.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        module.load_state_dict(content["state_dict"])
        random = RandomState(content["random"]["host"], content["random"].get("device"))
        batch = {name: value.to(module.device) for name, value in content["batch"].items()}
    except pickle.UnpicklingError as error:
        raise TrackNetError(
            f"{path}: damaged, or it holds more than tensors and plain values, which could be code and is "
            "not opened; expected a file that NonFiniteGuard wrote"
        ) from error
    except (OSError, EOFError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise TrackNetError(
            f"{path}: cannot be replayed with this {type(module).__name__}: {str(error).splitlines()[0]}; "
            "expected a file that NonFiniteGuard wrote, and a module of the same network"
        ) from error
    module.train()
    return run_again(module, Recorded(batch, content["batch_idx"], random))


def run_again(module: LightningModule, recorded: Recorded) -> str:
    """Give what is not finite when a batch goes through the module, forward and backward.

    Gradients that are there are left alone, nothing is logged, and the random numbers go on as if nothing
    had happened; running statistics are changed.

    Args:
        module: The module in training mode.
        recorded: The batch.

    Returns:
        The first thing that is not finite, in words: a label, the output of a layer, the loss, or the
        gradient of a layer; empty when all is finite.
    """
    if words := _faulty_labels(recorded.batch):
        return words
    layers: list[str] = []
    wrong: list[str] = []

    def watch(name: str, layer: nn.Module) -> Any:
        def hook(_: nn.Module, given: Any, output: Any) -> None:
            if name not in layers:
                layers.append(name)
            if isinstance(output, Tensor) and not wrong and not bool(output.isfinite().all()):
                wrong.append(f"{name} ({type(layer).__name__})")

        return layer.register_forward_hook(hook)

    leaves = [(name, one) for name, one in module.named_modules() if name and not any(one.children())]
    hooks = [watch(name, layer) for name, layer in leaves]
    trained = [(name, one) for name, one in module.named_parameters() if one.requires_grad]
    now = RandomState.now(module.device)
    try:
        recorded.random.restore(module.device)
        with torch.enable_grad(), _unlogged(module):
            loss = module.training_step(recorded.batch, recorded.index)
            assert isinstance(loss, Tensor)
        if wrong:
            return f"first in the output of {wrong[0]}"
        if not bool(loss.isfinite()):
            return f"the loss is {float(loss)}, though the output of every layer is finite"
        gradients = torch.autograd.grad(loss, [one for _, one in trained], allow_unused=True)
    finally:
        now.restore(module.device)
        for hook in hooks:
            hook.remove()
    spoilt = {
        name.rpartition(".")[0]
        for (name, _), gradient in zip(trained, gradients, strict=True)
        if gradient is not None and not bool(gradient.isfinite().all())
    }
    if not spoilt:
        return ""
    # The backward pass comes to the last layer first.
    last = [name for name in layers if name in spoilt] or sorted(spoilt)
    where = f"the gradient of {last[-1]} is not finite, first in the backward pass"
    return f"the loss is {float(loss):.4g}, but {where}"


def windows_in_words(batch: dict[str, Tensor], names: Sequence[str]) -> str:
    """Name the windows of a batch: clips and frames.

    Args:
        batch: A batch of `WindowDataset`.
        names: Names of the clips; may be empty.

    Example:
        >>> batch = {"clip": torch.tensor([1, 0]), "frame": torch.tensor([[4, 5, 6], [0, 1, 2]])}
        >>> windows_in_words(batch, ["a", "b"])
        'b frames 4-6, a frames 0-2'
    """
    words = []
    for clip, frames in zip(batch["clip"].tolist(), batch["frame"].tolist(), strict=True):
        name = names[clip] if clip < len(names) else f"clip {clip}"
        words.append(f"{name} frames {min(frames)}-{max(frames)}")
    more = len(words) - _MOST_WINDOWS
    return ", ".join(words[:_MOST_WINDOWS]) + (f" and {more} more" if more > 0 else "")


def _faulty_labels(batch: dict[str, Tensor]) -> str:
    wrong = (batch["visible"] & ~batch["xy"].isfinite().all(dim=-1)).nonzero()
    if len(wrong):
        row, place = wrong[0].tolist()
        return f"the label of window {row + 1}, frame {int(batch['frame'][row, place])}, is no position"
    pictures = [name for name in ("frames", "background") if name in batch]
    for name in pictures:
        if not bool(batch[name].isfinite().all()):
            return f"the {name} of the batch"
    return ""


@contextmanager
def _unlogged(module: LightningModule) -> Iterator[None]:
    """Let a module log nothing: there is no place for figures of a second run."""

    def log(*args: Any, **kwargs: Any) -> None:
        pass

    module.__dict__["log"] = log
    try:
        yield
    finally:
        del module.__dict__["log"]
