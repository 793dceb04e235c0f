"""From a folder of rallies to batches: which clips go where, and what a batch holds."""

from __future__ import annotations

import os
import random
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch.trainer.states import TrainerFn
from torch import nn
from torch.utils.data import DistributedSampler

from tracknet.data.clips import Clip
from tracknet.data.crops import RandomCrop
from tracknet.data.datamodules import (
    FlatVideoDataModule,
    GeneratedDataModule,
    ShuttlecockDataModule,
    TennisDataModule,
)
from tracknet.data.labels import read_labels
from tracknet.data.splits import SHUTTLECOCK_SPLITS, TENNIS_SPLITS, Split, choose_clips
from tracknet.data.windows import EvaluationSampler
from tracknet.errors import TrackNetError, UsageError, printable

SIZE = (64, 96)


def clips(*names):
    return [Clip(name, name.rpartition("/")[0], Path(f"{name}.mp4"), None) for name in names]


def chosen(names, train=(), val=(), test=(), holdout=0.15):
    parts = choose_clips(clips(*names), Split(tuple(train), tuple(val), tuple(test)), holdout)
    assert list(parts) == ["train", "val", "test"]
    return tuple([clip.name for clip in parts[part]] for part in parts)


# Which clips go where --------------------------------------------------------------------------------


def test_each_part_as_named():
    assert chosen("abcde", train="ab", val="c", test="de") == (["a", "b"], ["c"], ["d", "e"])


def test_training_takes_what_the_others_do_not_name():
    assert chosen("abcde", val="c", test="de") == (["a", "b"], ["c"], ["d", "e"])
    assert chosen("abcde", val="c") == (["a", "b", "d", "e"], ["c"], ["c"])


def test_without_names_a_share_is_held_out_and_is_the_test_too():
    names = [f"clip{n}" for n in range(20)]
    train, val, test = chosen(names, holdout=0.15)
    assert len(val) == 3
    assert test == val
    assert sorted(train + val) == sorted(names)
    assert chosen(names, holdout=0.15) == (train, val, test)
    # A larger share holds out the same clips, and more.
    assert set(val) < set(chosen(names, holdout=0.5)[1])


def test_validation_is_held_out_of_the_clips_named_for_training():
    train, val, test = chosen("abcdefgh", train="abcdef", test="gh", holdout=0.34)
    assert len(val) == 2
    assert sorted(train + val) == list("abcdef")
    assert test == ["g", "h"]


def test_test_clips_are_not_held_out_for_validation():
    train, val, test = chosen("abcd", test="d", holdout=0.3)
    assert test == ["d"]
    assert sorted(train + val) == ["a", "b", "c"]
    assert len(val) == 1


def test_nothing_is_held_out_without_a_share():
    assert chosen("abc", holdout=0.0) == (["a", "b", "c"], [], [])


def test_folders_are_the_split_unless_clips_are_named():
    names = ("train/a", "train/b", "val/c", "test/d")
    assert chosen(names) == (["train/a", "train/b"], ["val/c"], ["test/d"])
    assert chosen(names[:3]) == (["train/a", "train/b"], ["val/c"], ["val/c"])
    assert chosen(names, val=["train/b"]) == (["train/a", "val/c", "test/d"], ["train/b"], ["train/b"])
    # Without a folder for validation, its clips are those of training, never of the test.
    assert chosen(("train/a", "test/d"), holdout=0.0) == (["train/a"], [], ["test/d"])
    assert chosen(("train/a", "train/b", "test/d"), holdout=0.5)[2] == ["test/d"]
    # One such folder among others is no split.
    assert chosen(("train/a", "more/e"), holdout=0.0)[0] == ["train/a", "more/e"]


def test_folders_as_published_are_the_split():
    names = ("Amateur/match1/a", "Professional/match1/a", "Professional/match2/a", "Test/match1/a")
    train, val, test = chosen(names, holdout=0.34)
    assert (sorted(train + val), len(val), test) == (list(names[:3]), 1, [names[3]])
    assert chosen(("Train/a", "VAL/b", "Test/c")) == (["Train/a"], ["VAL/b"], ["Test/c"])
    assert chosen(names[:3], holdout=0.0)[0] == list(names[:3])
    with pytest.raises(UsageError, match="match9/a beside the folders Amateur and Professional and Test, "):
        chosen((*names, "match9/a"))


