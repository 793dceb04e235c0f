"""The configuration that a run keeps, without secrets."""

from __future__ import annotations

from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from typing_extensions import override

from tracknet.training.records.redaction import Redactor


class SavedConfig(SaveConfigCallback):
    """Saves ``config.yaml`` as Lightning does, with ``<redacted>`` in place of keys, tokens and passwords.

    Lightning's saves them as they are.
    """

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Save it when the training starts."""
        self.config = without_secrets(self.config)
        super().setup(trainer, pl_module, stage)


def without_secrets(config: Namespace) -> Namespace:
    """Copy a configuration with ``<redacted>`` in place of secrets.

    Args:
        config: The configuration.
    """
    redactor = Redactor()

    def copied(value: Any, name: str) -> Any:
        if isinstance(value, Namespace):
            told = {key: copied(one, key) for key, one in vars(value).items()}
            return Namespace(**told)  # type: ignore[no-untyped-call]
        if isinstance(value, dict):
            return {key: copied(one, str(key)) for key, one in value.items()}
        if isinstance(value, list):
            return [copied(one, name) for one in value]
        return redactor.tree(value, name) if type(value) is str else value

    without: Namespace = copied(config, "")
    return without
