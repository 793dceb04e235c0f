"""Low-rank adapters on backbones; they need the extra ``tracknet[lora]``."""

from __future__ import annotations

from difflib import get_close_matches
from importlib import import_module
from typing import Any, Literal

from jsonargparse.typing import ClosedUnitInterval, PositiveInt
from torch import nn

from tracknet.errors import TrackNetError, UsageError


class LoRA:
    """Trains small matrices beside the weights of a backbone, which stay as they are (Hu et al., ICLR 2022).

    A layer with the weight W becomes ``W + (alpha / r) B A`` with B zero at first, so that a network begins
    as its pretrained backbone. Only the adapters of the backbone and all that is above it are trained.

    Args:
        r: Rank of the adapters.
        alpha: What the adapters are multiplied with, times r.
        dropout: Share of an adapter's inputs that is dropped in training.
        target_modules: Names of the layers that get an adapter, or their last parts, such as ``q_proj``; None
            for all linear ones.
        bias: Which biases of the backbone are trained too: ``lora_only`` those of layers with an adapter.
    """

    def __init__(
        self,
        r: PositiveInt = 8,
        alpha: PositiveInt = 16,
        dropout: ClosedUnitInterval = 0.0,
        target_modules: list[str] | None = None,
        bias: Literal["none", "all", "lora_only"] = "none",
    ) -> None:
        self.r = r
        self.alpha = alpha
        self.dropout = dropout
        self.target_modules = target_modules
        self.bias: Literal["none", "all", "lora_only"] = bias

    def adapt(self, backbone: nn.Module) -> None:
        """Put the adapters into a backbone, and freeze all else in it.

        Args:
            backbone: A model of Hugging Face's ``transformers``; its linear layers and convolutions can be
                adapted.

        Raises:
            TrackNetError: ``peft`` is not installed.
            UsageError: The backbone has no layer of such a name, or one that cannot be adapted.
        """
        peft = _peft()
        names = {name.rpartition(".")[2] for name, layer in backbone.named_modules() if _adaptable(layer)}
        for wanted in self.target_modules or []:
            if wanted.rpartition(".")[2] not in names:
                near = get_close_matches(wanted, names, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"those are {', '.join(sorted(names))}"
                raise UsageError(f"LoRA.target_modules: the backbone has no layer {wanted!r}; {hint}")
        config = peft.LoraConfig(
            r=int(self.r),
            lora_alpha=int(self.alpha),
            lora_dropout=float(self.dropout),
            target_modules=self.target_modules or "all-linear",
            bias=self.bias,
        )
        try:
            peft.inject_adapter_in_model(config, backbone)
        except ValueError as error:
            raise UsageError(f"LoRA: {error}") from error


def plain_state(backbone: nn.Module) -> dict[str, Any]:
    """Give the tensors of a backbone, named as they are without adapters; adapters are left out.

    Args:
        backbone: A backbone with or without adapters.

    Returns:
        The tensors themselves, as ``state_dict`` gives them.
    """
    return {
        name.replace(".base_layer.", "."): value
        for name, value in backbone.state_dict().items()
        if ".lora_" not in name
    }


def _adaptable(layer: nn.Module) -> bool:
    return isinstance(layer, (nn.Linear, nn.Conv2d))


def _peft() -> Any:
    """Import Hugging Face's ``peft``, late: it takes seconds, and only adapters need it."""
    try:
        return import_module("peft")
    except ImportError as error:
        raise TrackNetError("LoRA needs peft: pip install 'tracknet[lora]'") from error
