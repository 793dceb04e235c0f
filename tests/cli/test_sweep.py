"""``tracknet sweep``: trials that are runs, a pruned one, a kill and what follows it, and the report."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from lightning.pytorch import Callback

optuna = pytest.importorskip("optuna")

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution  # noqa: E402
from optuna.trial import TrialState  # noqa: E402
from optuna.visualization.matplotlib import plot_optimization_history, plot_slice  # noqa: E402

from tracknet.cli import sweep_run, sweep_study  # noqa: E402
from tracknet.cli.held_interrupt import HeldInterrupt  # noqa: E402
from tracknet.cli.main import main as tracknet  # noqa: E402
from tracknet.cli.sweep_report import _pictures, _with_pruned, _with_unfinished, one_line  # noqa: E402
from tracknet.cli.sweep_space import combinations, distributions, fit_words  # noqa: E402
from tracknet.errors import TrackNetError, UsageError  # noqa: E402
from tracknet.training.records.machine import this_process  # noqa: E402
from tracknet.training.records.run import find_runs  # noqa: E402

TINY = """
seed_everything: 5
trainer:
  accelerator: cpu
  devices: 1
  max_epochs: 2
  limit_train_batches: 2
  limit_val_batches: 1
  num_sanity_val_steps: 0
  enable_progress_bar: false
  enable_model_summary: false
  logger: {{class_path: RunLogger, init_args: {{save_dir: elsewhere, name: tiny}}}}
  callbacks:
    - {{class_path: ModelCheckpoint, init_args: {{monitor: val/loss, mode: min, filename: best}}}}
    - {{class_path: RunRecord, init_args: {{tags: [tiny]}}}}
model:
  class_path: HeatmapTracker
  init_args:
    network: {{class_path: CompactTrackNet, init_args: {{frames: 3, stem: 4, widths: [8, 8, 8]}}}}
    decoder: PeakDecoder
    input_size: [32, 64]
data:
  class_path: FlatVideoDataModule
  init_args: {{root: {rallies}, train: [a], val: [d], batch_size: 2}}
optimizer: {{class_path: AdamW, init_args: {{lr: 0.01}}}}
"""

SWEEP = """
config: [tiny.yaml, --trainer.log_every_n_steps=1]
space:
  optimizer.lr: {choices: [1e-4, 1e-3, 1e-2, 1e+9]}
monitor: val/loss
direction: minimize
trials: 4
sampler: {class_path: BruteForceSampler, init_args: {seed: 1}}
pruner: {class_path: ThresholdPruner, init_args: {upper: 1000}}
"""

KEY = "--trainer.callbacks.init_args.api_key"
RATES = {1e-4, 1e-3, 1e-2, 1e9}


@pytest.fixture
def here(tmp_path, monkeypatch, tiny_rallies):
    """A current folder with a training and a sweep of it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tracknet"])
    (tmp_path / "tiny.yaml").write_text(TINY.format(rallies=tiny_rallies))
    (tmp_path / "rates.yaml").write_text(SWEEP)
    return tmp_path


def study(url="sqlite:///sweeps/rates/sweep.db", name="rates"):
    return optuna.load_study(study_name=name, storage=sweep_study.open_storage(url))


