"""Settings of Lightning's own classes that are right alone and wrong together."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from jsonargparse import Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.accelerators import AcceleratorRegistry
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.strategies import StrategyRegistry
from torch.optim.lr_scheduler import ReduceLROnPlateau

from tracknet.errors import nearest
from tracknet.training.compression import is_installed

Faults = Iterator[tuple[str, str]]

_PACKAGES = {"WandbLogger": ("wandb", "'tracknet[wandb]'"), "MLFlowLogger": ("mlflow", "mlflow-skinny")}
"""Logger of Lightning -> the package that it imports, and what to install."""

_BETTER = {
    **dict.fromkeys(("accuracy", "f1", "precision", "recall", "within_4px"), "max"),
    **dict.fromkeys(("error", "loss", "loss_epoch", "loss_step", "rmse"), "min"),
}
"""Figure -> which of its values is better."""

_JUDGES = (EarlyStopping, ModelCheckpoint, ReduceLROnPlateau)
"""Those to which ``mode`` says what is better."""


def check_precision(key: str, config: Namespace) -> Faults:
    """Half precision on a CPU: emulated there, hundreds of times slower, or not at all."""
    precision = str(config.get("trainer.precision"))
    if on_cpu(config) and is_emulated(precision):
        yield (
            "trainer.precision",
            f"{precision} on a CPU, where it is emulated and many times slower; set 32-true (--env cpu)",
        )


def is_emulated(precision: str) -> bool:
    """Say whether this CPU has no units for a precision, such as ``bf16-mixed`` or ``16``."""
    return precision.startswith("16") or (precision.startswith("bf16") and not computes_bf16())


def computes_bf16() -> bool:
    """Say whether this CPU has units for bf16 matrices (AMX): there it halves the time of convolutions."""
    supported = getattr(torch.cpu, "_is_amx_tile_supported", None)
    return supported is not None and bool(supported())


def check_optimizer(key: str, config: Namespace) -> Faults:
    """Optimizers and schedules that refuse their own values, found out with a parameter of one number."""
    optimizer: Any = None
    for place in ("optimizer", "lr_scheduler"):
        chosen = config.get(place)
        cls = _class_at(config, place)
        if cls is None:
            return
        values = chosen.get("init_args")
        values = values.as_dict() if isinstance(values, Namespace) else {}
        first = [torch.nn.Parameter(torch.zeros(1))] if optimizer is None else optimizer
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                optimizer = cls(first, **values)
        except (ValueError, ZeroDivisionError) as error:
            yield place, f"{cls.__name__} does not take its values: {error}"
            return
        except Exception:  # what cannot be built of one number alone is left to the training
            return


def check_fused(key: str, config: Namespace) -> Faults:
    """A fused optimizer in mixed precision, where Lightning does not clip its gradients."""
    mixed = str(config.get("trainer.precision")).endswith("-mixed")
    if config.get("optimizer.init_args.fused") and mixed and config.get("trainer.gradient_clip_val"):
        yield (
            "optimizer.init_args.fused",
            "in mixed precision no gradients of a fused optimizer are clipped; set trainer.gradient_clip_val "
            "to 0, or leave fused out",
        )


def check_trainer(key: str, config: Namespace) -> Faults:
    """Numbers of the trainer that it does not look at itself."""
    for name, least in (
        ("accumulate_grad_batches", 1),
        ("check_val_every_n_epoch", 1),
        ("log_every_n_steps", 0),
        ("gradient_clip_val", 0),
    ):
        value = config.get(f"trainer.{name}")
        if isinstance(value, (int, float)) and value < least:
            yield f"trainer.{name}", f"expected a number from {least}, found {value}"


def check_names(key: str, config: Namespace) -> Faults:
    """Names that Lightning looks up among those that are registered, by plugins too."""
    for name, valid in (
        ("accelerator", ["auto", "gpu", *sorted(AcceleratorRegistry.available_accelerators())]),
        ("strategy", ["auto", *sorted(StrategyRegistry.available_strategies())]),
    ):
        value = config.get(f"trainer.{name}")
        if isinstance(value, str) and (value if name == "accelerator" else value.lower()) not in valid:
            known = ", ".join(valid)
            yield f"trainer.{name}", f"expected one of {known}, found {value!r}{nearest(value, valid)}"


def check_devices(key: str, config: Namespace) -> Faults:
    """A strategy for several processes, and one device."""
    strategy, devices = config.get("trainer.strategy"), config.get("trainer.devices")
    name = str(getattr(strategy, "class_path", strategy)).lower()
    single = devices in (1, "1") or (isinstance(devices, list) and len(devices) == 1)
    single = single or (devices in ("auto", -1, "-1") and on_cpu(config))
    several = any(kind in name for kind in ("ddp", "fsdp", "deepspeed"))
    if several and single and config.get("trainer.num_nodes") in (1, None):
        shown = name.rpartition(".")[2]
        yield "trainer.strategy", f"{shown} with one device; set auto, or more trainer.devices"


def check_callbacks(key: str, config: Namespace) -> Faults:
    """Callbacks of Lightning that refuse their own values, such as two intervals of one checkpoint."""
    callbacks = config.get("trainer.callbacks") or []
    for place in range(len(callbacks) if isinstance(callbacks, list) else 0):
        at = f"trainer.callbacks.{place}"
        chosen = callbacks[place]
        cls = _class_of(chosen)
        if not getattr(getattr(cls, "__init__", None), "__module__", "").startswith("lightning."):
            continue  # those of others may do more than look at their values
        values = chosen.get("init_args")
        try:
            cls(**(values.as_dict() if isinstance(values, Namespace) else {}))
        except MisconfigurationException as error:
            yield at, f"{cls.__name__} does not take its values: {error}"
        except Exception:  # such as of a class that is still to be built: left to the training
            continue


def check_directions(key: str, config: Namespace) -> Faults:
    """Schedules and callbacks that take the worse of a figure for the better: ``min`` is their default.

    A run that was begun so can still go on, and be judged. What ``mode`` is to classes of others is theirs,
    and so is what the figures of a module of one's own mean.
    """
    module = str(getattr(config.get("model"), "class_path", "tracknet."))
    if config.get("ckpt_path") is not None or not module.startswith("tracknet."):
        return
    chosen = {**_callbacks(config), "lr_scheduler": config.get("lr_scheduler")}
    for at, cls, values in _of_kind(chosen, *_JUDGES):
        monitor, mode = values.get("monitor"), values.get("mode")
        better = _BETTER.get(str(monitor).rpartition("/")[2])
        if better is not None and mode in ("min", "max") and mode != better:
            yield (
                f"{at}.init_args.mode",
                f"{cls.__name__} takes the worse {monitor} for the better: expected {better}, found {mode}",
            )


def check_stopping(key: str, config: Namespace) -> Faults:
    """An early stop by a figure of validations where there are none, which fails after the first epoch."""
    if config.get("trainer.limit_val_batches") != 0:
        return
    for at, cls, values in _of_kind(_callbacks(config), EarlyStopping):
        if values.get("strict", True) and str(values.get("monitor")).startswith("val/"):
            told = f"{cls.__name__} waits for {values.monitor}"
            yield at, f"{told}, but trainer.limit_val_batches=0 leaves no validation; leave out one of them"


def check_loggers(key: str, config: Namespace) -> Faults:
    """Loggers without the package that they need."""
    logger = config.get("trainer.logger")
    for one in logger if isinstance(logger, list) else [logger]:
        name = str(getattr(one, "class_path", "")).rpartition(".")[2]
        package, install = _PACKAGES.get(name, ("", ""))
        if package and find_spec(package) is None:
            yield "trainer.logger", f"{name} needs the package {package}: pip install {install}"


def unbuilt_loggers(key: str, config: Namespace) -> Faults:
    """Loggers that cannot be built; asked when a run's could not, as building some of them writes files."""
    logger = config.get("trainer.logger")
    for place, one in enumerate(logger if isinstance(logger, list) else [logger]):
        at = f"trainer.logger.{place}" if isinstance(logger, list) else "trainer.logger"
        values = getattr(one, "init_args", None)
        try:
            if (cls := _class_of(one)) is not None:
                cls(**(values.as_dict() if isinstance(values, Namespace) else {}))
        except Exception as error:  # loggers raise what their packages raise
            said = str(error).partition("\n")[0] or type(error).__name__
            yield at, f"{cls.__name__} cannot be built: {said}"


