"""The file format of checkpoints: read back, told without tensors, never taken for whole in vain."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import pickle
import random
import re
import resource
import subprocess
import sys
import zipfile
from decimal import Decimal
from fractions import Fraction
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch
from lightning.pytorch.plugins.io import AsyncCheckpointIO, TorchCheckpointIO

from tracknet.errors import TrackNetError
from tracknet.training import checkpoint_format
from tracknet.training.checkpoint_format import (
    FORMAT,
    check_seal,
    figures_of,
    migrate,
    read_metadata,
    write_checkpoint,
)
from tracknet.training.checkpoint_reading import read_checkpoint
from tracknet.training.checkpoints import TrackNetCheckpointIO, with_checkpoints_of_ours


class Evil:
    """A pickle that writes a file when it is opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.write_text, (self.path, "run"))


def content(step=7, **more):
    torch.manual_seed(step)
    return {
        "epoch": 2,
        "global_step": step,
        "pytorch-lightning_version": "2.6",
        "state_dict": {"network.weight": torch.randn(40, 30), "network.bias": torch.randn(30)},
        "hyper_parameters": {"_class_path": "a.Tracker", "network": {"class_path": "a.Network"}},
        "callbacks": {"ModelCheckpoint": {"monitor": "val/f1", "current_score": torch.tensor(0.5)}},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(3)}}}],
        "FlatVideoDataModule": {"fingerprint": "abc"},
        **more,
    }


@pytest.fixture
def path(tmp_path):
    write_checkpoint(content(), tmp_path / "last.ckpt", "seed_everything: 3\n")
    return tmp_path / "last.ckpt"


def test_it_is_a_file_of_pytorch_that_is_read_back(path):
    for found in (torch.load(path, weights_only=True), read_checkpoint(path)):
        assert found.pop("tracknet_format") == FORMAT == 2
        leaves, form = torch.utils._pytree.tree_flatten(found)
        expected, form_before = torch.utils._pytree.tree_flatten(content())
        assert form == form_before
        for one, other in zip(leaves, expected, strict=True):
            assert torch.equal(one, other) if isinstance(other, torch.Tensor) else one == other
    assert check_seal(path) == "whole"
    assert [one.name for one in path.parent.iterdir()] == ["last.ckpt"]


def test_it_tells_what_it_is_without_its_tensors(path, monkeypatch):
    monkeypatch.setattr(torch, "load", None)
    found = read_metadata(path)
    assert found | {"versions": None, "saved": None, "sha256": None} == {
        "format": 2,
        "versions": None,
        "saved": None,
        "epoch": 2,
        "step": 7,
        "metrics": {"val/f1": 0.5},
        "model": "a.Tracker",
        "network": "a.Network",
        "config": "seed_everything: 3\n",
        "data": "abc",
        "resumable": True,
        "compression": None,
        "sha256": None,
    }
    assert found["versions"]["torch"] == torch.__version__
    assert found["saved"].endswith("+00:00")
    told = subprocess.run(["sha256sum"], input=path.read_bytes()[:-64], capture_output=True, check=True)
    assert told.stdout.decode().split()[0] == found["sha256"]


def test_what_a_bare_content_is_told_as(tmp_path, monkeypatch):
    monkeypatch.setattr(
        checkpoint_format, "version", lambda name: {"torch": "2.9"}.get(name) or missing(name)
    )

    def missing(name):
        raise PackageNotFoundError(name)

    path = tmp_path / "a.ckpt"
    write_checkpoint({"rectifier": {"class_path": "a.InpaintNet"}}, path)
    found = read_metadata(path)
    assert found["versions"] == {"tracknet": "unknown", "lightning": "unknown", "torch": "2.9"}
    assert (found["epoch"], found["step"], found["resumable"]) == (0, 0, False)
    assert (found["model"], found["network"], found["config"], found["data"]) == (
        None,
        "a.InpaintNet",
        None,
        None,
    )
    with zipfile.ZipFile(path) as archive:
        assert [one for one in archive.namelist() if one.endswith("tracknet.json")] == [
            "archive/tracknet.json"
        ]
        del found["sha256"]
        assert json.loads(archive.read("archive/tracknet.json")) == found


