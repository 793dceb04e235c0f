"""Training survives loggers that fail, which are told of once."""

from __future__ import annotations

import csv
import logging
import pickle
import random
import sys
import threading
from pathlib import Path

import pytest
import yaml
from jsonargparse import Namespace
from lightning.pytorch.loggers import CSVLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tracknet.cli.main import main
from tracknet.errors import TrackNetError
from tracknet.training.logger_guard import guard, start
from tracknet.training.loggers import RunLogger, log_table
from tracknet.training.settings import check_loggers

FAILING = """
from lightning.pytorch import LightningModule
from lightning.pytorch.loggers import CSVLogger, Logger


class OddOnly(LightningModule):
    def __init__(self):
        raise ValueError("an odd number")


class FullDisk(CSVLogger):
    calls = 0

    def log_metrics(self, metrics, step=None):
        FullDisk.calls += 1
        if FullDisk.calls > 2:
            raise OSError(28, "No space left on device")
        super().log_metrics(metrics, step)

    def finalize(self, status):
        raise AssertionError("called though it is lost")


class Unreachable(Logger):
    name = version = "none"

    @property
    def experiment(self):
        raise ConnectionError("nobody answers\\nand more")

    def log_metrics(self, metrics, step=None):
        raise AssertionError("called though it never started")

    log_hyperparams = log_metrics


class Unbuilt(CSVLogger):
    def __init__(self, save_dir: str = "x"):
        raise RuntimeError("no such store\\nand more")


class RefusedError(Exception):
    error_code = "INVALID_PARAMETER_VALUE"


class Keeping(CSVLogger):
    def log_hyperparams(self, params=None):
        try:
            raise RefusedError("lr was logged before")
        except RefusedError as error:
            raise RuntimeError(error)
"""


@pytest.fixture
def failing(tmp_path, monkeypatch):
    """The module of loggers that fail, importable by name."""
    (tmp_path / "failing_loggers.py").write_text(FAILING)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["tracknet"])
    import failing_loggers

    yield failing_loggers
    monkeypatch.delitem(sys.modules, "failing_loggers")


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_with_several_loggers_two_of_which_fail(tiny_rallies, tmp_path, failing, caplog):
    own = {"class_path": "RunLogger", "init_args": {"save_dir": "runs", "name": "exp"}}
    plain = {"class_path": "CSVLogger", "init_args": {"save_dir": "plain", "name": ""}}
    full = {"class_path": "failing_loggers.FullDisk", "init_args": {"save_dir": "full", "name": ""}}
    config = tmp_path / "loggers.yaml"
    gone = {"class_path": "failing_loggers.Unreachable"}
    config.write_text(yaml.safe_dump({"trainer": {"logger": [gone, own, full, plain]}}))
    words = ["fit", "+env=ci", "+model=compact", "+callbacks=minimal", f"--config={config}"]
    words += [f"--data.root={tiny_rallies}", "--data.batch_size=2", "--data.num_workers=0"]
    words += ["--model.network.stem=4", "--model.network.widths=[8,8,8]", "--model.network.frames=4"]
    words += ["--model.input_size=[32,64]", "--trainer.max_epochs=2", "--trainer.log_every_n_steps=1"]
    words += ["--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1"]
    with caplog.at_level(logging.WARNING, logger="tracknet.training.logger_guard"):
        assert main(words) == 0
    told = [one.getMessage() for one in caplog.records if one.name == "tracknet.training.logger_guard"]
    assert told == [
        "Unreachable is lost, training goes on without it: nobody answers",
        "FullDisk is lost, training goes on without it: [Errno 28] No space left on device",
    ]
    # The others have all figures, under the same names, once.
    run = tmp_path / "runs" / "exp" / "version_0"
    ours, theirs = rows(run / "metrics.csv"), rows(next((tmp_path / "plain").rglob("metrics.csv")))
    assert ours == theirs
    assert len([row for row in ours if row["val/f1"]]) == 2
    assert {int(row["step"]) for row in ours} == {0, 1, 2, 3}
    events = EventAccumulator(str(run))
    events.Reload()
    names = {name for row in ours for name in row if row[name]}
    assert names == set(events.Tags()["scalars"]) | {"step"}
    assert len(events.Scalars("train/loss_step")) == 4
    assert (run / "checkpoints" / "best.ckpt").is_file()


def test_what_a_logger_draws_is_no_number_of_the_training(failing):
    class Drawing(failing.Unreachable):
        @property
        def experiment(self):
            names.append(random.random())

    names = []
    random.seed(42)
    start([Drawing(), Drawing()])
    trained = random.random()
    assert len({*names, trained}) == 3
    random.seed(42)
    assert random.random() == trained


def test_a_logger_starts_without_cuda_so_that_processes_can_be_forked(failing, monkeypatch):
    class Starting(failing.Unreachable):
        experiment = None

    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.get_rng_state_all", lambda: pytest.fail("CUDA was started"))
    assert len(start([Starting()])) == 1


