"""Compressed checkpoints: read by everything as others are, damage noticed, traps refused."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import random
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import zstandard
from lightning.pytorch.plugins.io import AsyncCheckpointIO

from tracknet.cli.main import main as tracknet
from tracknet.errors import TrackNetError
from tracknet.models.inpaintnet import InpaintNet
from tracknet.training import compression
from tracknet.training.checkpoint_format import check_seal, read_metadata, write_checkpoint
from tracknet.training.checkpoint_reading import read_checkpoint
from tracknet.training.checkpoints import TrackNetCheckpointIO, with_checkpoints_of_ours

RECORD, METADATA = "checkpoint/archive.zst", "checkpoint/tracknet.json"


class Evil:
    """A pickle that writes a file when it is opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.write_text, (self.path, "run"))


def content(**more):
    torch.manual_seed(7)
    return {
        "epoch": 2,
        "global_step": 7,
        "pytorch-lightning_version": "2.6",
        "state_dict": {"network.weight": torch.randn(90, 80), "network.bias": torch.zeros(9000)},
        "hyper_parameters": {"_class_path": "a.Tracker", "network": {"class_path": "a.Network"}},
        "callbacks": {"ModelCheckpoint": {"monitor": "val/f1", "current_score": torch.tensor(0.5)}},
        **more,
    }


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_checkpoint(content(), Path("z.ckpt"), "seed_everything: 3\n", "zstd")
    return Path("z.ckpt")


@pytest.fixture
def missing(monkeypatch):
    """Zstandard is not installed."""
    monkeypatch.setitem(sys.modules, "zstandard", None)


def of_a_stranger(path, packed, **told):
    """Write a file that is sealed as ours are, with other bytes in it, or other words about them."""
    with zipfile.ZipFile(path) as archive:
        metadata = json.loads(archive.read(METADATA))
    metadata["compression"] |= told
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(RECORD, packed)
        archive.writestr(METADATA, json.dumps(metadata))
        archive.comment = b"tracknet sha256 " + b"0" * 64
    whole = path.read_bytes()
    path.write_bytes(whole[:-64] + hashlib.sha256(whole[:-64]).hexdigest().encode())
    assert check_seal(path) == "whole"


def plain_of(path):
    with zipfile.ZipFile(path) as archive:
        return zstandard.ZstdDecompressor().decompress(archive.read(RECORD))


def test_it_is_smaller_and_the_same(path):
    worth = write_checkpoint(content(), Path("z.ckpt"), None, "zstd")
    assert write_checkpoint(content(), Path("plain.ckpt")) is None
    found, expected = (read_checkpoint(Path(name)) for name in ("z.ckpt", "plain.ckpt"))
    assert found.keys() == expected.keys()
    assert all(torch.equal(found["state_dict"][name], one) for name, one in expected["state_dict"].items())
    assert path.stat().st_size < 0.6 * Path("plain.ckpt").stat().st_size
    assert worth["size"] == len(plain_of(path))
    assert worth["compressed"] < 0.6 * worth["size"]
    assert compression.is_installed()
    with pytest.raises(Exception, match=r"version|data\.pkl"):
        torch.load(path, weights_only=True)  # which is why `convert --compression none` is there
    assert sorted(one.name for one in Path().iterdir()) == ["plain.ckpt", "z.ckpt"]


def test_it_tells_what_it_is_without_being_unpacked(path, missing, capsys):
    found = read_metadata(path)
    assert (found["epoch"], found["config"]) == (2, "seed_everything: 3\n")
    assert found["compression"].keys() == {"method", "size", "compressed", "seconds"}
    assert read_metadata(path)["compression"]["method"] == "zstd"
    assert tracknet(["checkpoint", "inspect", "z.ckpt"]) == 0
    told = capsys.readouterr().out
    assert "compression: zstd, 0.1 MB -> 0.0 MB, 0." in told
    assert "for more of it: pip install 'tracknet[zstd]'" in told
    assert "epoch:       2\n" in told
    assert told.endswith("seed_everything: 3\n")
    whole = path.read_bytes()
    path.write_bytes(whole[:500] + bytes([whole[500] ^ 1]) + whole[501:])
    assert tracknet(["checkpoint", "inspect", "z.ckpt"]) == 1
    assert capsys.readouterr().err.startswith("tracknet checkpoint: z.ckpt: ")


