"""A run that is stopped within a validation and resumed is the run that nobody stopped."""

from __future__ import annotations

import csv
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging
from lightning.pytorch.demos.boring_classes import BoringModel, RandomDataset, RandomIterableDataset
from torch.utils.data import DataLoader

from tests.training.killed_runs import CONFIG, same
from tracknet.cli.main import main
from tracknet.training.callbacks.validation_checkpoints import CheckpointsInValidation, is_validated_next

AVERAGED = "EMAWeightAveraging\n      init_args: {decay: 0.9, update_every_n_steps: 1"
STOPS = "    - class_path: tests.training.test_validation_checkpoints.Stops\n"


class Stops(Callback):
    """Stops training in the first validation, at one of its hooks.

    Args:
        hook: The hook; none for not at all.
        how: ``error``, ``SIGTERM`` or ``SIGINT``.
        at: How often the hook is called before.
    """

    def __init__(self, hook: str = "", how: str = "error", at: int = 0) -> None:
        self.left = at
        if hook:
            setattr(self, hook, lambda *given: self.stop(how))

    def stop(self, how: str) -> None:
        self.left -= 1
        if self.left == -1:
            if how == "error":
                raise OSError(5, "Input/output error", "pictures")
            os.kill(os.getpid(), getattr(signal, how))


@pytest.fixture(scope="module")
def run(tmp_path_factory, tiny_rallies):
    """Trains, resuming what there is of that name; gives the exit code and what the run has left."""

    def run(name, averaging="", **stop):
        text = CONFIG.format(root=tiny_rallies, workers=0).replace("  limit_val_batches: 1\n", "")
        text = text.replace("max_epochs: 3", "max_epochs: 2").replace("batch_size: 8", "batch_size: 2")
        text = text.replace("name: killed", f"name: '{name}'").replace(AVERAGED, averaging or AVERAGED)
        given = "".join(f"        {key}: {value}\n" for key, value in stop.items())
        text = text.replace(
            "model:\n", STOPS + (f"      init_args:\n{given}" if given else "") + "model:\n", 1
        )
        (folder / "run.yaml").write_text(text)
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            patch.setattr(sys, "argv", ["tracknet"])
            before = signal.signal(signal.SIGINT, signal.default_int_handler)
            code = main(["fit", "--config", "run.yaml", "--ckpt_path", "last"])
            signal.signal(signal.SIGINT, before)  # Lightning ignores it from the first one on
        return code, left(folder / "runs" / name)

    folder = tmp_path_factory.mktemp("stopped")
    run.folder = folder
    return run


@pytest.fixture(scope="module")
def whole(run):
    """A run that nobody stops."""
    return run("whole")[1]


def left(folder):
    """The newest state, the steps of the best checkpoints and the figures of each validation."""
    figures = {}
    for path in sorted(folder.rglob("metrics.csv")):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                if row.get("val/loss"):
                    figures.setdefault(int(row["step"]), []).append(row["val/loss"])
    loaded = {path: torch.load(path, weights_only=True) for path in sorted(folder.rglob("[!.]*t.ckpt"))}
    newest = [path for path in loaded if path.stem == "last"][-1]
    best = {content["global_step"] for path, content in loaded.items() if path.stem == "best"}
    return loaded[newest], best, figures


@pytest.mark.parametrize(
    ("hook", "how", "at", "code"),
    [
        ("on_validation_start", "SIGINT", 0, 130),
        ("on_validation_batch_start", "error", 1, 1),
        ("on_validation_batch_end", "SIGTERM", 0, 143),
        ("on_validation_epoch_end", "error", 0, 1),
        ("on_validation_end", "error", 0, 1),
    ],
)
@pytest.mark.usefixtures("plain_sigterm")
def test_a_run_stopped_within_a_validation_and_resumed_is_the_run(run, whole, hook, how, at, code):
    expected, best, figures = whole
    name = f"{hook} {how}"
    assert [len(told) for told in figures.values()] == [1, 1]
    stopped, (first, _, _) = run(name, hook=hook, how=how, at=at)
    assert stopped == code
    assert first["global_step"] == min(figures) + 1
    assert not torch.equal(
        *(first[key]["network.predictor.bias"] for key in ("state_dict", "current_model_state"))
    )
    done, (found, best_of_both, figures_of_both) = run(name)
    assert done == 0
    assert same(found, expected)
    np.testing.assert_equal(figures_of_both, figures)
    assert best <= best_of_both


@pytest.mark.parametrize(
    "averaging",
    [
        "LearningRateMonitor\n      init_args: {logging_interval: step",  # no average at all
        "EMAWeightAveraging\n      init_args: {decay: 0.9, update_starting_at_step: 100",  # none yet
    ],
)
def test_without_an_average_each_weight_keeps_its_name_too(run, averaging):
    _, (expected, _, figures) = run(f"whole {averaging[:3]}", averaging)
    run(f"stopped {averaging[:3]}", averaging, hook="on_validation_batch_start", at=1)
    done, (found, _, figures_of_both) = run(f"stopped {averaging[:3]}", averaging)
    assert done == 0
    assert same(found, expected)
    np.testing.assert_equal(figures_of_both, figures)


@pytest.mark.parametrize("averaging", [True, False])
def test_a_run_that_averages_no_more_goes_on_from_the_trained_weights(averaging):
    trainer = SimpleNamespace(callbacks=[EMAWeightAveraging()] if averaging else [])
    module = torch.nn.Linear(1, 1)
    before = module.weight.item()
    state = {"weight": torch.tensor([[7.0]]), "bias": torch.tensor([8.0])}
    CheckpointsInValidation().on_load_checkpoint(trainer, module, {"current_model_state": state})
    assert module.weight.item() == (before if averaging else 7.0)  # Lightning's callback does it


def test_averaged_weights_are_judged_without_a_warning(run, whole, monkeypatch, recwarn, capsys):
    monkeypatch.chdir(run.folder)
    monkeypatch.setattr(sys, "argv", ["tracknet"])
    (last,) = Path("runs/whole").rglob("last.ckpt")
    assert main(["validate", "--ckpt_path", str(last)]) == 0
    assert not [one for one in recwarn if "WeightAveraging" in str(one.message)]
    *_, (figure,) = whole[2].values()
    assert figure in capsys.readouterr().out


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"limit_val_batches": 0},
        {"check_val_every_n_epoch": 2},
        {"val_check_interval": 2},
        {"val_check_interval": 2, "check_val_every_n_epoch": 2},
        {"val_check_interval": 3, "check_val_every_n_epoch": None},
        {"val_check_interval": 0.5, "accumulate_grad_batches": 2},
        {"samples": RandomIterableDataset(32, 5)},
        {"samples": RandomIterableDataset(32, 50), "limit_train_batches": 5},
        {"samples": RandomIterableDataset(32, 5), "val_check_interval": 2},
    ],
)
def test_a_validation_is_told_beforehand(tmp_path, options):
    told = []

    class Asks(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
            told.append((is_validated_next(trainer), False))

        def on_validation_start(self, trainer, pl_module):
            told[-1] = told[-1][0], True

    given = {"accelerator": "cpu", "num_sanity_val_steps": 0, "logger": False, "max_epochs": 4} | options
    samples = given.pop("samples", RandomDataset(32, 5))
    bars = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    Trainer(default_root_dir=tmp_path, callbacks=[Asks()], **bars, **given).fit(
        BoringModel(), DataLoader(samples), DataLoader(RandomDataset(32, 1))
    )
    assert len(told) == 20
    assert [expected for expected, _ in told] == [done for _, done in told]
    assert any(done for _, done in told) != ("limit_val_batches" in options)
