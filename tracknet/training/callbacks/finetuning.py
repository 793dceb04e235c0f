"""Callbacks that start from a pretrained backbone, and train what is above it first."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jsonargparse.typing import NonNegativeInt
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import BaseFinetuning
from torch.optim import Optimizer

from tracknet.errors import TrackNetError, UsageError
from tracknet.models.backbones import STAGES, BackboneNetwork, ConvNeXtNetwork
from tracknet.models.lora import plain_state
from tracknet.training.callbacks.pretrained_weights import begin_averages


class PretrainedBackbone(Callback):
    """Loads pretrained weights into the backbone of the network before training.

    A run that is resumed keeps its own weights, and a checkpoint needs no other file. The size of the
    backbone is that of the network's own parameters; other weights are refused, with the size they have.
    Tensors are read and nothing else: no pickled code, no class that the files name, no file elsewhere.

    Args:
        weights: Folder of weights in the format of Hugging Face, or their name on its hub, such as
            ``facebook/convnext-tiny-224`` or ``facebook/dinov3-vits16-pretrain-lvd1689m``.
        download: Whether a name may be fetched from the hub; otherwise it must have been fetched before.
    """

    def __init__(self, weights: str, download: bool = False) -> None:
        self.weights = weights
        self.download = download

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Load the weights, at the start of ``fit``.

        Args:
            trainer: The trainer.
            pl_module: The module; its network must have a backbone.
            stage: Stage of the trainer.

        Raises:
            UsageError: The network has no backbone, or one of another kind or size.
            TrackNetError: The weights cannot be read.
        """
        if stage != "fit" or trainer.ckpt_path is not None:
            return
        network = _network(pl_module, type(self).__name__)
        backbone = network.backbone
        options = {"out_features": STAGES} if isinstance(network, ConvNeXtNetwork) else {}
        with _told(self.weights, self.download):
            _check_shards(Path(self.weights))
            config = type(backbone).config_class.from_pretrained(
                self.weights, local_files_only=not self.download, **options
            )
        expected = _size(backbone.config)
        found = _size(config)
        if config.model_type != backbone.config.model_type or found != expected:
            kind = backbone.config.model_type
            raise UsageError(
                f"{self.weights}: the weights are of a {config.model_type} of {_words(found)}; the network's "
                f"backbone is a {kind} of {_words(expected)}"
            )
        with _told(self.weights, self.download):
            # Only its weights are wanted: no attention that the file names, which could be code of the hub.
            loaded = type(backbone).from_pretrained(
                self.weights,
                config=config,
                local_files_only=not self.download,
                weights_only=True,
                trust_remote_code=False,
                attn_implementation="eager",
            )
        # Not all of them: a backbone made without a pooling layer has no place for it.
        state, wanted = loaded.state_dict(), plain_state(backbone)
        if further := sorted(name for name in state.keys() - wanted.keys() if "pool" not in name):
            raise UsageError(
                f"{self.weights}: the weights are of another kind of {config.model_type}: the network's "
                f"backbone has no {further[0]} and no {len(further) - 1} others"
            )
        for name, own in wanted.items():
            own.copy_(state[name])
        begin_averages(trainer, pl_module)


class BackboneFreeze(BaseFinetuning):
    """Keeps the backbone as it is for some epochs, so that what is above it learns first.

    On one device the frozen backbone has no gradients, which saves time and memory. On several devices, where
    gradients are agreed on for a set of parameters that is fixed at the start, they are computed and dropped.

    Args:
        epochs: Epochs before the backbone is trained with the rest.
    """

    def __init__(self, epochs: NonNegativeInt = 1) -> None:
        super().__init__()
        self.epochs = epochs
        self._dropping = False

    def freeze_before_training(self, pl_module: LightningModule) -> None:
        """Freeze the backbone; see `BaseFinetuning`."""
        network = _network(pl_module, type(self).__name__)
        self._trained = [one for one in network.backbone.parameters() if one.requires_grad]
        self._dropping = pl_module.trainer.world_size > 1
        if self.epochs and not self._dropping:
            for parameter in self._trained:
                parameter.requires_grad_(False)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Unfreeze the backbone in a run that is resumed within an epoch, whose start has been."""
        for optimizer in trainer.optimizers:
            self.finetune_function(pl_module, trainer.current_epoch, optimizer)

    def finetune_function(self, pl_module: LightningModule, epoch: int, optimizer: Optimizer) -> None:
        """Unfreeze the backbone when its time has come, also in a run that is resumed later than that.

        The optimizer holds its parameters from the start and leaves those without a gradient as they are.
        """
        if epoch >= self.epochs:
            self._dropping = False
            for parameter in self._trained:
                parameter.requires_grad_(True)

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Drop the gradients of a backbone that is frozen on several devices."""
        if self._dropping:
            for parameter in self._trained:
                parameter.grad = None


@contextmanager
def _told(weights: str, download: bool) -> Iterator[None]:
    """Make one message of what is wrong with weights, of which there are as many kinds as formats."""
    try:
        yield
    except TrackNetError:
        raise
    except pickle.UnpicklingError as error:
        raise TrackNetError(
            f"{weights}: its weights are damaged, or a pickle, which could hold code and is not opened; take "
            "weights in model.safetensors"
        ) from error
    except Exception as error:
        if not download and isinstance(error, OSError) and not Path(weights).exists():
            raise TrackNetError(
                f"PretrainedBackbone: {weights} is no folder, and no weights of this name have been "
                "downloaded; expected a folder with config.json and model.safetensors, or `download: true`"
            ) from error
        said = (str(error).splitlines() or [""])[0]
        kind = "" if isinstance(error, (OSError, ValueError)) else f"cannot be read: {type(error).__name__}: "
        raise TrackNetError(f"{weights}: {kind}{said}") from error


def _check_shards(folder: Path) -> None:
    """Refuse a list of weight files that names others than those beside it.

    Raises:
        TrackNetError: It does.
    """
    for index in sorted(folder.glob("*.index.json")):
        shards = json.loads(index.read_bytes())["weight_map"].values()
        if outside := sorted({name for name in shards if Path(name).name != name}):
            raise TrackNetError(f"{index}: names the file {outside[0]!r}; expected files of its own folder")


def _network(module: LightningModule, callback: str) -> BackboneNetwork:
    network = getattr(module, "network", None)
    if not isinstance(network, BackboneNetwork):
        raise UsageError(
            f"{callback}: no backbone in {type(network or module).__name__}; "
            "ConvNeXtFPN, ConvNeXtHRNet and ViTUpsample have one"
        )
    return network


def _size(config: object) -> dict[str, object]:
    convnext = hasattr(config, "hidden_sizes")
    names = ("hidden_sizes", "depths") if convnext else ("hidden_size", "num_hidden_layers", "patch_size")
    found = {name: getattr(config, name) for name in names if hasattr(config, name)}
    return {name: list(value) if isinstance(value, (list, tuple)) else value for name, value in found.items()}


def _words(size: dict[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in size.items())
