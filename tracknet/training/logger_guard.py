"""Loggers that fail are told of once and dropped; training goes on."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from weakref import WeakSet

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.utilities.seed import isolate_rng

from tracknet.errors import TrackNetError, reasons

CALLED_BY_LIGHTNING = (
    "log_metrics",
    "log_hyperparams",
    "log_graph",
    "save",
    "finalize",
    "after_save_checkpoint",
)
"""All that Lightning calls of a logger while it trains."""

_REFUSED = "INVALID_PARAMETER_VALUE"
"""Of MLflow, which does not take a value but is well, such as a changed setting of a resumed run."""

_lost: WeakSet[Logger] = WeakSet()
_log = logging.getLogger(__name__)


def attempt(logger: Logger, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call something of a logger, unless it has failed before.

    Args:
        logger: The logger.
        function: What to call.
        args: For the function.
        kwargs: For the function.

    Returns:
        What the function gives; None where the logger has failed, now or before. A failure is told once.
    """
    if logger in _lost:
        return None
    try:
        return function(*args, **kwargs)
    except Exception as error:
        # Lightning says of whatever TensorBoard raises that the figure is not supported; its cause is true.
        reason = error.__cause__ or error
        said = str(reason).partition("\n")[0] or type(reason).__name__
        # MLflow's store of files wraps it in an internal error.
        if any(getattr(one, "error_code", None) == _REFUSED for one in reasons(error)):
            _log.warning("%s does not take a value, and goes on: %s", type(logger).__name__, said)
            return None
        _lost.add(logger)
        _log.warning("%s is lost, training goes on without it: %s", type(logger).__name__, said)
        return None


def guard(loggers: Iterable[Logger]) -> None:
    """Let training survive the loss of each logger: a full disk, a server that is gone.

    Lightning calls loggers from many places and lets what they raise end the run. Here the methods of
    `CALLED_BY_LIGHTNING` are replaced on the objects themselves, whose classes, folders and names stay what
    they are: Lightning and callbacks ask for these.

    Args:
        loggers: The trainer's loggers; those guarded already stay as they are.
    """
    if getattr(threading.excepthook, "func", None) is not _hear:
        threading.excepthook = partial(_hear, threading.excepthook)
    for logger in loggers:
        for name in CALLED_BY_LIGHTNING:
            # Not through a closure: strategies that spawn processes pickle the trainer.
            if name not in vars(logger):
                setattr(logger, name, partial(_call, logger, name))


def start(loggers: Iterable[Logger]) -> list[Logger]:
    """Start the loggers that need more than the disk, before anything else has begun.

    MLflow draws the name of a run with Python's generator: where each run has the same seed, all would have
    one name, and the training other numbers than without MLflow. Here it draws with a seed of its own.

    Args:
        loggers: The trainer's loggers.

    Returns:
        Those that could be started; the others are told of.

    Raises:
        TrackNetError: None is left.
    """
    wanted = list(loggers)
    for logger in wanted:
        if not isinstance(logger, (TensorBoardLogger, CSVLogger)):
            # Processes may be forked from this one, in which CUDA must not have been started.
            with isolate_rng(include_cuda=False):
                random.seed()
                attempt(logger, getattr, logger, "experiment", None)
    left = [logger for logger in wanted if logger not in _lost]
    if wanted and not left:
        raise TrackNetError(
            "trainer.logger: no logger could be started; +logging=tensorboard needs no server"
        )
    return left


def _call(logger: Logger, name: str, *args: Any, **kwargs: Any) -> Any:
    return attempt(logger, getattr(type(logger), name), logger, *args, **kwargs)


def _hear(others: Callable[[threading.ExceptHookArgs], object], died: threading.ExceptHookArgs) -> None:
    """Stay silent of TensorBoard's writing thread: the next call of its logger raises what it died of."""
    if type(died.thread).__module__ != "tensorboard.summary.writer.event_file_writer":
        others(died)
