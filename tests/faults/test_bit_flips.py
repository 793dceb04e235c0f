"""Checkpoints and frame caches in which a bit flips, or whose end is lost."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import pytest
import torch

from tracknet.cli.resuming import resolve
from tracknet.data.cache import FrameCache
from tracknet.data.video import VideoWriter, open_source
from tracknet.errors import TrackNetError
from tracknet.training.checkpoint_format import write_checkpoint
from tracknet.training.checkpoint_reading import read_checkpoint

SIZE = (32, 48)


def damage(path: Path, draw: random.Random) -> str:
    """Flip one bit of a file, or, one time in three, cut it; say which."""
    data = bytearray(path.read_bytes())
    if draw.random() < 1 / 3:
        data = data[: draw.randrange(len(data))]
        what = "cut"
    else:
        place = draw.randrange(len(data) * 8)
        data[place // 8] ^= 1 << place % 8
        what = "flipped"
    path.write_bytes(data)
    return what


def checkpoints_damaged(folder: Path, number: int, seed: int = 1) -> tuple[int, list[str]]:
    """Damage the newest of two checkpoints again and again; give the tries, and those that went wrong.

    A try is survived when the file is refused by name, and ``--ckpt_path`` goes on from the one before and
    says both.
    """
    place = folder / "runs" / "tiny" / "version_0" / "checkpoints"
    place.mkdir(parents=True)
    for step, name in enumerate(("before", "last"), 1):
        weights = {"network.weight": torch.randn(40, 30), "network.bias": torch.randn(30)}
        write_checkpoint(
            {
                "epoch": 0,
                "global_step": step,
                "pytorch-lightning_version": "2.6",
                "state_dict": weights,
                "hyper_parameters": {},
                "optimizer_states": [],
            },
            place / f"{name}.ckpt",
            "seed_everything: 3\n",
        )
        os.utime(place / f"{name}.ckpt", (step, step))
    last, before = place / "last.ckpt", place / "before.ckpt"
    whole = last.read_bytes()
    draw = random.Random(seed)
    lost = []
    for number_of_try in range(number):
        what = damage(last, draw)
        os.utime(last, (2, 2))
        try:
            read_checkpoint(last)
            lost.append(f"{number_of_try}: {what}: not noticed")
        except TrackNetError as error:
            found = resolve(["--ckpt_path", str(folder / "runs")], "fit")
            if found.words != [f"--ckpt_path={before}"] or str(last) not in f"{error}{found.notes[0]}":
                lost.append(f"{number_of_try}: {what}: {found}")
        last.write_bytes(whole)
    os.utime(last, (2, 2))
    assert resolve(["--ckpt_path", str(folder / "runs")], "fit").words == [f"--ckpt_path={last}"]
    return number, lost


def caches_damaged(folder: Path, number: int, seed: int = 2) -> tuple[int, list[str], int]:
    """Damage a cached clip; give the tries, those not noticed, and how many opening alone has noticed."""
    folder.mkdir(exist_ok=True)
    with VideoWriter(folder / "clip.mp4", (64, 96), fps=30) as video:
        for shade in range(12):
            picture = torch.full((64, 96, 3), 20 * shade, dtype=torch.uint8).numpy()
            video.write(picture)
    source = open_source(folder / "clip.mp4")
    cache = FrameCache(folder / "cache", SIZE)
    cache.build([source], progress=False)
    (place,) = (folder / "cache").glob("??/*")
    shutil.copytree(place, folder / "whole")
    files = sorted(one.name for one in place.iterdir())
    assert files == ["background.npy", "frames.npy", "meta.json"]
    draw = random.Random(seed)
    lost, by_opening = [], 0
    for number_of_try in range(number):
        name = files[number_of_try % len(files)]
        what = damage(place / name, draw)
        try:
            cache.open(source)
        except TrackNetError:
            by_opening += 1
        if cache.remove_damaged([source]) != ([source], 0):
            lost.append(f"{number_of_try}: {name} {what}: not noticed")
            shutil.rmtree(place)
        shutil.copytree(folder / "whole", place, dirs_exist_ok=True)
    assert cache.remove_damaged([source]) == ([], 0)
    return number, lost, by_opening


def test_a_damaged_checkpoint_is_noticed_and_passed_over(tmp_path):
    assert checkpoints_damaged(tmp_path, 30) == (30, [])


def test_a_damaged_cache_is_noticed_where_it_is_verified(tmp_path):
    tried, lost, by_opening = caches_damaged(tmp_path, 30)
    assert (tried, lost) == (30, [])
    assert by_opening < 30, "opening does not read the frames"


@pytest.mark.parametrize("kept", [{}, {"digest": "0" * 40}, {"crc32": "0" * 8}])
def test_an_entry_of_an_older_version_has_no_checksum_and_stays(tmp_path, kept):
    caches_damaged(tmp_path, 0)
    (meta,) = (tmp_path / "cache").glob("??/*/meta.json")
    told = json.loads(meta.read_text())
    del told["checksum"]
    meta.write_text(json.dumps(told | kept))
    cache = FrameCache(tmp_path / "cache", SIZE)
    assert cache.remove_damaged([open_source(tmp_path / "clip.mp4")]) == ([], 1)


@pytest.mark.slow
def test_three_hundred_of_each(tmp_path):
    assert checkpoints_damaged(tmp_path, 300, seed=3) == (300, [])
    assert caches_damaged(tmp_path / "frames", 300, seed=4)[:2] == (300, [])


def test_a_header_of_which_a_quote_has_become_a_bracket_is_damage(tmp_path):
    caches_damaged(tmp_path, 0)
    (frames,) = (tmp_path / "cache").glob("??/*/frames.npy")
    frames.write_bytes(frames.read_bytes().replace(b"'shape': (", b"'shape': {", 1))
    cache = FrameCache(tmp_path / "cache", SIZE)
    source = open_source(tmp_path / "clip.mp4")
    assert cache.missing([source]) == [source]
    assert cache.remove_damaged([source]) == ([source], 0)


def test_a_header_that_does_not_end_is_damage(tmp_path):
    caches_damaged(tmp_path, 0)
    (frames,) = (tmp_path / "cache").glob("??/*/frames.npy")
    frames.write_bytes(frames.read_bytes().replace(b")", b"(", 1))
    cache = FrameCache(tmp_path / "cache", SIZE)
    with pytest.raises(TrackNetError, match="damaged in the frame cache"):
        cache.open(open_source(tmp_path / "clip.mp4"))
