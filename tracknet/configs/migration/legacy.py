"""The older tracknet: YAML for data, model and training, merged by OmegaConf."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from tracknet.configs.migration import legacy_types as a
from tracknet.configs.migration import legacy_values as of
from tracknet.configs.migration.draft import Draft, values_of
from tracknet.configs.migration.rules import Line, Old, Rule, apply, flatten

SECTIONS = {"data": "tracknet", "model": "vit_heatmap", "training": "default"}
"""The parts of a configuration, and the names that were taken where none was given."""

FOLDERS = {"log_dir": "logs", "ckpt_dir": "checkpoints"}
"""Folders of a training, and where they are below ``output_dir`` unless named."""

DEFAULTS: dict[str, Any] = {
    "data.root": "data/tracknet",
    "data.preprocess.resize": [512, 288],
    "data.sequence.enabled": False,
    "data.sequence.length": 3,
    "model.model_name": "vit_heatmap",
    "model.heatmap.size": [256, 144],
    "model.heatmap.sigma": 2.0,
    "training.seed": 42,
    "training.batch_size": 32,
    "training.epochs": 20,
    "training.optimizer.name": "adamw",
    "training.optimizer.lr": 1e-3,
    "training.scheduler.name": None,
    "training.loss.name": "mse",
    "training.output_dir": "outputs",
}
"""What was taken for keys that a file leaves out."""

_BACKBONE = "trainer.callbacks.PretrainedBackbone"
_FREEZE = "trainer.callbacks.BackboneFreeze.epochs"
_PARTS = "trainer.callbacks.AdaptiveMicroBatch"
_STOP = "trainer.callbacks.EarlyStopping"
_LOADER = "the data see to it themselves"
_DECODER = "model.decoder"

RULES = (
    Rule("data.root", "data.root", read=a.text),
    Rule("data.split.train_games", "data.train", read=a.names),
    Rule("data.split.val_games", "data.val", convert=of.validation, read=a.names),
    Rule("data.preprocess.resize", "model.input_size", convert=of.input_size, read=a.null_or(a.size)),
    Rule("data.preprocess.normalize", "model.network", convert=of.normalise),
    Rule(
        "data.preprocess.flip_prob",
        "data.augmentation.flip",
        "drawn once a window, was once a frame",
        read=a.or_0(a.share),
    ),
    Rule("model.model_name", "model.network", convert=of.network),
    Rule("data.sequence.enabled", "model.network.frames", convert=of.frames, read=a.flag),
    Rule("data.sequence.length", "model.network.frames", convert=of.sequence(), read=a.whole(1)),
    Rule(
        "data.sequence.stride",
        "data.step",
        convert=of.sequence(note="frames between the starts of training windows"),
        read=a.whole(1),
    ),
    Rule("model.pretrained_model_name", f"{_BACKBONE}.weights", convert=of.weights, read=a.null_or(a.text)),
    Rule("model.backbone.freeze", _FREEZE, convert=of.freeze, read=a.flag),
    Rule("model.backbone.device_map", note="trainer.accelerator and trainer.devices place the whole network"),
    Rule(
        "model.backbone.local_files_only",
        f"{_BACKBONE}.download",
        "the other way round: whether to download",
        of.download,
        read=a.flag,
    ),
    Rule("model.backbone.patch_size", convert=of.of("vit", of.fixed(16))),
    Rule("model.backbone.return_stages", note="the networks take all four stages of a ConvNeXt"),
    Rule(f"{_DECODER}.channels", "model.network.widths", convert=of.of("vit"), read=a.wholes(4)),
    Rule(f"{_DECODER}.upsample", convert=of.of("vit", of.fixed([2, 2, 2]))),
    Rule(f"{_DECODER}.blocks_per_stage", "model.network.blocks", convert=of.of("vit"), read=a.whole(1)),
    Rule(f"{_DECODER}.norm", "model.network.norm", convert=of.of("vit"), read=a.one_of("gn", "bn")),
    Rule(
        f"{_DECODER}.activation",
        "model.network.activation",
        convert=of.of("vit"),
        read=a.one_of("gelu", "relu"),
    ),
    Rule(f"{_DECODER}.use_depthwise", "model.network.depthwise", convert=of.of("vit"), read=a.flag),
    Rule(f"{_DECODER}.use_se", "model.network.se_reduction", convert=of.of("vit", of.squeeze), read=a.flag),
    Rule(
        f"{_DECODER}.se_reduction",
        "model.network.se_reduction",
        convert=of.of("vit", of.reduction),
        read=a.whole(1),
    ),
    Rule(f"{_DECODER}.dropout", "model.network.dropout", convert=of.of("vit"), read=a.or_0(a.share)),
    Rule("model.fpn.in_channels", "model.network.widths", convert=of.of("fpn"), read=a.wholes(4)),
    Rule("model.fpn.lateral_dim", "model.network.lateral", convert=of.of("fpn"), read=a.whole(1)),
    Rule("model.fpn.fuse", "model.network.fuse", convert=of.of("fpn"), read=a.one_of("sum", "concat")),
    Rule("model.hrnet.in_channels", "model.network.widths", convert=of.of("hrnet"), read=a.wholes(4)),
    Rule("model.hrnet.widths", "model.network.branches", convert=of.of("hrnet"), read=a.wholes(4)),
    Rule("model.hrnet.num_units", "model.network.num_units", convert=of.of("hrnet"), read=a.whole(1)),
    Rule("model.hrnet.out_channels", "model.network.fused", convert=of.of("hrnet"), read=a.whole(1)),
    Rule("model.heatmap.size", "model.network.heatmap_size", convert=of.heatmap_size, read=a.size),
    Rule("model.heatmap.sigma", "model.target.sigma", read=a.positive),
    Rule("model.lora.enabled", "model.network.lora", convert=of.lora, read=a.flag),
    Rule("model.lora.r", "model.network.lora.r", convert=of.adapter, read=a.whole(1)),
    Rule("model.lora.lora_alpha", "model.network.lora.alpha", convert=of.adapter, read=a.number),
    Rule("model.lora.lora_dropout", "model.network.lora.dropout", convert=of.adapter, read=a.or_0(a.share)),
    Rule(
        "model.lora.target_modules",
        "model.network.lora.target_modules",
        convert=of.adapter,
        read=a.null_or(a.names),
    ),
    Rule(
        "model.lora.bias",
        "model.network.lora.bias",
        convert=of.adapter,
        read=a.one_of("none", "all", "lora_only"),
    ),
    Rule("model.lora.task_type", note="the adapters are those of a plain backbone"),
    Rule("model.quantization.*", note="weights are trained whole; trainer.precision saves memory instead"),
    Rule("training.seed", "seed_everything", read=a.seed),
    Rule("training.batch_size", "data.batch_size", read=a.whole(1)),
    Rule("training.epochs", "trainer.max_epochs", read=a.whole(1)),
    Rule("training.precision", "trainer.precision", convert=of.precision, read=a.text),
    Rule("training.amp", "trainer.precision", convert=of.amp, read=a.flag),
    Rule(
        "training.grad_clip_norm",
        "trainer.gradient_clip_val",
        convert=lambda value, _: value or None,
        read=a.null_or(a.number),
    ),
    Rule("training.grad_clip", "trainer.gradient_clip_val", convert=of.clip, read=a.null_or(a.number)),
    Rule("training.backbone_freeze_epochs", _FREEZE, convert=of.freeze_epochs, read=a.or_0(a.whole(0))),
    Rule("training.adaptive_micro_batch", _PARTS, convert=of.adaptive, read=a.flag),
    Rule("training.min_micro_batch_size", f"{_PARTS}.min_size", convert=of.micro_batch, read=a.whole(1)),
    Rule("training.mb_backoff_factor", f"{_PARTS}.backoff", convert=of.backoff, read=a.factor),
    Rule("training.oom_retries", f"{_PARTS}.retries", convert=of.micro_batch, read=a.whole(0)),
    Rule("training.micro_batch_size", f"{_PARTS}.size", convert=of.micro_batch, read=a.or_0(a.whole(0))),
    Rule("training.data_loader.num_workers", "data.num_workers", read=a.whole(0)),
    Rule("training.data_loader.pin_memory", note=f"{_LOADER}: pinned where there is a GPU"),
    Rule("training.data_loader.persistent_workers", note=f"{_LOADER}: workers are kept"),
    Rule("training.data_loader.prefetch_factor", note=f"{_LOADER}: two batches a worker"),
    Rule(
        "training.data_loader.drop_last",
        note=f"{_LOADER}: a smaller last training batch is left out, of validation batches none",
    ),
    Rule("training.optimizer.name", "optimizer", convert=of.optimizer),
    Rule("training.optimizer.lr", "optimizer.lr", read=a.number),
    Rule("training.optimizer.weight_decay", "optimizer.weight_decay", read=a.or_0(a.number)),
    Rule("training.optimizer.momentum", "optimizer.momentum", convert=of.momentum, read=a.or_0(a.number)),
    Rule("training.scheduler.name", "lr_scheduler", convert=of.scheduler),
    Rule("training.scheduler.warmup_epochs", "lr_scheduler.warmup", convert=of.warmup, read=a.or_0(a.number)),
    Rule("training.scheduler.warmup_start_factor", note="it begins at a thousandth of the learning rate"),
    Rule("training.loss.name", "model.loss", convert=of.loss, read=a.text),
    Rule("training.loss.alpha", "model.loss.alpha", convert=of.focal, read=a.number),
    Rule("training.loss.beta", "model.loss.beta", convert=of.focal, read=a.number),
    Rule("training.early_stopping.monitor", f"{_STOP}.monitor", read=a.text),
    Rule("training.early_stopping.mode", f"{_STOP}.mode", read=a.one_of("min", "max")),
    Rule("training.early_stopping.patience", f"{_STOP}.patience", read=a.whole(0)),
    Rule("training.early_stopping.min_delta", f"{_STOP}.min_delta", read=a.or_0(a.number)),
    Rule("training.output_dir", "trainer.default_root_dir", read=a.text),
    Rule("training.log_dir", "trainer.logger.save_dir", read=a.text),
    Rule("training.ckpt_dir", "trainer.callbacks.ModelCheckpoint.dirpath", read=a.text),
    Rule("training.limit_train_batches", "trainer.limit_train_batches", read=a.null_or(a.number)),
    Rule("training.limit_val_batches", "trainer.limit_val_batches", read=a.null_or(a.number)),
    Rule("runtime.*", note="made anew at every run"),
)
"""Every key of the older tracknet; later rules may add to what earlier ones choose."""


def migrate(
    given: Mapping[str, Any], filed: Collection[str], run_id: str | None = None
) -> tuple[Draft, list[Line]]:
    """Convert a configuration of the older tracknet.

    Args:
        given: The sections ``data``, ``model`` and ``training``, as many as there are.
        filed: The sections of which files gave values; for the others the packaged defaults are taken.
        run_id: Name of the run, which the log folder and the checkpoint get; None for a configuration that
            may be trained more than once.

    Returns:
        The new configuration, and a line for every given key.

    Raises:
        UsageError: A value was never valid.
    """
    keys = flat(given)
    draft = Draft(_skeleton(run_id))
    old = with_defaults(keys, filed)
    lines = apply(RULES, keys, old, draft)
    # The newest checkpoints lie where the best one does if they tell their run. Without a name of its run the
    # best one does not replace an earlier one, and is numbered; the newest ones would.
    best, *newest = _checkpoints(draft.values["trainer"]["callbacks"])
    if "dirpath" in best and run_id is not None:
        for checkpoint in newest:
            checkpoint["dirpath"] = best["dirpath"]
    # l2 and pck@3 are in pixels of the heatmap, as they were.
    width, height = a.size(old["model.heatmap.size"])
    draft.put("model.metrics.pixels", [height, width])
    if not old.get("data.split.val_games"):
        draft.put("data.holdout", of.HOLDOUT, "no games were named for validation")
    return draft, lines


def flat(given: Mapping[str, Any]) -> dict[str, Any]:
    """Give the values of a configuration by dotted key."""
    return flatten(given, RULES)


def with_defaults(keys: Old, filed: Collection[str]) -> dict[str, Any]:
    """Add what the older tracknet took where nothing was given.

    Args:
        keys: Values by dotted key, see `flat`.
        filed: The sections of which files gave values.

    Returns:
        All values by dotted key.
    """
    files: dict[str, Any] = {}
    for section, name in SECTIONS.items():
        if section not in filed:
            files |= flatten({section: packaged(section, name)}, RULES)
    if "training.amp" in keys:  # it is older than the default, which would hide it
        files.pop("training.precision", None)
    removed = tuple(f"{key}." for key, value in keys.items() if value is None)
    old = {**DEFAULTS, **{key: value for key, value in files.items() if not key.startswith(removed)}, **keys}
    if any(key.startswith("training.early_stopping.") for key in old):
        old.setdefault("training.early_stopping.monitor", "val/loss")
    for key, name in FOLDERS.items():
        if old.get(f"training.{key}") is None:
            old[f"training.{key}"] = f"{old['training.output_dir']}/{name}"
    return old


def around(filed: Collection[str]) -> dict[str, Any]:
    """Give what values may refer to besides what is given: defaults, and the names that a run has.

    Args:
        filed: The sections of which files gave values.

    Returns:
        Nested values, with references among them.
    """
    values: dict[str, Any] = {}
    for key, value in DEFAULTS.items():
        *names, last = key.split(".")
        below = values
        for name in names:
            below = below.setdefault(name, {})
        below[last] = value
    for key, name in FOLDERS.items():
        values["training"][key] = f"${{training.output_dir}}/{name}"
    for section, name in SECTIONS.items():
        if section not in filed:
            values[section] |= packaged(section, name)
    folders = {key: f"${{training.{key}}}" for key in ("seed", *FOLDERS)}
    return {**values, "runtime": {"project_root": ".", "output_root": "${training.output_dir}", **folders}}


def packaged(section: str, name: str) -> dict[str, Any]:
    """Read a packaged file of the older layout.

    Args:
        section: ``data``, ``model`` or ``training``.
        name: Its name.

    Returns:
        Its values; empty where there is no such file.
    """
    path = folder() / section / f"{name}.yaml"
    return dict(yaml.safe_load(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def folder() -> Path:
    """Folder of the packaged files of the older layout."""
    return Path(__file__).parent / "defaults"


def _checkpoints(callbacks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give the settings of the callbacks that write checkpoints: the best one, then the newest ones."""
    return [one["init_args"] for one in callbacks if one["class_path"].endswith("Checkpoint")]


