"""One seed gives one set of weights, one checkpoint one set of figures, one content one fingerprint."""

from __future__ import annotations

import os
import shutil

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lightning.pytorch import Trainer, seed_everything

from tracknet.data.augmentation import Augmentation
from tracknet.data.cached_clip import CachedClip
from tracknet.data.crops import RandomCrop
from tracknet.data.datamodules import FlatVideoDataModule
from tracknet.data.fingerprint import clip_prints, fingerprint
from tracknet.data.labels import Labels
from tracknet.data.windows import LabelledClip
from tracknet.evaluation.distances import BallDistances
from tracknet.models import CompactTrackNet
from tracknet.training.lightning_module import HeatmapTracker

SIZE = (64, 96)


@pytest.fixture(autouse=True)
def _seed_of_its_own(monkeypatch):
    """`seed_everything` leaves the run's seed in the environment."""
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")


class Tracker(HeatmapTracker):
    """A tracker whose training draws numbers in every place where training can."""

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.01)

    def training_step(self, batch, batch_idx):
        batch["frames"] = torch.nn.functional.dropout(batch["frames"].float(), 0.1)
        return super().training_step(batch, batch_idx)


def a_tracker(network, **options):
    return Tracker(network, input_size=SIZE, metrics=BallDistances(pck=(1.0, 5.0)), **options)


def a_trainer(folder, **options):
    return Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        **options,
    )


def the_data(root, **options):
    return FlatVideoDataModule(root, val=["b"], frames=4, outputs=4, size=SIZE, background=True, **options)


def trained(root, folder, workers, seed=5):
    """Train six steps with augmentation, crops, mixup and dropout; give the weights as bytes."""
    seed_everything(seed, verbose=False, workers=True)
    tracker = a_tracker(CompactTrackNet(4, "concat", stem=4, widths=(8, 8, 8)), mixup=0.5)
    data = the_data(
        root,
        step=4,
        batch_size=3,
        num_workers=workers,
        crop=RandomCrop((48, 64)),
        augmentation=Augmentation(),
    )
    trainer = a_trainer(folder, max_epochs=2, limit_train_batches=3, limit_val_batches=1)
    trainer.fit(tracker, datamodule=data)
    assert trainer.global_step == 6
    return {name: tensor.numpy().tobytes() for name, tensor in tracker.state_dict().items()}


def test_the_same_seed_gives_the_same_weights_and_another_one_does_not(tiny_rallies, tmp_path):
    first = trained(tiny_rallies, tmp_path, workers=0)
    assert trained(tiny_rallies, tmp_path, workers=0) == first
    assert trained(tiny_rallies, tmp_path, workers=0, seed=6) != first


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_the_weights_do_not_depend_on_the_number_of_workers(tiny_rallies, tmp_path, workers):
    assert trained(tiny_rallies, tmp_path, workers) == trained(tiny_rallies, tmp_path, 0)


def figures_on(tracker, root, folder, **options):
    """Give the figures of all parts of a data set."""
    data = the_data(root, test=["a", "b", "c", "d"], **options)
    [figures] = a_trainer(folder).test(tracker, datamodule=data, verbose=False)
    return figures


@pytest.fixture
def scored(bright_network):
    """A tracker that finds most balls, with batch normalisation, so that figures are neither 0 nor 1."""

    class Normalised(bright_network):
        def __init__(self):
            super().__init__(4, outputs=4)
            self.norm = torch.nn.BatchNorm2d(4)
            self.norm.running_mean.add_(torch.tensor([0.0, 3.0, -2.0, 9.0]))

        def forward(self, x):
            return self.norm(super().forward(x))

    return lambda: HeatmapTracker(Normalised(), input_size=SIZE, metrics=BallDistances(pck=(0.02, 3.0)))


def assert_alike(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-6, nan_ok=True), name


def test_figures_do_not_depend_on_the_size_of_batches(tiny_rallies, tmp_path, scored):
    first = figures_on(scored(), tiny_rallies, tmp_path, batch_size=1)
    assert 0 < first["test/f1"] < 1
    assert first["test/loss"] > 0
    for batch_size in (3, 4, 64):
        assert_alike(figures_on(scored(), tiny_rallies, tmp_path, batch_size=batch_size), first)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_figures_do_not_depend_on_the_number_of_workers(tiny_rallies, tmp_path, scored, workers):
    first = figures_on(scored(), tiny_rallies, tmp_path, batch_size=3)
    assert figures_on(scored(), tiny_rallies, tmp_path, batch_size=3, num_workers=workers) == first


def fingerprint_of(root):
    data = FlatVideoDataModule(root, val=["b"], frames=4, outputs=4, size=(32, 48), num_workers=0)
    data.prepare_data()
    data.setup("fit")
    return data.state_dict()["fingerprint"]


@pytest.fixture
def rallies(tiny_rallies, tmp_path):
    return shutil.copytree(tiny_rallies, tmp_path / "rallies")


def test_a_fingerprint_stays_while_the_content_does(rallies, tiny_rallies, tmp_path):
    first = fingerprint_of(rallies)
    assert fingerprint_of(rallies) == first
    assert fingerprint_of(tiny_rallies) == first
    moved = rallies.rename(tmp_path / "elsewhere")
    assert fingerprint_of(moved) == first
    for path in moved.iterdir():
        os.utime(path, (1e9, 1e9))
    (moved / "notes.txt").write_text("not part of it")
    table = moved / "a.csv"
    table.write_bytes(b"\xef\xbb\xbf" + table.read_bytes().replace(b"\n", b"\r\n"))
    assert fingerprint_of(moved) == first