def test_no_logger_left_to_start(failing):
    with pytest.raises(TrackNetError, match="no logger could be started"):
        start([failing.Unreachable()])
    assert start([]) == []


def test_a_guarded_logger_stays_what_it_is(tmp_path, caplog):
    logger = RunLogger(tmp_path, name="exp")
    guard([logger])
    once = dict(vars(logger))
    guard([logger])
    assert vars(logger) == once
    assert type(logger) is RunLogger
    logger.log_metrics({"a": 1.0}, step=0)
    logger.save()
    logger.finalize("success")
    assert [row["a"] for row in rows(Path(logger.log_dir) / "metrics.csv")] == ["1.0"]
    assert not caplog.records

    kept = Kept(tmp_path)
    guard([kept])
    copy = pickle.loads(pickle.dumps(kept))
    copy.log_metrics({"a": 1.0})
    assert copy.logged == [{"a": 1.0}]


def test_tensorboard_on_a_full_disk_is_told_of_once(tmp_path, caplog, capsys, monkeypatch):
    def full(data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)
    logger = RunLogger(tmp_path)
    guard([logger])
    writer = logger.experiment._get_file_writer().event_writer._async_writer
    writer._writer.write = full
    logger.log_metrics({"a": 1.0}, step=0)
    writer._worker.join()
    logger.log_metrics({"a": 1.0}, step=1)
    assert [one.getMessage() for one in caplog.records] == [
        "RunLogger is lost, training goes on without it: [Errno 28] No space left on device"
    ]
    assert capsys.readouterr().err == ""
    other = threading.Thread(target=full, args=("",), name="another")
    other.start()
    other.join()
    assert "Exception in thread another" in capsys.readouterr().err


def test_a_logger_that_cannot_be_built_is_told_in_a_line(tiny_rallies, failing, capsys):
    own = {"class_path": "RunLogger", "init_args": {"save_dir": "runs"}}
    config = Path("loggers.yaml")
    config.write_text(
        yaml.safe_dump({"trainer": {"logger": [own, {"class_path": "failing_loggers.Unbuilt"}]}})
    )
    words = ["fit", "+env=ci", "+model=compact", f"--config={config}", f"--data.root={tiny_rallies}"]
    assert main(words) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == f"tracknet fit: {config}:6:5: trainer.logger: Unbuilt cannot be built: no such store"


def test_loggers_are_not_built_to_be_asked_where_the_model_is_at_fault(
    tiny_rallies, failing, monkeypatch, capsys
):
    monkeypatch.setattr("tracknet.cli.train.unbuilt_loggers", lambda *_: pytest.fail("were built"))
    config = Path("model.yaml")
    model = {"class_path": "failing_loggers.OddOnly"}
    config.write_text(yaml.safe_dump({"model": model, "data": {"init_args": {"root": str(tiny_rallies)}}}))
    assert main(["fit", "+env=ci", f"--config={config}"]) == 2
    assert "an odd number" in capsys.readouterr().err


def test_settings_that_a_logger_refuses_do_not_cost_its_figures(tmp_path, failing, caplog):
    logger = failing.Keeping(tmp_path / "kept")
    guard([logger])
    logger.log_hyperparams({"lr": 1})
    logger.log_metrics({"val/f1": 1.0}, 3)
    logger.finalize("success")
    assert [one.getMessage() for one in caplog.records] == [
        "Keeping does not take a value, and goes on: lr was logged before"
    ]
    [row] = rows(Path(logger.log_dir) / "metrics.csv")
    assert row["step"] == "3"


class Kept(CSVLogger):
    def log_metrics(self, metrics, step=None):
        self.logged = [*getattr(self, "logged", []), metrics]


def test_what_we_log_ourselves_is_guarded_too(tmp_path, caplog):
    folder = tmp_path / "exp"
    folder.write_text("a file where the folder should be")
    broken, good = CSVLogger(tmp_path, name="exp"), CSVLogger(tmp_path, name="good")
    for step in (0, 1):
        log_table([broken, good], "t", ["a"], [[step]], step)
    assert [one.getMessage().partition(":")[0] for one in caplog.records] == [
        "CSVLogger is lost, training goes on without it"
    ]
    assert len(list((tmp_path / "good").rglob("t_*.csv"))) == 2


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("WandbLogger", "WandbLogger needs the package wandb: pip install 'tracknet[wandb]'"),
        ("MLFlowLogger", "MLFlowLogger needs the package mlflow: pip install mlflow-skinny"),
        ("CSVLogger", None),
    ],
)
def test_a_package_that_is_missing_is_named(name, complaint, monkeypatch):
    monkeypatch.setattr("tracknet.training.settings.find_spec", lambda package: None)
    own = Namespace(class_path="tracknet.training.loggers.RunLogger")
    chosen = Namespace(class_path=f"lightning.pytorch.loggers.{name}")
    said = list(check_loggers("", Namespace(trainer=Namespace(logger=[own, chosen]))))
    assert said == ([("trainer.logger", complaint)] if complaint else [])
