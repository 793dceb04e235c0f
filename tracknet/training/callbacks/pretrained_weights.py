"""The callback that starts from the weights of another training, as far as they fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from tracknet.errors import UsageError, first_few
from tracknet.training.checkpoint_contents import network_weights, read_file, state_dict_of

_SHOWN = 5
_NETWORK = "network."


@dataclass(frozen=True)
class Match:
    """Which weights of a checkpoint fit a module.

    Attributes:
        taken: Names of the weights that are taken.
        missing: Names of the module that the checkpoint has not.
        misshapen: Names that both have with other shapes, with both shapes.
        left_out: Names that were to be left out.
        unused: Names of the checkpoint that the module has not.
        share: Share of the module's numbers that are taken, from 0 to 1.
    """

    taken: tuple[str, ...]
    missing: tuple[str, ...]
    misshapen: tuple[str, ...]
    left_out: tuple[str, ...]
    unused: tuple[str, ...]
    share: float

    def report(self) -> str:
        """Say it in a few lines."""
        whole = len(self.taken) + len(self.missing) + len(self.misshapen) + len(self.left_out)
        lines = [f"{len(self.taken)} of {whole} weights taken ({self.share:.1%} of the numbers)"]
        rest = {
            "not in the file": self.missing,
            "of another shape": self.misshapen,
            "left out": self.left_out,
            "in the file only": self.unused,
        }
        for what, names in rest.items():
            if names:
                lines.append(f"{what}: {first_few(names, _SHOWN)}")
        return "\n  ".join(lines)


class PretrainedWeights(Callback):
    """Loads the weights of a checkpoint that fit the module before training, and says which did.

    For fine-tuning: another number of frames, another head or another data set. Lightning loads all of a
    checkpoint or nothing, with ``strict=False`` it is silent about names and still fails on shapes. A run
    that is resumed keeps its own weights.

    Args:
        checkpoint: Checkpoint of ``tracknet fit``, of the older tracknet or of published code, or weights
            alone.
        leave_out: Beginnings of names that start anew, such as ``network.head``.
    """

    def __init__(self, checkpoint: str, leave_out: list[str] | None = None) -> None:
        self.checkpoint = checkpoint
        self.leave_out = list(leave_out or ())

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Load the weights, at the start of ``fit``.

        Args:
            trainer: The trainer.
            pl_module: The module.
            stage: Stage of the trainer.

        Raises:
            UsageError: Nothing of the checkpoint fits.
            TrackNetError: The checkpoint cannot be read.
        """
        if stage != "fit" or trainer.ckpt_path is not None:
            return
        path = Path(self.checkpoint).expanduser()
        content = read_file(path)
        own = pl_module.state_dict()
        given = state_dict_of(content, own.keys())
        if own.keys().isdisjoint(given):  # others save the network, not what is around it
            names = {name.removeprefix(_NETWORK) for name in own if name.startswith(_NETWORK)}
            given = {f"{_NETWORK}{name}": one for name, one in network_weights(content, names).items()}
        match = matching(own, given, self.leave_out)
        if not match.taken:
            raise UsageError(f"{path}: nothing of it fits this {type(pl_module).__name__}: {match.report()}")
        for name in match.taken:
            own[name].copy_(given[name])
        begin_averages(trainer, pl_module)
        rank_zero_info(f"note: {path}: {match.report()}")


def begin_averages(trainer: Trainer, module: LightningModule) -> None:
    """Let averages of weights begin with those of the module, also where they were set up before it had them.

    Args:
        trainer: The trainer.
        module: The module, whose weights have just been loaded.
    """
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, WeightAveraging) and callback._average_model is not None:
            average = callback._average_model.module
            # By place, as Lightning takes them: other callbacks may have changed names.
            copied = chain(average.parameters(), average.buffers())
            for copy, own in zip(copied, chain(module.parameters(), module.buffers()), strict=True):
                copy.data.copy_(own.data)


def matching(own: Mapping[str, Tensor], given: Mapping[str, Tensor], leave_out: Sequence[str] = ()) -> Match:
    """Find out which weights fit.

    Args:
        own: Weights of the module.
        given: Weights of the checkpoint.
        leave_out: Beginnings of names that are not taken.

    Returns:
        What fits and what does not.
    """
    left_out = tuple(name for name in own if name.startswith(tuple(leave_out)))
    wanted = {name: one for name, one in own.items() if name not in left_out}
    taken = tuple(name for name, one in wanted.items() if name in given and given[name].shape == one.shape)
    numbers = sum(one.numel() for one in own.values())
    return Match(
        taken=taken,
        missing=tuple(name for name in wanted if name not in given),
        misshapen=tuple(
            f"{name} {list(given[name].shape)} for {list(one.shape)}"
            for name, one in wanted.items()
            if name in given and given[name].shape != one.shape
        ),
        left_out=left_out,
        unused=tuple(name for name in given if name not in own),
        share=sum(own[name].numel() for name in taken) / max(numbers, 1),
    )