@pytest.mark.parametrize("stray", ["more/e", "val"])
def test_clips_beside_the_folders_of_a_split_are_not_left_to_chance(stray):
    names = ("train/a", "test/d", stray)
    with pytest.raises(UsageError, match=rf"{stray} beside the folders train and test.* move it into one"):
        chosen(names)
    assert chosen(names, val=[stray], holdout=0.0)[1] == [stray]


@pytest.mark.parametrize("part", ["val", "test"])
def test_a_clip_in_training_and_in_evaluation_is_refused(part):
    with pytest.raises(UsageError, match=r"data.train: b would be in training and in evaluation"):
        chosen("abc", train="ab", **{part: "b"})


def test_a_name_that_matches_nothing():
    with pytest.raises(UsageError, match=r"'clipp' matches none of the 2 clips; did you mean 'clip1'"):
        chosen(("clip1", "rally"), val=["clipp"])


def test_names_that_are_not_utf8_are_held_out_too():
    names = [os.fsdecode(f"caf\xe9{n}".encode("latin-1")) for n in range(4)]
    train, val, _ = chosen(names, holdout=0.25)
    assert sorted(train + val) == sorted(map(printable, names))
    assert len(val) == 1


def test_named_splits():
    for cls, name, split in (
        (TennisDataModule, "wasb", TENNIS_SPLITS["wasb"]),
        (ShuttlecockDataModule, "tracknetv3", SHUTTLECOCK_SPLITS["tracknetv3"]),
    ):
        assert cls(Path("x"), split=name).split == replace(split, name=name)
    games = [f"game{n}/Clip1" for n in range(1, 11)]
    parts = choose_clips(clips(*games), TENNIS_SPLITS["wasb"], 0.15)
    assert [clip.name for clip in parts["test"]] == games[7:]
    assert sorted(clip.name for clip in parts["train"] + parts["val"]) == games[:7]
    with pytest.raises(UsageError, match=r"'wasp' is not a named split; did you mean 'wasb'\?"):
        TennisDataModule(Path("x"), split="wasp")
    with pytest.raises(UsageError, match=r"not a named split \(known: none for this data set\)"):
        FlatVideoDataModule(Path("x"), split="wasb")
    with pytest.raises(UsageError, match=r"data.split=wasb and data.train/val/test both name clips"):
        TennisDataModule(Path("x"), split="wasb", test=["game1"])


# What a batch holds ----------------------------------------------------------------------------------


def ready(root, stage="fit", **options):
    data = FlatVideoDataModule(root, **{"size": SIZE, "val": ["c"], "batch_size": 4} | options)
    data.prepare_data()
    data.setup(stage)
    return data


def test_a_batch_is_as_the_design_says(tiny_rallies):
    data = ready(tiny_rallies, frames=5, outputs=5, background=True)
    for batch in (next(iter(data.train_dataloader())), next(iter(data.val_dataloader()))):
        assert {name: (tuple(value.shape), value.dtype) for name, value in batch.items()} == {
            "frames": ((4, 5, 3, 64, 96), torch.uint8),
            "background": ((4, 3, 64, 96), torch.uint8),
            "xy": ((4, 5, 2), torch.float32),
            "visible": ((4, 5), torch.bool),
            "visibility": ((4, 5), torch.uint8),
            "labelled": ((4, 5), torch.bool),
            "counted": ((4, 5), torch.bool),
            "clip": ((4,), torch.int64),
            "frame": ((4, 5), torch.int64),
            "source_size": ((4, 2), torch.int64),
        }
        assert batch["source_size"].tolist() == [[64, 96]] * 4
    assert data.clip_names("train") == ["a", "b", "d"]
    assert data.clip_names("val") == ["c"]


def test_no_background_unless_wanted(tiny_rallies):
    assert "background" not in next(iter(ready(tiny_rallies).train_dataloader()))


def test_evaluation_counts_each_frame_once_and_has_its_labels(tiny_rallies):
    data = ready(tiny_rallies, "test", test=["a", "c", "d"], val=["c"], frames=8, outputs=8)
    labels = [
        read_labels(tiny_rallies / f"{n}.csv", total, SIZE)[0]
        for n, total in (("a", 21), ("c", 20), ("d", 17))
    ]
    for loader in (data.test_dataloader(), data.predict_dataloader()):
        seen = []
        for batch in loader:
            for row, frame in batch["counted"].nonzero().tolist():
                clip, number = int(batch["clip"][row]), int(batch["frame"][row, frame])
                seen.append((clip, number))
                assert bool(batch["visible"][row, frame]) == labels[clip].visible[number]
                assert bool(batch["labelled"][row, frame]) == labels[clip].labelled[number]
                if batch["visible"][row, frame]:
                    assert batch["xy"][row, frame].tolist() == pytest.approx(labels[clip].xy[number].tolist())
        assert seen == [(clip, n) for clip, total in enumerate((21, 20, 17)) for n in range(total)]


