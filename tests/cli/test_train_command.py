"""``tracknet fit``, ``validate``, ``test`` and ``predict`` through the entry point, on tiny clips."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from jsonargparse import Namespace
from lightning.pytorch import Callback
from torch.optim import SGD
from torch.optim.lr_scheduler import CyclicLR, OneCycleLR, StepLR

import tracknet.models
from tracknet.cli import train
from tracknet.cli.main import main
from tracknet.cli.train import TrackNetCLI
from tracknet.configs import library
from tracknet.errors import TrackNetError, UsageError
from tracknet.tracking.trajectory import read_trajectory
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.schedules import WarmupCosine
from tracknet.training.settings import check_directions

TINY = """
seed_everything: 5
trainer:
  accelerator: cpu
  devices: 1
  max_epochs: 1
  limit_train_batches: 2
  num_sanity_val_steps: 0
  log_every_n_steps: 1
  enable_progress_bar: false
  enable_model_summary: false
  logger: {{class_path: RunLogger, init_args: {{save_dir: {runs}, name: tiny}}}}
  callbacks:
    - {{class_path: ModelCheckpoint, init_args: {{monitor: val/f1, mode: max, filename: best}}}}
    - class_path: ModelCheckpoint
      init_args: {{filename: last, enable_version_counter: false, save_on_exception: true}}
    - class_path: ProgressLines
    - class_path: Report
    - class_path: TrajectoryWriter
model:
  class_path: HeatmapTracker
  init_args:
    network: {{class_path: CompactTrackNet, init_args: {{frames: 4, stem: 4, widths: [8, 8, 8]}}}}
    decoder: PeakDecoder
    input_size: [64, 96]
data:
  class_path: FlatVideoDataModule
  init_args: {{root: {rallies}, val: [c], test: [d], batch_size: 2, augmentation: Augmentation}}
optimizer: {{class_path: AdamW, init_args: {{lr: 0.01}}}}
lr_scheduler: WarmupCosine
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """An empty current folder, and the process's own words back afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tracknet"])


def write_config(folder: Path, rallies: Path) -> Path:
    path = folder / "tiny.yaml"
    path.write_text(TINY.format(runs=folder / "runs", rallies=rallies))
    return path


@pytest.fixture(scope="module")
def run(tiny_rallies, tmp_path_factory) -> Path:
    """The folder of a finished training."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["tracknet"])
        assert main(["fit", "--config", str(write_config(folder, tiny_rallies))]) == 0
    return folder / "runs" / "tiny" / "version_0"


@pytest.fixture
def config(tmp_path, tiny_rallies) -> str:
    """A training that writes into the current folder."""
    return str(write_config(tmp_path, tiny_rallies))


@pytest.fixture
def best(run) -> str:
    return str(run / "checkpoints" / "best.ckpt")


