"""Classes of other packages: found, listed, explained and trained with like our own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tracknet.cli.list import bases_of_kinds, classes_of, listing, source
from tracknet.cli.main import main

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "plugin"

EACH = """
import contextlib, io, json, sys
from tracknet.cli.main import main
told = []
for words in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    told.append([code, out.getvalue(), err.getvalue()])
    if words[:2] == ["config", "list"] or words == ["--help"]:
        imported = sorted({"tracknet_example", "broken_plugin"} & sys.modules.keys())
        assert not imported, (words, imported)
sys.__stdout__.write(json.dumps(told))
"""
"""Runs several commands in one process, in which light ones must not import plugins."""

BROKEN = "plugin 'broken' of the package broken-plugin is left out: broken_plugin cannot be imported: "


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A folder with the example, installed from its source by pip, and with a plugin that fails."""
    folder = tmp_path_factory.mktemp("plugins")
    shutil.copytree(
        EXAMPLE, folder / "source", ignore=shutil.ignore_patterns("__pycache__", "build", "*.egg-info")
    )
    words = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target"]
    done = subprocess.run(
        [sys.executable, *words, str(folder / "site"), str(folder / "source")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (folder / "site" / "broken_plugin.py").write_text("import a_package_that_nobody_has\n")
    record = folder / "site" / "broken_plugin-1.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-plugin\nVersion: 1.0\n")
    (record / "entry_points.txt").write_text("[tracknet.plugins]\nbroken = broken_plugin\n")
    return folder / "site"


def run(installed: Path, folder: Path, commands: dict[str, list[str]]) -> dict[str, list]:
    """Exit code, output and complaints of commands, by name, run where the plugins are installed."""
    done = subprocess.run(
        [sys.executable, "-c", EACH, json.dumps(list(commands.values()))],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(commands, json.loads(done.stdout), strict=True))


@pytest.fixture(scope="module")
def told(installed, tmp_path_factory) -> dict[str, list]:
    """What commands say of the plugins."""
    commands = {
        "help": ["--help"],
        "configs": ["config", "list", "model"],
        "networks": ["list", "networks"],
        "kinds": ["list"],
        "mistyped": ["fit", "--config", "configs/base.yaml", "--model.network=DepthwiseTrackNett"],
    }
    return run(installed, tmp_path_factory.mktemp("told"), commands)


@pytest.fixture(scope="module")
def trained(installed, tiny_rallies, tmp_path_factory) -> dict[str, list]:
    """What commands do that train with the plugin or explain it."""
    short = [
        "+callbacks=minimal",
        "--trainer.accelerator=cpu",
        "--trainer.enable_progress_bar=false",
        f"--data.root={tiny_rallies}",
    ]
    short += ["--data.batch_size=2", "--data.num_workers=0", "--model.input_size=[32,64]"]
    short += ["--trainer.max_epochs=1", "--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1"]
    own = ["--model.init_args.network=DepthwiseTrackNet", "--model.init_args.network.width=8"]
    own += ["--model.loss=SmoothL1Loss", "--trainer.callbacks+=WeightHistograms"]
    base = ["fit", "--config", "configs/base.yaml"]
    commands = {
        "show": ["config", "show", "SmoothL1Loss.beta"],
        "schema": ["config", "schema"],
        "dev": [*base, *short, *own, "--trainer.fast_dev_run=true"],
        "fit": [*base, "+model=depthwise", *short, "--trainer.callbacks+=WeightHistograms"],
        "inspect": ["checkpoint", "inspect", "runs/tracknet/version_0/checkpoints/best.ckpt"],
    }
    folder = tmp_path_factory.mktemp("trained")
    found = run(installed, folder, commands)
    found["run"] = folder / "runs" / "tracknet" / "version_0"
    return found


def test_they_are_listed_with_where_they_come_from(told):
    code, out, _ = told["networks"]
    assert code == 0
    lines = out.splitlines()
    at = lines.index("DepthwiseTrackNet(frames=3, background='none', width=16, depth=2)  [plugin example]")
    assert lines[at + 1] == (
        "    Depthwise separable convolutions at half the resolution: the smallest network that runs"
    )
    kinds = {line.split()[0]: line for line in told["kinds"][1].splitlines() if "(" in line}
    assert "1 plugin example" in kinds["networks"]
    assert "1 plugin example" in kinds["losses"]
    assert "1 plugin example" in kinds["callbacks"]
    assert "plugin" not in kinds["loggers"]


@pytest.mark.slow
def test_they_are_explained_and_completed(trained):
    _, out, _ = trained["show"]
    assert "SmoothL1Loss.beta  (of SmoothL1Loss)" in out
    assert "Distance below which the loss is quadratic." in out
    schema = json.loads(trained["schema"][1])
    arguments = schema["$defs"]["tracknet_example.network.DepthwiseTrackNet"]["properties"]["init_args"]
    assert {"frames", "background", "width", "depth"} == set(arguments["anyOf"][0]["properties"])


def test_their_yaml_is_found(told):
    listed = told["configs"][1].splitlines()
    line = next(line for line in listed if line.startswith("configs/model/depthwise.yaml"))
    assert line.endswith("  The network and the loss of the example plugin.")


@pytest.mark.slow
def test_they_train(trained):
    assert trained["dev"][0] == 0
    assert trained["fit"][0] == 0
    run = trained["run"]
    events = EventAccumulator(str(run), size_guidance={"histograms": 0})
    events.Reload()
    [weights] = events.Histograms("weights/network.predictor.weight")
    assert weights.step == 2
    assert weights.histogram_value.num == 3 * 16
    assert events.Scalars("val/loss")
    assert "DepthwiseTrackNet" in trained["inspect"][1]


def test_a_mistyped_name_is_answered_with_the_nearest(told):
    code, _, err = told["mistyped"]
    assert code == 2
    assert "no class 'DepthwiseTrackNett'; did you mean 'DepthwiseTrackNet'?" in err


def test_one_that_fails_is_told_of_once_and_does_not_stop_the_others(told):
    complaints = [line for _, _, err in told.values() for line in err.splitlines() if "broken" in line]
    missing = "ModuleNotFoundError: No module named 'a_package_that_nobody_has'"
    assert complaints == [f"tracknet: {BROKEN}{missing}"]
    assert "broken" in told["networks"][2]


def test_a_kind_that_there_is_not(capsys):
    assert main(["list", "callback"]) == 2
    assert capsys.readouterr().err == (
        "tracknet list: no kind 'callback'; did you mean 'callbacks'? (those are networks, losses, targets, "
        "decoders, metrics, datasets, callbacks, loggers)\n"
    )
    assert main(["list", "--all"]) == 2
    assert "unknown argument '--all'" in capsys.readouterr().err


def test_every_kind_lists_ours_first_and_bases_never():
    for base in bases_of_kinds().values():
        classes = classes_of(base)
        assert source(classes[0]) == "tracknet"
        sources = [source(cls) for cls in classes]
        assert sources == sorted(sources, key=lambda one: one != "tracknet")
        assert {"HeatmapNetwork", "HeatmapLoss", "Callback", "Logger"}.isdisjoint(c.__name__ for c in classes)


def test_signatures_are_short_and_whole():
    from lightning.pytorch.callbacks import Callback

    class Odd(Callback):
        def __init__(self, needed, where=Path("runs"), how=len, *more, **others) -> None: ...

    lines = listing(Odd).splitlines()
    assert lines == [f"Odd(needed, where='runs', how=len, *more, **others)  [{source(Odd)}]"]