def test_training_windows_begin_at_every_step_in_a_new_order_each_epoch(tiny_rallies):
    data = ready(tiny_rallies, train=["a", "d"], step=4, frames=5, outputs=5, batch_size=3)
    loader = data.train_dataloader()

    def order():
        return [
            (int(clip), int(frame))
            for batch in loader
            for clip, frame in zip(batch["clip"], batch["frame"][:, 0], strict=True)
        ]

    everything = {(0, n) for n in (0, 4, 8, 12, 16)} | {(1, n) for n in (0, 4, 8, 12)}
    orders = []
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)
        orders.append(order())
    assert all(set(one) == everything for one in orders)
    assert len({tuple(one) for one in orders}) == 3
    loader.sampler.set_epoch(1)
    assert order() == orders[1]


def test_the_last_short_batch_is_left_out_but_never_the_only_one(tiny_rallies):
    data = ready(tiny_rallies, train=["a"], step=4, frames=5, outputs=5, batch_size=4)
    assert [len(batch["clip"]) for batch in data.train_dataloader()] == [4]
    data = ready(tiny_rallies, train=["a"], step=4, frames=5, outputs=5, batch_size=64)
    assert [len(batch["clip"]) for batch in data.train_dataloader()] == [5]


def test_workers_read_the_same_windows(tiny_rallies):
    alone, shared = (ready(tiny_rallies, "validate", num_workers=n).val_dataloader() for n in (0, 1))
    for one, other in zip(alone, shared, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_processes_share_the_windows(tiny_rallies):
    data = ready(tiny_rallies)
    data.trainer = SimpleNamespace(world_size=3, global_rank=1)
    assert isinstance(data.val_dataloader().sampler, EvaluationSampler)
    for sampler in (data.val_dataloader().sampler, data.train_dataloader().sampler):
        assert isinstance(sampler, DistributedSampler)
        assert (sampler.num_replicas, sampler.rank) == (3, 1)


def trainer_of(**options):
    loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_idx=5))
    return SimpleNamespace(
        **{"training": True, "current_epoch": 3, "fit_loop": loop, "global_rank": 0} | options
    )


class Negative(nn.Module):
    """Stands for an augmentation."""

    def forward(self, batch):
        return batch | {"frames": 255 - batch["frames"]}


def test_only_training_batches_are_cropped_and_augmented(tiny_rallies):
    data = ready(tiny_rallies, crop=RandomCrop((32, 48)), augmentation=Negative())
    batch = next(iter(data.train_dataloader()))
    assert data.on_after_batch_transfer(dict(batch), 0)["frames"].shape[-2:] == SIZE
    data.trainer = trainer_of(training=False)
    assert torch.equal(data.on_after_batch_transfer(dict(batch), 0)["frames"], batch["frames"])
    data.trainer = trainer_of()
    changed = data.on_after_batch_transfer(dict(batch), 0)
    assert changed["frames"].shape == (4, 3, 3, 32, 48)
    assert changed["frames"].float().mean() > 200
    data.crop = RandomCrop((32, 48), epochs=3)
    assert torch.equal(data.on_after_batch_transfer(dict(batch), 0)["frames"], 255 - batch["frames"])


def test_draws_depend_on_seed_step_and_process_alone(tiny_rallies, monkeypatch):
    data = ready(tiny_rallies)

    def draw(seed, **options):
        if seed is None:
            monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
        else:
            monkeypatch.setenv("PL_GLOBAL_SEED", seed)
        data.trainer = trainer_of(**options)
        data.on_after_batch_transfer({}, 0)
        return float(torch.rand(1, dtype=torch.float64))

    step = SimpleNamespace(epoch_loop=SimpleNamespace(batch_idx=6))
    others = [{}, {"fit_loop": step}, {"global_rank": 1}, {"current_epoch": 4}]
    draws = [draw("2"), *(draw("1", **other) for other in others)]
    assert len(set(draws)) == 5
    assert [draw("2"), *(draw("1", **other) for other in others)] == draws
    # The generators of Python and NumPy are set, too.
    drawn = [(draw("1"), random.random(), np.random.random()) for _ in range(2)]
    assert drawn[0] == drawn[1]
    # Without a seed of the run, the generator goes on as it would.
    torch.manual_seed(9)
    expected = float(torch.rand(1, dtype=torch.float64))
    torch.manual_seed(9)
    assert draw(None) == expected


