"""The commands of the older tracknet, through their entry points on a tiny data set of its layout."""

from __future__ import annotations

import csv
import re
import shlex
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from omegaconf import OmegaConf
from PIL import Image

from tracknet.cli.main import main as tracknet
from tracknet.configs.migration import legacy
from tracknet.configs.migration.rules import Rule, Told
from tracknet.scripts import eval as evaluation
from tracknet.scripts import predict, train, train_sequential

FILES = {
    "data": {
        "root": "games",
        "split": {"train_games": ["game1"], "val_games": ["game2"]},
        "preprocess": {"resize": [64, 32], "normalize": True, "flip_prob": 0.5},
    },
    "model": {
        "model_name": "vit_heatmap",
        "pretrained_model_name": None,
        "decoder": {"channels": [8, 8, 8, 8]},
        "heatmap": {"size": [24, 12], "sigma": 1.0},
    },
    "training": {
        "epochs": 1,
        "batch_size": 2,
        "precision": "fp32",
        "seed": 3,
        "output_dir": "out",
        "optimizer": {"name": "adamw", "lr": 0.001, "weight_decay": 0.01},
        "loss": {"name": "mse"},
        "limit_train_batches": 2,
        "scheduler": {"name": "cosine", "warmup_epochs": 0},
    },
}
NAMES = ["--data", "tiny", "--model", "tiny", "--training", "tiny"]


def make_games(root):
    for game in ("game1", "game2"):
        folder = root / "games" / game / "Clip1"
        folder.mkdir(parents=True)
        rows = ["file name,visibility,x-coordinate,y-coordinate,status"]
        for n in range(6):
            picture = np.full((64, 128, 3), 30, np.uint8)
            x, y = 10 + 12 * n, 20 + 3 * n
            picture[y - 2 : y + 3, x - 2 : x + 3] = 240
            Image.fromarray(picture).save(folder / f"{n:04d}.jpg")
            rows.append(f"{n:04d}.jpg,0,,," if n == 5 else f"{n:04d}.jpg,1,{x},{y},0")
        (folder / "Label.csv").write_text("\n".join(rows) + "\n")


def make_project(root):
    make_games(root)
    for section, values in FILES.items():
        path = root / "configs" / section / "tiny.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(yaml.safe_dump(values))


SMALL = {
    "class_path": "CompactTrackNet",
    "init_args": {"frames": 1, "background": "none", "stem": 4},
}
"""Takes the place of the networks of the older tracknet, which are large and need transformers."""


