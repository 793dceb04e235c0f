"""What the values of WASB's Hydra files become; the table that names them is in `wasb`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tracknet.configs.migration.rules import Old, Told
from tracknet.errors import UsageError, nearest

NETWORKS = {
    "hrnet": "WASB",
    "tracknetv2": "TrackNetV2",
    "monotrack": "MonoTrack",
    "restracknetv2": "ResTrackNetV2",
}
DATA = {
    "tennis": "TennisDataModule",
    "badminton": "ShuttlecockDataModule",
    "soccer": "SoccerDataModule",
    "volleyball": "VolleyballDataModule",
    "basketball": "BasketballDataModule",
}
OPTIMIZERS = {"adam": "Adam", "adamw": "AdamW", "sgd": "SGD", "adadelta": "Adadelta"}
LOSSES = {
    "quality_focal": "QualityFocalLoss",
    "wbce": "WBCELoss",
    "focal": "FocalLoss",
    "mse": "MSELoss",
    "bce": "FocalLoss",
    "combo": "ComboLoss",
}
"""Names there, and classes here."""


def one_of(classes: dict[str, str], key: str) -> Callable[[Any, Old], Told]:
    """Make a conversion from a name to a class.

    Args:
        classes: Name there -> class here.
        key: The key, for the message.
    """

    def converted(value: Any, old: Old) -> Told:
        if value not in classes:
            known = f"{nearest(str(value), classes)} (those that are here: {', '.join(classes)})"
            raise UsageError(f"{key}: nothing here takes the place of {value!r}{known}")
        return Told("renamed", "", {"class_path": classes[value]})

    return converted


def data(value: Any, old: Old) -> Any:
    """Choose the data set."""
    return one_of(DATA, "dataset.name")(value, old).value["class_path"]


def equal(ours: Any, else_: str) -> Callable[[Any, Old], Told]:
    """Make a conversion of what cannot be set here: told as kept where it is the same anyway."""

    def converted(value: Any, old: Old) -> Told:
        return Told("kept", "always so here") if value == ours else Told("dropped", else_)

    return converted


def same_as(key: str, else_: str) -> Callable[[Any, Old], Told]:
    """Make a conversion of what follows another key."""

    def converted(value: Any, old: Old) -> Told:
        return Told("kept", f"follows {key}") if value == old.get(key) else Told("dropped", else_)

    return converted


def height(value: Any, old: Old) -> list[int]:
    """Put height and width together."""
    return [int(value), int(old.get("model.inp_width", 512))]


def width(value: Any, old: Old) -> Told:
    """Told with the height, or without one."""
    return Told("renamed", "", [int(old.get("model.inp_height", 288)), int(value)])


def channels(value: Sequence[int], old: Old) -> int:
    """Take the channels of the finest branch; the others are its multiples here, too."""
    return int(value[0])


def names(value: Sequence[Any] | None, old: Old) -> list[str] | None:
    """Give names of clips as text; none at all means those that no other part names, here as there."""
    return None if value is None else [str(one) for one in value]


def batch(value: int, old: Old) -> Any:
    """Take the share of one process; there, a batch is parted among the GPUs."""
    processes = devices(old.get("runner.gpus"), old)
    if processes < 2:
        return value
    return Told("changed", f"of each process, was {value} on {processes} GPUs", max(value // processes, 1))


def loss(value: Any, old: Old) -> Told:
    """Choose the loss; the plain cross-entropy is a focal loss without focus."""
    told = one_of(LOSSES, "loss.sub_name")(value, old)
    if value == "bce":
        told.value["init_args"] = {"gamma": 0.0}
    return told


def combined(value: Any, old: Old) -> Any:
    """Settings of the combined loss alone."""
    return value if old["loss.sub_name"] == "combo" else Told("dropped", "read for the loss combo alone")


def target(value: Any, old: Old) -> Told:
    """Choose the shape of the target."""
    radius = float(old["dataloader.heatmap.sigmas"][0])
    if value == "binary_fixed_size":
        return Told("renamed", "", {"class_path": "DiscTarget", "init_args": {"radius": radius}})
    made = {"class_path": "PeakTarget", "init_args": {"radius": radius}}
    return Told("changed", "another real-valued shape, see `tracknet config show PeakTarget`", made)


def radius(value: Sequence[float], old: Old) -> float:
    """The radius of the target at the only scale here."""
    return float(value[0])


def floor(value: Any, old: Old) -> Any:
    """The floor is of the real-valued target alone."""
    if old.get("dataloader.heatmap.name") == "binary_fixed_size":
        return Told("dropped", "a binary target has no floor")
    return value


def blobs(value: Any, old: Old) -> Told:
    """Choose how the ball is read from a heatmap."""
    if value == "concomp":
        select = "score" if old.get("detector.postprocessor.use_hm_weight") else "area"
        return Told("renamed", "", {"class_path": "ComponentDecoder", "init_args": {"select": select}})
    return Told("changed", "the highest peak, refined by its surroundings", {"class_path": "PeakDecoder"})


def weighed(value: Any, old: Old) -> Any:
    """Whether the sum of a blob counts, or its size."""
    if old.get("detector.postprocessor.blob_det_method", "concomp") != "concomp":
        return Told("dropped", "peaks have no size")
    return "score" if value else "area"


def step(value: Any, old: Old) -> Told:
    """Windows of evaluation overlap or not."""
    if value == old.get("model.frames_in"):
        return Told("renamed", "windows do not overlap", "single")
    return Told("changed", "a window at every frame, whose heatmaps are averaged", "average")


def at_half(value: Any, old: Old) -> Told:
    """Strength of colour changes, there made with a probability."""
    share = old.get("transform.train.color_jitter.p", 1.0)
    if not share:
        return Told("dropped", "its probability is 0")
    return Told("changed", f"in all windows, was in {share:g} of them", float(value))


def zoom(value: Any, old: Old) -> Told:
    """Crops become magnifications; there, pictures are enlarged by 1 + max_rescale and cut to their size."""
    if not old.get("transform.train.crop.p"):
        return Told("dropped", "its probability is 0")
    return Told(
        "changed", "magnification in all windows, was crops of some", [1.0, round(1 + float(value), 3)]
    )


def devices(value: Any, old: Old) -> int:
    """Count the GPUs."""
    return len(value) if isinstance(value, (list, tuple)) else 1


def accelerator(value: Any, old: Old) -> Told:
    """The device by Lightning's name."""
    return Told("renamed", "", {"cuda": "auto", "cpu": "cpu"}.get(str(value), "auto"))


def schedule(value: Any, old: Old) -> Told:
    """Choose the schedule."""
    if value == "multistep":
        made = {
            "milestones": list(old.get("optimizer.scheduler.stepsize", [10, 20])),
            "gamma": float(old.get("optimizer.scheduler.gamma", 0.1)),
        }
        return Told("renamed", "", {"class_path": "MultiStepLR", "init_args": made})
    made = {"class_path": "ConstantLR", "init_args": {"factor": 1.0}}
    if value in ("constant", None):
        return Told("renamed", "", made)
    return Told("changed", f"constant: nothing here takes the place of {value}", made)


def factor(value: Any, old: Old) -> Any:
    """The factor of the first epochs is of the constant schedule alone."""
    if old.get("optimizer.scheduler.name") == "constant":
        return value
    return Told("dropped", "the schedule has no factor")


def stepped(value: Any, old: Old) -> Any:
    """Settings of the schedule in steps alone."""
    if old.get("optimizer.scheduler.name") == "multistep":
        return value
    return Told("dropped", "the schedule has no steps")
