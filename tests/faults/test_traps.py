"""Small files of strangers that would become very large, or that never end: refused in one message."""

from __future__ import annotations

import hashlib
import io
import json
import pickle
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tracknet.cli.main import main
from tracknet.data.packed import decode
from tracknet.errors import TrackNetError
from tracknet.models import CompactTrackNet, TrackNetV2
from tracknet.training.checkpoint_format import write_checkpoint
from tracknet.training.checkpoint_reading import read_checkpoint
from tracknet.training.checkpoints import load_tracker
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.records.run import RECORD, read_run

from .inputs import write_tracker
from .test_fuzz import LAUGHS

MB = 1 << 20


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def zipped(content: bytes, name: str = "archive/data/0") -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/version", b"3")
        archive.writestr(name, content)
    return made.getvalue()


class TestZip:
    """Archives whose records are a thousandth of what they would become."""

    @pytest.fixture
    def bomb(self, here):
        (here / "a.ckpt").write_bytes(zipped(bytes(300 * MB)))
        assert (here / "a.ckpt").stat().st_size < MB
        return here / "a.ckpt"

    def test_it_is_refused_before_anything_is_unpacked(self, bomb):
        tracemalloc.start()
        with pytest.raises(TrackNetError, match=r"a\.ckpt: not opened: 0\.3 MB would become 315 MB"):
            read_checkpoint(bomb)
        assert tracemalloc.get_traced_memory()[1] < MB
        tracemalloc.stop()

    @pytest.mark.parametrize(
        "words",
        ["checkpoint inspect a.ckpt", "checkpoint verify a.ckpt", "checkpoint import a.ckpt -o b.ckpt"],
    )
    def test_by_the_commands_too(self, words, bomb, capsys):
        words = words.replace("-o", "--output").split()
        assert main(words) == 1
        error = capsys.readouterr().err
        assert "would become 315 MB" in error
        assert error.count("\n") == 1

    def test_records_that_are_the_same_bytes_count_each(self, here):
        content = zipped(bytes(30 * MB))
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            place = archive.getinfo("archive/data/0")
            made = io.BytesIO(content)
            with zipfile.ZipFile(made, "a") as more:
                for number in range(1, 12):
                    twin = zipfile.ZipInfo(f"archive/data/{number}")
                    twin.header_offset, twin.CRC = place.header_offset, place.CRC
                    twin.file_size, twin.compress_size = place.file_size, place.compress_size
                    twin.compress_type = place.compress_type
                    more.filelist.append(twin)
                    more.NameToInfo[twin.filename] = twin
                more._didModify = True
        (here / "a.ckpt").write_bytes(made.getvalue())
        with pytest.raises(TrackNetError, match=r"would become 377 MB"):
            read_checkpoint(here / "a.ckpt")

    def test_one_within_a_compressed_checkpoint(self, here):
        zstandard = pytest.importorskip("zstandard")
        inner = zipped(bytes(300 * MB))
        write_checkpoint({"state_dict": {"w": torch.ones(9)}}, here / "a.ckpt", compression="zstd")
        with zipfile.ZipFile(here / "a.ckpt") as archive:
            told = json.loads(archive.read("checkpoint/tracknet.json"))
        compressed = zstandard.compress(inner)
        told["compression"] |= {"size": len(inner), "compressed": len(compressed)}
        with zipfile.ZipFile(here / "b.ckpt", "w") as archive:
            archive.writestr("checkpoint/archive.zst", compressed)
            archive.writestr("checkpoint/tracknet.json", json.dumps(told))
            archive.comment = b"tracknet sha256 " + bytes(64)
        sealed = (here / "b.ckpt").read_bytes()[:-64]
        (here / "b.ckpt").write_bytes(sealed + hashlib.sha256(sealed).hexdigest().encode())
        with pytest.raises(TrackNetError, match=r"b\.ckpt: not opened: .* would become 315 MB"):
            read_checkpoint(here / "b.ckpt")


def nested(levels: int) -> list[object]:
    """A list of ten times the same list of ten times the same list ..."""
    value: list[object] = ["x"] * 10
    for _ in range(levels):
        value = [value] * 10
    return value


def endless() -> list[object]:
    value: list[object] = []
    value.append(value)
    return value


@pytest.mark.usefixtures("bright_network")
@pytest.mark.parametrize("values", [nested(20), endless()], ids=["unfolds", "holds itself"])
@pytest.mark.parametrize("part", ["hyper_parameters", "callbacks", "anything"])
def test_values_without_end_in_a_checkpoint(part, values, here, capsys):
    content = torch.load(write_tracker(here / "whole.ckpt"), weights_only=True)
    known = content.get(part, {})
    torch.save(content | {part: known | {"more": values}}, here / "a.ckpt")
    with pytest.raises(TrackNetError, match=r"a\.ckpt: .*unfold to more than 10,000,000 values"):
        load_tracker(here / "a.ckpt")
    for words in ("verify a.ckpt", "inspect a.ckpt", "diff a.ckpt whole.ckpt"):
        assert main(["checkpoint", *words.split()]) == 1
        assert "unfold to more than" in capsys.readouterr().err