def test_figures_are_those_that_are_named_and_there():
    states = {
        "a": {"monitor": "val/f1", "current_score": torch.tensor(0.5)},
        "b": {"monitor": None, "current_score": torch.tensor(0.7)},
        "c": {"monitor": "val/loss", "current_score": None},
        "d": {"monitor": "val/rmse", "current_score": 0},
        "e": 3,
        "f": {"monitor": "val/l2", "current_score": torch.tensor(float("inf"))},
    }
    assert figures_of({"callbacks": states}) == {"val/f1": 0.5, "val/rmse": 0.0}
    assert figures_of({}) == {}


@pytest.mark.parametrize("cause", [OSError(errno.ENOSPC, "No space left on device"), None])
def test_what_the_disk_said_is_told_not_what_pytorch_makes_of_it(tmp_path, monkeypatch, cause):
    def fail(content, file):
        raise RuntimeError("unexpected pos 64 vs 0") from cause

    monkeypatch.setattr(torch, "save", fail)
    expected = r"a\.ckpt: cannot be written: No space left" if cause else "unexpected pos"
    with pytest.raises(TrackNetError if cause else RuntimeError, match=expected):
        write_checkpoint(content(), tmp_path / "a.ckpt")
    assert list(tmp_path.iterdir()) == []


def test_the_classes_that_would_be_code_are_named(tmp_path):
    holds = {str(n): one for n, one in enumerate((Path("a"), re.compile("a"), Fraction(1), Decimal(1)))}
    with pytest.raises(TrackNetError) as caught:
        write_checkpoint(content(more=holds), tmp_path / "a.ckpt")
    third = f"{type(Path()).__module__}.{type(Path()).__name__}"
    assert str(caught.value) == (
        f"{tmp_path / 'a.ckpt'}: not written: it would hold decimal.Decimal, fractions.Fraction, {third}, "
        "which is code and would not be read back; keep tensors and plain values in hyperparameters and "
        "state_dict()"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": "2"},
        {"step": None},
        {"format": 2.0},
        {"versions": []},
        {"metrics": None},
        {"saved": 3},
        {"model": 3},
        {"network": []},
        {"config": {}},
        {"data": 3},
        {"compression": {"method": "zstd"}},
        {"compression": "zstd"},
    ],
)
def test_metadata_of_another_shape_are_none(path, change):
    whole = read_metadata(path)
    del whole["sha256"]
    for told, expected in ((whole, True), (whole | change, False)):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/tracknet.json", json.dumps(told))
        assert (read_metadata(path) is not None) == expected
    for name in whole.keys() - {"compression"}:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(
                "archive/tracknet.json", json.dumps({k: v for k, v in whole.items() if k != name})
            )
        assert read_metadata(path) is None, name


def test_metadata_from_before_compression_are_read(path):
    told = read_metadata(path)
    del told["sha256"], told["compression"]
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/tracknet.json", json.dumps(told))
    assert read_metadata(path) == told | {"compression": None, "sha256": ""}


@pytest.mark.parametrize("more", [-1, 0, 1, 2])
def test_all_but_the_last_64_bytes_are_hashed(tmp_path, more):
    path = tmp_path / "a"
    hashed = random.Random(1).randbytes(2 * checkpoint_format._TAIL + more)
    path.write_bytes(hashed + bytes(64))
    assert checkpoint_format._digest(path) == hashlib.sha256(hashed).hexdigest()


def test_every_bit_that_flips_and_every_cut_is_noticed(path):
    whole = path.read_bytes()
    draw = random.Random(1)
    places = [draw.randrange(len(whole) * 8) for _ in range(220)]
    # Also the end of the archive and the SHA-256 itself.
    places += range(len(whole) * 8 - 110 * 8, len(whole) * 8, 5)
    for place in places:
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(TrackNetError, match=r"last.ckpt: not a readable checkpoint: "):
            read_checkpoint(path)
    for length in (*(draw.randrange(len(whole)) for _ in range(80)), *range(len(whole) - 120, len(whole))):
        path.write_bytes(whole[:length])
        with pytest.raises(TrackNetError, match=r"last.ckpt: not a readable checkpoint: "):
            read_checkpoint(path)
    path.write_bytes(whole)
    read_checkpoint(path)


