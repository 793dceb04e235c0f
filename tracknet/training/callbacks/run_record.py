"""The callback that keeps a record of the run."""

from __future__ import annotations

import logging
import math
import os
import secrets
import shlex
import sys
import time
import traceback
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, Timer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import SIGTERMException

import tracknet
from tracknet.data.whole_file import whole_file
from tracknet.errors import TrackNetError
from tracknet.training.checkpoint_format import read_metadata
from tracknet.training.records.code import code_version, is_checkout
from tracknet.training.records.fingerprint import data_fingerprint
from tracknet.training.records.machine import hardware, packages, this_process
from tracknet.training.records.redaction import Redactor
from tracknet.training.records.run import FORMAT, RECORD, now, read_run, usual_name, write_record
from tracknet.training.records.tested import write_test
from tracknet.training.run_trainer import RunTrainer

HEARTBEAT_SECONDS = 60.0
_LONGEST = 2000  # letters of the message of a failure

_log = logging.getLogger(__name__)


class RunRecord(Callback):
    """Keeps ``run.json`` in the run's folder: what was trained, with what, where, and how it ended.

    That is id, name, tags, notes; commit and uncommitted changes (``code.diff``) of the working folder and of
    tracknet; packages, hardware, command line, working folder, ``TRACKNET_*`` variables, seed and a
    fingerprint of the data; start, end, reason of the end, the last and the best figures. Secrets are left
    out. It is written at the start, at each validation and at least once a minute, as a whole; a run that
    goes on in its folder gets one more session in it. ``tracknet runs`` reads it. Lightning keeps the
    configuration and the figures, and nothing that tells a run that was killed from one that runs.

    Args:
        name: Name of the run; default that of its folder.
        tags: Words to find it by.
        notes: Whatever is to be remembered of it.
    """

    def __init__(self, name: str | None = None, tags: list[str] | None = None, notes: str = "") -> None:
        self.name = name
        self.tags = list(tags or ())
        self.notes = notes
        self._folder: Path | None = None
        self._record: dict[str, Any] = {}
        self._redactor = Redactor()
        self._written = 0.0
        self._tested_step: int | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the record, or a further session in it."""
        folder = folder_of(trainer)
        if folder is None or not trainer.is_global_zero or getattr(trainer, "fast_dev_run", False):
            return
        self._redactor = Redactor()
        earlier = read_run(folder)
        if earlier.damage is not None:
            self._set_aside(folder, earlier.damage)
        self._record = dict(earlier.record) or self._begun(folder)
        for key in ("name", "tags", "notes"):
            if getattr(self, key):
                self._record[key] = self._redactor.tree(getattr(self, key))
        session = self._session(trainer, folder, len(self._record.get("sessions", ())) + 1)
        self._record["sessions"] = [*self._record.get("sessions", ()), session]
        self._folder = folder  # from here on there is something to end
        self._write(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note what is known once a checkpoint is loaded: the first step, and the best of the run so far."""
        if self._folder is not None:
            self._record["sessions"][-1]["first_step"] = trainer.global_step
            self._record["best"] = self._record.get("best") or _best_so_far(trainer)
            self._write(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Give a sign of life, once a minute."""
        if self._folder is not None and time.monotonic() - self._written > HEARTBEAT_SECONDS:
            self._write(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the figures."""
        if self._folder is None or trainer.sanity_checking or trainer.state.fn != TrainerFn.FITTING:
            return
        self._note_figures(trainer)
        self._write(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that it is finished, or what stopped it early."""
        if self._folder is not None:
            last = self._record["last"]
            if last is None or last["step"] == trainer.global_step:  # where they were found
                self._note_figures(trainer)
            by = stopped_by(trainer)
            self._end(trainer, "finished" if by is None else "stopped early", by)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Note that it was interrupted, or how it failed."""
        if self._folder is None or trainer.state.fn != TrainerFn.FITTING:
            return
        if isinstance(exception, KeyboardInterrupt):
            self._end(trainer, "interrupted", "Ctrl-C")
        elif isinstance(exception, SIGTERMException):
            self._end(trainer, "interrupted", "SIGTERM")
        else:
            said = f"{type(exception).__name__}: {exception}"[:_LONGEST]
            frames = traceback.extract_tb(exception.__traceback__)[-1:]
            where = [f"{frame.filename}:{frame.lineno}" for frame in frames]
            self._end(trainer, "failed", said, *where)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the step of the checkpoint; at the end, a training may have put a later one in its place."""
        metadata = None if trainer.ckpt_path is None else read_metadata(Path(trainer.ckpt_path))
        self._tested_step = None if metadata is None else metadata["step"]

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the figures with the run that the checkpoint is of."""
        results = trainer.log_dir  # Lightning tells it from the first process to the others
        run = None if trainer.ckpt_path is None else _run_of(Path(trainer.ckpt_path))
        most = trainer.limit_test_batches  # 1 is one batch, 1.0 all of them
        if run is None or isinstance(most, int) or most < 1 or not trainer.is_global_zero:
            return
        checkpoint, redactor = Path(str(trainer.ckpt_path)), Redactor()
        told = {
            "time": now(),
            "checkpoint": str(checkpoint.absolute()),
            "step": self._tested_step,
            "figures": {name: value for name, value in _figures(trainer).items() if name.startswith("test/")},
            "metric": getattr(getattr(pl_module, "test_metrics", None), "label", None),
            "data": data_fingerprint(getattr(trainer, "datamodule", None)),
            "command": redactor.words(["tracknet", *sys.argv[1:]]),
            "folder": None if results is None else str(Path(results).absolute()),
        }
        try:
            write_test(run, told)
        except TrackNetError as error:  # someone else's run, say: the figures are in the folder of the test
            _log.warning("the run does not know of this test: %s", error)
        else:
            print(f"  noted in the run: tracknet runs show {shlex.quote(str(run))}")

    def _begun(self, folder: Path) -> dict[str, Any]:
        stamp = datetime.now(timezone.utc).strftime("%Y%m%d-%H%M%S")
        return {
            "format": FORMAT,
            "id": f"{stamp}-{secrets.token_hex(3)}",
            "name": usual_name(folder),
            "tags": [],
            "notes": "",
            "last": None,
            "best": None,
            "sessions": [],
        }

    def _session(self, trainer: Trainer, folder: Path, number: int) -> dict[str, Any]:
        data = getattr(trainer, "datamodule", None)
        seed = os.environ.get("PL_GLOBAL_SEED")
        config = folder / "config.yaml"
        return {
            "start": now(),
            "end": None,
            "exit": None,
            "heartbeat": now(),
            "process": this_process(),
            "command": self._redactor.words(["tracknet", *sys.argv[1:]]),
            "folder": str(Path.cwd()),
            "environment": {
                name: self._redactor.tree(value, name)
                for name, value in sorted(os.environ.items())
                if name.startswith("TRACKNET_")
            },
            "config": str(config.absolute()) if config.is_file() else None,
            "resumed_from": None if trainer.ckpt_path is None else str(trainer.ckpt_path),
            "first_step": None,
            "step": None,
            "seed": int(seed) if seed and seed.isdigit() else None,
            "processes": trainer.world_size,
            "data": data_fingerprint(data),
            "code": self._code(folder, number),
            "hardware": hardware(),
            "packages": packages(),
        }

    def _code(self, run: Path, number: int) -> dict[str, Any]:
        """Find the versions of the code, and write what is not committed."""
        found: dict[str, Any] = {"tracknet_version": tracknet.__version__}
        package = Path(tracknet.__file__).parent
        folders = {"folder": Path.cwd()} | ({"tracknet": package} if is_checkout(package) else {})
        for what, folder in folders.items():
            version = code_version(folder, self._redactor)
            if version is None:
                continue
            told, diff = version
            if told["root"] == found.get("folder", {}).get("root"):
                continue
            if diff:
                stem = "code" if what == "folder" else "tracknet"
                told["diff"] = f"{stem}.diff" if number == 1 else f"{stem}.{number}.diff"
                self._save(run / told["diff"], diff)
            found[what] = told
        return found

    def _save(self, path: Path, text: str) -> None:
        try:
            with whole_file(path) as part:
                part.write_text(text, encoding="utf-8", errors="surrogateescape")
        except TrackNetError as error:
            _log.warning("%s", error)

    def _set_aside(self, folder: Path, damage: str) -> None:
        path = folder / RECORD
        aside = path.with_name(f"run.damaged.{secrets.token_hex(3)}.json")
        _log.warning("damaged record: %s; it is kept as %s and a new one begun", damage, aside.name)
        path.replace(aside)

    def _note_figures(self, trainer: Trainer) -> None:
        figures = _figures(trainer)
        told = {"step": trainer.global_step, "epoch": trainer.current_epoch, "figures": figures}
        self._record["last"] = told
        monitor, mode = _monitored(trainer)
        value = figures.get(monitor) if monitor else None
        if value is None:
            return
        best = self._record.get("best") or {}
        before = best.get("value") if best.get("monitor") == monitor else None
        if before is None or (value > before if mode == "max" else value < before):
            self._record["best"] = {"monitor": monitor, "mode": mode, "value": value, **told}

    def _end(self, trainer: Trainer, reason: str, detail: str | None, where: str | None = None) -> None:
        session = self._record["sessions"][-1]
        session["end"] = now()
        told = None if detail is None else self._redactor.text(detail)
        session["exit"] = {"reason": reason, "detail": told, "where": where}
        self._write(trainer)
        self._folder = None

    def _write(self, trainer: Trainer) -> None:
        assert self._folder is not None
        session = self._record["sessions"][-1]
        session["heartbeat"] = now()
        if session["first_step"] is not None:  # before, a checkpoint may still be loaded
            session["step"] = trainer.global_step
        self._written = time.monotonic()
        try:
            write_record(self._folder, self._record)
        except TrackNetError as error:  # a full disk ends no training here
            _log.warning("the record of the run is not up to date: %s", error)


def folder_of(trainer: Trainer) -> Path | None:
    """Give the folder that is this run's own.

    Args:
        trainer: The trainer; to be asked in all processes.

    Returns:
        None where it has none, as without a logger, and with one that keeps all runs in one folder while no
        checkpoints are written.
    """
    # Lightning tells it from the first process to the others.
    folder = trainer.log_dir
    if folder is None:
        return None
    tells_own = isinstance(trainer, RunTrainer) and trainer.logger is not None
    if tells_own or isinstance(trainer.logger, (TensorBoardLogger, CSVLogger)):
        return Path(folder)
    checkpoints = getattr(trainer.checkpoint_callback, "dirpath", None)
    own = Path(checkpoints).absolute().parent if checkpoints else None
    return own if own is not None and Path(folder).absolute() in own.parents else None


def stopped_by(trainer: Trainer) -> str | None:
    """Say what ended a training before its last epoch or step.

    Args:
        trainer: The trainer, its training at its end.

    Returns:
        None where it came to its end.
    """
    epochs, steps = trainer.max_epochs, trainer.max_steps
    whole = (epochs not in (None, -1) and trainer.current_epoch >= epochs) or (
        steps != -1 and trainer.global_step >= steps
    )
    if whole or not trainer.should_stop:
        return None
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if message := getattr(callback, "stopping_reason_message", None):
            return f"{type(callback).__name__}: {message}"
        left = callback.time_remaining() if isinstance(callback, Timer) else None
        if left is not None and left <= 0:
            return f"{type(callback).__name__}: the time was over"
    return "trainer.should_stop was set"


def _figures(trainer: Trainer) -> dict[str, float | None]:
    numbers = {name: float(value) for name, value in trainer.callback_metrics.items()}
    return {name: value if math.isfinite(value) else None for name, value in numbers.items()}


def _run_of(checkpoint: Path) -> Path | None:
    """Find the folder of the run that a checkpoint lies in, by its record."""
    around = checkpoint.resolve().parents[:2]
    return next((folder for folder in around if (folder / RECORD).is_file()), None)


def _monitored(trainer: Trainer) -> tuple[str | None, str]:
    callback = _judge(trainer)
    return (None, "max") if callback is None else (callback.monitor, callback.mode)


def _best_so_far(trainer: Trainer) -> dict[str, Any] | None:
    """Give the best that a run has reached in another folder, as `BestSoFar` has taken it along."""
    callback = _judge(trainer)
    if callback is None or callback.best_model_score is None:
        return None
    told = read_metadata(Path(callback.best_model_path))
    value = float(callback.best_model_score)
    if told is None or not math.isfinite(value):
        return None
    return {
        "monitor": callback.monitor,
        "mode": callback.mode,
        "value": value,
        "step": told["step"],
        "epoch": told["epoch"],
        "figures": told["metrics"],
    }


def _judge(trainer: Trainer) -> ModelCheckpoint | None:
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.monitor:
            return callback
    return None
