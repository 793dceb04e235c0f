"""Packed data hold what the frame cache holds, appear whole, and never serve what was damaged."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tracknet.cli.data import main
from tracknet.data import packing as packing_module
from tracknet.data.check import check_dataset
from tracknet.data.datamodules import FlatVideoDataModule, RallyDataModule
from tracknet.data.file_lock import locked
from tracknet.data.layouts import FlatVideo
from tracknet.data.packed import Pack, decode
from tracknet.data.packed_datamodule import PackedDataModule
from tracknet.data.packed_index import read_index
from tracknet.data.packing import Packing, PackSettings
from tracknet.data.shards import ShardError
from tracknet.data.splits import Split, choose_clips
from tracknet.data.video import VideoFile
from tracknet.errors import TrackNetError, UsageError

SIZE = (64, 96)
SMALL, LARGE = 18_000, 10**9  # a few frames a shard, and all of them


def packing(root, folder, quality="lossless", shard_bytes=SMALL, split=None, layout=None, frames=3):
    report = check_dataset(root, layout)
    clips = [one.clip for one in report.checked if one.labels is not None]
    parts = choose_clips(clips, split or Split(val=("c",), test=("c", "d")), 0.0)
    return Packing(folder, report, parts, PackSettings(SIZE, quality, shard_bytes, frames))


@pytest.fixture(scope="module")
def packed(tiny_rallies, tmp_path_factory) -> Path:
    """The tiny rallies without loss, most clips in several shards."""
    folder = tmp_path_factory.mktemp("packed")
    packing(tiny_rallies, folder).write(progress=False)
    return folder


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def modules(root, folder, unpacked=FlatVideoDataModule, **options):
    """The data from videos and from shards, ready; with the same settings."""
    options = {"size": SIZE, "frames": 4, "outputs": 4, "background": True} | options
    split = {"val": ["c"], "test": ["c", "d"], "train": ["a", "b"]}
    both = (unpacked(root, **split, **options), PackedDataModule(str(folder), **options))
    for data in both:
        data.prepare_data()
        data.setup("fit")
        data.setup("test")
    return both


def assert_same_windows(one, other):
    assert len(one) == len(other) > 0
    for first, second in zip((one[n] for n in range(len(one))), other, strict=False):
        assert first.keys() == second.keys()
        for name in first:
            assert torch.equal(first[name], second[name]), name


# What shards hold ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options", [{}, {"outputs": 1}, {"eval_step": 1}, {"eval_step": 2}, {"frames": 30, "outputs": 30}]
)
def test_windows_are_those_of_the_videos(tiny_rallies, packed, options):
    videos, shards = modules(tiny_rallies, packed, **options)
    assert videos.clip_names("test") == shards.clip_names("test") == ["c", "d"]
    for loader in ("val_dataloader", "test_dataloader", "train_dataloader"):
        assert_same_windows(*(getattr(data, loader)().dataset for data in (videos, shards)))
    # A run goes on with packed data without a note.
    assert shards.state_dict() == videos.state_dict()
    assert json.loads((packed / "index.json").read_text())["fingerprint"]


def test_stretches_around_sparse_labels(tmp_path, write_rally):
    class Sparse(FlatVideo):
        sparse = True

    class SparseDataModule(RallyDataModule):
        layout = Sparse

    root = tmp_path / "rallies"
    root.mkdir()
    for name in "abcd":
        silent = set(range(40)) - {3, 4, 20, 33 + ord(name) - ord("a")}
        write_rally(root, name, 40, unlabelled=tuple(silent))
    packing(root, tmp_path / "packed", layout=Sparse(), frames=4).write(progress=False)
    videos, shards = modules(root, tmp_path / "packed", SparseDataModule)
    assert len(shards.parts["train"][0].cached.frames) < 40
    for loader in ("val_dataloader", "train_dataloader"):
        assert_same_windows(*(getattr(data, loader)().dataset for data in (videos, shards)))
    with pytest.raises(UsageError, match=r"windows of 4 frames, and the network takes 9; pack again with"):
        PackedDataModule(str(tmp_path / "packed"), frames=9, size=SIZE).prepare_data()


def test_jpeg_is_smaller_and_close(tiny_rallies, packed, tmp_path):
    packing(tiny_rallies, tmp_path, quality=95, shard_bytes=LARGE).write(progress=False)
    exact, lossy = Pack(str(packed)), Pack(str(tmp_path))
    frames, close = (one.clips("val")[0].cached.frames[:] for one in (exact, lossy))
    assert 0 < np.abs(frames.astype(int) - close).mean() < 2
    assert exact.index["fingerprint"] != lossy.index["fingerprint"]
    assert [shard.name for shard in lossy.shards] == [
        "train-00000.tar", "val_test-00000.tar", "test-00000.tar",
    ]  # fmt: skip


def test_shards_are_of_the_size_asked_for_and_one_part_each(packed):
    pack = Pack(str(packed))
    sizes = [shard.bytes for shard in pack.shards]
    assert len(sizes) > 6
    # The background of each clip comes on top.
    assert all(SMALL / 4 < size < SMALL * 2 for size in sizes)
    assert all((packed / shard.name).stat().st_size == shard.bytes for shard in pack.shards)
    assert {shard.name.split("-")[0] for shard in pack.shards} == {"train", "val_test", "test"}


def test_a_shard_can_be_read_as_a_web_dataset(tiny_rallies, packed):
    samples = {}
    for path in sorted(packed.glob("val_test-*.tar")):
        with tarfile.open(path) as tar:
            for member in tar:
                key, _, ending = member.name.partition(".")
                samples.setdefault(key, {})[ending] = tar.extractfile(member).read()
    seen = []
    pictures = Pack(str(packed)).clips("val")[0].cached.frames[:]
    for sample in samples.values():
        if "json" in sample:
            told = json.loads(sample.pop("json"))
            assert told["clip"] == "c"
            for frame, content in zip(told["frames"], (sample[name] for name in sorted(sample)), strict=True):
                assert np.array_equal(decode(content), pictures[frame])
            seen += zip(told["frames"], told["visibility"], told["labelled"], strict=True)
    assert [frame for frame, _, _ in seen] == list(range(20))
    assert [frame for frame, visible, _ in seen if not visible] == [0, 9, 12, 13]
    assert [frame for frame, _, labelled in seen if not labelled] == [12, 13]
    assert any(list(sample) == ["webp"] for sample in samples.values())


def test_frames_read_like_an_array(packed):
    clip = Pack(str(packed)).clips("val")[0].cached
    frames = clip.frames[:]
    assert clip.frames.shape == frames.shape == (20, 3, *SIZE)
    assert np.array_equal(clip.frames[-1], frames[-1])
    assert np.array_equal(clip.frames[np.array([7, 2, 7])], frames[[7, 2, 7]])
    with pytest.raises(IndexError):
        clip.frames[20]


# Interrupted, repeated, refused ----------------------------------------------------------------------

KILLED = """
import os, signal, sys
from tracknet.cli.main import run
from tracknet.data import packing
encode, left = packing.encode, [int(sys.argv.pop(1))]
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # one group of shards after the other

