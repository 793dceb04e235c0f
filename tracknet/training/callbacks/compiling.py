"""Training through torch.compile."""

from __future__ import annotations

from jsonargparse.typing import PositiveInt
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_info
from torch import nn

from tracknet.models.compiling import AFTER, compile_network, run_as_written
from tracknet.training.losses import HeatmapLoss


class CompileNetwork(Callback):
    """Trains and validates the network through torch.compile.

    It is compiled once for each shape of batches that comes again and again, and says then how long that
    took, and how many breaks there were: places where torch.compile goes back to Python, each of which costs
    time. Checkpoints are the same with it and without.

    Args:
        after: Batches of one shape before it is compiled.
    """

    def __init__(self, after: PositiveInt = AFTER) -> None:
        self.after = after

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Have it compiled when its shapes are known.

        Args:
            trainer: The trainer.
            pl_module: The module; what it calls its ``network`` is compiled.
            stage: The command.
        """
        loss = getattr(pl_module, "loss", None)
        if isinstance(loss, HeatmapLoss) and type(loss).ask is not HeatmapLoss.ask:
            rank_zero_info(f"CompileNetwork: what {type(loss).__name__} asks the network is not compiled")
        compile_network(
            _network(pl_module), lambda told: rank_zero_info(f"CompileNetwork: {told}"), self.after
        )

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave the network as it was.

        Args:
            trainer: The trainer.
            pl_module: The module.
            stage: The command.
        """
        run_as_written(_network(pl_module))


def _network(pl_module: LightningModule) -> nn.Module:
    network = pl_module.network
    assert isinstance(network, nn.Module)
    return network
