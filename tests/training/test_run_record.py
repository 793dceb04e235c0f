"""What runs record of themselves: real trainings that finish, stop, fail, are interrupted and killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger, Logger

from tracknet.cli.main import main
from tracknet.data.datamodules import FlatVideoDataModule
from tracknet.errors import TrackNetError
from tracknet.evaluation.decoding import HeatmapDecoder
from tracknet.models.network import HeatmapNetwork
from tracknet.training.callbacks import run_record
from tracknet.training.checkpoints import load_tracker
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.records.redaction import Redactor
from tracknet.training.records.run import read_run

CONFIG = """
seed_everything: 5
trainer:
  accelerator: cpu
  devices: 1
  max_epochs: {epochs}
  limit_train_batches: 2
  limit_val_batches: 1
  num_sanity_val_steps: 1
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
  logger: {{class_path: {logger}, init_args: {{save_dir: runs, name: tiny}}}}
  callbacks:
    - {{class_path: ModelCheckpoint, init_args: {{monitor: val/loss, mode: min, filename: best}}}}
    - class_path: ModelCheckpoint
      init_args: {{filename: last, enable_version_counter: false, save_on_exception: true}}
    - {{class_path: RunRecord, init_args: {{tags: [small, first], notes: "a try"}}}}
    - {callback}
model:
  class_path: HeatmapTracker
  init_args:
    network: {{class_path: CompactTrackNet, init_args: {{frames: 4, stem: 4, widths: [8, 8, 8]}}}}
    decoder: PeakDecoder
    input_size: [64, 96]
data:
  class_path: FlatVideoDataModule
  init_args: {{root: {rallies}, val: [c], batch_size: 2}}
optimizer: {{class_path: AdamW, init_args: {{lr: 0.01}}}}
"""
SECRET = "wandb-5e7c0de-5e7c0de"
TOLD = "a-token-of-the-command-line"
KEYED = "test_run_record.Keyed"


class Broken(Callback):
    """Fails in the second step, once something secret is known."""

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if batch_idx == 1:
            raise RuntimeError(f"no answer from https://me:{SECRET}@example.org, token={TOLD}")


class KeyedLogger(CSVLogger):
    """A logger that takes a key."""

    def __init__(self, save_dir: str, name: str, api_key: str | None = None) -> None:
        super().__init__(save_dir, name)
        self.api_key = api_key


class SharedFolder(Logger):
    """A logger with one folder for all runs, as W&B's."""

    version = "mine"

    def __init__(self, save_dir: str, name: str) -> None:
        super().__init__()
        self.dir, self.named = save_dir, name

    save_dir = property(lambda self: self.dir)
    name = property(lambda self: self.named)

    def log_metrics(self, metrics, step=None):
        pass

    def log_hyperparams(self, params, *args, **kwargs):
        pass


class KeyedTracker(HeatmapTracker):
    """A tracker that takes a token and needs it."""

    def __init__(
        self,
        network: HeatmapNetwork,
        decoder: HeatmapDecoder,
        input_size: tuple[int, int],
        hub_token: str = "",
    ):
        super().__init__(network, decoder=decoder, input_size=input_size)

    def on_train_start(self):
        Path("needed").write_text(
            f"{self.hparams['hub_token']} {self.trainer.datamodule.hparams['root_token']}"
        )


class KeyedData(FlatVideoDataModule):
    """Data that take a token, and have a parameter of the name of a setting."""

    def __init__(self, *args, root_token: str = "", **kwargs):
        super().__init__(*args, **kwargs)
        self.save_hyperparameters({"root_token": root_token, "seed_everything": "its own"})


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tracknet"])
    monkeypatch.setitem(sys.modules, "test_run_record", sys.modules[__name__])


@pytest.fixture
def config(tmp_path, tiny_rallies):
    """Write a configuration into the current folder."""

    def write(callback="LearningRateMonitor", logger="RunLogger", epochs=2):
        text = CONFIG.format(rallies=tiny_rallies, callback=callback, logger=logger, epochs=epochs)
        (tmp_path / "tiny.yaml").write_text(text)
        return ["fit", "--config", "tiny.yaml"]

    return write