def with_small_network(rule):
    if rule.old == "model.model_name":
        return replace(rule, convert=lambda value, old: Told("renamed", "", deepcopy(SMALL)))
    return Rule(rule.old, note="always half") if rule.old == "model.heatmap.size" else rule


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A project in which the old command has trained; the folder is the current one."""
    root = tmp_path_factory.mktemp("project")
    make_project(root)
    path = root / "configs/model/tiny.yaml"
    path.write_text(yaml.safe_dump({key: one for key, one in FILES["model"].items() if key != "decoder"}))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setattr(sys, "argv", ["tracknet"])
        patch.delenv("TRACKNET_ENV", raising=False)
        patch.setattr(legacy, "RULES", tuple(with_small_network(rule) for rule in legacy.RULES))
        assert train.main([*NAMES, "training.optimizer.lr=0.002"]) == 0
        yield root


@pytest.mark.slow
@pytest.mark.backbones
@pytest.mark.parametrize("model", train_sequential.MODELS)
def test_the_networks_of_the_older_tracknet_train(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tracknet"])
    make_project(tmp_path)
    words = ["model.pretrained_model_name=null", "training.limit_train_batches=1"]
    assert train.main([*NAMES[:2], "--model", model, *NAMES[4:], *words]) == 0
    assert len(list((tmp_path / "out/checkpoints").glob("best_run-*-s3.ckpt"))) == 1


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_project(tmp_path)
    return tmp_path


def run_of(root):
    (folder,) = (path for path in (root / "out/logs").iterdir() if path.is_dir())
    return folder


def curve(folder):
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return [
        (row["step"], row.get("train/loss_epoch"), row.get("val/loss"), row.get("val/l2")) for row in rows
    ]


def test_folders_are_those_of_the_older_tracknet(trained):
    run = run_of(trained)
    assert run.name.startswith("run-")
    assert run.name.endswith("-s3")
    assert len(run.name) == len("run-20250101-120000-s3")
    assert (run / "metrics.csv").is_file()
    assert (trained / "out/checkpoints" / f"best_{run.name}.ckpt").is_file()


def test_the_migrated_file_trains_the_same(trained):
    words = [f"configs/{section}/tiny.yaml" for section in FILES]
    words += ["training.optimizer.lr=0.002", "training.output_dir=new"]
    assert tracknet(["config", "migrate", *words, "--out", "new.yaml"]) == 0
    assert tracknet(["fit", "--config", "new.yaml"]) == 0
    old, new = curve(run_of(trained)), curve(trained / "new/logs/version_0")
    assert old == new
    losses = [float(one) for row in old for one in row[1:3] if one]
    assert len(losses) == 2
    assert all(loss > 0 for loss in losses)


def old_kinds(trained):
    """The trained weights as today's checkpoint, and as both kinds of the older tracknet."""
    (today,) = (trained / "out/checkpoints").glob("best_*.ckpt")
    weights = torch.load(today, weights_only=True)["state_dict"]
    plain = {name.removeprefix("network."): value for name, value in weights.items()}
    torch.save({"model_state": plain, "epoch": 1}, trained / "best_old.pt")
    lightning = {f"model.{name}": value for name, value in plain.items()}
    torch.save({"state_dict": lightning, "epoch": 1}, trained / "old.ckpt")
    extras = {"best": np.float64(0.1), "config": OmegaConf.create({"lr": 1e-3, "names": ["a", 1]})}
    extras |= {"hyper_parameters": OmegaConf.create({"x": None}), "folder": Path("a/b")}
    version = {"pytorch-lightning_version": "2.5.0"}
    torch.save({"state_dict": lightning, **extras, **version}, trained / "extras.ckpt")
    return [today, *(trained / name for name in ("best_old.pt", "old.ckpt", "extras.ckpt"))]


def test_eval_takes_all_kinds_of_checkpoints(trained, capsys):
    told = []
    for path in old_kinds(trained):
        before = set(trained.rglob("*"))
        assert evaluation.main([*NAMES, "--checkpoint", str(path)]) == 0
        out, err = capsys.readouterr()
        told.append(out.splitlines()[-3:])
        assert "tracknet validate --config new.yaml --ckpt_path " in err
        assert set(trained.rglob("*")) == before
    assert [line.partition(":")[0] for line in told[0]] == ["eval_loss", "l2", "pck@3"]
    assert told[1:] == told[:1] * 3
    best = [row[2:] for row in curve(run_of(trained)) if row[2]][-1]
    figures = [float(line.partition(":")[2]) for line in told[0]]
    assert figures[:2] == pytest.approx([float(one) for one in best], rel=1e-3, abs=1e-6)


def test_the_commands_of_the_notice_work_one_after_another(trained, tmp_path, monkeypatch, capfd):
    for path in old_kinds(trained):
        assert evaluation.main([*NAMES, "--checkpoint", str(path)]) == 0
        out, err = capfd.readouterr()
        notice = err.splitlines()[0].partition("new form is: ")[2]
        for name in ("configs", "games"):
            (tmp_path / name).exists() or (tmp_path / name).symlink_to(trained / name)
        with monkeypatch.context() as inside:
            inside.chdir(tmp_path)
            for command in notice.split(" && "):
                assert tracknet(shlex.split(command)[1:]) == 0, command
        printed = capfd.readouterr().out
        assert ("checkpoint import" in notice) == (path.suffix == ".pt" or not path.name.startswith("best"))
        loss = float(out.splitlines()[-3].partition(":")[2])
        assert re.search(rf"val/loss \W+{loss:.4f}", printed), printed
        for made in ("new.yaml", "weights.ckpt"):
            (tmp_path / made).unlink(missing_ok=True)


