"""``--ckpt_path last``, ``best`` and folders, and ``tracknet checkpoint``, on a run of the real command."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.optim import AdamW

from tracknet.cli.main import main
from tracknet.cli.resuming import changes_since, resolve
from tracknet.errors import UsageError
from tracknet.training.callbacks.best_so_far import BestSoFar
from tracknet.training.checkpoint_format import check_seal, read_metadata, write_checkpoint
from tracknet.training.checkpoint_reading import read_checkpoint
from tracknet.training.lightning_module import HeatmapTracker

CONFIG = """
seed_everything: 3
trainer:
  accelerator: cpu
  max_epochs: 1
  limit_train_batches: 3
  limit_val_batches: 1
  num_sanity_val_steps: 0
  enable_progress_bar: false
  enable_model_summary: false
  logger:
    class_path: RunLogger
    init_args: {{save_dir: runs, name: tiny}}
  callbacks:
    - class_path: ModelCheckpoint
      init_args: {{monitor: val/f1, mode: max, filename: best}}
    - class_path: MidEpochCheckpoint
      init_args: {{filename: recent, enable_version_counter: false, every_n_train_steps: 1}}
    - class_path: ModelCheckpoint
      init_args: {{filename: last, enable_version_counter: false}}
model:
  class_path: HeatmapTracker
  init_args:
    network:
      class_path: CompactTrackNet
      init_args: {{frames: 3, background: concat, stem: 4, widths: [8, 8, 8]}}
    input_size: [64, 96]
data:
  class_path: FlatVideoDataModule
  init_args: {{root: {root}, val: [b], batch_size: 2}}
