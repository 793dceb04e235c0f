"""Where a run's figures and pictures go."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter
from lightning.pytorch.utilities import rank_zero_only
from typing_extensions import override

from tracknet.data.whole_file import whole_file
from tracknet.training.logged_media import (
    log_figure,
    log_histogram,
    log_hyperparameters,
    log_image,
    log_table,
    log_video,
)
from tracknet.training.logger_guard import attempt

__all__ = [
    "RunLogger",
    "go_on",
    "log_figure",
    "log_histogram",
    "log_hyperparameters",
    "log_image",
    "log_table",
    "log_video",
]


class RunLogger(TensorBoardLogger):
    """TensorBoard files and a plain ``metrics.csv`` in one folder for each run: ``SAVE_DIR/NAME/version_N``.

    Lightning's TensorBoard and CSV loggers each count versions on their own, so that the two together spread
    one run over two folders, and two runs that start at once share one. In the folder of an earlier run, the
    figures are added to its own.

    Args:
        save_dir: Folder of all runs.
        name: Name of the experiment.
        version: Name of this run's folder; default ``version_N`` with the next free N.

    Attributes:
        first_step: Step at which a resumed training goes on; see `go_on`.
    """

    def __init__(
        self, save_dir: Path = Path("runs"), name: str = "tracknet", version: str | None = None
    ) -> None:
        super().__init__(save_dir=save_dir, name=name, version=version, default_hp_metric=False)
        self.first_step: int | None = None
        self._csv: CSVLogger | None = None
        self._made: list[Path] = []

    @property
    @override
    def version(self) -> int | str:
        """Version of this run; the folder of the next free number is made, so that no other run takes it."""
        if self._version is None and getattr(rank_zero_only, "rank", 0) == 0:
            self._version = self._take_folder()
        return super().version

    def _take_folder(self) -> int:
        root = Path(self.root_dir)
        missing = [folder for folder in (root, *root.parents) if not folder.exists()]
        number = self._get_next_version()
        while True:
            try:
                (root / f"version_{number}").mkdir(parents=True)
                self._made = [root / f"version_{number}", *missing]
                return number
            except FileExistsError:  # another run was faster
                number += 1

    @override
    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write figures to both files."""
        super().log_metrics(metrics, step)
        self._table().log_metrics(dict(metrics), step)

    @override
    @rank_zero_only
    def save(self) -> None:
        """Flush both files."""
        super().save()
        if self._csv is not None:
            self._csv.save()

    @override
    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Close both files; of a run that has failed before it wrote anything, no folder stays."""
        super().finalize(status)
        if self._csv is not None:
            self._csv.finalize(status)
        with suppress(OSError):
            for folder in self._made:
                folder.rmdir()  # refuses when there is anything in it

    def _table(self) -> CSVLogger:
        if self._csv is None:
            self._csv = CSVLogger(save_dir=self.log_dir, name="", version="", flush_logs_every_n_steps=50)
            _open_table(self._csv, self.first_step)
        return self._csv


@rank_zero_only
def go_on(loggers: Iterable[Logger], first_step: int | None) -> None:
    """Let loggers add to what lies in their folder; Lightning's CSV logger would delete the figures there.

    Args:
        loggers: The trainer's loggers, before they have written anything.
        first_step: Step at which a resumed training goes on: what an earlier one has logged from there on is
            logged anew, and dropped. None keeps all.
    """
    for logger in loggers:
        if isinstance(logger, RunLogger):
            logger.first_step = first_step
        if isinstance(logger, CSVLogger) and _table_of(logger).is_file():
            attempt(logger, _open_table, logger, first_step)
        elif isinstance(logger, TensorBoardLogger) and first_step is not None:
            # Pictures of a validation are logged at the step behind it, figures at the one before it.
            logger._kwargs["purge_step"] = first_step + 1


class _Table(ExperimentWriter):
    """Lightning's writer, which goes on with a table that is there."""

    @override
    def _check_log_dir_exists(self) -> None:
        """Delete nothing."""


def _open_table(logger: CSVLogger, first_step: int | None) -> None:
    path = _table_of(logger)
    names: list[str] = []
    if path.is_file():
        # Of a killed process: bytes that were never written are zeros, and a line may be cut short.
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            reader = csv.DictReader(line.replace("\0", "") for line in file)
            names = list(reader.fieldnames or ())
            rows = [row for row in reader if _is_before(row, first_step)]
        with whole_file(path) as part, part.open("w", newline="") as file:
            writer = csv.DictWriter(file, names, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
    logger._experiment = _Table(logger.log_dir)
    logger._experiment.metrics_keys = names


def _table_of(logger: CSVLogger) -> Path:
    return Path(logger.log_dir) / ExperimentWriter.NAME_METRICS_FILE


def _is_before(row: Mapping[str, str | None], step: int | None) -> bool:
    try:
        return step is None or float(row["step"] or "") < step
    except (KeyError, ValueError):  # a line that was cut short when the process was killed
        return False