def check_plugins(key: str, config: Namespace) -> Faults:
    """Checkpoints that are to be compressed without the package for it."""
    plugins = config.get("trainer.plugins")
    for one in plugins if isinstance(plugins, list) else [plugins]:
        options = getattr(one, "init_args", None)
        inner = getattr(getattr(options, "checkpoint_io", None), "init_args", options)
        if getattr(inner, "compression", None) == "zstd" and not is_installed():
            yield "trainer.plugins", "compression: zstd needs zstandard: pip install 'tracknet[zstd]'"


def check_data(config: Namespace, refused: type, model: str, fitting: str) -> Faults:
    """Data that a model does not learn from.

    Args:
        config: The whole configuration.
        refused: Class of the data that the model cannot take.
        model: Name of the model.
        fitting: What it learns from.

    Yields:
        The key of the data and what is wrong.
    """
    data = _class_at(config, "data")
    if isinstance(data, type) and issubclass(data, refused):
        yield "data.class_path", f"{model} cannot learn from {data.__name__}, but from {fitting}"


def check_network(key: str, config: Namespace, needed: type) -> Faults:
    """A loss that judges what only one network tells, and another network.

    Args:
        key: Where the loss is chosen, beside the network.
        config: The whole configuration.
        needed: Class of the network that it judges.

    Yields:
        The key of the loss and what is wrong.
    """
    loss, network = (_class_at(config, f"{key.rpartition('.')[0]}.{name}") for name in ("loss", "network"))
    if isinstance(network, type) and not issubclass(network, needed):
        yield key, f"{loss.__name__} judges what only {needed.__name__} tells, found {network.__name__}"