optimizer: AdamW
"""
CHECKPOINTS = Path("runs/tiny/version_0/checkpoints")
LAST, BEST, RECENT = (CHECKPOINTS / f"{name}.ckpt" for name in ("last", "best", "recent"))


@pytest.fixture(scope="module")
def made(tiny_rallies, tmp_path_factory):
    """A folder with a run in it, begun with the command that also resumes it."""
    folder = tmp_path_factory.mktemp("resuming")
    rallies = folder / "rallies"
    shutil.copytree(tiny_rallies, rallies)
    (folder / "run.yaml").write_text(CONFIG.format(root=rallies))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(["fit", "--config", "run.yaml", "--ckpt_path", "last"]) == 0
    return folder


@pytest.fixture
def run(made, tmp_path, monkeypatch):
    """A copy of that folder, the current one."""
    shutil.copytree(made, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def fit(*words):
    return main(["fit", *words])


def notes(caplog):
    return [one.getMessage() for one in caplog.records if one.getMessage().startswith("note: ")]


def test_last_goes_on_and_says_what_has_changed(run, made, caplog):
    labels = made / "rallies" / "a.csv"
    before = labels.read_text()
    rows = before.splitlines(keepends=True)
    try:
        labels.write_text("".join(rows[:-1]))
        with caplog.at_level("INFO"):
            assert fit("--config", "run.yaml", "--ckpt_path", "last", "--trainer.max_epochs=2") == 0
    finally:
        labels.write_text(before)
    assert notes(caplog) == [
        f"note: --ckpt_path last: {LAST}",
        f"note: another setting than in the run of {LAST}: ~ trainer.max_epochs: 1 -> 2",
        f"note: {made / 'rallies'}: not the data that the checkpoint's run learned from: "
        "train clips: 1 changed (a)",
    ]
    (end,) = run.glob("runs/tiny/version_1/checkpoints/last.ckpt")
    assert read_metadata(end)["step"] == 6


def test_last_and_best_are_found_where_callbacks_write_them(run):
    config = yaml.safe_load(Path("run.yaml").read_text())
    config["trainer"]["logger"]["init_args"]["save_dir"] = "logs"
    for one in config["trainer"]["callbacks"]:
        one["init_args"]["dirpath"] = "kept"
    config["trainer"]["callbacks"][0]["init_args"]["filename"] = "best_{epoch}"
    Path("moved.yaml").write_text(yaml.safe_dump(config))
    Path("kept").mkdir()
    words = ["--config=moved.yaml", "--ckpt_path"]
    told = "no checkpoint under logs/tiny or kept yet; training begins anew"
    assert resolve([*words, "last"], "fit").notes == [told]
    with pytest.raises(UsageError, match=r"best: no checkpoint to go on from under logs/tiny or kept$"):
        resolve([*words, "best"], "fit")
    # The newest one is of a run with another name.
    for name in ("best_epoch=0", "last-v1", "last_of_another"):
        shutil.copy(LAST, f"kept/{name}.ckpt")
    for name, found in (("last", "last-v1"), ("best", "best_epoch=0")):
        assert f"--ckpt_path=kept/{found}.ckpt" in resolve([*words, name], "fit").words


def test_an_option_that_is_newer_than_the_run_and_not_set_is_no_change(run):
    config = yaml.safe_load((LAST.parents[1] / "config.yaml").read_text())
    config["model"]["init_args"] |= {"newer": None, "newest": 2}
    assert changes_since(LAST, yaml.safe_dump(config)) == ["+ model.newest: 2"]


def test_what_comes_back_with_the_checkpoint_is_told(run, caplog):
    words = ["--ckpt_path", str(LAST), "--trainer.max_epochs=2", "--optimizer.lr=0.5"]
    with caplog.at_level("INFO"):
        assert fit(*words) == 0
    changed = f"note: another setting than in the run of {LAST}: ~ optimizer.lr: 0.001 -> 0.5"
    assert f"{changed} (without effect: that of the checkpoint comes back with its state)" in notes(caplog)
    (end,) = run.glob("runs/tiny/version_1/checkpoints/last.ckpt")
    assert read_checkpoint(end)["optimizer_states"][0]["param_groups"][0]["lr"] == 0.001


def test_a_cosine_goes_on_with_the_length_of_the_run(run, caplog):
    words = ["--config", "run.yaml", "--lr_scheduler=CosineAnnealingLR", "--trainer.logger.name=cosine"]
    longer = [*words, "--trainer.max_epochs=3", "--lr_scheduler.T_max=6"]
    assert fit(*longer) == 0
    assert fit(*words, "--trainer.max_epochs=2", "--lr_scheduler.T_max=2") == 0
    with caplog.at_level("INFO"):
        assert fit(*longer, "--ckpt_path=last") == 0
    assert [note for note in notes(caplog) if note.endswith("~ lr_scheduler.T_max: 2 -> 6")]
    found = [
        read_checkpoint(next(run.glob(f"runs/cosine/version_{one}/checkpoints/last.ckpt"))) for one in (0, 2)
    ]
    straight, resumed = (one["optimizer_states"][0]["param_groups"][0]["lr"] for one in found)
    assert resumed == pytest.approx(straight, rel=1e-12)
    schedules = [one["lr_schedulers"][0] for one in found]
    assert [one["T_max"] for one in schedules] == [6, 6]
    assert [one["last_epoch"] for one in schedules] == [3, 3]


def test_another_optimizer_cannot_go_on(run, capsys):
    assert fit("--ckpt_path", str(LAST), "--trainer.max_epochs=2", "--optimizer=SGD") == 2
    said = capsys.readouterr().err
    assert f"optimizer: {LAST} holds the state of AdamW, which SGD cannot take up; leave" in said
    assert "Traceback" not in said


def test_one_cycle_cannot_be_made_longer(run, capsys):
    words = ["--config", "run.yaml", "--lr_scheduler=OneCycleLR", "--lr_scheduler.max_lr=0.1"]
    assert fit(*words, "--lr_scheduler.total_steps=3") == 0
    more = [*words, "--ckpt_path=last", "--trainer.max_epochs=2"]
    assert fit(*more, "--lr_scheduler.total_steps=3") == 2
    assert "but the run has 6; set lr_scheduler.total_steps=6 in a new run" in capsys.readouterr().err
    assert fit(*more, "--lr_scheduler.total_steps=6") == 2
    said = capsys.readouterr().err
    assert "holds a OneCycleLR that was begun with 3 and cannot be made another length, found 6" in said
    assert "PretrainedWeights" in said
    assert "Traceback" not in said


def test_nothing_left_to_train_is_told(run, caplog):
    nothing = "note: nothing was left to train: the checkpoint has 3 steps already"
    with caplog.at_level("INFO"):
        assert fit("--ckpt_path", str(LAST)) == 0
    assert nothing in "\n".join(notes(caplog))
    caplog.clear()
    with caplog.at_level("INFO"):  # in its own folder, where the checkpoint is overwritten
        assert fit(f"--ckpt_path={LAST}", "--trainer.logger.version=version_0", "--trainer.max_epochs=2") == 0
    assert "nothing was left" not in "\n".join(notes(caplog))


TABLES = {
    "CSVLogger": """
    class_path: CSVLogger
    init_args: {save_dir: runs, name: own, version: v}