# Stages and faults -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "parts"),
    [("fit", {"train", "val"}), ("validate", {"val"}), ("test", {"test"}), ("predict", {"test"})],
)
def test_a_stage_opens_what_it_needs(tiny_rallies, stage, parts):
    assert ready(tiny_rallies, stage).parts.keys() == parts


def test_only_clips_that_are_needed_are_decoded(tiny_rallies, tmp_path, capsys):
    data = FlatVideoDataModule(tiny_rallies, val=["c"], size=SIZE, cache_dir=tmp_path)
    data.trainer = SimpleNamespace(state=SimpleNamespace(fn=TrainerFn.VALIDATING))
    data.prepare_data()
    assert "frame cache: 1 clip," in capsys.readouterr().err
    assert len(list(tmp_path.rglob("frames.npy"))) == 1
    data.setup("validate")
    with pytest.raises(TrackNetError):
        data.setup("fit")


def test_a_part_without_clips(tiny_rallies):
    data = FlatVideoDataModule(tiny_rallies, val=["*"], size=SIZE)
    with pytest.raises(TrackNetError, match=r"no clips for train among the 4 usable ones; name them with"):
        data.prepare_data()
    data = FlatVideoDataModule(tiny_rallies, holdout=0.0, size=SIZE)
    with pytest.raises(TrackNetError, match=r"no clips for val and test among the 4 usable ones"):
        data.prepare_data()


@pytest.fixture
def faulty(tiny_rallies, tmp_path):
    """Of three clips, one has two faulty rows and one no labels."""
    for name in "abc":
        shutil.copy(tiny_rallies / f"{name}.mp4", tmp_path)
        shutil.copy(tiny_rallies / f"{name}.csv", tmp_path)
    lines = (tmp_path / "b.csv").read_text().splitlines()
    lines[3] = "2,1,0,0"
    lines[8] = "7,1,x,9"
    (tmp_path / "b.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "c.csv").unlink()
    return tmp_path


def test_faults_stop_before_training(faulty):
    data = FlatVideoDataModule(faulty, val=["b"], size=SIZE)
    with pytest.raises(TrackNetError) as caught:
        data.prepare_data()
    message = str(caught.value)
    assert "b.csv" in message
    assert "c.mp4" in message
    assert "--data.faults mask" in message


def test_faulty_rows_and_clips_are_left_out_on_request(faulty, capsys):
    data = ready(faulty, val=["b"], faults="mask")
    assert "training without 2 faulty rows and 1 clip (c)" in capsys.readouterr().err
    assert (data.clip_names("train"), data.clip_names("val")) == (["a"], ["b"])
    labelled = data.parts["val"][0].labels.labelled
    assert (~labelled).nonzero()[0].tolist() == [2, 7]
    with pytest.raises(UsageError, match="matches none of the 2 clips"):
        ready(faulty, val=["c"], faults="mask")


def test_generated_rallies_are_made_once(tmp_path):
    def module():
        return GeneratedDataModule(
            tmp_path / "rallies",
            train_rallies=1,
            val_rallies=1,
            test_rallies=1,
            rally_frames=16,
            batch_size=2,
            cache_dir=tmp_path / "cache",
            size=(72, 128),
        )

    data = module()
    data.prepare_data()
    data.setup("fit")
    assert [name.split("/")[0] for part in ("train", "val") for name in data.clip_names(part)] == [
        "train",
        "val",
    ]
    assert next(iter(data.train_dataloader()))["frames"].shape == (2, 3, 3, 72, 128)
    assert sum(int(batch["counted"].sum()) for batch in data.val_dataloader()) == 16
    made = {path: path.stat().st_mtime_ns for path in (tmp_path / "rallies").rglob("*.mp4")}
    assert len(made) == 3
    again = module()
    again.prepare_data()
    again.setup("test")
    assert again.clip_names("test")[0].startswith("test/")
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "rallies").rglob("*.mp4")} == made