def some_frame():
    """Give one pixel, what the labels say, and where the ball would be."""
    kinds = st.sampled_from(["none", "unknown", "seen", "hidden"])
    return st.tuples(st.integers(0, 1), kinds, st.sampled_from([0.0, -0.0, 0.25]))


def some_clips():
    """Give clips of one or two tiny frames and their labels, from few values, so that some are the same."""
    frames = st.lists(some_frame(), min_size=1, max_size=2)
    return st.dictionaries(st.sampled_from("ab"), frames)


def labelled_clip(name, frames):
    """Give a clip of the frames that `some_clips` draws."""
    seen = np.array([kind in ("seen", "hidden") for _, kind, _ in frames])
    labels = Labels(
        xy=np.array([(x, 1.0) for _, _, x in frames], np.float32) * seen[:, None],
        visible=seen,
        labelled=np.array([kind != "unknown" for _, kind, _ in frames]),
        codes=np.array([3 if kind == "hidden" else int(kind == "seen") for _, kind, _ in frames], np.uint8),
    )
    pixels = np.stack([np.full((3, 2, 2), pixel, np.uint8) for pixel, _, _ in frames])
    return LabelledClip(name, CachedClip(pixels, pixels[0]), labels, (2, 2), 30.0)


def content_of(parts):
    """Say what is in a data set: of each frame what is seen, and the place of a ball that is there."""
    return {
        (part, name): [(pixel, kind, x if kind in ("seen", "hidden") else None) for pixel, kind, x in frames]
        for part, clips in parts.items()
        for name, frames in clips.items()
    }


def print_of(parts):
    """Give the fingerprint, the clips in another order than they were drawn in."""
    clips = {
        part: [labelled_clip(name, frames) for name, frames in reversed(named.items())]
        for part, named in parts.items()
    }
    return fingerprint({part: clip_prints(ones) for part, ones in clips.items()})


DATA_SETS = st.dictionaries(st.sampled_from(["train", "test"]), some_clips(), max_size=2)


@settings(deadline=None)
@given(DATA_SETS, DATA_SETS)
def test_two_data_sets_have_one_fingerprint_when_and_only_when_their_content_is_the_same(one, other):
    assert (print_of(one) == print_of(other)) == (content_of(one) == content_of(other))


@settings(deadline=None)
@given(DATA_SETS.filter(content_of), st.data())
def test_and_so_it_is_for_each_frame_alone(parts, data):
    part = data.draw(st.sampled_from([part for part in sorted(parts) if parts[part]]))
    name = data.draw(st.sampled_from(sorted(parts[part])))
    frames = list(parts[part][name])
    at = data.draw(st.integers(0, len(frames) - 1))
    frames[at] = data.draw(some_frame())
    changed = parts | {part: parts[part] | {name: frames}}
    assert (print_of(changed) == print_of(parts)) == (content_of(changed) == content_of(parts))


def rename(root):
    for path in root.glob("a.*"):
        path.rename(path.with_stem("e"))


def move_a_ball(root):
    lines = (root / "a.csv").read_text().split("\n")
    cells = lines[3].split(",")
    cells[2] = str(float(cells[2]) + 0.25)
    (root / "a.csv").write_text("\n".join([*lines[:3], ",".join(cells), *lines[4:]]))


def hide_a_ball(root):
    lines = (root / "a.csv").read_text().split("\n")
    lines[3] = f"{lines[3].split(',')[0]},0,0,0"
    (root / "a.csv").write_text("\n".join(lines))


def forget_a_row(root):
    lines = (root / "a.csv").read_text().split("\n")
    (root / "a.csv").write_text("\n".join([*lines[:3], *lines[4:]]))


def change_a_byte(root):
    """One that players do not look at: the name of the program that wrote the file."""
    content = (root / "a.mp4").read_bytes()
    place = content.rindex(b"Lavf")
    (root / "a.mp4").write_bytes(content[:place] + b"l" + content[place + 1 :])


def repeat_a_frame(root):
    with av.open(str(root / "a.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    frames[7] = frames[6]
    from tracknet.data.video import VideoWriter

    with VideoWriter(root / "a.mp4", SIZE, fps=30, quality=4) as video:
        for frame in frames:
            video.write(np.ascontiguousarray(frame))


def swap_clips(root):
    (root / "a.mp4").rename(root / "x")
    (root / "d.mp4").rename(root / "a.mp4")
    (root / "x").rename(root / "d.mp4")
    (root / "a.csv").rename(root / "x")
    (root / "d.csv").rename(root / "a.csv")
    (root / "x").rename(root / "d.csv")


def take_one_out(root):
    (root / "d.mp4").unlink()
    (root / "d.csv").unlink()


@pytest.mark.parametrize(
    "change",
    [rename, move_a_ball, hide_a_ball, forget_a_row, change_a_byte, repeat_a_frame, swap_clips, take_one_out],
)
def test_a_fingerprint_changes_with_the_content(rallies, tiny_rallies, change):
    change(rallies)
    assert fingerprint_of(rallies) != fingerprint_of(tiny_rallies)
