"""``tracknet checkpoint``: what it writes and where, what it says, and its exit codes."""

from __future__ import annotations

import subprocess
import sys
import zipfile

import numpy as np
import pytest
import torch

from tracknet.cli.main import main as tracknet
from tracknet.models import CompactTrackNet, TrackNetV3
from tracknet.models.inpaintnet import InpaintNet
from tracknet.tracking.trajectory import read_trajectory


class Touch:
    """Creates a file when it is unpickled."""

    def __reduce__(self):
        return open, ("trap", "w")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with a published checkpoint of a narrow network in it."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(1)
    content = {
        "epoch": 29,
        "max_val_acc": np.float64(0.5),
        "model": TrackNetV3(3, "concat", width=4).state_dict(),
        "param_dict": {"model_name": "TrackNet", "seq_len": 3, "bg_mode": "concat"},
    }
    torch.save(content, "TrackNet_best.pt")
    return tmp_path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_import_then_inspect_then_track(here, tiny_rallies, capsys):
    assert tracknet(["checkpoint", "import", "TrackNet_best.pt"]) == 0
    assert names(here) == ["TrackNet_best.ckpt", "TrackNet_best.pt", "TrackNet_best.yaml"]
    assert capsys.readouterr().out == (
        "imported:   TrackNet: 3 frames of 288x512, background concat\n"
        "checkpoint: TrackNet_best.ckpt\n"
        "to track:   tracknet track VIDEO --ckpt TrackNet_best.ckpt\n"
        "to test:    tracknet test --config configs/base.yaml --config TrackNet_best.yaml "
        "--ckpt_path TrackNet_best.ckpt\n"
    )
    for name in ("TrackNet_best.pt", "TrackNet_best.ckpt"):
        assert tracknet(["checkpoint", "inspect", name]) == 0
        assert "max_val_acc" in capsys.readouterr().out
    words = ["--ckpt", "TrackNet_best.ckpt", "--device", "cpu"]
    assert tracknet(["track", str(tiny_rallies / "d.mp4"), *words]) == 0
    assert len(read_trajectory(here / "d_ball.csv")) == 17


