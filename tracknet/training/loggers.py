"""Where a run's figures and pictures go."""

from __future__ import annotations

import csv
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from typing_extensions import override

from tracknet.training.logged_media import (
    log_figure,
    log_histogram,
    log_hyperparameters,
    log_image,
    log_table,
    log_video,
)

__all__ = [
    "RunLogger",
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
    """

    def __init__(
        self, save_dir: Path = Path("runs"), name: str = "tracknet", version: str | None = None
    ) -> None:
        super().__init__(save_dir=save_dir, name=name, version=version, default_hp_metric=False)
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
            # Lightning's writer deletes a table that is there: its rows are written once more.
            earlier = _rows(Path(self.log_dir) / "metrics.csv")
            self._csv = CSVLogger(save_dir=self.log_dir, name="", version="", flush_logs_every_n_steps=50)
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
                self._csv.experiment.metrics.extend(earlier)
        return self._csv


def _rows(table: Path) -> list[dict[str, str]]:
    if not table.is_file():
        return []
    with table.open(newline="") as file:
        return [{name: value for name, value in row.items() if value} for row in csv.DictReader(file)]