def test_what_is_not_installed_is_told_in_a_line(path, missing, capsys):
    with pytest.raises(TrackNetError, match=r"^compression: zstd needs zstandard: pip install 'tra"):
        TrackNetCheckpointIO(compression="zstd")
    with pytest.raises(TrackNetError, match=r"^compression: zstd needs zstandard"):
        write_checkpoint(content(), Path("new.ckpt"), None, "zstd")
    assert tracknet(["checkpoint", "verify", "z.ckpt"]) == 1
    assert capsys.readouterr().err == (
        "tracknet checkpoint: z.ckpt: is compressed with zstd; reading it needs zstandard: "
        "pip install 'tracknet[zstd]'\n"
    )
    assert [one.name for one in Path().iterdir()] == ["z.ckpt"]


def test_what_a_compression_was_worth(path, monkeypatch):
    times = iter([100.0, 102.34567])
    monkeypatch.setattr(compression, "time", SimpleNamespace(perf_counter=lambda: next(times)))
    plain, packed = bytes(range(256)) * 40, io.BytesIO()
    told = compression.compress(io.BytesIO(plain), packed, 3)
    assert told == {"method": "zstd", "size": 10240, "compressed": packed.tell(), "seconds": 2.346}
    packed.seek(0)
    assert compression.expand(packed, told, path).read() == plain


def test_more_than_is_told_is_noticed_at_the_end_of_a_block(path):
    packed = io.BytesIO(zstandard.ZstdCompressor().compress(bytes(2 * compression._BLOCK)))
    told = {"method": "zstd", "size": compression._BLOCK, "compressed": 100, "seconds": 0.1}
    with pytest.raises(TrackNetError, match=f"more comes out of it than the {compression._BLOCK} bytes"):
        compression.expand(packed, told, path)


def test_so_much_may_come_out_of_a_file_and_no_byte_more():
    for compressed in (1, compression._ALWAYS_ALLOWED):
        most = max(compression._ALWAYS_ALLOWED, compression._LARGEST_FACTOR * compressed)
        assert compression.is_allowed(most, compressed)
        assert not compression.is_allowed(most + 1, compressed)


GOOD = {"method": "zstd", "size": 1, "compressed": (1 << 60) - 1, "seconds": 0}


@pytest.mark.parametrize(
    ("change", "good"),
    [
        ({}, True),
        ({"size": 0}, False),
        ({"size": 1 << 60}, False),
        ({"compressed": 1 << 60}, False),
        ({"size": True}, False),
        ({"size": 7.0}, False),
        ({"method": 3}, False),
        ({"seconds": -0.1}, False),
        ({"seconds": 1e9}, False),
        ({"seconds": "0"}, False),
    ],
)
def test_what_may_be_told_of_a_compression(change, good):
    assert compression.is_compression(GOOD | change) == good
    for name in GOOD:
        assert not compression.is_compression({key: one for key, one in GOOD.items() if key != name})
    assert not compression.is_compression([GOOD])


def test_every_bit_that_flips_and_every_cut_is_noticed(path):
    whole = path.read_bytes()
    draw = random.Random(1)
    places = [draw.randrange(len(whole) * 8) for _ in range(150)]
    places += range(len(whole) * 8 - 110 * 8, len(whole) * 8, 5)
    for place in places:
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(TrackNetError, match=r"z.ckpt: not a readable checkpoint: "):
            read_checkpoint(path)
    for length in (*(draw.randrange(len(whole)) for _ in range(60)), *range(len(whole) - 120, len(whole))):
        path.write_bytes(whole[:length])
        with pytest.raises(TrackNetError, match=r"z.ckpt: not a readable checkpoint: "):
            read_checkpoint(path)
    path.write_bytes(whole)
    read_checkpoint(path)