def raising(error):
    def does():
        raise error

    return does


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def printed(capsys, *words):
    assert main([*words, "--print_config"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


class TestPrintConfig:
    def test_later_files_and_flags_win(self, capsys):
        words = ["fit", "--config", "configs/base.yaml", "--config", "configs/env/cluster.yaml"]
        config = yaml.safe_load(printed(capsys, *words, "--optimizer.lr", "3e-4"))
        assert config["trainer"]["accelerator"] == "gpu"
        assert config["trainer"]["strategy"] == "ddp"
        assert config["trainer"]["max_epochs"] == 30
        assert config["data"]["init_args"]["num_workers"] == 8
        assert config["data"]["class_path"] == "tracknet.data.datamodules.FlatVideoDataModule"
        assert config["optimizer"]["init_args"]["lr"] == 3e-4
        assert not {"frames", "outputs", "size", "background"} & config["data"]["init_args"].keys()

    def test_ones_own_file_comes_first(self, tmp_path, capsys):
        (tmp_path / "configs" / "env").mkdir(parents=True)
        (tmp_path / "configs" / "env" / "cluster.yaml").write_text("trainer: {max_epochs: 77}\n")
        words = ["fit", "--config", "configs/base.yaml", "--config", "configs/env/cluster.yaml"]
        config = yaml.safe_load(printed(capsys, *words))
        assert config["trainer"]["max_epochs"] == 77
        assert config["trainer"]["strategy"] == "auto"

    def test_what_is_printed_gives_the_same_again(self, tmp_path, capsys):
        first = printed(
            capsys, "fit", "--config", "configs/base.yaml", "--config", "configs/model/compact.yaml"
        )
        (tmp_path / "printed.yaml").write_text(first)
        assert printed(capsys, "fit", "--config", "printed.yaml") == first

    def test_comments_come_from_the_docstrings(self, capsys):
        assert main(["fit", "--config", "base.yaml", "--print_config=comments"]) == 0
        out = capsys.readouterr().out
        lines = [line.strip() for line in out.splitlines()]
        at = lines.index("batch_size: 4")
        assert lines[at - 1].startswith("# Windows per batch (of each process).")
        assert yaml.safe_load(out)["model"]["init_args"]["input_size"] == [288, 512]

    def test_help_is_that_of_tracknet(self, capsys):
        assert main(["fit", "--help"]) == 0
        out = capsys.readouterr().out
        assert out.startswith("usage: tracknet ")
        assert "--trainer.max_epochs" in out
        assert main(["fit", "--model.help", "HeatmapTracker"]) == 0
        out = " ".join(capsys.readouterr().out.split())
        assert "Alpha of the Beta distribution of sample mixup" in out


class OnlyParsing(TrackNetCLI):
    """Builds and runs nothing."""

    def instantiate_classes(self):
        self.model = self.datamodule = self.trainer = None

    def _run_subcommand(self, subcommand):
        pass


@pytest.fixture(scope="module")
def parser():
    return OnlyParsing(["fit", "--config", str(library() / "base.yaml")])


@pytest.mark.parametrize(
    ("key", "name", "module"),
    [
        ("model", "HeatmapTracker", "tracknet.training.lightning_module"),
        ("model.network", "TrackNetV2", "tracknet.models"),
        ("model.network", "CompactTrackNet", "tracknet.models"),
        ("model.loss", "WBCELoss", "tracknet.training.losses"),
        ("model.loss", "FocalLoss", "tracknet.training.losses"),
        ("model.target", "DiscTarget", "tracknet.training.targets"),
        ("model.target", "GaussianTarget", "tracknet.training.targets"),
        ("model.decoder", "PeakDecoder", "tracknet.evaluation.decoding"),
        ("model.decoder", "ComponentDecoder", "tracknet.evaluation.decoding"),
        ("data", "FlatVideoDataModule", "tracknet.data.datamodules"),
        ("data", "TennisDataModule", "tracknet.data.datamodules"),
        ("data", "ShuttlecockDataModule", "tracknet.data.datamodules"),
        ("data", "GeneratedDataModule", "tracknet.data.datamodules"),
        ("trainer.logger", "RunLogger", "tracknet.training.loggers"),
        ("trainer.logger", "CSVLogger", "lightning.pytorch.loggers"),
        ("trainer.callbacks", "HeatmapImages", "tracknet.training.callbacks"),
        ("trainer.callbacks", "TrajectoryWriter", "tracknet.tracking.writer"),
        ("trainer.callbacks", "EMAWeightAveraging", "lightning.pytorch.callbacks"),
        ("optimizer", "SGD", "torch.optim"),
        ("optimizer", "MuonAdamW", "tracknet.training.optimizers"),
        ("lr_scheduler", "WarmupCosine", "tracknet.training.schedules"),
        ("lr_scheduler", "CosineAnnealingLR", "torch.optim.lr_scheduler"),
    ],
)
def test_short_class_names(parser, key, name, module):
    more = {
        "CosineAnnealingLR": ["--lr_scheduler.T_max=3"],
        "SGD": ["--optimizer.lr=1"],
        "CSVLogger": ["--trainer.logger.save_dir=runs"],
    }
    words = ["fit", "--config", str(library() / "base.yaml"), f"--{key}={name}", *more.get(name, [])]
    parser.parse_arguments(parser.parser, words)
    chosen = parser.config["fit"]
    for part in key.split("."):
        chosen = chosen[part] if part in chosen else chosen["init_args"][part]
    chosen = chosen[0] if isinstance(chosen, list) else chosen
    assert chosen["class_path"] == f"{module}.{name}"


class TestLinks:
    @pytest.mark.parametrize(
        ("words", "expected", "step"),
        [
            ([], (4, 4, (64, 96), True), None),
            (["--model.network.frames=6", "--model.input_size=[32,48]"], (6, 6, (32, 48), True), None),
            (["--model.network.background=none"], (4, 4, (64, 96), False), None),
            (["--model.eval_mode=average"], (4, 4, (64, 96), True), 1),
            (["--model.eval_mode=average", "--model.eval_step=3"], (4, 4, (64, 96), True), 3),
        ],
    )
    def test_the_data_follow_the_model(self, config, words, expected, step):
        cli = TrackNetCLI(["--config", config, *words], run=False)
        data, model = cli.datamodule, cli.model
        assert data.eval_step == model.eval_step == step
        assert (data.frames, data.outputs, data.size, data.background) == expected
        assert (model.frames, model.outputs, model.input_size, model.needs_background) == expected


def test_a_device_is_kept_as_text(config):
    words = ["--trainer.callbacks+=StochasticWeightAveraging", "--trainer.callbacks.swa_lrs=0.01"]
    cli = TrackNetCLI(["--config", config, *words], run=False)
    kept = yaml.safe_load(cli.parser.dump(cli.config))["trainer"]["callbacks"][-1]
    assert kept["class_path"].endswith(".StochasticWeightAveraging")
    assert kept["init_args"]["device"] == "cpu"


class TestSchedules:
    @pytest.fixture
    def optimizer(self):
        return SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)

    def test_warmup_cosine_follows_the_steps_of_the_trainer(self, optimizer):
        class Module:
            class trainer:  # noqa: N801
                estimated_stepping_batches = 40

        schedule = WarmupCosine(optimizer, warmup=0.5)
        given = TrackNetCLI.configure_optimizers(Module(), optimizer, schedule)
        assert given["optimizer"] is optimizer
        assert given["lr_scheduler"] == {"scheduler": schedule, "interval": "step"}
        assert schedule.total_steps == 40

    def test_pytorchs_own_step_with_the_epochs(self, optimizer):
        given = TrackNetCLI.configure_optimizers(None, optimizer, StepLR(optimizer, 3))
        assert given["lr_scheduler"]["interval"] == "epoch"

    def test_pytorchs_own_that_count_steps(self, optimizer):
        module = SimpleNamespace(trainer=SimpleNamespace(estimated_stepping_batches=8))
        cycle = OneCycleLR(optimizer, max_lr=1.0, total_steps=8)
        for schedule in (cycle, CyclicLR(optimizer, base_lr=0.1, max_lr=1.0)):
            given = TrackNetCLI.configure_optimizers(module, optimizer, schedule)
            assert given["lr_scheduler"] == {"scheduler": schedule, "interval": "step"}
        module.trainer.estimated_stepping_batches = 9
        with pytest.raises(
            UsageError, match=r"ends after 8, but the run has 9; set lr_scheduler\.total_steps=9"
        ):
            TrackNetCLI.configure_optimizers(module, optimizer, cycle)

    def test_a_plateau_watches_its_figure(self, optimizer):
        from lightning.pytorch.cli import ReduceLROnPlateau

        schedule = ReduceLROnPlateau(optimizer, monitor="val/f1")
        module = SimpleNamespace(trainer=SimpleNamespace(check_val_every_n_epoch=3))
        given = TrackNetCLI.configure_optimizers(module, optimizer, schedule)
        assert given["lr_scheduler"] == {"scheduler": schedule, "monitor": "val/f1", "frequency": 3}
        other = ReduceLROnPlateau(optimizer, monitor="train/loss")
        given = TrackNetCLI.configure_optimizers(module, optimizer, other)
        assert given["lr_scheduler"] == {"scheduler": other, "monitor": "train/loss"}

    def test_none(self, optimizer):
        assert TrackNetCLI.configure_optimizers(None, optimizer, None) is optimizer


class TestARun:
    def test_its_folder_holds_everything(self, run):
        found = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
        events = {name for name in found if name.startswith("events.out.tfevents")}
        assert len(events) == 1
        assert found - events == {
            *("config.yaml", "hparams.yaml", "metrics.csv", "curves.png"),
            *("checkpoints/best.ckpt", "checkpoints/last.ckpt"),
        }
        steps = [row for row in rows(run / "metrics.csv") if row["train/loss_step"]]
        assert [row["step"] for row in steps] == ["0", "1"]
        assert sum(bool(row["val/f1"]) for row in rows(run / "metrics.csv")) == 1

    def test_the_same_config_gives_the_same_figures(self, run, tmp_path, capsys):
        words = ["fit", "--config", str(run / "config.yaml"), "--trainer.logger.save_dir=again"]
        assert main(words) == 0
        again = tmp_path / "again" / "tiny" / "version_0"
        assert rows(again / "metrics.csv") == rows(run / "metrics.csv")
        assert (again / "config.yaml").read_text() == (run / "config.yaml").read_text().replace(
            str(run.parents[1]), "again"
        )
        first, second = (
            torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
            for folder in (run, again)
        )
        assert all(torch.equal(first[name], second[name]) for name in first)
        said = capsys.readouterr().out
        place = Path("again/tiny/version_0")
        assert f"run:        {place}\n" in said
        assert f"test:       tracknet test --ckpt_path {place}/checkpoints/best.ckpt\n" in said
        assert f"repeat:     tracknet fit --config {place}/config.yaml\n" in said

    def test_test_takes_the_checkpoints_config_and_leaves_it_alone(self, run, best, tmp_path, capsys):
        before = (run / "config.yaml").read_bytes()
        assert main(["test", "--ckpt_path", best, "--trainer.logger.save_dir=figures"]) == 0
        folder = tmp_path / "figures" / "tiny" / "version_0"
        figures = json.loads((folder / "test.json").read_text())
        assert figures["metric"] == "tracknetv2: d <= 4 px at 288x512"
        assert sum(figures[name] for name in ("tp", "fp1", "fp2", "tn", "fn")) == 17
        assert [row["clip"] for row in rows(folder / "test_clips.csv")] == ["d"]
        assert (folder / "test.png").stat().st_size > 0
        assert (run / "config.yaml").read_bytes() == before
        said = capsys.readouterr().out
        assert "test figures (tracknetv2: d <= 4 px at 288x512):" in said
        # What `track` would write is judged, too.
        assert f"tracked: f1 {figures['f1']:.4f} -> {figures['tracked_f1']:.4f}, precision" in said
        saved = yaml.safe_load((folder / "config_test.yaml").read_text())
        assert saved["ckpt_path"] == best

    def test_test_in_the_runs_own_folder(self, tmp_path, config):
        assert main(["fit", "--config", config, "--trainer.logger.version=mine"]) == 0
        run = tmp_path / "runs" / "tiny" / "mine"
        before = (run / "config.yaml").read_bytes()
        assert main(["test", "--ckpt_path", str(run / "checkpoints" / "best.ckpt")]) == 0
        assert (run / "test.json").is_file()
        assert (run / "config_test.yaml").is_file()
        assert (run / "config.yaml").read_bytes() == before

    def test_flags_win_over_the_checkpoints_settings(self, best, tmp_path):
        words = ["--trainer.logger.save_dir=figures", "--model.metrics.preset=wasb", "--data.test=[a]"]
        assert main(["test", "--ckpt_path", best, *words, "--tracker", "none"]) == 0
        figures = json.loads((tmp_path / "figures" / "tiny" / "version_0" / "test.json").read_text())
        assert figures["metric"].startswith("wasb: ")
        assert "tracked_f1" not in figures
        assert sum(figures[name] for name in ("tp", "fp1", "fp2", "tn", "fn")) == 21

    def test_validate(self, run, best, tmp_path, capsys):
        words = ["--ckpt_path", best, "--trainer.logger.save_dir=figures"]
        assert main(["validate", "--config", str(run / "config.yaml"), *words]) == 0
        (after,) = (row for row in rows(tmp_path / "figures/tiny/version_0/metrics.csv") if row["val/loss"])
        (while_training,) = (row for row in rows(run / "metrics.csv") if row["val/loss"])
        assert float(after["val/loss"]) == pytest.approx(float(while_training["val/loss"]), rel=1e-4)
        for name in ("val/tp", "val/fp1", "val/fp2", "val/tn", "val/fn"):
            assert after[name] == while_training[name]

    def test_predict(self, best, tmp_path):
        assert main(["predict", "--ckpt_path", best, "--trainer.logger.save_dir=figures"]) == 0
        found = read_trajectory(tmp_path / "figures" / "tiny" / "version_0" / "predictions" / "d.csv")
        assert [row.frame for row in found] == list(range(17))

    def test_predict_fills_gaps(self, best, tmp_path, capsys):
        words = ["--trainer.logger.save_dir=figures", "--rectifier", "cubic", "--max_gap", "3"]
        assert main(["predict", "--ckpt_path", best, *words]) == 0
        found = tmp_path / "figures" / "tiny" / "version_0" / "predictions" / "d.csv"
        assert found.read_text().startswith("Frame,Visibility,X,Y,Confidence,Filled\n")
        assert [row.frame for row in read_trajectory(found)] == list(range(17))
        assert " frames filled)" in capsys.readouterr().out

    @pytest.mark.parametrize("option", ["--rectifier linear", "--tracker online"])
    def test_predict_without_what_writes_cannot_fill_or_choose(self, best, capsys, option):
        words = ["--trainer.callbacks", "[]", *option.split()]
        assert main(["predict", "--ckpt_path", best, *words]) == 2
        told = f"{option.split()[0]}: no TrajectoryWriter among trainer.callbacks"
        assert told in capsys.readouterr().err

    def test_a_tracker_by_another_name(self, best, capsys):
        assert main(["test", "--ckpt_path", best, "--tracker", "fligt"]) == 2
        assert "did you mean 'flight'?" in capsys.readouterr().err

    def test_the_checkpoint_alone_tracks_a_video(self, best, tiny_rallies, tmp_path):
        alone = tmp_path / "moved.ckpt"
        alone.write_bytes(Path(best).read_bytes())
        assert main(["track", str(tiny_rallies / "b.mp4"), "--ckpt", str(alone)]) == 0
        assert [row.frame for row in read_trajectory(tmp_path / "b_ball.csv")] == list(range(19))

    def test_going_on_from_a_checkpoint(self, run, tmp_path):
        last = str(run / "checkpoints" / "last.ckpt")
        words = ["--trainer.max_epochs=2", "--trainer.logger.save_dir=more"]
        assert main(["fit", "--ckpt_path", last, *words]) == 0
        folder = tmp_path / "more" / "tiny" / "version_0"
        content = torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)
        assert content["global_step"] == 4
        steps = [row["step"] for row in rows(folder / "metrics.csv") if row["train/loss_step"]]
        assert steps == ["2", "3"]

    def test_another_network_than_the_checkpoints(self, config, best, capsys, tmp_path):
        assert main(["test", "--config", config, "--ckpt_path", best, "--model.network.stem=6"]) == 2
        said = (
            r"tracknet test: --ckpt_path: the checkpoint holds another network than the configuration names "
            r"\(network\.stem\.0\.0\.weight is \[4, (\d+), 3, 3\], expected \[6, \1, 3, 3\] and \d+ more\); "
            r"without --config, that of the checkpoint's own run is taken\n"
        )
        assert re.search(said, capsys.readouterr().err)

    def test_what_is_no_checkpoint(self, run, capsys):
        metrics = run / "metrics.csv"
        words = ["--config", str(run / "config.yaml"), "--ckpt_path", str(metrics)]
        assert main(["validate", *words]) == 1
        said = capsys.readouterr().err
        assert said == (
            f"tracknet validate: {metrics}: not a readable checkpoint: it is not a file of PyTorch\n"
        )


