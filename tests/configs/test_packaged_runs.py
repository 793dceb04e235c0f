"""Every packaged YAML file, trained for a step on tiny rallies of its layout."""

from __future__ import annotations

import sys
from itertools import cycle, islice

import pytest

from tracknet.cli.main import main
from tracknet.configs import compose, packaged_configs
from tracknet.data.generate import generate_rallies


def pieces(group):
    return [name.split("/")[2].removesuffix(".yaml") for name in packaged_configs() if f"/{group}/" in name]


ON_THE_CPU = [
    *("--trainer.accelerator=cpu", "--trainer.devices=1", "--trainer.precision=32-true"),
    *("--trainer.strategy=auto", "--trainer.sync_batchnorm=false", "--trainer.enable_progress_bar=false"),
]
SMALL = ["--model.input_size=[32,64]", "--data.batch_size=1", "--data.num_workers=0"]
GROUPS = ("model", "data", "optimizer", "callbacks", "env")
LONGEST = max(len(pieces(group)) for group in GROUPS)
ROWS = list(zip(*(islice(cycle(pieces(group)), LONGEST) for group in GROUPS), strict=True))
"""Combinations in which every piece is there once."""


def one_quick(values):
    """The first as it is, the others marked slow."""
    return [pytest.param(one, marks=() if n == 0 else pytest.mark.slow) for n, one in enumerate(values)]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRACKNET_ENV", raising=False)
    monkeypatch.setattr(sys, "argv", ["tracknet"])
    monkeypatch.setenv("WANDB_MODE", "disabled")


@pytest.fixture(scope="module")
def rallies(tmp_path_factory):
    """Makes tiny rallies of a layout on first use; gives words that name them."""
    made = {}

    def words(layout):
        if layout == "generated":
            clips = [f"--data.{part}_rallies=1" for part in ("train", "val", "test")]
            return ["--data.root=generated", "--data.rally_frames=12", *clips]
        if layout == "packed":
            (_, flat), *_ = [word.split("=") for word in words("flat")]
            packed = tmp_path_factory.mktemp(layout)
            assert main(["data", "pack", flat, f"--output={packed}", "--size", "32", "64"]) == 0
            return [f"--data.root={packed}"]
        if layout not in made:
            made[layout] = tmp_path_factory.mktemp(layout) / "rallies"
            generate_rallies(
                made[layout],
                layout=layout,
                train=1,
                val=1,
                test=1,
                frames=12,
                size=(72, 128),
                workers=1,
                progress=False,
            )
        return [f"--data.root={made[layout]}", "--data.split=null"]

    return words


@pytest.mark.parametrize("row", one_quick(ROWS), ids="-".join)
def test_pieces_train_together(row, rallies):
    if {"convnext_fpn", "convnext_hrnet", "vit"} & set(row):
        pytest.importorskip("transformers")
    short = [f"+{group}={name}" for group, name in zip(GROUPS, row, strict=True)]
    layout = row[GROUPS.index("data")]
    assert main(["fit", *short, *ON_THE_CPU, *SMALL, *rallies(layout), "--trainer.fast_dev_run=true"]) == 0


@pytest.mark.parametrize("name", one_quick(pieces("logging")))
def test_loggers_log(name, rallies, tmp_path):
    for package in ("wandb", "mlflow"):
        if package in name:
            pytest.importorskip(package)
    words = [
        "+env=ci",
        "+model=compact",
        f"+logging={name}",
        "--model.network.stem=4",
        *SMALL,
        *rallies("flat"),
    ]
    assert main(["fit", *words]) == 0
    if name == "csv" or "tensorboard" in name:
        assert (tmp_path / "runs/tracknet/version_0/metrics.csv").is_file()
    if name != "wandb":
        assert len(list((tmp_path / "runs").rglob("best.ckpt"))) == 1


@pytest.mark.parametrize("name", one_quick(name for name in pieces("experiment") if name != "rectifier"))
def test_experiments_train(name, rallies):
    values = compose([f"+experiment={name}"], "fit").values
    crop = ["--data.crop.size=[32,32]"] if "crop" in values["data"]["init_args"] else []
    words = ["--data=FlatVideoDataModule", "--data.train=[]", "--data.val=[]", "--data.test=[]"]
    words += [*SMALL, *crop, *rallies("flat"), "--trainer.fast_dev_run=true"]
    assert main(["fit", f"+experiment={name}", *ON_THE_CPU, *words]) == 0
