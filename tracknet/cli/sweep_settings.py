"""What the workers of a sweep are told."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler


class Sweep(NamedTuple):
    """What all workers of a sweep share; see `sweep_run.run_sweep`."""

    config: list[str]
    space: dict[str, BaseDistribution]
    monitor: str
    direction: Literal["maximize", "minimize"]
    name: str
    folder: Path
    storage: str
    sampler: BaseSampler | None
    pruner: BasePruner | None
