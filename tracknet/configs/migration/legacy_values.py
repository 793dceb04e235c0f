"""What the values of the older tracknet become; the table that names them is in `legacy`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tracknet.configs.migration.rules import Old, Told
from tracknet.errors import UsageError, nearest

NETWORKS = {
    "vit_heatmap": "ViTUpsample",
    "convnext_fpn_heatmap": "ConvNeXtFPN",
    "convnext_hrnet_heatmap": "ConvNeXtHRNet",
    "convnext_deformable_fpn_heatmap": "ConvNeXtFPN",
}
"""Names of networks, and the classes that take their place."""

MASKED = (
    "frames without a ball stay masked out, as before, so that 'no ball' is never learned; "
    "WBCELoss or MSELoss learn it"
)
SIZES: dict[str, dict[str, Any]] = {
    "vits": {"embedding": 384, "layers": 12, "heads": 6},
    "vitb": {"embedding": 768, "layers": 12, "heads": 12},
    "vitl": {"embedding": 1024, "layers": 24, "heads": 16},
    "tiny": {"widths": [96, 192, 384, 768], "depths": [3, 3, 9, 3]},
    "small": {"widths": [96, 192, 384, 768], "depths": [3, 3, 27, 3]},
    "base": {"widths": [128, 256, 512, 1024], "depths": [3, 3, 27, 3]},
    "large": {"widths": [192, 384, 768, 1536], "depths": [3, 3, 27, 3]},
}
"""Sizes of the published backbones, by a part of their names."""

HOLDOUT = 0.15
"""Share of the training clips that is held out where no game was named for validation."""

_STRIDES = {"ViTUpsample": 16, "ConvNeXtFPN": 32, "ConvNeXtHRNet": 32}
_PRECISIONS = {"fp32": "32-true", "fp16": "16-mixed", "bf16": "bf16-mixed"}

Convert = Callable[[Any, Old], Any]


def network_class(old: Old) -> str:
    """Give the class of the network.

    Raises:
        UsageError: There was no network of that name.
    """
    name = str(old["model.model_name"])
    if name not in NETWORKS:
        known = f"{nearest(name, NETWORKS)} (those are {', '.join(NETWORKS)})"
        raise UsageError(f"model.model_name: no network {name!r}{known}")
    return NETWORKS[name]


def network(value: Any, old: Old) -> Told:
    """Choose the network, in the kind and size of the pretrained backbone.

    Raises:
        UsageError: The name of the pretrained backbone does not tell them.
    """
    cls = network_class(old)
    kind, size = _backbone(old.get("model.pretrained_model_name"), cls)
    frames = int(old["data.sequence.length"]) if old.get("data.sequence.enabled") else 1
    arguments = {"frames": frames, "background": "none", "kind": kind, **SIZES[size]}
    made = {"class_path": cls, "init_args": arguments}
    note = f"backbone {kind}, size {size}"
    if value == "convnext_deformable_fpn_heatmap":
        return Told("changed", f"plain convolutions take the place of deformable ones; {note}", made)
    return Told("renamed", note, made)


def _backbone(told: Any, cls: str) -> tuple[str, str]:
    """Give kind and size of a backbone by the last part of its name, which may be a path."""
    if told is None:
        return ("dinov3", "vits") if cls == "ViTUpsample" else ("dinov3", "base")
    name = Path(str(told)).name.lower().replace("_", "-").rpartition("--")[2]
    kinds: tuple[str, ...]
    # Other networks have such a backbone inside, as clip-vit-base-patch16 does.
    if cls == "ViTUpsample":
        kinds, example = ("dinov3", "vit"), "dinov3-vits16 or vit-base-patch16"
        begun, size = r"(?:^(?:dino-)?|dinov3-?)", r"([sbl])(?:mall|ase|arge)?(?:-?patch)?-?16(?![a-z\d])"
        found = re.search(rf"{begun}vit-?{size}", name)
    else:
        kinds, example = ("dinov3", "convnextv2", "convnext"), "dinov3-convnext-base or convnextv2-tiny"
        found = re.search(r"(?:^|dinov3-?)convnext(?:v2)?-(tiny|small|base|large)(?![a-z])", name)
    kind = next((kind for kind in kinds if kind in name), None)
    if found is None or kind is None:
        raise UsageError(
            f"model.pretrained_model_name: found {told!r}, whose last part tells no backbone that {cls} has; "
            f"expected a name such as {example}: give it with "
            "model.pretrained_model_name=NAME, and set the path to the weights in the new file"
        )
    return kind, f"vit{found[1]}" if cls == "ViTUpsample" else found[1]


def of(name: str, convert: Convert | None = None) -> Convert:
    """Make a conversion of what only some networks read."""

    def converted(value: Any, old: Old) -> Any:
        if name not in str(old["model.model_name"]):
            return Told("dropped", f"{old['model.model_name']} does not read it")
        return value if convert is None else convert(value, old)

    return converted


def fixed(ours: Any) -> Convert:
    """Make a conversion of what is built into the networks here."""

    def converted(value: Any, old: Old) -> Told:
        cls = network_class(old)
        if value == ours:
            return Told("kept", f"built into {cls}")
        return Told("dropped", f"{cls} always has {str(ours).lower() if isinstance(ours, bool) else ours}")

    return converted


def input_size(value: Any, old: Old) -> Told:
    """Turn ``[W, H]`` around, and cut it to what the network can halve."""
    stride = _STRIDES[network_class(old)]
    if value is None:
        return Told(
            "changed",
            "[height, width]; null kept each video's own size, now all have one",
            [288, 512],
        )
    width, height = value
    made = [max(side // stride, 1) * stride for side in (height, width)]
    cut = "" if made == [height, width] else f"; {width}x{height} cut to sides divisible by {stride}"
    return Told("changed", f"[height, width], was [width, height]{cut}", made)


def heatmap_size(value: Any, old: Old) -> Told:
    """Turn ``[W, H]`` around."""
    width, height = value
    return Told("changed", "[height, width], was [width, height]", [height, width])


def squeeze(value: Any, old: Old) -> Told:
    """Squeeze and excitation is on where its reduction is given."""
    return Told("renamed", "16 unless given" if value else "0: off", 16 if value else 0)


def reduction(value: Any, old: Old) -> Any:
    """The reduction counts only where squeeze and excitation is on."""
    return value if old.get("model.decoder.use_se") else Told("dropped", "use_se is off")


def normalise(value: Any, old: Old) -> Told:
    """The networks take in the mean and standard deviation of ImageNet themselves."""
    standard = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    usual = value is True or value == "imagenet"
    if isinstance(value, Mapping):
        usual = (value.get("mean"), value.get("std")) in (standard, (None, None))
    if usual:
        return Told("kept", "by ImageNet's mean and standard deviation, which the network does itself")
    return Told("dropped", "the networks here always take ImageNet's mean and standard deviation")


def validation(value: Any, old: Old) -> Any:
    """Without games for validation, a share of the training clips takes their place."""
    return value or Told("changed", f"{HOLDOUT:.0%} of the training clips are held out; was none", [])


def sequence(note: str = "") -> Convert:
    """Make a conversion of what counts only where sequences are enabled."""

    def converted(value: Any, old: Old) -> Any:
        if not old.get("data.sequence.enabled"):
            return Told("dropped", "sequences are not enabled")
        return Told("changed", note, value) if note else value

    return converted


def frames(value: Any, old: Old) -> Told:
    """Take sequences, which no network of the older tracknet did."""
    if not value:
        return Told("renamed", "1 frame a window")
    return Told("changed", "the network now sees the window of sequence.length frames; no network did before")


def weights(value: Any, old: Old) -> Told:
    """Name the pretrained weights; without a name the backbone starts at random."""
    if value is None:
        return Told("kept", "the backbone starts at random")
    if old.get("model.backbone.local_files_only") is None:
        return Told("renamed", "not downloaded unless `download: true` beside it says so", value)
    return Told("renamed", "", value)


def download(value: Any, old: Old) -> Any:
    """Turn ``local_files_only`` around."""
    if old.get("model.pretrained_model_name") is None:
        return Told("dropped", "there are no pretrained weights to look for")
    return not value


def freeze(value: Any, old: Old) -> Told:
    """Freeze the backbone for all of the training."""
    if not value:
        return Told("kept", "the backbone is trained with the rest")
    if old.get("model.lora.enabled"):
        return Told("kept", "LoRA keeps all but the adapters as it is")
    return Told("changed", "epochs instead of true: all of them", int(old["training.epochs"]))


def freeze_epochs(value: Any, old: Old) -> Told:
    """Freeze the backbone for some epochs."""
    if old.get("model.backbone.freeze"):
        return Told("dropped", "backbone.freeze keeps it frozen throughout")
    return Told("renamed", "", value) if value else Told("kept", "0: trained from the start")


def micro_batch(value: Any, old: Old) -> Any:
    """Pass over the settings of what is off."""
    return (
        value if old.get("training.adaptive_micro_batch") else Told("dropped", "adaptive_micro_batch is off")
    )


def backoff(value: Any, old: Old) -> Any:
    """What the size is divided by; a factor below 1 was what it was multiplied by."""
    told = micro_batch(value, old)
    return told if isinstance(told, Told) or told > 1 else Told("changed", "divides the size", 1 / told)


def adaptive(value: Any, old: Old) -> Told:
    """Add the callback, or not."""
    return Told("renamed", "", {}) if value else Told("kept", "off")


def precision(value: Any, old: Old) -> Told:
    """Give the name that Lightning has for a precision.

    Raises:
        UsageError: There was no such precision.
    """
    if value == "auto":
        note = "whole precision unless chosen by --env gpu or --trainer.precision; was chosen by the device"
        return Told("changed", note)
    if value not in _PRECISIONS:
        known = f"{nearest(str(value), _PRECISIONS)} (those are auto, {', '.join(_PRECISIONS)})"
        raise UsageError(f"training.precision: found {value!r}{known}")
    return Told("renamed", "", _PRECISIONS[value])


def amp(value: Any, old: Old) -> Told:
    """Half precision under its oldest name."""
    if "training.precision" in old:
        return Told("dropped", "training.precision was taken before it")
    return Told("renamed", "", "16-mixed" if value else "32-true")


def clip(value: Any, old: Old) -> Told:
    """Clip by the norm, under the name that was never read."""
    if isinstance(value, bool):
        return Told("dropped", "was never read, and names no norm that trainer.gradient_clip_val could have")
    if old.get("training.grad_clip_norm") is not None:
        return Told("dropped", "grad_clip_norm is there too, and was the one that was read")
    return Told("changed", "clips the norm of the gradient; was never read before", value or None)


def optimizer(value: Any, old: Old) -> Told:
    """Choose the optimizer.

    Raises:
        UsageError: There was no such optimizer.
    """
    known = {"adamw": "AdamW", "sgd": "SGD"}
    if str(value).lower() not in known:
        raise UsageError(
            f"training.optimizer.name: found {value!r}{nearest(str(value), known)} (adamw or sgd)"
        )
    return Told("renamed", "", {"class_path": known[str(value).lower()]})


def momentum(value: Any, old: Old) -> Any:
    """Momentum is of SGD alone."""
    return (
        value if str(old["training.optimizer.name"]).lower() == "sgd" else Told("dropped", "AdamW has none")
    )


def scheduler(value: Any, old: Old) -> Told:
    """Choose the schedule.

    Raises:
        UsageError: There was no such schedule.
    """
    if value in (None, "none"):
        return Told("renamed", "", {"class_path": "ConstantLR", "init_args": {"factor": 1.0}})
    if value != "cosine":
        raise UsageError(f"training.scheduler.name: found {value!r}; expected cosine or null")
    made = {"class_path": "WarmupCosine", "init_args": {"warmup": 0.0, "floor": 0.0}}
    return Told("changed", "steps with every batch, was every epoch", made)


def warmup(value: Any, old: Old) -> Told:
    """Give the length of the rise as a share of the training."""
    if old.get("training.scheduler.name") != "cosine":
        return Told("dropped", "without a schedule there is no warm-up")
    share = round(min(float(value) / float(old["training.epochs"]), 1.0), 4)
    return Told("changed", f"share of all steps, was {value} epochs", share)


def loss(value: Any, old: Old) -> Told:
    """Choose the masked loss.

    Raises:
        UsageError: There was no such loss.
    """
    known = {"mse": "MaskedMSELoss", "focal": "MaskedFocalLoss"}
    if value not in known:
        raise UsageError(f"training.loss.name: found {value!r}{nearest(str(value), known)} (mse or focal)")
    return Told("renamed", "masked by visibility, as before", {"class_path": known[value]})


def focal(value: Any, old: Old) -> Any:
    """Settings of the focal loss alone."""
    return value if old.get("training.loss.name") == "focal" else Told("dropped", "the loss mse has none")


def lora(value: Any, old: Old) -> Told:
    """Add adapters to the backbone, or not."""
    return Told("renamed", "", {"class_path": "LoRA"}) if value else Told("kept", "off")


def adapter(value: Any, old: Old) -> Any:
    """Pass over the settings of adapters that are off."""
    return value if old.get("model.lora.enabled") else Told("dropped", "LoRA is off")
