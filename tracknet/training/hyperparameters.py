"""Modules as class names and plain values, from which they can be built again."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities import rank_zero_warn
from torch import nn

from tracknet.models.lora import LoRA

_MISSING = object()


def describe(component: nn.Module | LoRA) -> dict[str, Any]:
    """Describe a module, or an option class of ours, as YAML would: its class and what ``__init__`` took.

    It keeps each parameter of its ``__init__`` as an attribute of the same name, with an underscore
    before it where a layer has that name.

    Args:
        component: The module or options.

    Returns:
        ``class_path`` and ``init_args``, of plain values only.

    Raises:
        ValueError: The class cannot be found by name, or a parameter is not kept or not a plain value.

    Example:
        >>> describe(nn.Dropout(0.5))
        {'class_path': 'torch.nn.modules.dropout.Dropout', 'init_args': {'p': 0.5, 'inplace': False}}
    """
    cls = type(component)
    if "<locals>" in cls.__qualname__:
        raise ValueError(f"{cls.__name__} is defined inside a function, where it cannot be found again")
    given = {}
    for name, parameter in inspect.signature(cls).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        value = getattr(component, f"_{name}", getattr(component, name, _MISSING))
        try:
            given[name] = plain(value)
        except ValueError:
            raise ValueError(
                f"{cls.__name__} does not keep its parameter {name!r} as a plain value"
            ) from None
    return {"class_path": f"{cls.__module__}.{cls.__qualname__}", "init_args": given}


def plain(value: Any) -> Any:
    """Turn a value into what YAML and a checkpoint of plain values can hold.

    Args:
        value: A number, text, path, None, or a list or mapping of such; a module becomes its description.

    Returns:
        The value without classes of ours or of jsonargparse.

    Raises:
        ValueError: It is something else.
    """
    if value is None or isinstance(value, bool):
        return value
    for kind in (int, float, str):
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, (nn.Module, LoRA)):
        return describe(value)
    raise ValueError(f"{value!r} is not a plain value")


def save_recipe(module: LightningModule, **components: nn.Module) -> None:
    """Put what builds a module again into its checkpoints, as class names and plain values.

    To be called at the end of its ``__init__``. Where that is not possible, a warning says so.

    Args:
        module: The module.
        **components: Its arguments that are modules, by the names that its ``__init__`` has for them.
    """
    # Lightning finds the arguments in the frame of that __init__.
    frame = inspect.currentframe()
    module.save_hyperparameters(ignore=list(components), frame=frame and frame.f_back)
    if "_instantiator" in module.hparams:
        # The command line has given its configuration.
        module.save_hyperparameters(frame=frame and frame.f_back)
        return
    cls = type(module)
    recipe: dict[str, Any] = {
        "_instantiator": "lightning.pytorch.cli.instantiate_module",
        "_class_path": f"{cls.__module__}.{cls.__qualname__}",
    }
    try:
        recipe |= {name: plain(value) for name, value in module.hparams.items()}
        recipe |= {name: describe(component) for name, component in components.items()}
    except ValueError as error:
        module.hparams.clear()
        rank_zero_warn(f"Checkpoints of this tracker will not say how to build it: {error}.")
        return
    module.save_hyperparameters(recipe)
    # Lightning guesses by == which argument this was, and every metric of torchmetrics says that it is.
    module._hparams_name = "kwargs"  # type: ignore[assignment]