def killed(frame, quality):
    left[0] -= 1
    if left[0] < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return encode(frame, quality)

packing.encode = killed
run()
"""


def test_packing_that_was_killed_goes_on(tiny_rallies, tmp_path, monkeypatch):
    folder, whole = tmp_path / "killed", tmp_path / "whole"
    words = [str(tiny_rallies), "--output", str(folder), "--size", *map(str, SIZE), "--shard_size", "60KB"]
    words += ["--quality", "lossless", "--val", "[c]", "--test", "[c,d]"]
    command = [sys.executable, "-c", KILLED, "55", "data", "pack", *words]
    died = subprocess.run(command, cwd=Path.cwd(), capture_output=True, text=True, check=False)
    assert died.returncode == -signal.SIGKILL, died.stderr
    finished = {path: path.stat().st_mtime_ns for path in folder.glob("[!.]*.tar")}
    assert finished
    with pytest.raises(TrackNetError, match=r"index.json: cannot be read.*goes on when called again"):
        Pack(str(folder))
    encode, encoded = packing_module.encode, []

    def counted(frame, quality):
        encoded.append(quality)
        return encode(frame, quality)

    monkeypatch.setattr(packing_module, "encode", counted)
    assert main(["pack", *words]) == 0
    assert 0 < len(encoded) < 77
    assert all(path.stat().st_mtime_ns == time for path, time in finished.items())
    assert not list(folder.glob(".*.tar"))
    words[words.index(str(folder))] = str(whole)
    main(["pack", *words])
    assert contents(folder) == contents(whole)


def test_packing_again_does_nothing(tiny_rallies, packed, monkeypatch):
    before = contents(packed)
    monkeypatch.setattr(packing_module, "encode", None)
    packing(tiny_rallies, packed).write()
    assert contents(packed) == before


def test_other_settings_or_data_are_refused(tiny_rallies, packed, tmp_path, write_rally):
    before = contents(packed)
    with pytest.raises(UsageError, match=r"packed with quality lossless, asked for 90"):
        packing(tiny_rallies, packed, quality=90).write()
    with pytest.raises(UsageError, match=r"train clips: 1 new \(d\), 2 gone \(a, b\)"):
        packing(tiny_rallies, packed, split=Split(train=("d",), val=("c",))).write()
    write_rally(tmp_path, "a", 21)
    write_rally(tmp_path, "c", 20)
    with pytest.raises(UsageError, match="other packed data; choose another folder"):
        packing(tmp_path, packed, split=Split(val=("c",))).write()
    with pytest.raises(UsageError, match="holds other files; name a new or empty folder with --output"):
        packing(tiny_rallies, tmp_path).write()
    assert contents(packed) == before


def test_one_process_packs_into_a_folder(tiny_rallies, tmp_path):
    with (
        locked(tmp_path / ".lock"),
        pytest.raises(TrackNetError, match="another process packs into it"),
    ):
        packing(tiny_rallies, tmp_path).write()


def test_too_little_room_is_told_before(tiny_rallies, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(packing_module.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(
        TrackNetError, match=r"too little room: 77 frames need about 0\.\d MB, 0.0 MB are free"
    ):
        packing(tiny_rallies, tmp_path).write()
    assert not list(tmp_path.glob("*.tar"))


def test_a_clip_that_cannot_be_decoded_is_named_and_the_others_are_written(
    tiny_rallies, tmp_path, monkeypatch
):
    frames = VideoFile.frames

    def short(self, size=None, threads=None, stretches=None):
        decoded = list(frames(self, size, threads, stretches))
        return iter(decoded[:-1] if self.path.stem == "b" else decoded)

    ready = packing(tiny_rallies, tmp_path)
    monkeypatch.setattr(VideoFile, "frames", short)
    with pytest.raises(TrackNetError, match=r"b.mp4: has 18 frames, and 19 were counted"):
        ready.write(progress=False)
    assert len(list(tmp_path.glob("test-*.tar"))) > 0
    assert not (tmp_path / "index.json").exists()


def test_interrupted_packing_leaves_whole_shards_only(tiny_rallies, tmp_path, monkeypatch):
    encode, calls = packing_module.encode, []

    def interrupted(frame, quality):
        calls.append(1)
        if len(calls) == 60:
            raise KeyboardInterrupt
        return encode(frame, quality)

    monkeypatch.setattr(packing_module, "encode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        packing(tiny_rallies, tmp_path).write(workers=1, progress=False)
    for path in tmp_path.rglob("*.tar"):
        assert (
            path.stat().st_size
            == json.loads((tmp_path / "records" / f"{path.name}.json").read_text())["bytes"]
        )


# Damage ----------------------------------------------------------------------------------------------


def damaged(tiny_rallies, folder, ending=None):
    """Packs, and flips a bit inside a frame of the first shard or cuts the shard short."""
    packing(tiny_rallies, folder).write(progress=False)
    shard = folder / "train-00000.tar"
    content = bytearray(shard.read_bytes())
    content[600] ^= 1
    shard.write_bytes(bytes(content[:ending]))
    return shard


@pytest.mark.parametrize("root", ["nosuchprotocol://pack", "a-folder"])
def test_what_does_not_pass_by_waiting_is_told_at_once(root, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-folder" / "index.json").mkdir(parents=True)
    monkeypatch.setattr("tracknet.data.shards._PAUSES", ("never",))  # no sleep can be that long
    with pytest.raises(
        TrackNetError, match=r"index.json: cannot be read: (Protocol not known|Is a directory)"
    ):
        read_index(root)


def test_a_damaged_frame_is_named(tiny_rallies, tmp_path):
    shard = damaged(tiny_rallies, tmp_path)
    data = PackedDataModule(str(tmp_path), size=SIZE, num_workers=1)
    data.setup("fit")
    with pytest.raises(ShardError) as caught:
        list(data.train_dataloader())
    told = (
        f"{shard}: damaged at byte 512; write it again with tracknet data pack ... --verify, or copy it again"
    )
    assert str(caught.value) == told


def test_a_damaged_shard_is_not_copied(tiny_rallies, tmp_path, monkeypatch):
    monkeypatch.setattr("tracknet.data.shards._PAUSES", (0.0,))
    shard = damaged(tiny_rallies, tmp_path / "packed")
    pack = Pack(str(tmp_path / "packed"), tmp_path / "copies", LARGE)
    with pytest.raises(
        ShardError, match=rf"{shard}: damaged: its digest is \w+ instead of {pack.shards[0].digest}"
    ):
        pack.frames(np.array([0]))
    assert [path.suffix for path in (tmp_path / "copies").iterdir()] == [".npy"]


@pytest.mark.parametrize(("ending", "verify"), [(None, True), (900, False)])
def test_a_damaged_shard_is_written_again(tiny_rallies, tmp_path, packed, capsys, ending, verify):
    shard = damaged(tiny_rallies, tmp_path, ending)
    packing(tiny_rallies, tmp_path).write(verify=verify)
    assert f"{shard}: damaged; written again" in capsys.readouterr().err
    assert contents(tmp_path) == contents(packed)


def test_a_missing_shard_is_named(tiny_rallies, packed, tmp_path):
    packing(tiny_rallies, tmp_path).write(progress=False)
    (tmp_path / "train-00000.tar").unlink()
    with pytest.raises(ShardError, match=r"train-00000.tar: cannot be read: No such file"):
        Pack(str(tmp_path)).frames(np.array([0]))


@pytest.mark.parametrize("name", ["index.json", "frames.npy"])
def test_a_damaged_index_or_table_is_refused(tiny_rallies, tmp_path, name):
    packing(tiny_rallies, tmp_path).write(progress=False)
    content = bytearray((tmp_path / name).read_bytes())
    content[-200] ^= 1
    (tmp_path / name).write_bytes(bytes(content))
    with pytest.raises(TrackNetError, match=rf"{name}: damaged"):
        Pack(str(tmp_path))


# The command -----------------------------------------------------------------------------------------


def test_the_command_tells_sizes_and_what_to_run_next(tiny_rallies, tmp_path, capsys):
    folder = tmp_path / "packed"
    assert main(["pack", str(tiny_rallies), "--output", str(folder), "--size", "64", "96"]) == 0
    out, err = capsys.readouterr()
    assert "packing: 77 frames of 4 clips, about 0." in err
    assert "77 frames in " in err
    assert f"77 frames at 64x96 (height x width) in 2 shards under {folder}: " in out
    command = f"tracknet fit +data=packed --data.root {folder} --model.input_size '[64,96]'"
    assert out.endswith(f"to train on them: {command}\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--quality", "101"], "quality"),
        (["--shard_size", "many"], "--shard_size many: expected a size such as 5GB or 500MB"),
        (["--split", "wasb"], "'wasb' is not a named split"),
    ],
)
def test_wrong_options(tiny_rallies, tmp_path, words, message):
    with pytest.raises(UsageError, match=message):
        main(["pack", str(tiny_rallies), "--output", str(tmp_path / "packed"), *words])
    assert not (tmp_path / "packed").exists()