def test_code_is_neither_run_nor_written(tmp_path):
    mark = tmp_path / "mark"
    old = tmp_path / "old.ckpt"
    write_checkpoint(content(), old)
    before = old.read_bytes()
    with pytest.raises(TrackNetError, match=r"old.ckpt: not written: it would hold .*which is code"):
        write_checkpoint(content(more=Evil(mark)), old)
    assert old.read_bytes() == before
    torch.save(content(more=Evil(mark)), tmp_path / "evil.ckpt")
    (tmp_path / "pickled.ckpt").write_bytes(pickle.dumps(content(more=Evil(mark))))
    for name in ("evil.ckpt", "pickled.ckpt"):
        with pytest.raises(TrackNetError, match="not opened"):
            TrackNetCheckpointIO().load_checkpoint(tmp_path / name, weights_only=False)
        assert read_metadata(tmp_path / name) is None
    assert not mark.exists()


def test_metadata_of_a_stranger_are_read_with_care(tmp_path):
    for number, text in enumerate(["[1]", "{", '{"format": 2}', "\xff"]):
        with zipfile.ZipFile(tmp_path / f"{number}.ckpt", "w") as archive:
            archive.writestr("archive/tracknet.json", text)
        assert read_metadata(tmp_path / f"{number}.ckpt") is None
        assert check_seal(tmp_path / f"{number}.ckpt") == "damaged"
    (tmp_path / "no.ckpt").write_bytes(b"")
    assert read_metadata(tmp_path / "no.ckpt") is None
    assert read_metadata(tmp_path / "nowhere.ckpt") is None


def test_older_formats_are_brought_forward_and_newer_ones_refused(tmp_path, caplog):
    path = tmp_path / "old.ckpt"
    torch.save(content(), path)
    assert check_seal(path) == "none"
    with caplog.at_level("INFO"):
        assert TrackNetCheckpointIO().load_checkpoint(path)["tracknet_format"] == 2
    assert "old.ckpt: of an older format without a SHA-256" in caplog.text
    for number in (3, 0, "2"):
        torch.save(content(tracknet_format=number), path)
        with pytest.raises(
            TrackNetError, match=rf"old.ckpt: its format is {number!r}; this tracknet reads the"
        ):
            read_checkpoint(path)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"state_dict": 3}, "its state_dict is a int, expected names and values"),
        ({"hyper_parameters": [1]}, "its hyper_parameters is a list, expected names and values"),
        ({"hyper_parameters": {"network": "a"}}, "its network is a str, expected names and values"),
        ({"hyper_parameters": {"network": {1: 2}}}, "its network has a name that is no text"),
        ({"rectifier": 3.5}, "its rectifier is a float, expected names and values"),
        ({"callbacks": {3: {}}}, "its callbacks has a name that is no text"),
    ],
)
def test_what_is_not_as_in_checkpoints_is_named(change, told):
    with pytest.raises(TrackNetError) as caught:
        migrate(Path("x.ckpt"), content(**change))
    assert str(caught.value) == (
        f"x.ckpt: not a readable checkpoint: {told}; get it again, or take another one"
    )
    assert migrate(Path("x.ckpt"), content(tracknet_format=FORMAT))["epoch"] == 2
    assert migrate(Path("x.ckpt"), {"tracknet_format": FORMAT}) == {"tracknet_format": FORMAT}


def test_what_is_damaged_is_told_apart_from_what_is_cut_short(path):
    whole = path.read_bytes()
    for broken, told in (
        (whole[:2000] + bytes([whole[2000] ^ 1]) + whole[2001:], "its SHA-256 is not that of its writing"),
        (whole[:-150], "it is cut short"),
    ):
        path.write_bytes(broken)
        with pytest.raises(TrackNetError, match=f": not a readable checkpoint: (it is damaged: )?{told}$"):
            read_checkpoint(path)


def test_each_step_of_a_migration_is_taken_once(monkeypatch):
    monkeypatch.setattr(checkpoint_format, "FORMAT", 4)
    steps = {
        n: (lambda old, n=n: {"tracknet_format": n + 1, "way": [*old.get("way", []), n]}) for n in (1, 2, 3)
    }
    monkeypatch.setattr(checkpoint_format, "MIGRATIONS", steps)
    assert migrate(Path("x"), {})["way"] == [1, 2, 3]
    assert migrate(Path("x"), {"tracknet_format": 3})["way"] == [3]
    assert "way" not in migrate(Path("x"), {"tracknet_format": 4})