def test_the_imported_checkpoint_can_be_tested(here, tiny_rallies, capsys):
    assert tracknet(["checkpoint", "import", "TrackNet_best.pt", "--output", "v3.ckpt"]) == 0
    words = ["--config", "configs/base.yaml", "--config", "v3.yaml", "--ckpt_path", "v3.ckpt"]
    words += ["--data.root", str(tiny_rallies), "--model.input_size", "[64, 96]", "--data.test", "[d]"]
    words += ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false"]
    done = subprocess.run(
        [sys.executable, "-m", "tracknet", "test", *words], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "test figures (tracknetv2: d <= 4 px at 288x512)" in done.stdout


def test_an_imported_rectifier_can_be_tested_by_its_configuration(here, capsys):
    torch.save(InpaintNet().state_dict(), "inpaint.pt")
    assert tracknet(["checkpoint", "import", "inpaint.pt"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[1:3] == [
        "checkpoint: inpaint.ckpt",
        "to track:   tracknet track VIDEO --ckpt TRACKER.ckpt --rectifier inpaint.ckpt",
    ]
    words = "tracknet test --config configs/experiment/rectifier.yaml --config inpaint.yaml"
    words += " --ckpt_path inpaint.ckpt"
    assert told[3] == f"to test:    {words}"
    (here / "labels").mkdir()
    for name in ("a", "b", "c"):
        rows = [f"{k},1,{100 + 8 * k},{200 + 3 * k}" for k in range(60)]
        (here / "labels" / f"{name}.csv").write_text("\n".join(["Frame,Visibility,X,Y", *rows]) + "\n")
    words += " --data.root labels --data.test [a]"
    done = subprocess.run([sys.executable, "-m", *words.split()], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "test/cubic_error" in done.stdout


def test_nothing_is_written_over(here, capsys):
    (here / "old.yaml").write_text("mine")
    assert tracknet(["checkpoint", "import", "TrackNet_best.pt", "--output", "old.ckpt"]) == 2
    error = "tracknet checkpoint: old.yaml: exists and is left alone; choose another --output\n"
    assert capsys.readouterr().err == error
    (here / "out").mkdir()
    assert tracknet(["checkpoint", "import", "TrackNet_best.pt", "--output", "out"]) == 0
    assert names(here / "out") == ["TrackNet_best.ckpt", "TrackNet_best.yaml"]
    assert tracknet(["checkpoint", "import", "out/TrackNet_best.ckpt", "--output", "x.ckpt"]) == 1
    assert "already; nothing to import" in capsys.readouterr().err


def test_code_in_a_file_is_not_run(here, capsys):
    torch.save({"model": Touch()}, "bad.pt")
    for command in ("import", "inspect"):
        assert tracknet(["checkpoint", command, "bad.pt"]) == 1
        error = capsys.readouterr().err
        assert error == (
            "tracknet checkpoint: bad.pt: not a readable checkpoint: it holds more than tensors and plain "
            "values (io.open), which could be code and is not opened; where it was made, save the state_dict "
            "of the network alone\n"
        )
    assert names(here) == ["TrackNet_best.pt", "bad.pt"]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ([], 2, "expected one of import, inspect, verify, convert, prune, diff, average (see "),
        (["imprt"], 2, "there is no 'imprt'; did you mean 'import'?"),
        (["import", "a.pt", "--outptu", "x"], 2, "unknown argument '--outptu'; did you mean '--output'?"),
        (["import", "a.pt", "--output", "x.pt"], 2, "--output x.pt: expected a name in .ckpt"),
        (["import", "a.pt", "--background", "concta"], 2, "found 'concta'; did you mean 'concat'?"),
        (["import"], 2, "import: the following arguments are required: file"),
        (["import", "a.pt"], 1, "a.pt: no such checkpoint"),
        (["import", "TrackNet_best.pt", "--background", "none"], 2, "TrackNet_best.pt: --background none: "),
    ],
)
def test_wrong_words(here, words, code, message, capsys):
    assert tracknet(["checkpoint", *words]) == code
    assert message in capsys.readouterr().err
    assert names(here) == ["TrackNet_best.pt"]


def changed(name, output, **settings):
    """Write a published checkpoint anew, with some of its weights set to a value."""
    content = torch.load(name, weights_only=False)
    for weight, value in settings.items():
        content["model"][weight.replace("__", ".")].fill_(value)
    torch.save(content, output)


def flip_bytes(path):
    """Change the largest record of an archive, as a bad disk does."""
    with zipfile.ZipFile(path) as archive:
        record = max(archive.infolist(), key=lambda one: one.file_size)
    content = bytearray(path.read_bytes())
    start = content.index(record.filename.encode()) + len(record.filename) + 200
    content[start] ^= 0x40
    path.write_bytes(content)
    return record.filename


@pytest.mark.parametrize("command", ["import", "inspect"])
def test_a_published_file_that_a_disk_has_changed(here, capsys, command):
    record = flip_bytes(here / "TrackNet_best.pt")
    assert tracknet(["checkpoint", command, "TrackNet_best.pt"]) == 1
    message = f"it is damaged: the CRC-32 of {record} is not that of its writing; get it again"
    assert message in capsys.readouterr().err
    assert names(here) == ["TrackNet_best.pt"]


def test_a_file_without_such_sums_is_read(here):
    content = torch.load("TrackNet_best.pt", weights_only=False)
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(content, "plain.pt")
    finally:
        torch.serialization.set_crc32_options(True)
    assert tracknet(["checkpoint", "import", "plain.pt"]) == 0


def test_an_import_is_compared_with_its_source(here, capsys):
    assert tracknet(["checkpoint", "import", "TrackNet_best.pt"]) == 0
    changed("TrackNet_best.pt", "other.pt", predictor__bias=0.5)
    capsys.readouterr()
    assert tracknet(["checkpoint", "diff", "TrackNet_best.pt", "TrackNet_best.ckpt"]) == 0
    out = capsys.readouterr().out
    assert out.endswith("\nweights: the same\n")
    assert "names and shapes" not in out
    assert "- :" not in out
    assert tracknet(["checkpoint", "diff", "TrackNet_best.ckpt", "other.pt"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("predictor.bias: relative ")


@pytest.mark.parametrize(("flag", "place"), [("--first", "first"), ("--second=b.pt", "next")])
def test_checkpoints_to_compare_have_no_flags(capsys, flag, place):
    assert tracknet(["checkpoint", "diff", "a.pt", flag]) == 2
    assert (
        f"unknown argument '{flag}'; {flag[2:].partition('=')[0]} is the {place} word"
        in capsys.readouterr().err
    )


def test_networks_without_a_name_in_common_are_not_the_same(here, capsys):
    torch.save(InpaintNet().state_dict(), "inpaint.pt")
    assert tracknet(["checkpoint", "diff", "TrackNet_best.pt", "inpaint.pt"]) == 0
    assert "weights: none of the same name and shape\n" in capsys.readouterr().out


def test_weights_that_are_no_numbers_come_first_and_equal_themselves(here, capsys):
    changed("TrackNet_best.pt", "nan.pt", predictor__bias=float("nan"), down_block_1__conv_1__bn__bias=9.0)
    assert tracknet(["checkpoint", "diff", "nan.pt", "nan.pt"]) == 0
    assert "weights: the same" in capsys.readouterr().out
    assert tracknet(["checkpoint", "diff", "TrackNet_best.pt", "nan.pt"]) == 0
    told = [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()[-2:]]
    assert told == ["predictor.bias", "down_block_1.conv_1.bn.bias"]


def test_only_whole_checkpoints_of_one_network_are_averaged(here, capsys):
    changed("TrackNet_best.pt", "other.pt", predictor__bias=0.5)
    for name in ("TrackNet_best.pt", "other.pt"):
        assert tracknet(["checkpoint", "import", name]) == 0
    assert (
        tracknet(["checkpoint", "average", "TrackNet_best.ckpt", "other.ckpt", "--output", "mean.ckpt"]) == 0
    )
    capsys.readouterr()
    assert tracknet(["checkpoint", "inspect", "mean.ckpt"]) == 0
    assert "imported" not in capsys.readouterr().out  # the figures of one of them are not its own

    concat = TrackNetV3(3, "concat", width=4).state_dict()  # takes as many channels as the one before
    torch.save({"model": concat, "param_dict": {"bg_mode": "subtract_concat"}}, "subtract.pt")
    assert tracknet(["checkpoint", "import", "subtract.pt"]) == 0
    assert tracknet(["checkpoint", "average", "subtract.ckpt", "other.ckpt", "--output", "x.ckpt"]) == 1
    err = capsys.readouterr().err
    assert "subtract.ckpt: of another network than other.ckpt: ~ background: 'concat' -> 'subtract_con" in err
    content = torch.load("other.ckpt", weights_only=True)
    content["state_dict"]["network.predictor.bias"].fill_(float("inf"))
    torch.save(content, "inf.ckpt")
    assert tracknet(["checkpoint", "average", "inf.ckpt", "other.ckpt", "--output", "x.ckpt"]) == 1
    assert "inf.ckpt: weights that are not finite: network.predictor.bias" in capsys.readouterr().err
    assert tracknet(["export", "inf.ckpt", "--format", "torchscript"]) == 1
    assert "inf.ckpt: weights that are not finite: network.predictor.bias" in capsys.readouterr().err
    assert not (here / "x.ckpt").exists()


def test_what_an_import_refuses_beside(here, capsys):
    changed("TrackNet_best.pt", "nan.pt", predictor__bias=float("nan"))
    assert tracknet(["checkpoint", "import", "nan.pt"]) == 1
    assert "nan.pt: weights that are not finite: predictor.bias" in capsys.readouterr().err
    torch.save(InpaintNet().state_dict(), "inpaint.pt")
    assert tracknet(["checkpoint", "import", "inpaint.pt", "--background", "concat"]) == 2
    assert "--background concat: inpaint.pt is InpaintNet, which sees no pictures" in capsys.readouterr().err
    assert tracknet(["checkpoint", "import", "inpaint.pt"]) == 0
    assert tracknet(["export", "inpaint.ckpt", "--format", "torchscript"]) == 1
    assert "inpaint.ckpt: holds a rectifier, which fills gaps" in capsys.readouterr().err


def test_an_epoch_that_numpy_counted(here, capsys):
    content = torch.load("TrackNet_best.pt", weights_only=False)
    torch.save(content | {"epoch": np.int64(12)}, "counted.pt")
    assert tracknet(["checkpoint", "inspect", "counted.pt"]) == 0
    assert "epoch:       12\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("model", "told"),
    [
        ("HeatmapTracker", "required: network"),
        ("{init_args: {network: CompactTrackNet}}", "no class_path says which"),
        (
            "{class_path: TrajectoryRectifier, init_args: {network: InpaintNet}}",
            "is a rectifier, which fills",
        ),
        (
            "{class_path: HeatmapTracker, init_args: {network: {class_path: ViTUpsample, init_args: "
            "{embedding: 10, heads: 3}}}}",
            "embedding is 10; expected a multiple of heads (3)",
        ),
        ("null", "names no model"),
    ],
)
def test_a_configuration_of_no_tracker_is_one_message_and_no_file(model, told, here, capsys):
    (here / "own.yaml").write_text(f"model: {model}\n")
    torch.save(InpaintNet().state_dict(), "own.pt")
    before = names(here)
    words = ["checkpoint", "import", "own.pt", "--config", "own.yaml"]
    assert tracknet(words) == 2
    message = capsys.readouterr().err
    assert message.startswith("tracknet checkpoint: own.yaml: ")
    assert told in message
    assert len(message) < 500
    assert names(here) == before


def test_the_commands_that_an_import_with_a_configuration_prints_can_be_pasted(here, capsys):
    network = "{class_path: CompactTrackNet, init_args: {frames: 3}}"
    model = f"model: {{class_path: HeatmapTracker, init_args: {{network: {network}}}}}\n"
    (here / "a b.yaml").write_text(model)
    torch.save(CompactTrackNet(3).state_dict(), "own.pt")
    words = ["checkpoint", "import", "own.pt", "--config", "a b.yaml", "--output"]
    assert tracknet([*words, "a b.ckpt"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told[1:] == [
        "checkpoint: a b.ckpt",
        "to track:   tracknet track VIDEO --ckpt 'a b.ckpt'",
        "to judge:   tracknet validate --config configs/base.yaml --config 'a b.yaml' --ckpt_path 'a b.ckpt'",
    ]
    (here / "a b.yaml").write_text(f"{model}data: {{class_path: TennisDataModule}}\n")
    assert tracknet([*words, "c.ckpt"]) == 0
    assert capsys.readouterr().out.endswith("tracknet validate --config 'a b.yaml' --ckpt_path c.ckpt\n")