def check_monitors(config: Namespace, logged: Iterable[str]) -> Faults:
    """Callbacks, schedules and sweeps that watch a figure that nobody logs.

    Args:
        config: The whole configuration, with a sweep's ``monitor`` where there is one.
        logged: Figures that the module logs.

    Yields:
        Keys and what is wrong; nothing where a class from elsewhere is among the callbacks, which may log.
    """
    known = list(logged)
    callbacks = _callbacks(config)
    if any(
        not str(getattr(one, "class_path", "")).startswith(("tracknet.", "lightning."))
        for one in callbacks.values()
    ):
        return
    watched = {"monitor": config.get("monitor")}
    for key, one in {**callbacks, "lr_scheduler": config.get("lr_scheduler")}.items():
        arguments = getattr(one, "init_args", None)
        if isinstance(arguments, Namespace):
            watched[f"{key}.init_args.monitor"] = arguments.get("monitor")
    for key, monitor in watched.items():
        if monitor is not None and monitor not in known:
            listed = nearest(monitor, known) or f" (those are {', '.join(known)})"
            yield key, f"nothing logs {monitor!r}{listed}"


def check_sizes(key: str, config: Namespace) -> Faults:
    """Sizes of pictures and crops that the network cannot halve as often as it does; crops of more than all.

    Args:
        key: Where the module is chosen.
        config: The whole configuration.

    Yields:
        Keys and what is wrong.
    """
    network = _class_at(config, f"{key}.init_args.network")
    name, stride = getattr(network, "__name__", ""), getattr(network, "stride", 1)
    whole, cut = f"{key}.init_args.input_size", "data.init_args.crop.init_args.size"
    sizes = {at: config.get(at) for at in (whole, cut)}
    for at, size in sizes.items():
        if size is not None and any(side % stride for side in size):
            yield at, f"{name} needs sides divisible by {stride}, found {list(size)}"
    if None not in sizes.values() and any(
        part > side for part, side in zip(sizes[cut], sizes[whole], strict=True)
    ):
        yield cut, f"larger than the picture: found {list(sizes[cut])}, input_size is {list(sizes[whole])}"


def _class_at(config: Namespace, key: str) -> Any:
    """Import the class that is chosen at a key; None where none is."""
    return _class_of(config.get(key))


def _callbacks(config: Namespace) -> dict[str, Any]:
    """Give the callbacks that are chosen, one alone or a list of them, by their keys."""
    chosen = config.get("trainer.callbacks") or []
    if not isinstance(chosen, list):
        return {"trainer.callbacks": chosen}
    return {f"trainer.callbacks.{place}": one for place, one in enumerate(chosen)}


def _of_kind(chosen: Mapping[str, Any], *kinds: type) -> Iterator[tuple[str, type, Namespace]]:
    """Give key, class and values of what is of some classes, or of subclasses of theirs."""
    for key, one in chosen.items():
        cls, values = _class_of(one), getattr(one, "init_args", None)
        if isinstance(cls, type) and issubclass(cls, kinds) and isinstance(values, Namespace):
            yield key, cls, values


def _class_of(chosen: Any) -> Any:
    module, _, name = str(getattr(chosen, "class_path", None)).rpartition(".")
    return getattr(import_module(module), name, None) if module else None


def on_cpu(config: Namespace) -> bool:
    """Say whether a configuration trains on the CPU of this computer."""
    accelerator = config.get("trainer.accelerator")
    return accelerator == "cpu" or (accelerator == "auto" and not torch.cuda.is_available() and not _mps())


def _mps() -> bool:
    return torch.backends.mps.is_available()


CHECKS = (
    check_precision,
    check_optimizer,
    check_fused,
    check_trainer,
    check_names,
    check_devices,
    check_callbacks,
    check_directions,
    check_stopping,
    check_loggers,
    check_plugins,
)
"""All of them."""