class TestHugeNetworks:
    """Checkpoints of a few kilobytes whose network would take all memory."""

    @pytest.fixture
    def nothing_built(self, monkeypatch):
        made = []
        plain = torch.nn.Conv2d.__init__

        def watching(self, *args, **kwargs):
            plain(self, *args, **kwargs)
            made.append(self.weight.numel() * (self.weight.device.type != "meta"))

        monkeypatch.setattr(torch.nn.Conv2d, "__init__", watching)
        return made

    def test_one_that_hyperparameters_name(self, here, nothing_built):
        small = HeatmapTracker(CompactTrackNet(3, "none", stem=4, widths=[8, 8, 8]), input_size=(32, 64))
        recipe = dict(small.hparams)
        arguments = recipe["network"]["init_args"] | {"widths": [1 << 15, 1 << 15, 1 << 15]}
        recipe["network"] = recipe["network"] | {"init_args": arguments}
        write_checkpoint({"state_dict": small.state_dict(), "hyper_parameters": recipe}, here / "a.ckpt")
        nothing_built.clear()
        with pytest.raises(
            TrackNetError, match=r"a\.ckpt: .*its state_dict is of another network than the one"
        ):
            load_tracker(here / "a.ckpt")
        assert sum(nothing_built) == 0

    def test_one_whose_weights_are_one_number_repeated(self, here):
        weights = {"network.w": torch.zeros(1).expand(1 << 40)}
        torch.save({"state_dict": weights, "hyper_parameters": {}}, here / "a.ckpt")
        for read in (read_checkpoint, load_tracker):
            with pytest.raises(TrackNetError, match=r"a\.ckpt: not opened: its tensors would be 4398047 MB"):
                read(here / "a.ckpt")

    def test_one_of_published_code(self, here, nothing_built):
        weights = TrackNetV2(3, "none", 4).state_dict()
        first = "down_block_1.conv_1.conv.weight"
        # A width of 5,000 in the first layer makes one of a gigabyte in the fifth.
        weights[first] = torch.zeros(1).expand(5000, *weights[first].shape[1:])
        torch.save({"model": weights}, here / "a.pt")
        nothing_built.clear()
        assert main(["checkpoint", "import", "a.pt", "--output", "b.ckpt"]) == 1
        assert sum(nothing_built) == 0
        assert not (here / "b.ckpt").exists()


def test_nothing_ordinary_is_refused_for_its_size(here):
    values = {f"clip {number}": list(range(1000)) for number in range(300)}
    write_checkpoint({"state_dict": {}, "callbacks": {"hard": values}}, here / "a.ckpt")
    assert read_checkpoint(here / "a.ckpt")["callbacks"]["hard"] == values


def test_the_configuration_inside_of_a_checkpoint_may_not_unfold_either(here, capsys):
    write_checkpoint(
        {"state_dict": {"w": torch.ones(1)}, "hyper_parameters": {"network": {}}}, here / "a.ckpt", LAUGHS
    )
    assert main(["checkpoint", "diff", "a.ckpt", "a.ckpt"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("tracknet checkpoint: a.ckpt: its configuration unfolds to more than"), error


def test_nor_that_of_a_run(here):
    (here / RECORD).write_text("{}")
    (here / "config.yaml").write_text(LAUGHS)
    assert read_run(here).settings == {}
    (here / "config.yaml").write_text("a: &a\n  b: [*a, {c: 1}]\n")
    assert read_run(here).settings == {}


class TestPackedFrames:
    """Frames of packed data, which are pictures of the size that was packed, in two formats."""

    def test_a_picture_of_another_size_is_not_decompressed(self):
        content = io.BytesIO()
        Image.new("RGB", (9000, 9000)).save(content, "JPEG", quality=1)
        tracemalloc.start()
        with pytest.raises(ValueError, match="a picture of 9000x9000"):
            decode(content.getvalue(), (64, 96))
        assert tracemalloc.get_traced_memory()[1] < 10 * MB
        tracemalloc.stop()

    @pytest.mark.parametrize("kind", ["PNG", "EPS", "TIFF", "PPM"])
    def test_other_formats_are_not_opened(self, kind):
        content = io.BytesIO()
        Image.fromarray(np.zeros((64, 96, 3), np.uint8)).save(content, kind)
        with pytest.raises(ValueError, match="no picture in JPEG or WebP"):
            decode(content.getvalue(), (64, 96))


class Touch:
    """Writes a file when it is unpickled."""

    def __reduce__(self):
        return (Path.write_text, (Path("mark"), "run"))


@pytest.mark.parametrize("storage", ["sqlite:///evil.db", "evil.log"])
def test_a_pickle_in_the_place_of_the_storage_of_a_sweep_does_nothing(storage, here, tiny_rallies, capsys):
    pytest.importorskip("optuna")
    name = storage.removeprefix("sqlite:///")
    (here / name).write_bytes(pickle.dumps(Touch()))
    words = ["sweep", "--config", f"[+callbacks=minimal,--data.root={tiny_rallies}]"]
    words += ["--space", "{optimizer.lr: {low: 0.001, high: 0.01}}", "--trials=1", f"--storage={storage}"]
    assert main(words) == 1
    assert f"storage {storage}: cannot be used: " in capsys.readouterr().err
    assert not (here / "mark").exists()