def _skeleton(run_id: str | None) -> dict[str, Any]:
    run = {} if run_id is None else {"version": run_id}
    callbacks = values_of("base.yaml")["trainer"]["callbacks"]
    best, *newest = _checkpoints(callbacks)
    best |= {"monitor": "val/loss", "mode": "min"}
    for checkpoint in (best, *newest) if run_id is not None else ():
        checkpoint["filename"] += f"_{run_id}"
    return {
        "seed_everything": 42,
        "trainer": {
            "accelerator": "auto",
            "devices": 1,
            "max_epochs": 20,
            "log_every_n_steps": 10,
            "logger": {
                "class_path": "CSVLogger",
                "init_args": {"save_dir": "outputs/logs", "name": "", **run},
            },
            "callbacks": callbacks,
        },
        "model": {
            "class_path": "HeatmapTracker",
            "init_args": {
                "network": {},
                "loss": {},
                "target": {"class_path": "GaussianTarget", "init_args": {"unit": "heatmap"}},
                "decoder": "PeakDecoder",
                "metrics": {"class_path": "BallDistances", "init_args": {}},
                "input_size": [288, 512],
            },
        },
        "data": {
            "class_path": "TennisDataModule",
            "init_args": {
                "root": "data/tracknet",
                "faults": "mask",
                "augmentation": {
                    "class_path": "Augmentation",
                    "init_args": {"flip": 0.0, "brightness": 0.0, "contrast": 0.0, "colour": 0.0},
                },
            },
        },
        "optimizer": {},
        "lr_scheduler": {},
    }
