"""TrackNetV3: the flags of its ``train.py``, for the tracking and for the rectification network."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from tracknet.configs.migration.draft import Draft, values_of
from tracknet.configs.migration.rules import Line, Old, Rule, Told, apply
from tracknet.errors import UsageError, nearest

DEFAULTS: dict[str, Any] = {
    "model_name": "TrackNet",
    "seq_len": 8,
    "epochs": 3,
    "batch_size": 10,
    "optim": "Adam",
    "learning_rate": 0.001,
    "lr_scheduler": "",
    "bg_mode": "",
    "alpha": -1.0,
    "frame_alpha": -1.0,
    "mask_ratio": 0.3,
    "tolerance": 4.0,
    "seed": 13,
    "save_dir": "exp",
}
"""What ``train.py`` takes for flags that are left out."""

SWITCHES = ("resume_training", "debug", "verbose")
"""Flags without a value."""

_NETWORKS = ("TrackNet", "InpaintNet")
_OPTIMIZERS: dict[str, dict[str, Any]] = {"Adam": {}, "SGD": {"momentum": 0.9}, "Adadelta": {}}
_BACKGROUNDS = ("", "subtract", "subtract_concat", "concat")


def _inpaints(old: Old) -> bool:
    return bool(old["model_name"] == "InpaintNet")


def _choose(value: Any, old: Old) -> Told:
    cls = "TrajectoryRectifier with InpaintNet" if _inpaints(old) else "HeatmapTracker with TrackNetV3"
    return Told("renamed", cls)


def _optimizer(value: Any, old: Old) -> Told:
    made = {"lr": float(old["learning_rate"]), **_OPTIMIZERS[value], "weight_decay": 0.0}
    return Told("renamed", "", {"class_path": value, "init_args": made})


def _schedule(value: Any, old: Old) -> Told:
    if value == "StepLR":
        made = {"step_size": max(int(old["epochs"]) // 3, 1), "gamma": 0.1}
        return Told("renamed", "", {"class_path": value, "init_args": made})
    return Told("renamed", "", {"class_path": "ConstantLR", "init_args": {"factor": 1.0}})


def _of_tracker(value: Any, old: Old) -> Any:
    return Told("dropped", "InpaintNet sees no pictures") if _inpaints(old) else value


def _background(value: Any, old: Old) -> Any:
    return _of_tracker(value or "none", old)


def _mixup(value: Any, old: Old) -> Any:
    return _of_tracker(max(value, 0.0), old)


def _frame_mixup(value: Any, old: Old) -> Told:
    if _inpaints(old) or value <= 0:
        return Told("dropped", "off")
    return Told("dropped", "mixing neighbouring frames is not offered; --alpha mixes whole samples")


def _tolerance(value: Any, old: Old) -> Any:
    if _inpaints(old):
        return Told("dropped", "val/error is the mean distance, val/within_4px the share within 4 px")
    return float(value)


def _mask(value: Any, old: Old) -> Any:
    if not _inpaints(old):
        return Told("dropped", "TrackNet masks nothing")
    return value


RULES = (
    Rule("model_name", "model", convert=_choose),
    Rule("seq_len", "model.network.frames"),
    Rule("epochs", "trainer.max_epochs"),
    Rule("batch_size", "data.batch_size"),
    Rule("optim", "optimizer", convert=_optimizer),
    Rule("learning_rate", "optimizer.lr"),
    Rule("lr_scheduler", "lr_scheduler", convert=_schedule),
    Rule("bg_mode", "model.network.background", convert=_background),
    Rule("alpha", "model.mixup", convert=_mixup),
    Rule("frame_alpha", convert=_frame_mixup),
    Rule("mask_ratio", "data.mask_share", convert=_mask),
    Rule("tolerance", "model.metrics.tolerance", convert=_tolerance),
    Rule("resume_training", note="to go on with a run: tracknet fit --ckpt_path RUN/checkpoints/last.ckpt"),
    Rule("seed", "seed_everything"),
    Rule("save_dir", "trainer.logger.save_dir"),
    Rule("debug", note="a few batches: --trainer.limit_train_batches, or --env ci"),
    Rule("verbose", "trainer.enable_progress_bar"),
)
"""Every flag of ``train.py``."""

_OF_RECTIFIER = {"seq_len": Rule("seq_len", "data.window")}


def read_flags(words: Sequence[str]) -> dict[str, Any]:
    """Read the words of a command line.

    Args:
        words: ``python train.py --flag value ...``; words before the first flag are passed over.

    Returns:
        Flag without dashes -> value, numbers as numbers.

    Raises:
        UsageError: A flag has no value, or one that it never took.
    """
    left = list(words)
    while left and not left[0].startswith("--"):
        left.pop(0)
    given: dict[str, Any] = {}
    while left:
        flag, equals, value = left.pop(0).partition("=")
        name = flag.removeprefix("--")
        if not flag.startswith("--"):
            raise UsageError(f"found {flag!r} where a flag of train.py was expected")
        if name in SWITCHES:
            given[name] = True
            continue
        if not equals:
            if not left or left[0].startswith("--"):
                raise UsageError(f"{flag}: expected a value")
            value = left.pop(0)
        given[name] = _value(name, value)
    return given


def _value(name: str, text: str) -> Any:
    known = {"model_name": _NETWORKS, "optim": tuple(_OPTIMIZERS), "bg_mode": _BACKGROUNDS}
    known["lr_scheduler"] = ("", "StepLR")
    if name in known and text not in known[name]:
        hint = nearest(text, known[name]) or f" (those are {', '.join(repr(one) for one in known[name])})"
        raise UsageError(f"--{name}: found {text!r}{hint}")
    usual = DEFAULTS.get(name, "")
    if isinstance(usual, (int, float)):
        try:
            return type(usual)(text)
        except ValueError as error:
            kind = "a whole number" if isinstance(usual, int) else "a number"
            raise UsageError(f"--{name}: expected {kind}, found {text!r}") from error
    return text


def command_in(text: str) -> list[str] | None:
    """Find the command line of ``train.py`` in a script.

    Args:
        text: A shell script.

    Returns:
        Its words; nothing where there is none.
    """
    for line in text.replace("\\\n", " ").splitlines():
        if "train.py" in line and "--" in line and not line.lstrip().startswith("#"):
            return shlex.split(line, comments=True)
    return None


def migrate(given: Mapping[str, Any]) -> tuple[Draft, list[Line]]:
    """Convert a command line of TrackNetV3.

    Args:
        given: Flags and their values, see `read_flags`.

    Returns:
        The new configuration, and a line for every given flag.
    """
    old = DEFAULTS | dict(given)
    rules: Sequence[Rule] = RULES
    if _inpaints(old):
        rules = tuple(_OF_RECTIFIER.get(rule.old, rule) for rule in RULES)
        draft = Draft(_rectifier(int(old["seq_len"])))
    else:
        draft = Draft(_tracker())
    return draft, apply(rules, given, old, draft)


def _tracker() -> dict[str, Any]:
    values = values_of("base.yaml")
    model = values_of("model/tracknetv3.yaml")["model"]["init_args"]
    values["model"]["init_args"] |= {**model, "mixup": 0.0}
    values["data"] = {"class_path": "ShuttlecockDataModule", "init_args": {"root": "data", "num_workers": 8}}
    values["trainer"] |= {"devices": 1, "gradient_clip_val": None}
    values["trainer"]["logger"]["init_args"]["name"] = "logs"
    return values


def _rectifier(window: int) -> dict[str, Any]:
    values = values_of("experiment/rectifier.yaml")
    values["trainer"] = {key: one for key, one in values["trainer"].items() if key != "max_time"}
    values["trainer"] |= {"accelerator": "auto", "gradient_clip_val": 1.0}
    values["trainer"]["logger"]["init_args"]["name"] = "logs"
    values["model"]["init_args"] = {"network": "InpaintNet", "loss": "mse"}
    longest = min(14, window - 2)
    gaps = {"window": window, "shortest_gap": min(3, longest), "longest_gap": longest, "scattered": 1.0}
    values["data"]["init_args"] = {
        "root": "data",
        "train": ["train"],
        "val": ["val"],
        "test": ["test"],
        **gaps,
    }
    return values