def test_weights_that_name_no_network_are_sent_to_the_import(trained, capsys):
    words = [f"configs/{section}/tiny.yaml" for section in FILES]
    assert tracknet(["config", "migrate", *words, "--out", "import.yaml"]) == 0
    _, plain, _, extras = old_kinds(trained)
    lightning = torch.load(trained / "old.ckpt", weights_only=True)
    torch.save(lightning | {"pytorch-lightning_version": "2.5.0"}, trained / "light.ckpt")
    torch.save(torch.load(plain, weights_only=True)["model_state"], trained / "bare.pt")
    for name, told in (
        ("best_old.pt", "is no checkpoint of `tracknet fit`: found model_state, epoch (weights of others: "),
        ("extras.ckpt", "it holds a NumPy number, or settings of OmegaConf"),
        ("light.ckpt", "(there is no network.stem.0.0.weight; model.stem.0.0.weight is unknown)"),
    ):
        assert tracknet(["validate", "--config", "import.yaml", "--ckpt_path", name]) != 0
        err = capsys.readouterr().err
        assert told in err
        assert "tracknet checkpoint import" in err
        assert "Traceback" not in err
    words = ["checkpoint", "import", "bare.pt", "--config", "import.yaml"]
    assert tracknet([*words, "--output", "bare.ckpt"]) == 0
    assert "imported:   CompactTrackNet of import.yaml: 1 frames of 32x64" in capsys.readouterr().out
    assert tracknet(["checkpoint", "inspect", "bare.ckpt"]) == 0
    assert "imported:   from bare.pt: CompactTrackNet" in capsys.readouterr().out
    assert tracknet(["checkpoint", "verify", "bare.ckpt"]) == 0
    assert tracknet(["checkpoint", "inspect", "bare.pt"]) == 1
    assert "tracknet checkpoint import bare.pt --config YAML" in capsys.readouterr().err
    for more, told in (
        (["--output", "bare.ckpt"], "bare.ckpt: exists"),
        (["--output", "x.ckpt", "--background", "none"], "--background none: --config import.yaml says it"),
    ):
        assert tracknet([*words, *more]) == 2
        assert told in capsys.readouterr().err
    words = ["checkpoint", "import", str(extras), "--output", "x.ckpt", "--config"]
    assert tracknet([*words, "configs/logging/none.yaml"]) == 2
    assert "names no model" in capsys.readouterr().err


def test_predict_writes_two_pictures(trained, capsys):
    assert predict.main([*NAMES, "--image", "games/game2/Clip1/0003.jpg"]) == 0
    assert "tracknet track VIDEO" in capsys.readouterr().err
    heatmap = np.asarray(Image.open(trained / "out/predictions/0003_heatmap.png"))
    overlay = np.asarray(Image.open(trained / "out/predictions/0003_overlay.png"))
    assert heatmap.shape == (16, 32)
    assert overlay.shape == (64, 128, 3)
    # A yellow ring, which is nowhere in the picture.
    assert ((overlay == (255, 255, 0)).all(axis=-1)).sum() > 8


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--checkpoint", "nothing.ckpt"], "--checkpoint: no file 'nothing.ckpt'"),
        (["--checkpoint", "other.pt"], "holds the weights of another network than CompactTrackNet"),
        (["--checkpoint", "strange.pt"], "the key model_state or state_dict, found colour"),
        (["--checkpoint", "shapes.pt"], "stem.0.0.weight is [1], expected ["),
        (["--checkpoint", "nan.pt"], "nan.pt: weights that are not finite: predictor.bias"),
        (["training.ckpt_dir=games"], "games: no best_*.ckpt or best_*.pt"),
    ],
)
def test_wrong_checkpoints_are_told(words, told, trained, capsys):
    torch.save({"model_state": {"a.weight": torch.ones(1)}}, "other.pt")
    torch.save({"colour": 1}, "strange.pt")
    weights = torch.load(old_kinds(trained)[1], weights_only=True)["model_state"]
    torch.save({"model_state": weights | {"stem.0.0.weight": torch.ones(1)}}, "shapes.pt")
    torch.save({"model_state": weights | {"predictor.bias": weights["predictor.bias"] * np.nan}}, "nan.pt")
    assert evaluation.main([*NAMES, *words]) == 1
    assert told in capsys.readouterr().err


