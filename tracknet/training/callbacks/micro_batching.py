"""Callback that splits batches which are too big for the memory."""

from __future__ import annotations

import torch
from jsonargparse.typing import NonNegativeInt, PositiveInt, restricted_number_type
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy

from tracknet.errors import UsageError
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.micro_batches import MicroBatches, WholeBatch

AboveOne = restricted_number_type("AboveOne", float, (">", 1))
"""A factor that makes something smaller when it is divided by it."""


class AdaptiveMicroBatch(Callback):
    """Splits a batch that is too big for the memory; all parts together make one optimizer step.

    Lightning can accumulate gradients over batches and search for a batch size before training
    (``BatchSizeFinder``), but a batch that does not fit ends the run. Here it is tried again in parts when
    memory runs out, in training, validation, test and prediction. The size that works is kept for each of
    these and forgotten when other parameters are trained, such as after `BackboneFreeze`: it is then searched
    for again, from ``size`` on. The batch itself stays what it was: one step of the optimizer, the scheduler
    and weight averaging, one logged loss, clipping of the gradient of the whole batch, and augmentation and
    mixup that are drawn for all of it.

    Gradients and figures are those of the whole batch, whatever the loss divides by, also for parts of
    unequal size, apart from:

    - Batch normalisation takes the statistics of a part instead of the batch, and its running averages move
      once a part: with small parts, training is noisier. Several windows a part, or a network with group
      normalisation, are the remedy. An attempt that fails leaves no trace in the averages.
    - Dropout draws once a part, so that its masks are others than those of the whole batch. They depend on
      the seed and the size of the parts alone, not on attempts that failed.

    In training every batch takes memory for one more set of gradients, and DDP exchanges gradients after the
    backward pass instead of during it. Processes may split differently, but for ``sync_batchnorm``, with
    which they have to wait for each other in each part: it needs ``retries: 0``. On the CPU, Linux rather
    kills a process than to refuse it memory, unless it is limited (``ulimit -v``): set ``size`` there.

    Args:
        size: Windows of a part to begin with; 0 tries whole batches first.
        min_size: Windows below which a part is not split; memory that runs out then ends the run.
        backoff: What the size is divided by when memory runs out; 2 halves it.
        retries: How many times one batch may be tried again; 0 keeps to ``size``.

    Raises:
        UsageError: Settings that contradict each other, a module other than `HeatmapTracker`, a strategy
            that spreads parameters over devices, or batch normalisation over processes that may split
            differently.

    Example:
        In a configuration file::

            trainer:
              callbacks:
                - class_path: AdaptiveMicroBatch
                  init_args: {min_size: 2}
    """

    def __init__(
        self,
        size: NonNegativeInt = 0,
        min_size: PositiveInt = 1,
        backoff: AboveOne = 2.0,  # type: ignore[valid-type]
        retries: NonNegativeInt = 5,
    ) -> None:
        if 0 < size < min_size:
            raise UsageError(
                f"AdaptiveMicroBatch: size {size} is less than min_size {min_size}; lower min_size, or give "
                "size 0 to begin with whole batches"
            )
        self.micro_batches = MicroBatches(size, min_size, float(backoff), retries)

    @property
    def sizes(self) -> dict[str, int]:
        """Windows of a part that have worked, by phase, where batches had to be split further."""
        return {str(phase): size for phase, size in self.micro_batches.sizes.items()}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let the module split its batches."""
        if not isinstance(pl_module, HeatmapTracker):
            raise UsageError(
                f"AdaptiveMicroBatch: {type(pl_module).__name__} cannot split its batches, HeatmapTracker can"
            )
        strategy = trainer.strategy
        # DeepSpeed is a DDPStrategy by name, but does its own accumulation.
        known = isinstance(strategy, (SingleDeviceStrategy, DDPStrategy))
        if not known or strategy.handles_gradient_accumulation:
            raise UsageError(
                f"AdaptiveMicroBatch: the strategy {type(strategy).__name__} keeps parameters in "
                "pieces; use trainer.strategy auto or ddp"
            )
        pl_module.batches = self.micro_batches

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse what would leave processes waiting for each other without end."""
        synchronised = any(isinstance(one, torch.nn.SyncBatchNorm) for one in pl_module.modules())
        if trainer.world_size > 1 and synchronised and self.micro_batches.retries:
            raise UsageError(
                "AdaptiveMicroBatch: with sync_batchnorm all processes have to split their batches alike; "
                "set trainer.sync_batchnorm false, or a size that fits into memory and retries 0"
            )

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let the module take batches whole again."""
        if isinstance(pl_module, HeatmapTracker):
            pl_module.batches = WholeBatch()