@pytest.mark.parametrize("room", [0, 64, 100, 1000, 20_000])
def test_a_disk_that_takes_no_more_is_told_wherever_that_is(tmp_path, room):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    path = tmp_path / "a.ckpt"
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with pytest.raises(TrackNetError, match=r"a\.ckpt: cannot be written: File too large; make room"):
            write_checkpoint({"state_dict": {str(place): torch.ones(1000) for place in range(9)}}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_checkpoint(path, monkeypatch):
    before = path.read_bytes()

    def full(content, file):
        file.write(b"PK")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(TrackNetError, match=r"last.ckpt: cannot be written: No space left on device"):
        write_checkpoint(content(8), path)
    assert path.read_bytes() == before
    assert [one.name for one in path.parent.iterdir()] == ["last.ckpt"]


def test_what_killed_processes_have_left_is_removed(path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    names = [f".{gone.pid}.last.ckpt", f".{os.getppid()}.last.ckpt", f".{gone.pid}.best.ckpt", ".x.last.ckpt"]
    for name in names:
        (path.parent / name).touch()
    write_checkpoint(content(8), path)
    assert {one.name for one in path.parent.iterdir()} == {"last.ckpt", *names[1:]}


def test_the_only_whole_checkpoint_of_a_folder_is_kept(path):
    writer = TrackNetCheckpointIO()
    writer.save_checkpoint(content(), path)
    (path.parent / "cut.ckpt").write_bytes(path.read_bytes()[:-300])
    (path.parent / ".1.hidden.ckpt").write_bytes(path.read_bytes())
    with pytest.warns(UserWarning, match=r"last.ckpt: kept, as no other checkpoint in its folder is whole"):
        writer.remove_checkpoint(path)
    assert path.is_file()
    writer.save_checkpoint(content(8), path.with_name("new.ckpt"))
    writer.remove_checkpoint(str(path))
    assert not path.exists()


def test_older_ones_of_an_earlier_session_are_removed_and_nothing_elsewhere(path, tmp_path):
    other = tmp_path / "other" / "a.ckpt"
    TrackNetCheckpointIO().save_checkpoint(content(), other)
    TrackNetCheckpointIO().save_checkpoint(content(), other.with_name("b.ckpt"))
    writer = TrackNetCheckpointIO()
    writer.save_checkpoint(content(8), path.with_name("new.ckpt"))
    folder = path.parent
    for name in (
        other,
        f"{folder}/other/../other/a.ckpt",
        f"local://{other}",
        f"{folder}/..",
        f"{folder}/",
        f"{folder}/.",
        os.path.relpath(other),
    ):
        with pytest.warns(UserWarning, match="kept, as this run has written no checkpoint to its folder"):
            writer.remove_checkpoint(name)
        assert other.is_file(), name
    writer.remove_checkpoint(os.path.relpath(path))
    assert not path.exists()


def test_it_is_put_where_no_other_one_is_chosen():
    (alone,) = with_checkpoints_of_ours(None, "a: 1")
    assert (type(alone), alone.config) == (TrackNetCheckpointIO, "a: 1")
    inner = TrackNetCheckpointIO()
    around = AsyncCheckpointIO(inner)
    assert with_checkpoints_of_ours([around], "a: 1") == [around]
    assert inner.config == "a: 1"
    (around,) = with_checkpoints_of_ours(AsyncCheckpointIO(), "a: 1")
    assert (type(around.checkpoint_io), around.checkpoint_io.config) == (TrackNetCheckpointIO, "a: 1")
    assert with_checkpoints_of_ours(TrackNetCheckpointIO("own"), "a: 1")[0].config == "own"
    foreign = AsyncCheckpointIO(TorchCheckpointIO())
    assert with_checkpoints_of_ours((foreign,), "a: 1") == [foreign]
    assert not hasattr(foreign.checkpoint_io, "config")


def test_saving_in_the_background_keeps_the_state_of_the_moment(tmp_path):
    writer = AsyncCheckpointIO(TrackNetCheckpointIO())
    state = content()
    writer.save_checkpoint(state, tmp_path / "x.ckpt")
    state["state_dict"]["network.bias"].zero_()
    writer.teardown()
    assert torch.equal(
        read_checkpoint(tmp_path / "x.ckpt")["state_dict"]["network.bias"],
        content()["state_dict"]["network.bias"],
    )


def test_records_that_unfold_are_not_unfolded_to_be_checked(tmp_path):
    path = tmp_path / "trap.ckpt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data/0", bytes(1 << 22))
    content = bytearray(path.read_bytes())
    content[60] ^= 0xFF  # damage that unfolding would come upon
    path.write_bytes(content)
    assert checkpoint_format.damaged_records(path) == []