def record_of(folder="runs/tiny/version_0"):
    return json.loads((Path(folder) / "run.json").read_text())


def test_a_finished_run_tells_what_it_was_and_a_second_session_is_added(config, monkeypatch):
    monkeypatch.setenv("TRACKNET_NOTE", "mine")
    monkeypatch.setenv("UNRELATED_NOTE", "nobody's business")
    words = config()
    assert main(words) == 0
    record, run = record_of(), read_run(Path("runs/tiny/version_0"))
    (session,) = record["sessions"]
    assert run.state == "finished"
    assert (record["name"], record["tags"]) == ("tiny/version_0", ["small", "first"])
    assert record["notes"] == "a try"
    assert session["exit"] == {"reason": "finished", "detail": None, "where": None}
    assert session["start"] <= session["end"]
    assert session["command"] == ["tracknet", *words]
    assert session["folder"] == str(Path.cwd())
    assert session["config"] == str(Path("runs/tiny/version_0/config.yaml").absolute())
    assert session["environment"]["TRACKNET_NOTE"] == "mine"
    assert "nobody's business" not in json.dumps(record)
    assert session["seed"] == 5
    assert session["process"]["pid"] == os.getpid()
    assert session["packages"]["torch"] == version("torch")
    assert session["hardware"]["cores"] == os.cpu_count()
    assert session["data"]["of"] == "contents"
    assert session["data"]["clips"] == {"train": 3, "val": 1}
    assert "folder" not in session["code"]  # the current folder is not under git
    # Two epochs of two steps; the sanity check counts for nothing.
    assert (record["last"]["step"], record["best"]["monitor"]) == (4, "val/loss")
    rows = {float(value): step for step, value in val_losses("runs/tiny/version_0")}
    assert len(rows) == 2
    assert record["best"]["value"] == pytest.approx(min(rows), rel=1e-5)
    assert record["best"]["figures"]["val/loss"] == record["best"]["value"]
    assert record["last"]["figures"]["val/loss"] == pytest.approx(list(rows)[-1], rel=1e-5)
    # Going on in the same folder.
    last = "runs/tiny/version_0/checkpoints/last.ckpt"
    more = ["--trainer.max_epochs=3", "--trainer.logger.init_args.version=version_0", "--ckpt_path", last]
    assert main([*words, *more]) == 0
    resumed = record_of()
    assert resumed["id"] == record["id"]
    assert [one["first_step"] for one in resumed["sessions"]] == [0, 4]
    assert [one["step"] for one in resumed["sessions"]] == [4, 6]
    assert resumed["sessions"][0] == session
    assert Path(resumed["sessions"][1]["resumed_from"]).name == "last.ckpt"
    assert resumed["last"]["step"] == 6
    assert resumed["best"]["value"] <= record["best"]["value"]
    assert main(["runs", "show", "runs/tiny/version_0"]) == 0


def val_losses(folder):
    rows = [line.split(",") for line in (Path(folder) / "metrics.csv").read_text().splitlines()]
    loss, step = rows[0].index("val/loss"), rows[0].index("step")
    return [(row[step], row[loss]) for row in rows[1:] if row[loss]]


def test_loggers_are_told_of_what_runs_are_compared_by(config):
    assert main(config(logger="CSVLogger", epochs=1)) == 0
    told = yaml.safe_load(Path("runs/tiny/version_0/hparams.yaml").read_text())
    assert told["optimizer"]["init_args"]["lr"] == 0.01
    assert told["data"]["init_args"]["batch_size"] == 2
    assert told["network"]["init_args"]["stem"] == 4


def test_what_stopped_a_run_early_is_named(config, capsys):
    stop = "{class_path: EarlyStopping, init_args: {monitor: val/loss, stopping_threshold: 9.0}}"
    assert main(config(stop, epochs=5)) == 0
    run = read_run(Path("runs/tiny/version_0"))
    assert run.state == "stopped early"
    assert run.detail.startswith("EarlyStopping: Stopping threshold reached: val/loss = ")
    assert f"\nstopped:    {run.detail}\n" in capsys.readouterr().out
    assert run.record["last"]["step"] == 2