def test_what_is_no_picture_is_told(trained, capsys):
    assert predict.main([*NAMES, "--image", "configs/data/tiny.yaml"]) == 1
    assert "configs/data/tiny.yaml is no picture" in capsys.readouterr().err
    assert predict.main([*NAMES, "--image", "none.jpg"]) == 1
    assert "none.jpg: No such file" in capsys.readouterr().err


def test_dry_run_prints_and_makes_nothing(project, capsys):
    before = set(project.rglob("*"))
    words = ["--dry-run", "--seed", "9", "training.optimizer.lr=1e-4", "training.limit_train_batches=5"]
    assert train.main([*NAMES, *words]) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    assert lines[0] == "==== TrackNet Config (merged) ===="
    assert lines[-1] == "[dry-run] Exiting before training loop."
    merged = yaml.safe_load("\n".join(lines[1:-1]))
    assert list(merged) == ["data", "model", "training", "runtime"]
    assert merged["training"]["optimizer"]["lr"] == 0.0001
    assert merged["training"]["limit_train_batches"] == 5
    assert merged["runtime"]["run_id"].endswith("-s9")
    assert set(merged["runtime"]) == {
        *("seed", "project_root", "output_root", "log_dir", "ckpt_dir", "timestamp", "run_id"),
    }
    line, *notes = err.splitlines()
    assert all(one.startswith("note: ") for one in notes)
    assert line.startswith("deprecated: tracknet.scripts.train; the new form is: tracknet config migrate ")
    assert line.endswith("--out new.yaml && tracknet fit --config new.yaml")
    assert set(project.rglob("*")) == before


def test_the_named_command_gives_the_same_configuration(project, capsys):
    assert train.main([*NAMES, "--dry-run", "--seed=9", "--output-dir=o", "training.epochs=5"]) == 0
    command = capsys.readouterr().err.splitlines()[0].partition("new form is: tracknet ")[2]
    assert tracknet(command.partition(" && ")[0].split()) == 0
    values = yaml.safe_load((project / "new.yaml").read_text())
    assert (values["seed_everything"], values["trainer"]["max_epochs"]) == (9, 5)
    assert values["trainer"]["logger"]["init_args"]["save_dir"] == "o/logs"


def test_the_output_folder_wins_over_the_files(project, capsys):
    words = ["--dry-run", "--output-dir", "there", "training.log_dir=logs", "training.ckpt_dir=c"]
    assert train.main([*NAMES, *words]) == 0
    out, err = capsys.readouterr()
    runtime = yaml.safe_load("\n".join(out.splitlines()[1:-1]))["runtime"]
    assert (runtime["output_root"], runtime["log_dir"], runtime["ckpt_dir"]) == (
        *("there", "there/logs", "there/checkpoints"),
    )
    assert "--output-dir there moves logs and checkpoints too" in err


