"""``tracknet config`` through the entry point."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from contextlib import redirect_stdout

import jsonschema
import pytest
import torch
import yaml

from tracknet.cli.main import main
from tracknet.cli.parsing import Parsing
from tracknet.configs import find_config, packaged_configs
from tracknet.configs.check import find_faults
from tracknet.configs.composition import OF_COMMANDS
from tracknet.configs.schema import json_schema
from tracknet.configs.template import Chosen, choices, write_template


@pytest.fixture(scope="module")
def parsing():
    return Parsing("fit")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys):
    def run(words):
        code = main(["config", *words.split()])
        return code, *capsys.readouterr()

    return run


def test_keys_that_only_some_commands_take_are_known():
    taken = {command: Parsing(command).options.keys for command in ("fit", "validate", "test", "predict")}
    some = {key for keys in taken.values() for key in keys if "." not in key}
    commands = {key: tuple(command for command, keys in taken.items() if key in keys) for key in some}
    assert {key: found for key, found in commands.items() if len(found) < len(taken)} == OF_COMMANDS


def test_list(run):
    code, out, _ = run("list --group env")
    assert code == 0
    assert out.startswith("configs/env/")
    assert len(run("list")[1].splitlines()) == len(packaged_configs())
    assert run("list envs")[2].startswith("tracknet config: list: no group 'envs'; did you mean 'env'?")


@pytest.mark.parametrize("words", ["list", "diff a.yaml b.yaml", "show --help"])
def test_what_needs_neither_torch_nor_omegaconf_does_not_import_them(words, here):
    (here / "a.yaml").write_text("a: 1\n")
    (here / "b.yaml").write_text("a: 2\n")
    program = f"import sys; from tracknet.cli.main import main; main(['config', *{words.split()}]); "
    program += "print(sorted({'torch', 'omegaconf'} & sys.modules.keys()))"
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"


def test_diff(run, here):
    (here / "a.yaml").write_text(
        "trainer:\n  max_epochs: 3\n  callbacks:\n  - class_path: Report\n"
        "model: {class_path: A, init_args: {mixup: 0.5}}\n"
    )
    (here / "b.yaml").write_text(
        "trainer:\n  max_epochs: 4\n  callbacks:\n  - class_path: x.Report\nmodel: A\nseed: true\n"
    )
    assert run("diff a.yaml b.yaml")[1].splitlines() == [
        "~ trainer.max_epochs: 3 -> 4  (a.yaml:2, b.yaml:2)",
        "~ trainer.callbacks.Report: Report -> x.Report  (a.yaml:4, b.yaml:4)",
        "- model.mixup: 0.5  (a.yaml:5)",
        "+ seed: true  (b.yaml:6)",
    ]
    assert run("diff a.yaml a.yaml") == (0, "", "")


@pytest.mark.parametrize(
    ("key", "lines"),
    [
        ("trainer.max_epochs", ["  type:     a whole number or null", "  default:  null"]),
        ("data.holdout", ["  type:     a number from 0 to 1", "  default:  0.15"]),
        ("CompactTrackNet.frames", ["CompactTrackNet.frames  (of CompactTrackNet)", "  default:  8"]),
        ("model.network", ["  default:  none: it must be set", "  classes:"]),
        ("trainer", ["trainer:"]),
        ("AdamW", ["  parameters:"]),
    ],
)
def test_show(key, lines, run):
    code, out, _ = run(f"show {key}")
    assert code == 0
    assert set(lines) <= set(out.splitlines())


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("trainr", "no key or class 'trainr'; did you mean 'trainer'?"),
        (
            "model.network.frame",
            "no key 'model.network.frame': model.network has no 'frame'; did you mean 'frames'?",
        ),
    ],
)
def test_show_what_is_not_there(key, said, run):
    assert run(f"show {key}") == (2, "", f"tracknet config: {said}\n")


def test_explain(run, here, monkeypatch):
    monkeypatch.setenv("TRACKNET_FIT__DATA__BATCH_SIZE", "3")
    code, out, _ = run("explain --config configs/base.yaml +env=cpu --optimizer.lr 0.1")
    assert code == 0
    said = {line.partition("#")[0].strip(): line.partition("# ")[2] for line in out.splitlines()}
    base = find_config("configs/base.yaml").read_text().splitlines()
    at = {line.strip(): number for number, line in enumerate(base, 1)}
    assert said["lr: 0.1"] == f"command line, replaced 0.001 (configs/base.yaml:{at['lr: 0.001']})"
    assert said["batch_size: 3"].startswith("TRACKNET_FIT__DATA__BATCH_SIZE, replaced 4 (configs/base.yaml:")
    assert said["accelerator: cpu"].startswith("configs/env/cpu.yaml:3, replaced auto (configs/base.yaml:")
    assert said["num_nodes: 1"] == "default of Trainer"
    assert said["holdout: 0.15"] == "default of FlatVideoDataModule"
    assert yaml.safe_load(out)["optimizer"]["init_args"]["lr"] == 0.1


def test_check_tells_all_faults_at_once(run, here):
    (here / "bad.yaml").write_text(
        "trainer:\n  max_epochs: many\n"
        "optimizer:\n  class_path: AdamW\n  init_args:\n    lerning_rate: 0.1\n"
        "model:\n  init_args:\n    network: WASB2\n"
        "    loss:\n      class_path: WBCELoss\n      reduction: ball\n"
    )
    code, out, err = run("check bad.yaml")
    assert (code, err) == (2, "4 faults\n")
    said = [line[:100] for line in sorted(out.splitlines())]
    assert said[0].startswith("bad.yaml:12:7: model.loss: no option 'reduction' beside class_path; write it ")
    assert said[1] == "bad.yaml:2:15: trainer.max_epochs: expected a whole number or null, found 'many'"
    assert said[2].startswith(
        "bad.yaml:6:5: optimizer: AdamW has no option 'lerning_rate'; did you mean 'lr'?"
    )
    assert said[3] == "bad.yaml:9:14: model.network: no class 'WASB2'; did you mean 'WASB'?"


@pytest.mark.parametrize("has_units", [True, False])
def test_bf16_is_for_cpus_with_units_for_it(run, here, monkeypatch, has_units):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_units)
    (here / "bf16.yaml").write_text("extends: [base, env/cpu]\ntrainer: {precision: bf16-mixed}\n")
    code, out, _ = run("check bf16.yaml")
    assert code == (0 if has_units else 2)
    assert ("bf16-mixed on a CPU, where it is emulated" in out) is not has_units


def test_check_of_what_is_wrong_together(run, here):
    (here / "cross.yaml").write_text(
        "trainer:\n  precision: 16-mixed\n  strategy: ddp\n  devices: 1\n  accelerator: cpu\n"
        "  callbacks+:\n  - class_path: EarlyStopping\n    init_args:\n      monitor: val/fp3\n"
        "model: {init_args: {input_size: [290, 512]}}\n"
        "data: {class_path: GeneratedDataModule, init_args: {rally_frames: 2, train_rallies: 1}}\n"
    )
    code, out, _ = run("check cross.yaml")
    assert code == 2
    said = out.splitlines()
    assert "cross.yaml:2:14: trainer.precision: 16-mixed on a CPU" in said[0]
    assert (
        said[1] == "cross.yaml:3:13: trainer.strategy: ddp with one device; set auto, or more trainer.devices"
    )
    assert "trainer.callbacks.monitor: nothing logs 'val/fp3'; did you mean 'val/fp" in said[2]
    assert "model.input_size: CompactTrackNet needs sides divisible by 16, found [290, 512]" in said[3]
    assert said[4].endswith("model.network.frames: windows of 8 frames, and the longest of 1 clip has 2")
    assert said[5].endswith("data.batch_size: batches of 4, and the data set has 1 window")


def test_check_of_values_that_a_callback_refuses(run, here):
    (here / "both.yaml").write_text(
        "extends: configs/base.yaml\ntrainer:\n  callbacks:\n"
        "  - class_path: MidEpochCheckpoint\n    init_args: {every_n_train_steps: 4}\n"
    )
    code, out, _ = run("check both.yaml")
    assert code == 2
    told = "both.yaml:4:5: trainer.callbacks: MidEpochCheckpoint does not take its values: Combination of"
    assert out.startswith(told)
    assert "train_time_interval=0:05:00" in out


PLATEAU = "lr_scheduler: {class_path: ReduceLROnPlateau, init_args: {monitor: val/loss}}"
WANDB = "trainer: {logger: {class_path: WandbLogger, init_args: {offline: true, config: null}}}"


@pytest.mark.parametrize("lines", [PLATEAU, WANDB])
def test_check_takes_what_fit_takes(run, here, lines):
    if lines == WANDB:
        pytest.importorskip("wandb")  # whose parameters those of the logger are
    (here / "mine.yaml").write_text(f"extends: configs/base.yaml\n{lines}\n")
    code, out, err = run("check mine.yaml")
    assert (code, err) == (0, "")
    assert "nothing wrong" in out


@pytest.mark.parametrize("flag", ["=[EarlyStopping]", "=EarlyStopping", "+=EarlyStopping"])
def test_explain_callbacks_of_the_command_line(run, here, flag):
    words = f"--trainer.callbacks{flag} --trainer.callbacks.monitor=val/f1 --trainer.callbacks.patience 7"
    code, out, err = run(f"explain --config configs/base.yaml --data.root x {words}")
    assert (code, err) == (0, "")
    for key in ("class_path: lightning.pytorch.callbacks.EarlyStopping", "monitor: val/f1", "patience: 7"):
        lines = [line for line in out.splitlines() if key in line]
        assert any(line.endswith("# command line") for line in lines), key


def test_windows_and_batches_against_clips_on_disk(parsing, tiny_rallies):
    words = ["--config=base.yaml", "+env=cpu", f"--data.root={tiny_rallies}"]
    assert parsing.faults([], words) == []
    assert parsing.faults([], [*words, "--model.network.frames=22"]) == [
        "model.network.frames: windows of 22 frames, and the longest of 4 clips has 21"
    ]
    assert parsing.faults([], [*words, "--data.batch_size=90"]) == [
        "data.batch_size: batches of 90, and the data set has 49 windows"
    ]


@pytest.fixture(scope="module")
def validator(parsing):
    """What judges by the schema, which is a schema itself."""
    schema = json_schema(parsing.options)
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize("name", [one for one in packaged_configs() if one.count("/") == 2])
def test_every_packaged_one_has_no_fault_and_fits_the_schema(name, validator):
    text = yaml.safe_load(find_config(name).read_text())
    assert [error.message for error in validator.iter_errors(text)] == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"trainr": {}},
        {"trainer": {"max_epoch": 3}},
        {"trainer": {"max_epochs": "many"}},
        {"data": {"class_path": "FlatVideoDataModule", "init_args": {"batch_size": 0}}},
        {"data": {"class_path": "FlatVideoDataModule", "init_args": {"frames": 3}}},
        {"model": {"class_path": "HeatmapTracker", "init_args": {"loss": "PeakDecoder"}}},
        {"model": {"class_path": "HeatmapTracker", "init_args": {"network": {"class_path": "WASB2"}}}},
        {"optimizer": {"class_path": "AdamW", "init_args": {"lerning_rate": 1}}},
        {"trainer": {"callbacks": ["Reprot"]}},
    ],
)
def test_the_schema_rejects(wrong, validator):
    assert not validator.is_valid(wrong)


def test_schema_is_json(run):
    written = json.loads(run("schema")[1])
    assert written["$defs"]["HeatmapNetwork"]["description"]
    holdout = written["$defs"]["tracknet.data.datamodules.FlatVideoDataModule"]["properties"]["init_args"][
        "anyOf"
    ][0]
    assert holdout["properties"]["holdout"]["anyOf"][0] == {"type": "number", "minimum": 0, "maximum": 1}


def test_templates_of_all_networks_and_data_have_no_fault(parsing):
    made = 0
    for data in choices(parsing.options, "data"):
        for network in choices(parsing.options, "model", "network"):
            task = "TrajectoryRectifier" if "Inpaint" in network.__name__ else "HeatmapTracker"
            text = write_template(parsing.options, Chosen(task, network.__name__, data.__name__, "cpu"))
            assert [str(one) for one in find_faults(parsing.options, yaml.safe_load(text))] == []
            made += 1
    assert made > 100


def test_new(run, here):
    code, out, _ = run("new my.yaml --network WASB --data FlatVideoDataModule --env cpu")
    assert code == 0
    assert "tracknet config check my.yaml" in out
    assert (
        "    # Loss between logits and target heatmaps; default WBCELoss.\n" in (here / "my.yaml").read_text()
    )
    assert run("check my.yaml") == (0, "my.yaml: nothing wrong\n", "")
    assert run("new my.yaml")[2] == "tracknet config: new: my.yaml is there already\n"
    assert run("new")[0] == 2
    assert "no class 'WASP'; did you mean 'WASB'?" in run("new b.yaml --network WASP")[2]


def test_new_asks(run, here, monkeypatch):
    answers = iter(["", "WASB", "flat", "2", "", "asked.yaml"])
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("builtins.input", lambda _: next(answers))
    assert run("new")[0] == 0
    assert (
        yaml.safe_load((here / "asked.yaml").read_text())["model"]["init_args"]["network"]["class_path"]
        == "WASB"
    )


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    """The script for bash."""
    path = tmp_path_factory.mktemp("completion") / "complete.sh"
    with path.open("w") as file, redirect_stdout(file):
        assert main(["config", "completion", "bash"]) == 0
    return path


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("tracknet fit --trainer.max_epo", "--trainer.max_epochs"),
        ("tracknet fit --optimizer = AdamW", "AdamW"),
        ("tracknet fit --optimizer=AdamW", "--optimizer=AdamW"),
        ("tracknet fit --data.fault", "--data.faults"),
        ("tracknet config sch", "schema"),
        ("tracknet config completion z", "zsh"),
        ("tracknet config completion ", "bash zsh"),
        ("tracknet val", "validate"),
        ("tracknet track match.mp4 --drop", "--drop_late"),
        ("tracknet track match.mp4 --mode tri", "triangular"),
        ("tracknet checkpoint aver", "average"),
        ("tracknet checkpoint prune --keep", "--keep_last"),
        ("tracknet data check rallies --layout ten", "tennis"),
        ("tracknet export a.ckpt --format=onn", "--format=onnx"),
        ("tracknet export a.ckpt --tr", "--trust"),
        ("tracknet checkpoint verify a.ckpt --tr", "--trust"),
        ("tracknet test --trust", "--trusted-only --trust"),
        ("tracknet track config", "config.yaml"),
        ("tracknet fit +mod", "+model="),
        ("tracknet fit +model = was", "wasb"),
        ("tracknet fit +model=was", "+model=wasb"),
        ("tracknet fit --model.loss WBC", "WBCELoss"),
        ("tracknet fit --env clu", "cluster"),
        ("tracknet fit --data.root conf", "config.yaml"),
        (r"tracknet track hall\\ d", "hall d.mp4"),
        ("tracknet data check config", "config.yaml"),
    ],
)
def test_completion(words, completed, script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").touch()
    (tmp_path / "hall d.mp4").touch()
    given = words.replace(r"\\ ", "\0").split()
    given = [one.replace("\0", r"\ ") for one in given] + [""] * words.endswith(" ")
    ask = f". {script}; COMP_WORDS=({' '.join(map(shlex.quote, given))}); COMP_CWORD={len(given) - 1}; "
    ask += "_tracknet; echo ${COMPREPLY[@]}"
    out = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True).stdout
    assert out.split() == completed.split()
