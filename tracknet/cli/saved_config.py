"""The configuration that a run keeps, without secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.cli import SaveConfigCallback
from typing_extensions import override

from tracknet.data.whole_file import whole_file
from tracknet.training.records.redaction import Redactor


class SavedConfig(SaveConfigCallback):
    """Saves ``config.yaml`` whole or not at all, with ``<redacted>`` in place of keys, tokens and passwords.

    Lightning's saves them as they are, and half of the file where a training is stopped while it is written.
    """

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Save it when the training starts."""
        self.config = without_secrets(self.config)
        self.save_to_log_dir = False
        self._folder = Path(str(trainer.log_dir))  # asked for in all processes: the first tells the others
        super().setup(trainer, pl_module, stage)

    @override
    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the file; called in the first process only.

        Raises:
            TrackNetError: The disk does not allow it.
        """
        with whole_file(self._folder / self.config_filename) as part:
            self.parser.save(self.config, part, skip_none=False, overwrite=True, multifile=self.multifile)


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