class OnTheHardest(Callback):
    """One whose ``mode`` does not say what is better."""


class TestFailures:
    def test_faults_of_the_data_stop_it_before_anything_is_written(self, tiny_rallies, tmp_path, capsys):
        rallies = tmp_path / "rallies"
        rallies.mkdir()
        for path in tiny_rallies.iterdir():
            (rallies / path.name).write_bytes(path.read_bytes())
        (rallies / "a.csv").write_text("Frame,Visibility,X,Y\n0,1,5,5\n1,1,five,5\n2,7,5,5\n")
        (rallies / "e.csv").write_text("Frame,Visibility,X,Y\n0,1,5,5\n")
        assert main(["fit", "--config", str(write_config(tmp_path, rallies))]) == 1
        said = capsys.readouterr().err
        assert said.startswith("tracknet fit: ")
        assert "a.csv" in said
        assert "five" in said
        assert "7" in said
        assert "e.csv" in said
        assert "Traceback" not in said
        assert not (tmp_path / "runs").exists()

    def test_no_such_folder_of_data(self, config, tmp_path, capsys):
        assert main(["fit", "--config", config, "--data.root=nowhere"]) == 2
        assert "tracknet fit: data.root: there is no folder nowhere" in capsys.readouterr().err
        assert not (tmp_path / "runs").exists()

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--optimizer.lr=-1"], "optimizer: AdamW does not take its values: Invalid learning rate: -1"),
            (["--optimizer.betas=[0.9,1.5]"], "optimizer: AdamW does not take its values: Invalid beta"),
            (
                ["--lr_scheduler=OneCycleLR", "--lr_scheduler.max_lr=1"],
                "lr_scheduler: OneCycleLR does not take its values: You must define either total_steps",
            ),
            (
                ["--lr_scheduler=ReduceLROnPlateau", "--lr_scheduler.monitor=val/f1"],
                "lr_scheduler.mode: ReduceLROnPlateau takes the worse val/f1 for the better: expected max, "
                "found min",
            ),
            (
                ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/recall"],
                "EarlyStopping takes the worse val/recall for the better: expected max, found min",
            ),
            (
                [
                    "--trainer.callbacks+=ModelCheckpoint",
                    "--trainer.callbacks.monitor=val/loss",
                    "--trainer.callbacks.mode=max",
                ],
                "ModelCheckpoint takes the worse val/loss for the better: expected min, found max",
            ),
            (
                ["--trainer.callbacks+=EarlyStopping", "--trainer.callbacks.monitor=val/loss"]
                + ["--trainer.limit_val_batches=0"],
                "EarlyStopping waits for val/loss, but trainer.limit_val_batches=0 leaves no validation",
            ),
            (["--trainer.accumulate_grad_batches=0"], "expected a number from 1, found 0"),
            (["--trainer.check_val_every_n_epoch=0"], "expected a number from 1, found 0"),
            (["--trainer.gradient_clip_val=-1"], "expected a number from 0, found -1"),
            (
                ["--trainer.accelerator=cpuu"],
                "trainer.accelerator: expected one of auto, gpu, cpu, cuda, mps, tpu, found 'cpuu'; did you "
                "mean 'cpu'?",
            ),
            (["--trainer.strategy=ddpp"], "found 'ddpp'; did you mean 'ddp'?"),
            (["--trainer.val_check_interval=500"], "trainer.val_check_interval: "),
            (
                ["--trainer.max_epochs=-1", "--trainer.max_time=00:00:01:00", "--lr_scheduler=WarmupCosine"],
                "lr_scheduler: WarmupCosine follows the length of the run",
            ),
            (
                [
                    "--trainer.callbacks+=ModelCheckpoint",
                    "--trainer.callbacks.filename=a",
                    "--trainer.callbacks+=ModelCheckpoint",
                    "--trainer.callbacks.filename=b",
                ],
                "trainer.callbacks: two ModelCheckpoint that checkpoints could not tell apart",
            ),
        ],
    )
    def test_numbers_that_lightning_and_torch_find_out_late(self, config, words, said, tmp_path, capsys):
        assert main(["fit", "--config", config, *words]) == 2
        told = capsys.readouterr().err
        assert said in told
        assert "Traceback" not in told
        if "does not take" in said or "expected" in said or "waits for" in said:
            assert main(["config", "check", config, *words]) == 2
            assert said in capsys.readouterr().out
            assert not (tmp_path / "runs").exists()

    def test_a_run_that_takes_the_worse_for_the_better_can_still_go_on(self):
        values = Namespace(monitor="val/f1", mode="min")
        path = "lightning.pytorch.callbacks.EarlyStopping"
        stop = Namespace(class_path=path, init_args=values)
        config = Namespace(trainer=Namespace(callbacks=[stop]), lr_scheduler=None, ckpt_path=None)
        assert [at for at, _ in check_directions("", config)] == ["trainer.callbacks.0.init_args.mode"]
        config.ckpt_path = "last"
        assert not list(check_directions("", config))

    def test_the_figures_of_a_module_of_ones_own_are_its_own(self):
        path = "lightning.pytorch.callbacks.EarlyStopping"
        stop = Namespace(class_path=path, init_args=Namespace(monitor="val/loss", mode="max"))
        for module, refused in (
            ("tracknet.training.lightning_module.HeatmapTracker", True),
            ("own.Gain", False),
        ):
            model = Namespace(class_path=module)
            config = Namespace(model=model, trainer=Namespace(callbacks=[stop]), lr_scheduler=None)
            assert bool(list(check_directions("", config))) == refused

    @pytest.mark.parametrize(
        ("path", "monitor", "mode", "refused"),
        [
            ("lightning.pytorch.callbacks.EarlyStopping", "val/f1", "min", True),
            ("lightning.pytorch.callbacks.EarlyStopping", "val/error", "max", True),
            ("lightning.pytorch.callbacks.EarlyStopping", "val/within_4px", "min", True),
            ("tracknet.training.callbacks.MidEpochCheckpoint", "val/loss", "max", True),
            ("tests.cli.test_train_command.OnTheHardest", "train/loss", "max", False),
        ],
    )
    def test_what_takes_the_worse_for_the_better_alone_and_in_a_list(self, path, monitor, mode, refused):
        one = Namespace(class_path=path, init_args=Namespace(monitor=monitor, mode=mode))
        for callbacks, at in (one, ""), ([one], ".0"):
            config = Namespace(trainer=Namespace(callbacks=callbacks), lr_scheduler=None)
            found = [key for key, _ in check_directions("", config)]
            assert found == [f"trainer.callbacks{at}.init_args.mode"] * refused

    def test_what_a_class_of_ones_own_refuses_is_told_with_its_place(
        self, config, tmp_path, capsys, monkeypatch
    ):
        monkeypatch.syspath_prepend(tmp_path)
        (tmp_path / "net_of_mine.py").write_text(
            "from tracknet.models import CompactTrackNet\n"
            "from tracknet.tracking.export import GraphInfo\n"
            "def even(depth):\n"
            "    try:\n"
            "        [{}['no depth'] for _ in range(depth)]\n"
            "    except KeyError:\n"
            "        raise ValueError(f'depth must be even,\\nfound {depth}')\n"
            "class Mine(CompactTrackNet):\n"
            "    def __init__(self, depth: int = 3, bug: bool = False) -> None:\n"
            "        super().__init__()\n"
            "        GraphInfo.from_json('{}') if bug else even(depth)\n"
        )
        words = ["--config", config, "--model.network=net_of_mine.Mine"]
        assert main(["fit", *words]) == 2
        assert capsys.readouterr().err.splitlines()[-1] == (
            "tracknet fit: model.network: Mine does not take its values: ValueError: depth must be even, "
            f"found 3 ({tmp_path / 'net_of_mine.py'}:7)"
        )
        with pytest.raises(ValueError, match="not the metadata"):  # in the package itself: a traceback
            main(["fit", *words, "--model.network.bug=true"])

    def test_null_where_a_class_does_not_take_it(self, config, tmp_path, capsys):
        words = ["--data.batch_size=null", "--optimizer.init_args.lr=null", "--data.split=null"]
        assert main(["fit", "--config", config, *words]) == 2
        err = capsys.readouterr().err
        assert "2 faults\n  data.batch_size: expected a whole number above 0, found 'null'\n" in err
        assert "optimizer.lr: expected a number, found 'null'\n" in err
        assert not (tmp_path / "runs").exists()

    def test_a_plateau_is_looked_for_where_there_are_figures(self, config):
        words = ["--trainer.max_epochs=3", "--trainer.check_val_every_n_epoch=2"]
        words += ["--lr_scheduler=ReduceLROnPlateau", "--lr_scheduler.monitor=val/loss"]
        assert main(["fit", "--config", config, *words]) == 0

    def test_a_clip_that_is_not_there(self, config, tmp_path, capsys):
        assert main(["fit", "--config", config, "--data.val=[cc]"]) == 2
        assert "did you mean 'c'?" in capsys.readouterr().err
        assert not (tmp_path / "runs").exists()

    def test_a_runs_folder_that_cannot_be_made(self, config, tmp_path, capsys):
        (tmp_path / "runs").write_text("a file")
        assert main(["fit", "--config", config]) == 1
        said = capsys.readouterr().err
        assert said.splitlines()[-1].startswith(f"tracknet fit: {tmp_path / 'runs'}")
        assert "Traceback" not in said

    def test_no_logger_for_what_logs(self, config, tmp_path, capsys):
        (tmp_path / "rate.yaml").write_text("trainer: {callbacks+: [LearningRateMonitor]}")
        words = ["--config", "rate.yaml", "--trainer.logger=false"]
        assert main(["fit", "--config", config, *words]) == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert said.startswith(
            "tracknet fit: trainer.logger is off, but LearningRateMonitor has nothing to do"
        )
        assert main(["fit", "--config", config, *words, "+logging=none"]) == 0
        assert (tmp_path / "runs" / "checkpoints" / "last.ckpt").exists()
        assert "curves:" not in capsys.readouterr().out

    def test_an_accelerator_that_does_not_exist(self, config, capsys):
        assert main(["fit", "--config", config, "--trainer.accelerator=cpuu"]) == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert said.startswith("tracknet fit: trainer.accelerator: expected one of auto, gpu, cpu")

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (
                ["--model.input_size=[64,100]"],
                "model.input_size: CompactTrackNet needs sides divisible by 16, found [64, 100]",
            ),
            (
                ["--model.network=TrackNetV2", "--model.input_size=[60,96]"],
                "model.input_size: TrackNetV2 needs sides divisible by 8, found [60, 96]",
            ),
            (
                ["--data.crop=RandomCrop", "--data.crop.size=[80,64]"],
                "data.crop.size: larger than the picture: found [80, 64], input_size is [64, 96]",
            ),
            (
                ["--data.crop=RandomCrop", "--data.crop.size=[32,40]"],
                "data.crop.size: CompactTrackNet needs sides divisible by 16, found [32, 40]",
            ),
        ],
    )
    def test_a_size_that_the_network_cannot_halve(self, config, tmp_path, capsys, words, said):
        assert main(["fit", "--config", config, *words]) == 2
        assert capsys.readouterr().err.splitlines()[-1] == f"tracknet fit: {said}"
        assert not (tmp_path / "runs").exists()

    def test_a_fused_optimizer_whose_gradients_are_to_be_clipped(self, config, capsys):
        clipped = [
            "--trainer.gradient_clip_val=1",
            "--trainer.precision=bf16-mixed",
            "--trainer.accelerator=gpu",
        ]
        words = ["fit", "--config", config, *clipped, "--optimizer=AdamW", "--optimizer.fused=true"]
        assert main(words) == 2
        assert capsys.readouterr().err.splitlines()[-1] == (
            "tracknet fit: optimizer.fused: in mixed precision no gradients of a fused optimizer are "
            "clipped; set trainer.gradient_clip_val to 0, or leave fused out"
        )

    def test_a_loss_of_another_network(self, config, tmp_path, capsys):
        assert main(["fit", "--config", config, "--model.loss=GreyLevelLoss"]) == 2
        said = capsys.readouterr().err.splitlines()[-1]
        wrong = "GreyLevelLoss judges what only TrackNetV1 tells, found CompactTrackNet"
        assert said == f"tracknet fit: model.loss: {wrong}"
        assert not (tmp_path / "runs").exists()

    def test_what_a_class_says_to_its_own_arguments(self, config, capsys):
        assert main(["fit", "--config", config, "--model.decoder.window=2"]) == 2
        said = capsys.readouterr().err
        assert (
            said.splitlines()[-1] == "tracknet fit: PeakDecoder: window is 2; expected an odd number of cells"
        )
        assert "Traceback" not in said

    def test_a_figure_that_nobody_logs(self, config, capsys):
        words = ["--trainer.callbacks=ModelCheckpoint", "--trainer.callbacks.monitor=val/f2"]
        assert main(["fit", "--config", config, *words]) == 2
        said = capsys.readouterr().err.splitlines()[-1]
        assert said.startswith(
            "tracknet fit: trainer.callbacks.monitor: nothing logs 'val/f2'; did you mean 'val/f"
        )

    @pytest.mark.parametrize(
        ("error", "said"),
        [
            (torch.OutOfMemoryError("..."), "no memory left on the device; use a smaller --data.batch_size"),
            (
                OSError(28, "No space left on device"),
                "No space left on device; make room on that disk, or choose a folder on another one",
            ),
            (FileNotFoundError(2, "No such file or directory", "a.txt"), "a.txt: No such file or directory"),
        ],
    )
    def test_what_a_training_may_run_into(self, monkeypatch, capsys, error, said):
        monkeypatch.setattr(train, "TrackNetCLI", raising(error))
        assert main(["fit"]) == 1
        assert capsys.readouterr().err == f"tracknet fit: {said}\n"

    @pytest.mark.parametrize("error", [RuntimeError("a bug"), OSError("a bug"), BrokenPipeError(32, "gone")])
    def test_what_is_not_the_users_to_mend(self, monkeypatch, error):
        monkeypatch.setattr(train, "TrackNetCLI", raising(error))
        with pytest.raises(type(error)):
            train.main(["fit"])

    @pytest.mark.parametrize(("given", "code"), [(None, 0), (0, 0), (3, 3), ("why", 1)])
    def test_the_code_is_that_of_the_parser(self, monkeypatch, given, code):
        monkeypatch.setattr(train, "TrackNetCLI", raising(SystemExit(given)))
        assert train.main(["fit"]) == code