def test_packaged_files_stand_in(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert train.main(["--dry-run"]) == 0
    merged = yaml.safe_load("\n".join(capsys.readouterr().out.splitlines()[1:-1]))
    assert (merged["model"]["model_name"], merged["data"]["root"]) == ("vit_heatmap", "data/tracknet")
    assert merged["runtime"]["output_root"] == "outputs"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["training.optimizer.lrr=1"], "did you mean 'training.optimizer.lr'?"),
        (["optimizer.lr=1"], "expected KEY=VALUE with data., model. or training."),
        (["training=5"], "found 'training=5'; expected KEY=VALUE with data., model. or training.\n"),
        (["--sead=1"], "did you mean 'seed'?"),
        (
            ["--model", "tinny"],
            "no file configs/model/tinny.yaml here or among the packaged ones",
        ),
    ],
)
def test_wrong_words_are_told(words, told, project, capsys):
    assert train.main([*NAMES, "--dry-run", *words]) == 2
    assert told in capsys.readouterr().err


def test_unknown_keys_of_files_are_noted(project, capsys):
    path = Path("configs/training/tiny.yaml")
    path.write_text(path.read_text() + "epoch: 3\n")
    assert train.main([*NAMES, "--dry-run"]) == 0
    assert "training.epoch is passed over: did you mean 'training.epochs'?" in capsys.readouterr().err


def test_one_setting_is_one(project, capsys):
    loader, heatmap = {"data_loader": {"pin_memory": True}}, {"heatmap": {"sigma": 1.0}}
    Path("configs/training/tiny.yaml").write_text(yaml.safe_dump(FILES["training"] | loader))
    Path("configs/model/tiny.yaml").write_text(yaml.safe_dump(FILES["model"] | heatmap))
    assert train.main([*NAMES, "--dry-run"]) == 0
    assert "note: 1 setting without effect now (training.data_loader.pin_memory); " in capsys.readouterr().err


def test_files_of_today_are_no_old_ones(project, capsys):
    Path("configs/data/today.yaml").write_text("data:\n  class_path: TennisDataModule\n")
    assert train.main([*NAMES, "--data", "today", "--dry-run"]) == 2
    assert "configs/data/today.yaml: is no old configuration; tracknet fit" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("codes", "words", "code", "begun"),
    [
        ([0, 0, 0], [], 0, 3),
        ([0, 1, 0], [], 1, 2),
        ([0, 1, 0], ["--continue-on-error"], 0, 3),
        ([1, 1, 1], ["--continue-on-error"], 1, 3),
        ([0, 130, 0], ["--continue-on-error"], 0, 2),
        ([RuntimeError("no"), 0, 0], ["--continue-on-error", "--sleep-between=0.01"], 0, 3),
    ],
)
def test_networks_one_after_another(codes, words, code, begun, monkeypatch, capsys):
    seen = []

    def fake(argv):
        seen.append(argv)
        outcome = codes[len(seen) - 1]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(train, "main", fake)
    monkeypatch.setattr(train_sequential.gc, "collect", lambda: 0)
    given = ["--epochs", "2", "--batch-size", "3", "--seed=1", "training.limit_val_batches=1"]
    assert train_sequential.main([*given, *words]) == code
    assert [argv[0] for argv in seen] == [f"--model={name}" for name in train_sequential.MODELS[:begun]]
    for word in ("training.epochs=2", "training.batch_size=3", "--seed=1", "training.limit_val_batches=1"):
        assert word in seen[0]
    out = capsys.readouterr().out
    assert "==== Sequential training: summary ====" in out
    assert out.count("ok") == sum(one == 0 for one in codes[:begun])
    assert out.count("not begun") == 3 - begun


def test_sequential_dry_run(project, capsys):
    words = ["--data=tiny", "--training=tiny", "--models", "tiny", "vit_heatmap", "training.epochs=7"]
    assert train_sequential.main([*words, "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert out.count("==== TrackNet Config (merged) ====") == 2
    assert out.count("epochs: 7") == 2
    assert train_sequential.main(["--models", "a=1"]) == 2