def test_code_is_neither_run_nor_written(path):
    mark = Path("mark").resolve()
    before = path.read_bytes()
    with pytest.raises(TrackNetError, match=r"z.ckpt: not written: it would hold .*which is code"):
        write_checkpoint(content(more=Evil(mark)), path, None, "zstd")
    assert path.read_bytes() == before
    torch.save(content(more=Evil(mark)), "evil.pt")
    plain = Path("evil.pt").read_bytes()
    of_a_stranger(path, zstandard.compress(plain), size=len(plain))
    with pytest.raises(TrackNetError, match="which could be code and is not opened"):
        TrackNetCheckpointIO().load_checkpoint(path, weights_only=False)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (10**9, "not opened: 0.0 MB would become 1000 MB, more than any checkpoint is compressed"),
        (5000, "not a readable checkpoint: more comes out of it than the 5000 bytes that it tells"),
        (20 << 20, "not a readable checkpoint: less comes out of it than the 20971520 bytes that it tells"),
    ],
)
def test_a_trap_that_would_fill_the_memory_is_refused(path, size, said):
    of_a_stranger(path, zstandard.compress(bytes(10 << 20)), size=size)
    assert path.stat().st_size < 10_000
    with pytest.raises(TrackNetError) as caught:
        read_checkpoint(path)
    assert str(caught.value) == f"z.ckpt: {said}"


def test_what_a_stranger_calls_compressed(path):
    plain = plain_of(path)
    of_a_stranger(path, b"no frame of zstd")
    with pytest.raises(TrackNetError, match=r"z.ckpt: not a readable checkpoint: it is damaged \(zstd"):
        read_checkpoint(path)
    of_a_stranger(path, zstandard.compress(plain), method="brotli")
    with pytest.raises(TrackNetError, match=r"z.ckpt: compressed with 'brotli', which this tracknet"):
        read_checkpoint(path)
    for told in ({"size": "9"}, {"size": True}, {"size": 10**400}, {"seconds": 1e999}, {"method": 3}):
        of_a_stranger(path, zstandard.compress(plain), **{"method": "zstd", "size": len(plain)} | told)
        assert read_metadata(path) is None
        with pytest.raises(TrackNetError, match=r"z.ckpt: not a readable checkpoint: it is damaged"):
            read_checkpoint(path)
        path.unlink()
        write_checkpoint(content(), path, None, "zstd")


def test_what_readers_could_not_tell_from_a_trap_is_written_as_it_is(path, monkeypatch):
    monkeypatch.setattr(compression, "_ALWAYS_ALLOWED", 1 << 20)
    zeros = content(optimizer_states=[{"exp_avg": torch.zeros(10**7)}])
    assert write_checkpoint(zeros, path, None, "zstd") is None
    assert read_metadata(path)["compression"] is None
    assert len(read_checkpoint(path)["optimizer_states"][0]["exp_avg"]) == 10**7
    assert check_seal(path) == "whole"


def test_a_full_disk_leaves_the_old_checkpoint(path, monkeypatch):
    before = path.read_bytes()

    def full(content, file):
        file.write(b"PK")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(TrackNetError, match=r"z.ckpt: cannot be written: No space left on device"):
        write_checkpoint(content(), path, None, "zstd")
    assert path.read_bytes() == before
    assert [one.name for one in Path().iterdir()] == ["z.ckpt"]


def test_saving_in_the_background_compresses_and_tells_it_once(tmp_path, caplog):
    (writer,) = with_checkpoints_of_ours(AsyncCheckpointIO(TrackNetCheckpointIO(compression="zstd")), "a: 1")
    with caplog.at_level("INFO"):
        for name in ("one.ckpt", "two.ckpt"):
            state = content()
            writer.save_checkpoint(state, tmp_path / name)
            state["state_dict"]["network.weight"].zero_()
        writer.teardown()
    for name in ("one.ckpt", "two.ckpt"):
        found = read_metadata(tmp_path / name)
        assert (found["compression"]["method"], found["config"]) == ("zstd", "a: 1")
        weight = read_checkpoint(tmp_path / name)["state_dict"]["network.weight"]
        assert torch.equal(weight, content()["state_dict"]["network.weight"])
    (said,) = [one for one in caplog.messages if "compressed" in one]
    assert said.startswith("note: checkpoints are compressed with zstd: 0.1 MB -> 0.0 MB, 0.")
    assert said.endswith(" s for one.ckpt")