class TestStopping:
    def test_ctrl_c_saves_the_moment_and_keeps_the_best(self, config, tmp_path):
        """The one case that needs a process of its own: signals are the process's."""
        words = [
            sys.executable,
            "-u",
            "-m",
            "tracknet",
            "fit",
            "--config",
            config,
            "--trainer.max_epochs=500",
        ]
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            for line in process.stdout:
                if line.startswith("epoch 2"):
                    process.send_signal(signal.SIGINT)
                    break
            _, said = process.communicate()
        last = tmp_path / "runs" / "tiny" / "version_0" / "checkpoints" / "last.ckpt"
        assert process.returncode == 130, said
        assert said.splitlines()[-1] == (
            f"tracknet fit: stopped by Ctrl-C; to go on: tracknet fit --ckpt_path {last}"
        )
        assert "Traceback" not in said
        stopped = torch.load(last, weights_only=True)
        best = torch.load(last.with_name("best.ckpt"), weights_only=True)
        assert best["global_step"] % 2 == 0
        assert best["global_step"] <= 2 * 2 <= stopped["global_step"]

        epochs = stopped["epoch"] + 2
        words = [f"--trainer.max_epochs={epochs}", "--trainer.logger.save_dir=more"]
        assert main(["fit", "--ckpt_path", str(last), *words]) == 0
        resumed = tmp_path / "more" / "tiny" / "version_0" / "checkpoints" / "last.ckpt"
        assert torch.load(resumed, weights_only=True)["global_step"] == 2 * epochs

    @pytest.mark.usefixtures("plain_sigterm")
    def test_a_cluster_that_takes_the_machine_back(self, config, tmp_path, monkeypatch, capsys):
        def on_train_batch_end(self, outputs, batch, batch_idx):
            if self.global_step == 1:
                os.kill(os.getpid(), signal.SIGTERM)

        monkeypatch.setattr(HeatmapTracker, "on_train_batch_end", on_train_batch_end)
        assert main(["fit", "--config", config]) == 143
        last = tmp_path / "runs" / "tiny" / "version_0" / "checkpoints" / "last.ckpt"
        said = capsys.readouterr().err.splitlines()[-1]
        assert said == f"tracknet fit: stopped by SIGTERM; to go on: tracknet fit --ckpt_path {last}"
        assert torch.load(last, weights_only=True)["global_step"] == 1

    def test_before_anything_was_saved(self, config, monkeypatch, capsys):
        def interrupted(self):
            raise KeyboardInterrupt

        monkeypatch.setattr("tracknet.data.datamodules.FlatVideoDataModule.prepare_data", interrupted)
        assert main(["fit", "--config", config]) == 130
        said = capsys.readouterr().err.splitlines()[-1]
        assert said == "tracknet fit: stopped by Ctrl-C; nothing was saved"