""",
    "both": """
    - class_path: RunLogger
      init_args: {save_dir: runs, name: own, version: v}
    - class_path: CSVLogger
      init_args: {save_dir: runs, name: files, version: v}
""",
}


@pytest.mark.parametrize("loggers", TABLES)
def test_figures_go_on_in_their_folder(run, loggers, capsys):
    Path("own.yaml").write_text(f"trainer:\n  log_every_n_steps: 1\n  logger!:{TABLES[loggers]}")
    words = ["--config", "run.yaml", "--config", "own.yaml", "--ckpt_path", "last"]

    def judged(table):
        with table.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if not row.get("test/f1")]
        steps = [int(row["step"]) for row in rows]
        assert steps == sorted(steps)
        return [int(row["step"]) for row in rows if row["val/f1"]]

    assert fit(*words) == 0
    shown = "runs/own/v/metrics.csv" if loggers == "CSVLogger" else "tensorboard --logdir runs/own/v"
    assert f"curves:     {shown}\n" in capsys.readouterr().out
    tables = list(Path("runs").glob("*/v/metrics.csv"))
    assert len(tables) == len(TABLES[loggers].split("class_path")) - 1
    for table in tables:
        assert judged(table) == [2]
    shutil.copytree("runs", "kept")
    assert fit(*words, "--trainer.max_epochs=2") == 0
    for table in tables:
        assert judged(table) == [2, 5]
    # What a kill behind the last checkpoint leaves: figures of steps that are trained anew.
    for path in Path("kept").rglob("*.ckpt"):
        shutil.copy(path, Path("runs", *path.parts[1:]))
    assert fit(*words, "--trainer.max_epochs=2") == 0
    for table in tables:
        assert judged(table) == [2, 5]
    assert main(["test", "--ckpt_path", "runs/own/v/checkpoints/last.ckpt", "--data.test=[b]"]) == 0
    for table in tables:
        assert judged(table) == [2, 5]


class Judge(Callback):
    """Gives each epoch a figure of its own."""

    def on_validation_epoch_end(self, trainer, pl_module):
        pl_module.log("val/judged", [5.0, 3.0, 9.0, 4.0][trainer.current_epoch])


JUDGED = """
trainer:
  max_epochs: 2
  logger: {{init_args: {{name: judged}}}}
  callbacks!:
    - test_resuming_command.Judge
    - class_path: ModelCheckpoint
      init_args: {{monitor: val/judged, mode: min, filename: "{name}", save_top_k: {count}}}
    - class_path: ModelCheckpoint
      init_args: {{filename: last, enable_version_counter: false}}
    - RunRecord
