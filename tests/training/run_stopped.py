"""A training that goes on slowly until it is stopped, for tests that send signals."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from lightning.pytorch import Callback

from tracknet.cli.main import main


class Waits(Callback):
    """Tells that training is under way, and goes on slowly."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if trainer.global_step == 2:
            Path("under-way").touch()
        if trainer.global_step >= 2:
            time.sleep(0.2)


if __name__ == "__main__":
    sys.modules["run_stopped"] = sys.modules["__main__"]
    sys.exit(main(sys.argv[1:]))