def test_networks_of_the_package_are_those_that_can_be_chosen():
    assert {"CompactTrackNet", "TrackNetV2"} <= set(tracknet.models.__all__)


def test_a_lost_loader_worker_is_told_with_what_can_be_done(capsys):
    def lost():
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. \nand more")

    with pytest.raises(
        TrackNetError, match=r"\(pid 7\) is killed by signal: Killed: a process .*num_workers"
    ) as told:
        train.main(["fit"], lost)
    assert "--ckpt_path last" in str(told.value)


def test_a_whole_number_stays_one_whatever_the_order_of_its_types():
    parsed = Namespace(
        limit_train_batches=1.0, limit_val_batches=0.5, precision="32-true", devices=2, max_time=None
    )
    given = {"limit_train_batches": 1, "limit_val_batches": 0.5, "precision": "32-true", "devices": 2}
    train.keep_whole_numbers(parsed, given)
    assert type(parsed.limit_train_batches) is int
    assert parsed == Namespace(
        limit_train_batches=1, limit_val_batches=0.5, precision="32-true", devices=2, max_time=None
    )
    train.keep_whole_numbers(parsed, None)


def test_a_network_that_asks_for_plain_numbers_in_the_place_of_one_that_checks_them(monkeypatch, capsys):
    """The frames of CompactTrackNet are a PositiveInt, those of the other an int."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1])
    words = ["+model=compact", "--model.network.frames=5", "--model.network", "bright_network.BrightNetwork"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["tracknet"])
        assert main(["fit", *words, "--print_config"]) == 0
    network = yaml.safe_load(capsys.readouterr().out)["model"]["init_args"]["network"]
    assert network["class_path"] == "bright_network.BrightNetwork"
    assert network["init_args"]["frames"] == 5