@pytest.fixture
def rectifier(path):
    """A checkpoint that is ours in all, in this folder."""
    rectifier = {"class_path": "tracknet.models.inpaintnet.InpaintNet", "init_args": {}}
    weights = {f"network.{name}": one for name, one in InpaintNet().state_dict().items()}
    whole = {"pytorch-lightning_version": "2.6", "state_dict": weights, "rectifier": rectifier}
    write_checkpoint(whole | {"optimizer_states": [{"a": torch.zeros(10**5)}]}, Path("plain.ckpt"))
    return Path("plain.ckpt")


def test_the_command_compresses_and_undoes_it(rectifier, capsys):
    words = ["checkpoint", "convert", "plain.ckpt", "--output", "small.ckpt", "--compression", "zstd"]
    assert tracknet([*words, "--level", "9"]) == 0
    checkpoint, size = capsys.readouterr().out.splitlines()
    assert checkpoint == "checkpoint: small.ckpt"
    assert size.startswith("size:       ")
    before, after = (float(size.split()[place]) for place in (1, 4))
    assert before > after
    assert size.endswith(" s")
    assert tracknet(["checkpoint", "convert", "small.ckpt", "--output", "again.ckpt"]) == 0
    assert read_metadata(Path("again.ckpt"))["compression"] is not None
    capsys.readouterr()
    words = ["checkpoint", "convert", "again.ckpt", "--output", "back.ckpt", "--compression", "none"]
    assert tracknet(words) == 0
    assert f"size:       {after} MB -> {before} MB, " in capsys.readouterr().out
    back, plain = (torch.load(name, weights_only=True) for name in ("back.ckpt", "plain.ckpt"))
    assert back.keys() == plain.keys()
    assert tracknet(["checkpoint", "diff", "small.ckpt", "back.ckpt"]) == 0
    assert "weights: the same" in capsys.readouterr().out
    assert tracknet(["checkpoint", "convert", "back.ckpt", "--output", "plain2.ckpt"]) == 0
    assert capsys.readouterr().out == "checkpoint: plain2.ckpt\n"


def test_the_other_commands_take_it_as_it_is(rectifier, capsys):
    assert (
        tracknet(["checkpoint", "convert", "plain.ckpt", "--output", "small.ckpt", "--compression=zstd"]) == 0
    )
    for words in (
        ["verify", "small.ckpt"],
        ["inspect", "small.ckpt"],
        ["prune", "small.ckpt", "--output", "pruned.ckpt"],
        ["average", "small.ckpt", "plain.ckpt", "small.ckpt", "--output", "mean.ckpt"],
        ["diff", "mean.ckpt", "pruned.ckpt"],
    ):
        assert tracknet(["checkpoint", *words]) == 0
    assert "compression: zstd, " in capsys.readouterr().out
    assert read_metadata(Path("pruned.ckpt"))["compression"]["method"] == "zstd"
    assert "optimizer_states" not in read_checkpoint(Path("pruned.ckpt"))
    assert read_metadata(Path("mean.ckpt"))["compression"]["method"] == "zstd"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--level", "4"], "--level 4: goes with --compression zstd"),
        (["--compression", "none", "--level", "4"], "--level 4: goes with --compression zstd"),
        (["--compression", "zstd", "--level", "20"], "20"),
        (["--compression", "zst"], "did you mean 'zstd'?"),
    ],
)
def test_wrong_words(path, words, said, capsys):
    assert tracknet(["checkpoint", "convert", "z.ckpt", *words]) == 2
    assert said in capsys.readouterr().err
    assert [one.name for one in Path().iterdir()] == ["z.ckpt"]