def dead_process():
    """The process of a record that has ended."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    return {**this_process(), "pid": gone.pid}


def test_killed_after_two_trials_and_resumed(here, capsys, monkeypatch):
    assert tracknet(["sweep", "rates.yaml", "--trials", "2"]) == 0
    # What a kill in the third leaves.
    begun = study()
    untried = min(RATES - {one.params["optimizer.lr"] for one in begun.trials})
    begun.enqueue_trial({"optimizer.lr": untried})
    killed = begun.ask({"optimizer.lr": CategoricalDistribution([1e-4, 1e-3, 1e-2, 1e9])})
    killed.set_user_attr("process", dead_process())
    capsys.readouterr()
    assert tracknet(["sweep", "rates.yaml"]) == 0
    out = capsys.readouterr().out
    assert "2 of 4 trials are finished" in out
    trials = study().trials
    assert trials[2].state == TrialState.FAIL
    assert trials[3].params == killed.params  # begun anew, first of all
    ended = [one for one in trials if one.number != 2]
    assert {one.params["optimizer.lr"] for one in ended} == RATES
    states = {one.params["optimizer.lr"]: one.state for one in ended}
    assert states == dict.fromkeys(RATES, TrialState.COMPLETE) | {1e9: TrialState.PRUNED}

    # Each trial is a run with its record; the pruned one ended in order, after one epoch of two.
    runs = {run.folder.name: run for run in find_runs(here / "sweeps/rates")}
    assert set(runs) == {f"trial_{one.number}" for one in ended}
    for one in ended:
        run = runs[f"trial_{one.number}"]
        assert run.tags == ["tiny", "sweep", "rates", f"trial-{one.number}"]
        assert float(run.settings["optimizer.lr"]) == one.params["optimizer.lr"]
        pruned = one.state == TrialState.PRUNED
        assert run.state == ("stopped early" if pruned else "finished")
        assert len(one.intermediate_values) == (1 if pruned else 2)
        if pruned:
            assert "TrialReport: val/loss" in run.detail
        else:
            assert one.value == pytest.approx(run.record["best"]["value"])
            assert (run.folder / "checkpoints/best.ckpt").is_file()
    assert not (here / "elsewhere").exists()

    best = study().best_trial
    report = (here / "sweeps/rates/report.md").read_text()
    assert f"## Best: trial {best.number}, val/loss {best.value:.4f}" in report
    assert all(part in report for part in ("3 complete", "1 pruned", "1 fail"))
    for picture in ("history", "slice"):
        assert f"![{picture}]({picture}.png)" in report
        assert (here / f"sweeps/rates/{picture}.png").read_bytes().startswith(b"\x89PNG")
    # The best configuration is one of `tracknet fit`, with a folder of its own.
    assert tracknet(["fit", "--config", "sweeps/rates/best.yaml", "--print_config"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["optimizer"]["init_args"]["lr"] == best.params["optimizer.lr"]
    assert printed["trainer"]["logger"]["init_args"]["save_dir"] == "elsewhere"
    assert all("TrialReport" not in one["class_path"] for one in printed["trainer"]["callbacks"])
    # There is nothing left to do, and another sweep does not go on in this one.
    assert tracknet(["sweep", "rates.yaml"]) == 0
    assert len(study().trials) == 5
    capsys.readouterr()
    assert tracknet(["sweep", "rates.yaml", "--trials", "2"]) == 0
    assert "4 trials are finished, more than the 2 that are asked for" in capsys.readouterr().out
    assert tracknet(["sweep", "rates.yaml", "--monitor", "val/f1"]) == 2
    assert "was begun with val/loss, found val/f1; choose another --name" in capsys.readouterr().err
    monkeypatch.setenv("TRACKNET_FIT__DATA__BATCH_SIZE", "3")
    best = (here / "sweeps/rates/best.yaml").read_bytes()
    assert tracknet(["sweep", "rates.yaml"]) == 2
    assert (
        "was begun with other settings: ~ data.batch_size: 2 -> 3; choose another" in capsys.readouterr().err
    )
    assert (here / "sweeps/rates/best.yaml").read_bytes() == best


@pytest.mark.filterwarnings("error:Attempting to set identical")
@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
def test_trials_of_other_commands_count(here, capsys, monkeypatch):
    assert tracknet(["sweep", "rates.yaml", "--trials", "1"]) == 0
    elsewhere = study().ask({"optimizer.lr": CategoricalDistribution([1e-4, 1e-3, 1e-2, 1e9])})
    elsewhere.set_user_attr("process", this_process())
    assert tracknet(["sweep", "rates.yaml", "--trials", "2"]) == 0
    assert "1 trial is still trained by other commands" in capsys.readouterr().out
    assert len(study().trials) == 2
    monkeypatch.setattr(sweep_study, "HEARTBEAT_SECONDS", 1)
    elsewhere.set_user_attr("process", {**this_process(), "host": "another"})
    assert tracknet(["sweep", "rates.yaml", "--trials", "2"]) == 0
    told = capsys.readouterr().out
    assert told.count("waiting up to") == told.count("1 trial is still trained by other commands") == 1
    assert len(study().trials) == 2
    # Another machine, or this one's container before it was started again, has gone a moment ago.
    sweep_study.open_storage("sqlite:///sweeps/rates/sweep.db").record_heartbeat(elsewhere._trial_id)
    assert tracknet(["sweep", "rates.yaml", "--trials", "2"]) == 0
    assert "still trained" not in capsys.readouterr().out
    # The sampler is seeded anew when a study goes on; it may draw the rate that the pruner stops.
    first, gone, last = (one.state.name for one in study().trials)
    assert (first, gone) == ("COMPLETE", "FAIL")
    assert last in ("COMPLETE", "PRUNED")


def test_pictures_of_a_single_trial_give_no_warning(tmp_path):
    alone = optuna.create_study()
    alone.add_trial(
        optuna.trial.create_trial(
            params={"optimizer.lr": 0.1},
            distributions={"optimizer.lr": FloatDistribution(0.01, 1.0)},
            value=0.5,
        )
    )
    assert "![slice](slice.png)" in _pictures(alone, tmp_path, "val/loss")


def test_values_between_the_powers_of_ten_are_slanted_too(tmp_path, monkeypatch):
    angles = {}

    def note(figure, part, **_):
        part.touch()
        ticks = [one for axes in figure.axes for one in axes.get_xticklabels(which="both")]
        angles[part.name] = {one.get_rotation() for one in ticks}

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", note)
    told = optuna.create_study()
    for value in (0.006, 0.01):
        space = {"optimizer.lr": FloatDistribution(1e-4, 1.0, log=True)}
        told.add_trial(
            optuna.trial.create_trial(params={"optimizer.lr": value}, distributions=space, value=value)
        )
    _pictures(told, tmp_path, "val/loss")
    [slanted] = [found for name, found in angles.items() if name.endswith("slice.png")]
    assert slanted == {30.0}


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_pruned_trials_are_marked_at_the_edge_of_each_setting(direction):
    told = optuna.create_study(direction=direction)
    space = {"a": CategoricalDistribution([None, "x", "y"]), "b": FloatDistribution(0.01, 1.0, log=True)}
    for number, (state, params) in enumerate(
        [
            (TrialState.COMPLETE, {"a": "x", "b": 0.1}),
            (TrialState.COMPLETE, {"a": "y", "b": 0.2}),
            (TrialState.PRUNED, {"a": None, "b": 0.9}),
            (TrialState.PRUNED, {}),
        ]
    ):
        spaces = {key: space[key] for key in params}
        trial = optuna.trial.create_trial(state=state, params=params, distributions=spaces, value=number)
        told.add_trial(trial)
    drawn = _with_pruned(plot_slice(told), told)
    assert [list(one.lines[0].get_xdata()) for one in drawn] == [["None"], [0.9]]
    for one in drawn:
        (height,) = one.lines[0].get_ydata()
        assert (height < 0.1) == (direction == "maximize")
        assert one.get_ylim()[0] < 0 < 1 < one.get_ylim()[1]
    assert drawn[1].get_xlim()[1] > 0.9
    (legend,) = drawn[0].figure.legends
    assert legend.get_texts()[0].get_text().startswith("pruned")


@pytest.mark.parametrize("direction", ["minimize", "maximize"])
def test_trials_without_a_figure_are_in_the_history(direction):
    told = optuna.create_study(direction=direction)
    states = [TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.FAIL, TrialState.COMPLETE]
    for number, state in enumerate(states):
        value = number if state == TrialState.COMPLETE else None
        attributes = {"failure": "RuntimeError: no"} if number == 3 else {}  # the other one was begun anew
        told.add_trial(optuna.trial.create_trial(state=state, value=value, user_attrs=attributes))
    axes = _with_unfinished(plot_optimization_history(told), told)
    marks = {line.get_label(): line for line in axes.lines if "figure" in line.get_label()}
    assert {name: list(line.get_xdata()) for name, line in marks.items()} == {
        "pruned: no final figure": [1],
        "failed: no final figure": [3],
    }
    assert all((line.get_ydata()[0] < 0.1) == (direction == "maximize") for line in marks.values())
    assert len(axes.get_legend().get_texts()) >= 3


def test_ctrl_c_and_failures(here, monkeypatch, capsys):
    from tracknet.cli import sweep_trial

    plain = sweep_trial.TrialReport.on_validation_end

    def interrupted(self, trainer, module):
        if self.trial.number == 0:
            signal.raise_signal(signal.SIGINT)
        plain(self, trainer, module)

    words = ["sweep", "rates.yaml", "--storage", "rates.log", "--trials", "2", "--pruner", "NopPruner"]
    with monkeypatch.context() as patch:
        patch.setattr(sweep_trial.TrialReport, "on_validation_end", interrupted)
        assert tracknet(words) == 130
    assert "stopped; the same command goes on" in capsys.readouterr().err
    first, waiting = study("rates.log").trials
    assert (first.state, waiting.state) == (TrialState.FAIL, TrialState.WAITING)

    def failing(self, trainer, module):
        if self.trial.number == 1:
            raise ZeroDivisionError("by nought")
        plain(self, trainer, module)

    with monkeypatch.context() as patch:
        patch.setattr(sweep_trial.TrialReport, "on_validation_end", failing)
        assert tracknet(words) == 0
    _, failed, complete = study("rates.log").trials
    assert (failed.state, failed.params) == (TrialState.FAIL, first.params)
    assert failed.user_attrs["failure"] == "ZeroDivisionError: by nought"
    assert complete.state == TrialState.COMPLETE
    assert "failed (ZeroDivisionError: by nought)" in (here / "sweeps/rates/report.md").read_text()
    assert json.loads((here / "rates.log").read_text().splitlines()[0])["op_code"] == 0

    assert tracknet([*words[:2], "--name", "other", "--trials", "1", "--monitor", "train/loss_epoch"]) == 1
    err = capsys.readouterr().err
    assert (
        "no trial came to its end\n  monitor: no figure 'train/loss_epoch'; did you mean 'train/loss" in err
    )


def test_runs_of_another_storage_are_not_written_over(here, capsys):
    first = here / "sweeps" / "rates" / "trial_0"
    first.mkdir(parents=True)
    for number in (0, 1):
        (here / "sweeps" / "rates" / f"trial_{number}.log").touch()
    assert tracknet(["sweep", "rates.yaml", "--storage", "sqlite:///other.db"]) == 2
    assert capsys.readouterr().err == (
        "tracknet sweep: folder: sweeps/rates holds trials that the sweep 'rates' in sqlite:///other.db does "
        "not know: trial_0, trial_1; give the --storage they are kept in, or another --folder\n"
    )
    assert not list(first.iterdir())
    first.rename(first.with_name("trial_0_kept"))
    for number in (0, 1):
        first.with_name(f"trial_{number}.log").unlink()
    assert tracknet(["sweep", "rates.yaml", "--storage", "sqlite:///other.db", "--trials", "1"]) == 0


class _Interrupts:
    """Presses Ctrl-C while Python deletes it, where no exception gets out."""

    def __del__(self):
        signal.raise_signal(signal.SIGINT)


def test_ctrl_c_between_two_trials_is_not_lost(here, monkeypatch, capsys):
    from tracknet.cli import sweep_trial

    def tidied():
        _Interrupts()

    monkeypatch.setattr(sweep_trial, "_fit", lambda *_: None)
    monkeypatch.setattr(sweep_trial.gc, "collect", tidied)
    handler = signal.getsignal(signal.SIGINT)
    assert tracknet(["sweep", "rates.yaml"]) == 130
    assert "stopped; the same command goes on" in capsys.readouterr().err
    assert [one.state for one in study().trials] == [TrialState.FAIL]  # the figure was missing, too
    assert signal.getsignal(signal.SIGINT) is handler


def test_ctrl_c_beside_workers_is_not_lost(here, monkeypatch, capsys):
    class Idle:
        process = SimpleNamespace(pid=None)

        def __init__(self, *_):
            self.told = []

        def send(self, job):
            _Interrupts()

        def stop(self):
            self.told.append("stop")

        def end(self):
            self.told.append("end")
            assert self.told == ["stop", "end"]

    monkeypatch.setattr(sweep_run, "Worker", Idle)
    monkeypatch.setattr(sweep_run, "that_speak", lambda workers: pytest.fail("Ctrl-C was lost"))
    assert tracknet(["sweep", "rates.yaml", "--workers=2", "--trials=1"]) == 130
    assert "stopped; the same command goes on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("space: {optimizer.lrr: {choices: [1]}}", "lrr"),
        ("space: {optimizer.lr: {choices: [0.1, fast]}}", "found 'fast'"),
        ("space: {+optimizer: {low: 1, high: 2}}", "space.+optimizer: a group of files varies by choices"),
        ("space: {optimizer.lr: {low: 2, high: 1}}", "space.optimizer.lr: "),
        ("space: {optimizer.lr: {low: 0, hihg: 1}}", "space: each setting is {choices: [A, B]} or {low: A"),
        ("space: {a: {choices: [1]}, optimizer.lr: {low: 0, hihg: 1}}", "; found {'low': 0, 'hihg': 1} (see"),
        (
            "space: {optimizer.lr: {choices: [1]}}\nmonitor: val/lose",
            "monitor: nothing logs 'val/lose'; did you",
        ),
        ("space: {}", "space: is empty"),
        ("space: {optimizer.lr: {choices: [1]}}\nsampler: TPESamplr", "did you mean 'TPESampler'?"),
        ("space: {optimizer.lr: {choices: [1]}}\ntrials: 0", "trials: expected a whole number above 0"),
        ("space: {optimizer.lr: {choices: [1]}}\nstorage: mysqll://x", "storage mysqll://x: cannot be used"),
    ],
)
def test_what_is_wrong_is_told_before_the_first_trial(here, text, message, capsys):
    (here / "bad.yaml").write_text(f"config: [tiny.yaml]\n{text}\n")
    assert tracknet(["sweep", "bad.yaml"]) == (1 if "storage" in message else 2)
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err


def test_a_mistyped_name_of_the_file(here, capsys):
    assert tracknet(["sweep", "ratse.yaml"]) == 2
    assert capsys.readouterr().err == "tracknet sweep: ratse.yaml: no such file; did you mean 'rates.yaml'?\n"


def test_no_secret_is_in_any_file(here, monkeypatch, capsys):
    secret = "a-token-of-the-sweep"

    class Keyed(Callback):
        def __init__(self, api_key: str) -> None:
            self.api_key = api_key

        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
            if pl_module.optimizers().param_groups[0]["lr"] > 1:
                raise RuntimeError(f"refused: token={self.api_key}")

    monkeypatch.setitem(sys.modules, "keyed", SimpleNamespace(Keyed=Keyed))
    Keyed.__module__, Keyed.__qualname__ = "keyed", "Keyed"
    text = SWEEP.replace("tiny.yaml,", f"tiny.yaml, --trainer.callbacks+=keyed.Keyed, {KEY}={secret},")
    (here / "rates.yaml").write_text(text.replace("[1e-4, 1e-3, 1e-2, 1e+9]", "[1e-4, 1e+9]"))
    for _ in range(2):  # the second time it is known for the same sweep
        assert tracknet(["sweep", "rates.yaml", "--trials=2"]) == 0
    (failed,) = study().get_trials(states=(TrialState.FAIL,))
    assert failed.user_attrs["failure"] == "RuntimeError: refused: token=<redacted>"
    assert f"{KEY}=<redacted>" in (here / "sweeps/rates/report.md").read_text()
    best = yaml.safe_load((here / "sweeps/rates/best.yaml").read_text())
    assert best["trainer"]["callbacks"][-1]["init_args"]["api_key"] == "<redacted>"
    files = [path for path in (here / "sweeps").rglob("*") if path.is_file()]
    assert {"sweep.db", "report.md", "best.yaml", "run.json"} <= {path.name for path in files}
    assert not [path for path in files if secret.encode() in path.read_bytes()]
    told = "".join(capsys.readouterr())  # what goes to a trial's log, too
    assert "Traceback" in told
    assert "RuntimeError: refused: token=<redacted>" in told
    assert secret not in told


@pytest.mark.parametrize("how", ["deleted", "overwritten"])
def test_a_storage_that_is_lost_under_a_sweep_is_told_in_one_line(here, monkeypatch, capsys, how):
    def objective(trial, *_):
        trial.suggest_categorical("optimizer.lr", [1e-4, 1e-3, 1e-2, 1e9])
        database = here / "sweeps" / "rates" / "sweep.db"
        if how == "deleted":
            database.unlink()
        else:
            database.write_bytes(b"another program's " * 9999)
        return 1.0

    monkeypatch.setattr("tracknet.cli.sweep_trial.objective", objective)
    assert tracknet(["sweep", "rates.yaml"]) == 1
    error = capsys.readouterr().err
    assert error == (
        "tracknet sweep: storage sqlite:///sweeps/rates/sweep.db: deleted, overwritten or out of reach while "
        "the sweep ran; runs that ended are in sweeps/rates\n"
    )


def test_a_fault_of_ours_is_not_laid_on_the_storage(here, monkeypatch):
    def objective(trial, *_):
        raise ZeroDivisionError

    monkeypatch.setattr("tracknet.cli.sweep_trial.objective", objective)
    with pytest.raises(ZeroDivisionError):
        tracknet(["sweep", "rates.yaml"])


def test_each_of_a_few_values_is_tried_once(here, monkeypatch):
    asked = []
    monkeypatch.setattr(sweep_run, "_work_here", lambda study, sweep, trials, _: asked.append(trials))
    monkeypatch.setattr(sweep_run, "some_have_gone", lambda *_: False)  # as after trials that were trained
    for trials in ("3", "100"):
        assert tracknet(["sweep", "rates.yaml", "--trials", trials]) == 1
    assert asked == [3, len(RATES)]
    space = {"a": {"choices": [1, 2]}, "b": {"low": 2, "high": 6, "step": 2}, "c": {"low": 0.0, "high": 0.3}}
    with pytest.raises(UsageError, match=r"space\.c: to try each value, give choices or a step"):
        combinations(distributions(space))
    assert combinations(distributions({**space, "c": {"low": 0.0, "high": 0.3, "step": 0.1}})) == 2 * 3 * 4


def test_points_of_the_space_are_words_of_fit():
    space = {
        "+optimizer": {"choices": ["adam", "sgd"]},
        "optimizer.lr": {"low": 1e-4, "high": 0.1, "log": True},
        "data.batch_size": {"low": 2, "high": 8, "step": 2},
        "model.mixup": {"low": 0, "high": 1, "step": 0.25},
    }
    assert distributions(space) == {
        "+optimizer": CategoricalDistribution(["adam", "sgd"]),
        "optimizer.lr": FloatDistribution(1e-4, 0.1, log=True),
        "data.batch_size": IntDistribution(2, 8, step=2),
        "model.mixup": FloatDistribution(0, 1, step=0.25),
    }
    values = {"optimizer.lr": 0.01, "+optimizer": "sgd", "data.flip": True, "trainer.max_time": None}
    assert fit_words(["a.yaml", "+model=wasb", "--trainer.max_epochs=3"], values) == [
        "--config=a.yaml",
        "+model=wasb",
        "--trainer.max_epochs=3",
        "+optimizer=sgd",
        "--optimizer.lr=0.01",
        "--data.flip=true",
        "--trainer.max_time=null",
    ]
    apart = ["--config", "a.yaml", "--trusted-only", "b.yaml", "--data.root", "rallies", "c.yaml"]
    assert fit_words(apart, {}) == [
        "--config",
        "a.yaml",
        "--trusted-only",
        "--config=b.yaml",
        "--data.root",
        "rallies",
        "--config=c.yaml",
    ]
    with pytest.raises(UsageError, match=r"space\.optimizer\.lr: "):
        distributions({"optimizer.lr": {"low": 0.1, "high": 0.2, "log": True, "step": 0.01}})


def test_the_report_writes_values_as_a_configuration_does(tmp_path):
    told = optuna.create_study(direction="minimize")
    values = (None, True, "[32, 64]")
    space = {"a": CategoricalDistribution(values)}
    for value in values:
        told.add_trial(optuna.trial.create_trial(params={"a": value}, distributions=space, value=1.0))
    lines = [one_line(told, trial, "val/loss") for trial in told.trials]
    assert [line.partition(";")[0].rpartition(" with ")[2] for line in lines] == [
        "a=null",
        "a=true",
        "a=[32, 64]",
    ]


def test_without_optuna_and_without_torch():
    code = (
        "import sys\nsys.modules['optuna'] = None\nfrom tracknet.cli.main import main\n"
        "sys.exit(main(['sweep', '--help']))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "tracknet sweep: needs Optuna: pip install 'tracknet[sweep]'\n"
    code = (
        "import sys\nfrom tracknet.cli.main import main\ncode = main(['sweep', '--help'])\n"
        "sys.exit(code + 5 * any(m in sys.modules for m in ('torch', 'lightning', 'av')))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0
    assert "--pruner" in done.stdout


def test_a_killed_trial_that_was_the_last_combination():
    study = optuna.create_study(sampler=optuna.samplers.BruteForceSampler())
    killed = study.ask({"optimizer.lr": CategoricalDistribution([0.1])})
    killed.set_user_attr("process", dead_process())
    assert sweep_study.put_back(study) == 1
    assert [one.state for one in study.trials] == [TrialState.FAIL, TrialState.WAITING]


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
def test_no_trial_is_begun_by_two_workers(tmp_path):
    url = f"sqlite:///{tmp_path / 'sweep.db'}"
    begun = optuna.create_study(study_name="rates", storage=sweep_study.open_storage(url))
    for number in range(40):
        begun.enqueue_trial({"optimizer.lr": number})
    together = threading.Barrier(2)

    def work(_):
        own = study(url)
        together.wait()
        return [own.ask().number for _ in range(20)]

    with ThreadPoolExecutor(2) as pool:
        asked = [number for numbers in pool.map(work, range(2)) for number in numbers]
    assert sorted(asked) == list(range(40))


@pytest.mark.parametrize(("folder", "alone"), [(".", True), ("missing", False)])
def test_no_study_is_begun_by_two_commands(here, monkeypatch, capsys, folder, alone):
    def opened(sweep):
        assert [path.name for path in here.rglob("*.lock")] == [".all.db.begin.lock"] * alone
        raise TrackNetError("alone")

    monkeypatch.setattr(sweep_run, "open_study", opened)
    assert tracknet(["sweep", "rates.yaml", "--storage", f"sqlite:///{folder}/all.db"]) == 1
    assert capsys.readouterr().err == "tracknet sweep: alone\n"


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
def test_the_last_trial_is_not_begun_by_two_commands(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'sweep.db'}"
    space = {"optimizer.lr": CategoricalDistribution([0.1, 0.2])}
    sweep = sweep_run.Sweep([], space, "val/loss", "minimize", "rates", tmp_path / "a", url, None, None)
    sweep_run.open_study(sweep)
    together, counted = threading.Barrier(2), sweep_run.elsewhere

    def elsewhere(*given):
        found = counted(*given)
        time.sleep(1)  # as a slow storage, so that both count before one begins
        return found

    monkeypatch.setattr(sweep_run, "elsewhere", elsewhere)
    monkeypatch.setattr("tracknet.cli.sweep_trial.objective", lambda *_: time.sleep(1) or 0.5)

    def work(folder):
        own = sweep_run.open_study(sweep)
        together.wait()
        return sweep_run.train_one(own, sweep._replace(folder=tmp_path / folder), 1)

    with ThreadPoolExecutor(2) as pool:
        trained = list(pool.map(work, "ab"))
    assert sum(one is not None for one in trained) == len(study(url).trials) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.db"]


@pytest.mark.parametrize(
    ("dying", "refused"), [({0, 1, 2, 3}, False), ({0, 1, 2, 4, 5, 6}, False), ({0, 1, 2, 3, 4}, True)]
)
def test_workers_that_die_before_their_trial_are_replaced_a_few_times(tmp_path, monkeypatch, dying, refused):
    begun = itertools.count()

    class Mortal:
        process = SimpleNamespace(pid=None)

        def __init__(self, *_):
            pass

        def send(self, job):
            self.dies = next(begun) in dying

        def hear(self):
            return sweep_run.DIED if self.dies else sweep_run.train_one(own, sweep, 2)

        def end_in_words(self):
            return "signal 9 (SIGKILL)"

        def stop(self):
            pass

        end = stop

    url = str(tmp_path / "sweep.log")
    space = {"optimizer.lr": CategoricalDistribution([0.1, 0.2])}
    sweep = sweep_run.Sweep([], space, "val/loss", "minimize", "rates", tmp_path, url, None, None)
    monkeypatch.setattr(sweep_run, "Worker", Mortal)
    monkeypatch.setattr(sweep_run, "that_speak", lambda workers: workers[:1])
    monkeypatch.setattr("tracknet.cli.sweep_trial.objective", lambda *_: 0.5)
    told = "5 workers one after the other ended before their trial began"
    own, interrupt = sweep_run.open_study(sweep), HeldInterrupt()
    with interrupt, pytest.raises(TrackNetError, match=told) if refused else nullcontext():
        sweep_run._work_in_processes(own, sweep, 2, 2, interrupt)
    assert len(own.trials) == (0 if refused else 2)
    assert next(begun) == len(dying) + len(own.trials) + refused


@pytest.mark.filterwarnings("ignore:Heartbeat of storage")
@pytest.mark.parametrize("kept", ["sqlite:///{}/sweep.db", "{}/sweep.log"])
def test_a_killed_trial_is_not_begun_anew_by_two_commands(tmp_path, monkeypatch, kept):
    url = kept.format(tmp_path)
    begun = optuna.create_study(study_name="rates", storage=sweep_study.open_storage(url))
    begun.ask({"optimizer.lr": CategoricalDistribution([0.1])}).set_user_attr("process", {})
    together = threading.Barrier(2)
    monkeypatch.setattr(sweep_study, "lives", lambda process: bool(together.wait() < 0))
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda _: sweep_study.put_back(study(url)), range(2))) == [1, 1]
    assert [one.state for one in study(url).trials] == [TrialState.FAIL, TrialState.WAITING]


@pytest.mark.parametrize(
    ("storage", "lock"),
    [
        ("sqlite:////data/all.db", "/data/.all.db.begin.lock"),
        ("here/all.log", "here/.all.log.begin.lock"),
        ("sqlite://", "sweeps/.rates.begin.lock"),
        ("postgresql://user@host/all", "sweeps/.rates.begin.lock"),
    ],
)
def test_the_lock_of_who_begins_lies_beside_the_storage(storage, lock):
    sweep = sweep_run.Sweep([], {}, "val/loss", "minimize", "rates", Path("sweeps"), storage, None, None)
    assert sweep_study.begin_lock(sweep) == Path(lock)


@pytest.mark.slow
def test_two_workers_that_are_killed(here):
    words = [sys.executable, "-m", "tracknet", "sweep", "rates.yaml", "--workers", "2"]
    command = subprocess.Popen(words, start_new_session=True)
    while command.poll() is None and not list(Path("sweeps/rates").glob("trial_*.log")):
        time.sleep(0.1)
    os.killpg(command.pid, signal.SIGKILL)
    assert command.wait() == -9
    again = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert again.returncode == 0, again.stderr
    trials = study().trials
    assert any(one.state == TrialState.FAIL and not one.user_attrs.get("failure") for one in trials)
    assert len(sweep_study.finished(study())) == 4
    assert {one.params["optimizer.lr"] for one in sweep_study.finished(study())} <= RATES