def test_a_failed_run_says_why_and_no_secret_is_in_any_file(config, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    monkeypatch.setenv("TRACKNET_TOKEN", TOLD)
    words = config("test_run_record.Broken", "test_run_record.KeyedLogger")
    words.append(f"--trainer.logger.init_args.api_key={TOLD}")
    with pytest.raises(RuntimeError):
        main(words)
    run = read_run(Path("runs/tiny/version_0"))
    assert run.state == "failed"
    message = "RuntimeError: no answer from https://<redacted>@example.org, token=<redacted>"
    assert run.detail == message
    assert "test_run_record.py:" in run.session["exit"]["where"]
    assert run.session["command"][-1] == "--trainer.logger.init_args.api_key=<redacted>"
    assert run.session["environment"]["TRACKNET_TOKEN"] == "<redacted>"
    saved = yaml.safe_load((run.folder / "config.yaml").read_text())
    assert saved["trainer"]["logger"]["init_args"]["api_key"] == "<redacted>"
    files = [path for path in Path("runs").rglob("*") if path.is_file()]
    assert {"run.json", "config.yaml", "last.ckpt"} <= {path.name for path in files}
    for path in files:
        content = path.read_bytes()
        assert SECRET.encode() not in content, path
        assert TOLD.encode() not in content, path
    assert main(["runs", "repeat", "runs/tiny/version_0"]) == 0
    assert "secrets are not kept" in capsys.readouterr().out


@pytest.mark.parametrize("logger", ["RunLogger", "CSVLogger"])
def test_nor_are_those_of_hyperparameters_which_the_classes_still_have(config, logger):
    words = config(logger=logger, epochs=1)
    text = Path("tiny.yaml").read_text()
    text = text.replace(
        "HeatmapTracker\n  init_args:", f"{KEYED}Tracker\n  init_args:\n    hub_token: {TOLD}"
    )
    text = text.replace(
        "FlatVideoDataModule\n  init_args: {", f"{KEYED}Data\n  init_args: {{root_token: {TOLD}, "
    )
    Path("tiny.yaml").write_text(text)
    assert main(words) == 0
    assert Path("needed").read_text() == f"{TOLD} {TOLD}"
    files = [path for path in Path("runs").rglob("*") if path.is_file()]
    assert {"hparams.yaml", "config.yaml", "last.ckpt", "metrics.csv"} <= {path.name for path in files}
    assert not [path for path in files if TOLD.encode() in path.read_bytes()]
    told = yaml.safe_load(Path("runs/tiny/version_0/hparams.yaml").read_text())
    assert (told["seed_everything"], told["optimizer"]["init_args"]["lr"]) == ("its own", 0.01)
    content = torch.load("runs/tiny/version_0/checkpoints/last.ckpt", weights_only=True)
    assert content["hyper_parameters"]["hub_token"] == "<redacted>"
    assert content["datamodule_hyper_parameters"]["root_token"] == "<redacted>"
    loaded = load_tracker(Path("runs/tiny/version_0/checkpoints/last.ckpt"))
    assert (type(loaded), loaded.input_size) == (KeyedTracker, (64, 96))


@pytest.mark.slow
def test_a_damaged_record_is_set_aside_and_a_full_disk_ends_nothing(config, monkeypatch, caplog):
    folder = Path("runs/tiny/version_0")
    folder.mkdir(parents=True)
    (folder / "run.json").write_text("{")
    words = [*config(epochs=1), "--trainer.logger.init_args.version=version_0"]
    assert main(words) == 0
    assert read_run(folder).state == "finished"
    assert [path.read_text() for path in folder.glob("run.damaged.*.json")] == ["{"]

    def refuse(*_):
        raise TrackNetError("run.json: cannot be written: No space left on device")

    monkeypatch.setattr(run_record, "write_record", refuse)
    assert main(words) == 0
    assert "not up to date: run.json: cannot be written: No space" in caplog.text
    assert len(read_run(folder).record["sessions"]) == 1


def test_ctrl_c_before_there_is_anything_to_record(config, monkeypatch, capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_record, "data_fingerprint", interrupted)
    assert main(config(epochs=1)) == 130
    assert "stopped by Ctrl-C" in capsys.readouterr().err
    assert not list(Path("runs").rglob("run.json"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sent", "state", "detail"),
    [
        (signal.SIGINT, "interrupted", "Ctrl-C"),
        (signal.SIGTERM, "interrupted", "SIGTERM"),
        (signal.SIGKILL, "killed", "last sign 20"),
    ],
)
def test_signals_are_told_apart(config, sent, state, detail):
    script = Path(__file__).with_name("run_stopped.py")
    words = config("run_stopped.Waits", epochs=1000)
    process = subprocess.Popen([sys.executable, script, *words], stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 300
        while not Path("under-way").exists() and time.monotonic() < until and process.poll() is None:
            time.sleep(0.1)
        run = read_run(Path("runs/tiny/version_0"))
        assert run.state == "running"
        process.send_signal(sent)
        process.wait(timeout=120)
    finally:
        process.kill()
        process.wait()
    run = read_run(Path("runs/tiny/version_0"))
    assert run.state == state
    assert run.detail.startswith(detail)
    assert (run.session["end"] is None) == (sent == signal.SIGKILL)


@pytest.mark.parametrize(
    ("logger", "checkpoints", "expected"),
    [
        (CSVLogger("runs", "a", 0), "elsewhere/checkpoints", "runs"),  # Lightning's log_dir is the run's own
        (object(), "runs/a/id/checkpoints", "runs/a/id"),  # W&B keeps all runs in one
        (object(), "elsewhere/id/checkpoints", None),
        (object(), None, None),
        (None, "runs/checkpoints", None),
    ],
)
def test_the_folder_is_one_that_no_other_run_shares(logger, checkpoints, expected):
    saver = SimpleNamespace(dirpath=checkpoints)
    trainer = SimpleNamespace(log_dir="runs", logger=logger, checkpoint_callback=saver)
    found = run_record.folder_of(trainer)
    assert (None if found is None else found.absolute()) == (expected and Path(expected).absolute())


def test_all_that_a_run_writes_lies_in_that_folder(config, capsys):
    words = config("Report", logger="test_run_record.SharedFolder")
    assert main(words) == 0
    own = Path("runs/tiny/mine")
    assert f"repeat:     tracknet fit --config {own / 'config.yaml'}" in capsys.readouterr().out
    assert read_run(own).session["config"] == str(own.absolute() / "config.yaml")
    assert main(["test", *words[1:], f"--ckpt_path={own / 'checkpoints' / 'last.ckpt'}"]) == 0
    assert (own / "test.json").is_file()
    assert [path.name for path in Path("runs").iterdir()] == ["tiny"]


def test_a_test_is_noted_in_the_run_that_its_checkpoint_is_of(config, monkeypatch, capsys, caplog):
    words = config("Report")
    assert main(words) == 0
    run = Path("runs/tiny/version_0")
    before = record_of()
    best = run / "checkpoints" / "best.ckpt"
    Path("link.ckpt").symlink_to(best)
    part = ["--data.test", "[b, c]"]
    for ckpt in (best, Path("link.ckpt")):
        assert main(["test", "--ckpt_path", str(ckpt), *words[1:], *part]) == 0
        assert f"noted in the run: tracknet runs show {run.absolute()}" in capsys.readouterr().out
    first, _ = tests = read_run(run).tests
    figures = json.loads(Path(first["folder"], "test.json").read_text())
    assert first["figures"]["test/f1"] == figures["f1"]
    assert first["metric"] == figures["metric"]
    assert first["step"] == before["best"]["step"]
    assert set(first["figures"]) >= {"test/f1", "test/precision", "test/recall", "test/loss"}
    assert not any(name.startswith(("train/", "val/")) for name in first["figures"])
    assert first["command"][:3] == ["tracknet", "test", "--ckpt_path"]
    assert first["data"]["clips"]["test"] == 2
    assert [Path(one["checkpoint"]).name for one in tests] == ["best.ckpt", "link.ckpt"]
    assert record_of() == before
    # Not so a part of the data, nor a checkpoint that lies in no run's folder.
    assert main(["test", "--ckpt_path", str(best), *words[1:], "--trainer.limit_test_batches=1"]) == 0
    Path("alone.ckpt").write_bytes(best.read_bytes())
    assert main(["test", "--ckpt_path", "alone.ckpt", *words[1:]]) == 0
    assert "noted in the run" not in capsys.readouterr().out
    # A run that cannot be written to is no reason to fail.
    monkeypatch.setattr(run_record, "write_test", _full)
    assert main(["test", "--ckpt_path", str(best), *words[1:]]) == 0
    assert "the run does not know of this test: the disk is full" in caplog.text
    assert len(read_run(run).tests) == 2


def test_the_step_of_a_test_is_that_of_what_was_loaded(config, monkeypatch):
    words = config("Report")
    assert main(words) == 0
    run = Path("runs/tiny/version_0")
    best = run / "checkpoints" / "best.ckpt"

    def replaced(checkpoint):
        checkpoint.write_bytes(b"what a training that goes on has written since")
        return run

    monkeypatch.setattr(run_record, "_run_of", replaced)
    assert main(["test", "--ckpt_path", str(best), *words[1:]]) == 0
    assert [test["step"] for test in read_run(run).tests] == [record_of()["best"]["step"]]


def _full(*_):
    raise TrackNetError("the disk is full")


class TestRedaction:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("--logger.api_key=abc", "--logger.api_key=<redacted>"),
            ("api_key: abc, lr: 3", "api_key: <redacted>, lr: 3"),
            ("{'init_args': {'token': 'a b', 'n': 1}}", "{'init_args': {'token': <redacted>, 'n': 1}}"),
            ("https://me:pass@host/x", "https://<redacted>@host/x"),
            ("api_key: null, tokens: 3, monkey=1", "api_key: null, tokens: 3, monkey=1"),
            ("key: hf_" + "a" * 34, "key: <redacted>"),
            ("seen 0123456789 there", "seen <redacted> there"),  # the value of a variable
        ],
    )
    def test_of_text(self, text, expected):
        assert (
            Redactor({"MY_SECRET": "0123456789", "HOME": "there", "A_TOKEN": "seen"}).text(text) == expected
        )

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ('+api_key = "0123456789"', "+api_key = <redacted>"),
            ("+  'hub_token': '0123456789',", "+  'hub_token': <redacted>,"),
            (" password: str | None = '0123456789'", " password: str | None = <redacted>"),
            ('-token = tokens[0]  # "0123456789"', '-token = tokens[0]  # "0123456789"'),
            ('+token = "<pad>", keys = "0123456789"', '+token = "<pad>", keys = "0123456789"'),
            ("+a = 'seen 9876543210'", "+a = 'seen <redacted>'"),  # the value of a variable
        ],
    )
    def test_of_code(self, text, expected):
        assert Redactor({"MY_SECRET": "9876543210"}).code(text) == expected

    def test_of_configurations(self):
        tree = {"logger": [{"apiKey": "x", "n": 3}], "password": "", "url": "http://a:b@c", "token": None}
        assert Redactor({}).tree(tree) == {
            "logger": [{"apiKey": "<redacted>", "n": 3}],
            "password": "",
            "url": "http://<redacted>@c",
            "token": None,
        }

    def test_class_paths_stay_where_a_password_is_an_ordinary_word(self):
        tree = {
            "class_path": "tracknet.models.A",
            "init_args": {"root": "/tracknet", "size": ("tracknet", 3)},
        }
        assert Redactor({"DB_PASSWORD": "tracknet"}).tree(tree) == {
            "class_path": "tracknet.models.A",
            "init_args": {"root": "/<redacted>", "size": ("<redacted>", 3)},
        }