"""


@pytest.fixture
def judged(run, monkeypatch):
    """Give what trains a run of which the second of four epochs is the best, two epochs at first."""
    monkeypatch.setitem(sys.modules, "test_resuming_command", sys.modules[__name__])

    def train(*words, name="best", count=1):
        Path("judged.yaml").write_text(JUDGED.format(name=name, count=count))
        assert fit("--config", "run.yaml", "--config", "judged.yaml", *words) == 0

    return train


GONE_ON = Path("runs/judged/version_1")


def steps_in(folder):
    return {path.stem: read_metadata(path)["step"] for path in folder.glob("*.ckpt")}


def test_the_best_so_far_stays_the_best_in_a_new_folder(judged, capsys):
    judged()
    capsys.readouterr()
    judged("--ckpt_path=last", "--trainer.max_epochs=3")
    best = GONE_ON / "checkpoints" / "best.ckpt"
    assert f"best:       {best}  (val/judged 3.0000)" in capsys.readouterr().out
    assert steps_in(best.parent) == {"best": 6, "last": 9}
    told = json.loads((GONE_ON / "run.json").read_text())["best"]
    assert (told["monitor"], told["value"], told["step"]) == ("val/judged", 3.0, 6)
    # The newest checkpoint is still the one to go on from.
    judged("--ckpt_path=last", "--trainer.max_epochs=4")
    assert json.loads((GONE_ON.parent / "version_2" / "run.json").read_text())["best"]["value"] == 3.0


def test_so_do_several(judged):
    judged(name="{epoch}", count=3)
    judged("--ckpt_path=last", "--trainer.max_epochs=4", name="{epoch}", count=3)
    assert steps_in(GONE_ON / "checkpoints") == {"epoch=0": 3, "epoch=1": 6, "epoch=3": 12, "last": 12}
    judged("--trainer.logger.name=every", name="{epoch}", count=-1)
    words = ["--trainer.logger.name=every", "--ckpt_path=last", "--trainer.max_epochs=3"]
    judged(*words, name="{epoch}", count=-1)
    found = steps_in(Path("runs/every/version_1/checkpoints"))
    assert found == {"epoch=1": 6, "epoch=2": 9, "last": 9}


def test_the_best_so_far_is_taken_from_beside_the_checkpoint_alone(judged, caplog):
    judged()
    checkpoints = GONE_ON.parent / "version_0" / "checkpoints"
    alone = Path("alone")
    alone.mkdir()
    shutil.copy(checkpoints / "last.ckpt", alone)

    def gone_on(version, said):
        caplog.clear()
        words = [f"--ckpt_path={alone}/last.ckpt", f"--trainer.logger.version={version}"]
        with caplog.at_level("INFO"):
            judged(*words, "--trainer.max_epochs=3")
        told = f"note: a best checkpoint so far (val/judged 3.0000) is not taken along: {said}"
        assert any(note.startswith(told) for note in notes(caplog))
        folder = GONE_ON.parent / version
        assert steps_in(folder / "checkpoints")["best"] == 9
        assert json.loads((folder / "run.json").read_text())["best"]["value"] == 9.0

    gone_on("a", f"{alone}/best.ckpt: no such checkpoint")
    # One of a later epoch; then a damaged one.
    shutil.copy(GONE_ON.parent / "a" / "checkpoints" / "last.ckpt", alone / "best.ckpt")
    gone_on("b", f"{alone}/best.ckpt: not the one that {alone}/last.ckpt tells of")
    shutil.copy(checkpoints / "best.ckpt", alone)
    flip(alone / "best.ckpt")
    gone_on("c", f"{alone}/best.ckpt: not a readable checkpoint")


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state.update(best_k_models={"best.ckpt": "low"}),
        lambda state: state.update(best_k_models=["best.ckpt"]),
        lambda state: state.pop("dirpath"),
        lambda state: state.update(current_score=None),
    ],
)
def test_a_best_so_far_that_is_told_wrongly_is_passed_over(judged, change, tmp_path):
    judged()
    checkpoints, own = GONE_ON.parent / "version_0" / "checkpoints", tmp_path / "own"
    own.mkdir()
    contents = {}
    for name in ("best.ckpt", "last.ckpt"):
        contents[name] = read_checkpoint(checkpoints / name)
        key = next(key for key, one in contents[name]["callbacks"].items() if one.get("monitor"))
        change(contents[name]["callbacks"][key])
        write_checkpoint(contents[name], own / name)
    judge = ModelCheckpoint(tmp_path / "new", monitor="val/judged", mode="min")
    trainer = SimpleNamespace(
        ckpt_path=str(own / "last.ckpt"),
        is_global_zero=True,
        checkpoint_callbacks=[judge],
        strategy=SimpleNamespace(broadcast=lambda taken: taken),
    )
    content = contents["last.ckpt"]
    content["callbacks"][judge.state_key] = content["callbacks"][key]
    BestSoFar().on_load_checkpoint(trainer, None, content)
    assert len(list(tmp_path.glob("new/*.ckpt"))) <= 1


def test_a_checkpoint_that_lies_by_itself_brings_its_configuration(run, tmp_path, capsys):
    alone = tmp_path / "alone" / "b.ckpt"
    alone.parent.mkdir()
    shutil.copy(BEST, alone)
    assert main(["validate", "--ckpt_path", str(alone)]) == 0
    assert fit("--ckpt_path", str(alone), "--trainer.max_epochs=2") == 0
    capsys.readouterr()
    (run / "mine.py").write_text("from tracknet.training.losses import WBCELoss\nclass Own(WBCELoss): ...\n")
    assert main(["validate", "--ckpt_path", str(alone), "--model.loss=mine.Own"]) == 2
    assert "no class 'mine.Own'" in capsys.readouterr().err


def test_a_damaged_checkpoint_by_itself_is_told_as_such(tmp_path, run, capsys):
    alone = tmp_path / "b.ckpt"
    alone.write_bytes(BEST.read_bytes()[:5000])
    assert main(["validate", "--ckpt_path", str(alone)]) == 1
    assert f"{alone}: not a readable checkpoint: " in capsys.readouterr().err


def test_without_a_figure_to_judge_by_the_newest_one_is_told(run, capsys):
    assert fit("--config", "run.yaml", "--trainer.callbacks=null") == 0
    said = capsys.readouterr().out
    assert "newest:     runs/tiny/version_1" in said
    assert "best:" not in said


def test_the_end_before_a_validation_is_told_in_words(run, capsys, recwarn):
    assert fit("--config", "run.yaml", "--trainer.max_steps=1", "--trainer.limit_train_batches=2") == 0
    [said] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("newest:")]
    assert said.endswith("last.ckpt  (this training ended before a validation that measures val/f1)")
    assert not [one for one in recwarn if "monitored key" in str(one.message)]


def test_a_damaged_last_is_passed_over_for_the_one_before(run, caplog):
    flip(LAST)
    with caplog.at_level("INFO"):
        assert fit("--ckpt_path", str(run / "runs" / "tiny"), "--trainer.max_epochs=2") == 0
    damaged, taken, _ = notes(caplog)
    assert damaged.endswith(
        "last.ckpt: not a readable checkpoint: it is damaged: its SHA-256 is not that of its writing; "
        "the one before it is taken"
    )
    assert taken.endswith((f"runs/tiny: {run / RECENT}", f"runs/tiny: {run / BEST}"))
    (end,) = run.glob("runs/tiny/version_1/checkpoints/last.ckpt")
    assert read_metadata(end)["step"] == 6


def test_best_is_tested(run, capsys):
    assert main(["test", "--config", "run.yaml", "--ckpt_path=best"]) == 0
    assert (run / "runs/tiny/version_1/config_test.yaml").read_text().count(f"ckpt_path: {BEST}") == 1


def test_what_cannot_be_gone_on_from(run, capsys):
    def said(code, *words):
        assert main(list(words)) == code
        return capsys.readouterr().err.splitlines()[-1]

    assert main(["checkpoint", "prune", str(LAST), "--output", "small.ckpt"]) == 0
    assert "--ckpt_path: small.ckpt holds no state of training" in said(
        2, "fit", "--ckpt_path", "small.ckpt", "--config", "run.yaml"
    )
    (run / "empty").mkdir()
    assert (
        said(2, "test", "--ckpt_path", "empty")
        == "tracknet test: --ckpt_path empty: no checkpoint under empty"
    )
    shutil.copy("small.ckpt", "empty")
    assert said(2, "fit", "--ckpt_path", "empty").endswith("no checkpoint to go on from under empty")
    for path in (LAST, BEST, RECENT):
        flip(path)
    assert "--ckpt_path: none of 3 checkpoints can be read: " in said(
        1, "fit", "--config", "run.yaml", "--ckpt_path", "last"
    )
    for words in (["track", "rallies/b.mp4", "--ckpt", str(LAST)], ["checkpoint", "inspect", str(LAST)]):
        assert "its SHA-256 is not that of its writing" in said(1, *words)


def test_inspect_and_verify(run, capsys):
    assert main(["checkpoint", "inspect", str(LAST)]) == 0
    said = capsys.readouterr().out
    assert f"SHA-256:    {read_metadata(LAST)['sha256']}, as written\n" in said
    assert f"data:       {read_metadata(LAST)['data']}\n" in said
    assert main(["checkpoint", "verify", str(LAST)]) == 0
    assert "all names and shapes fit" in capsys.readouterr().out
    flip(BEST)
    assert main(["checkpoint", "verify", "runs"]) == 1
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(f"{BEST}: not a readable checkpoint: ")
    assert said[1:] == [f"{LAST}: whole", f"{RECENT}: whole"]
    content = read_checkpoint(LAST)
    content["state_dict"]["network.predictor.weight"][0] = float("nan")
    write_checkpoint(content, Path("nan.ckpt"))
    assert main(["checkpoint", "verify", "nan.ckpt"]) == 1
    assert "weights that are not finite: network.predictor.weight;" in capsys.readouterr().err
    assert main(["checkpoint", "verify", "rallies"]) == 1


def test_diff(run, capsys):
    content = read_checkpoint(LAST)
    content["state_dict"]["network.predictor.bias"] = torch.tensor([2.0, 0.0, 0.0])
    write_checkpoint(content, Path("a.ckpt"), "trainer: {max_epochs: 1, devices: 2}\nseed: 1\n")
    content["state_dict"]["network.predictor.bias"] = torch.tensor([2.0, 1.0, 0.0])
    content["state_dict"]["extra"] = torch.zeros(1)
    write_checkpoint(content, Path("b.ckpt"), "trainer: {max_epochs: 2, accelerator: cpu}\nseed: 1\n")
    assert main(["checkpoint", "diff", "a.ckpt", "b.ckpt"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "~ trainer.max_epochs: 1 -> 2",
        "- trainer.devices: 2",
        "+ trainer.accelerator: 'cpu'",
        "names and shapes: extra is unknown",
        "network.predictor.bias: relative 0.5, largest 1",
    ]
    assert main(["checkpoint", "diff", str(LAST), str(LAST)]) == 0
    assert capsys.readouterr().out == "configuration: the same\nweights: the same\n"
    assert main(["checkpoint", "diff", str(LAST), str(RECENT), "--layers=2"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith(" more (--layers)")


def test_average(run, capsys):
    content = read_checkpoint(LAST)
    like = content["state_dict"]["network.predictor.bias"]
    for name, bias in (("a", 1.0), ("b", 2.0), ("c", 6.0)):
        content["state_dict"]["network.predictor.bias"] = torch.full_like(like, bias)
        write_checkpoint(content, Path(f"{name}.ckpt"))
    assert main(["checkpoint", "average", "a.ckpt", "b.ckpt", "c.ckpt"]) == 0
    assert "statistics of batch normalisation are averaged, too" in capsys.readouterr().out
    weights = read_checkpoint(Path("average.ckpt"))["state_dict"]
    assert weights["network.predictor.bias"].tolist() == [3.0] * len(like)
    assert torch.equal(weights["network.predictor.weight"], content["state_dict"]["network.predictor.weight"])
    content["state_dict"]["network.predictor.bias"] = torch.zeros(99)
    write_checkpoint(content, Path("d.ckpt"))
    assert main(["checkpoint", "average", "d.ckpt", "a.ckpt", "--output=e.ckpt"]) == 1
    said = "d.ckpt: of another network than a.ckpt: network.predictor.bias is [99], expected "
    assert said in capsys.readouterr().err
    assert main(["checkpoint", "average", "a.ckpt"]) == 2
    assert main(["checkpoint", "average", "a.ckpt", "b.ckpt"]) == 2  # average.ckpt is there
    assert main(["checkpoint", "average", "a.ckpt", "b.ckpt", "--output=x.pt"]) == 2
    assert main(["checkpoint", "verify", "average.ckpt"]) == 0


def test_prune_and_convert(run, capsys):
    assert main(["checkpoint", "prune", str(LAST)]) == 0
    assert "size: " in capsys.readouterr().out
    small, whole = read_checkpoint(Path("last_pruned.ckpt")), read_checkpoint(LAST)
    assert "optimizer_states" not in small
    assert small.keys() <= whole.keys()
    assert Path("last_pruned.ckpt").stat().st_size < 0.6 * LAST.stat().st_size
    assert main(["track", "rallies/b.mp4", "--ckpt", "last_pruned.ckpt"]) == 0
    assert main(["test", "--config", "run.yaml", "--ckpt_path", "last_pruned.ckpt"]) == 0
    capsys.readouterr()

    old = {name: value for name, value in whole.items() if name != "tracknet_format"}
    torch.save(old, LAST)
    assert check_seal(LAST) == "none"
    assert main(["checkpoint", "verify", str(LAST)]) == 0
    assert main(["checkpoint", "inspect", str(LAST)]) == 0
    assert "format:     1, without a SHA-256" in capsys.readouterr().out
    assert main(["checkpoint", "convert", str(LAST), "--output", "new.ckpt"]) == 0
    assert read_metadata(Path("new.ckpt"))["config"] == (CHECKPOINTS.parent / "config.yaml").read_text()
    assert main(["checkpoint", "diff", str(LAST), "new.ckpt"]) == 0
    assert "weights: the same" in capsys.readouterr().out
    (run / "x.ckpt").write_bytes(b"PK")
    torch.save({"letter": 1}, "y.ckpt")
    for name in ("x.ckpt", "y.ckpt"):
        assert main(["checkpoint", "convert", name]) == 1


def test_ctrl_c_waits_for_the_step_and_the_run_goes_on_exactly(run, monkeypatch, capsys):
    """Once it comes in the middle of a step, once of the optimizer's, once of validation."""
    words = ["--trainer.callbacks+=EMAWeightAveraging", "--trainer.max_epochs=2"]
    assert fit("--config", "run.yaml", "--trainer.logger.name=whole", *words) == 0

    def interrupted(patch, cls, method, at):
        calls, before = [], getattr(cls, method)

        def stopped(self, *args, **kwargs):
            calls.append(method)
            if len(calls) == at:
                os.kill(os.getpid(), signal.SIGINT)
            return before(self, *args, **kwargs)

        patch.setattr(cls, method, stopped)

    heard = signal.getsignal(signal.SIGINT)
    for name, place in {
        "step": (HeatmapTracker, "training_step", 2),
        "optimizer": (AdamW, "step", 5),
        "validation": (HeatmapTracker, "validation_step", 1),
    }.items():
        with monkeypatch.context() as patch:
            interrupted(patch, *place)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            assert fit("--config", "run.yaml", f"--trainer.logger.name={name}", *words) == 130
        assert "stopped by Ctrl-C; to go on: " in capsys.readouterr().err
        signal.signal(signal.SIGINT, heard)
        assert fit("--config", "run.yaml", f"--trainer.logger.name={name}", "--ckpt_path=last", *words) == 0
        whole, found = (
            read_checkpoint(Path(f"runs/{one}/checkpoints/last.ckpt"))
            for one in ("whole/version_0", f"{name}/version_1")
        )
        assert found["global_step"] == whole["global_step"] == 6
        for key, weight in whole["state_dict"].items():
            assert torch.equal(weight, found["state_dict"][key]), (name, key)
