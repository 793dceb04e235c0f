"""Trajectories from label files with and without videos, and the gaps to learn from."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tracknet.data.trajectories import (
    DetectorNoise,
    TrajectoryAugmentation,
    TrajectoryDataModule,
    gap_windows,
)
from tracknet.data.trajectory_labels import read_trajectories
from tracknet.errors import TrackNetError, UsageError


def write(path, balls, header="Frame,Visibility,X,Y"):
    """A label file of balls (x, y), None for a frame without one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [f"{n},1,{ball[0]},{ball[1]}" if ball else f"{n},0,0,0" for n, ball in enumerate(balls)]
    path.write_text("\n".join([header, *rows]) + "\n")


def flight(frames, start=100):
    return [(start + 4 * n, 50 + n) for n in range(frames)]


@pytest.fixture
def labels(tmp_path):
    for match, rally in (("match1", "1_01_00"), ("match1", "1_02_00"), ("match2", "1_01_00")):
        write(tmp_path / match / "csv" / f"{rally}_ball.csv", flight(40))
    return tmp_path


def test_label_files_without_video_have_the_size_given(labels):
    write(labels / "game3_Clip1.csv", [(0.25, 0.5), None, (0.5, 0.75)], header="Frame,Ball,x,y")
    write(labels / "tennis" / "game1" / "Clip2" / "Label.csv", flight(3))
    found = {one.clip.name: one for one in read_trajectories(labels, (200, 400))}
    assert {name: one.clip.group for name, one in found.items()} == {
        "match1/1_01_00": "match1",
        "match1/1_02_00": "match1",
        "match2/1_01_00": "match2",
        "game3_Clip1": "game3",
        "tennis/game1/Clip2": "tennis/game1",
    }
    np.testing.assert_allclose(found["match1/1_01_00"].xy[1], [104 / 400, 51 / 200])
    assert found["game3_Clip1"].xy.tolist() == [[0.25, 0.5], [0, 0], [0.5, 0.75]]
    assert found["game3_Clip1"].visible.tolist() == [True, False, True]


def test_corrected_labels_replace_the_others(labels):
    write(labels / "match1" / "corrected_csv" / "1_01_00_ball.csv", flight(7))
    found = {one.clip.name: len(one.visible) for one in read_trajectories(labels)}
    assert found == {"match1/1_01_00": 7, "match1/1_02_00": 40, "match2/1_01_00": 40}


def test_the_size_of_a_video_beside_the_labels_counts(tiny_rallies):
    one = read_trajectories(tiny_rallies, (1000, 1000))[0]
    assert (one.clip.name, one.clip.video.name) == ("a", "a.mp4")
    # The middle of the dot's path in a picture of 64x96.
    np.testing.assert_allclose(one.xy[10, 0], 0.12 + 0.75 * 10 / 20, atol=1e-4)


def test_sparse_labels_keep_the_numbers_of_their_frames(tmp_path):
    (tmp_path / "a.csv").write_text("Frame,X,Y,Visibility\n100,5,6,1\n3,7,8,1\n")
    one = read_trajectories(tmp_path)[0]
    assert np.flatnonzero(one.visible).tolist() == [3, 100]


def test_folders_without_trajectories(tmp_path):
    with pytest.raises(TrackNetError, match="no such folder"):
        read_trajectories(tmp_path / "none")
    with pytest.raises(TrackNetError, match="no trajectories; expected label files"):
        read_trajectories(tmp_path)
    (tmp_path / "a.csv").write_text("one,two\n1,2\n")
    with pytest.raises(TrackNetError, match=r"the first fault is .*a\.csv:1: no columns"):
        read_trajectories(tmp_path)


def test_gaps_lie_side_by_side_with_a_ball_around_and_in_them(tmp_path):
    write(tmp_path / "a.csv", [*flight(9), None, *flight(4)])
    windows = gap_windows(read_trajectories(tmp_path), 10, [3]).tensors
    xy, visible, mask = (windows[name] for name in ("xy", "visible", "mask"))
    assert mask.tolist() == [[False] * 3 + [True] * 3 + [False] * 4] * 2
    # Frames 1 to 3 and 4 to 6 of the nine; frames 7 to 9 are not all visible, nor is one before the start.
    np.testing.assert_allclose(xy[0, 3:6, 0] * 1280, [104, 108, 112], rtol=1e-6)
    np.testing.assert_allclose(xy[1, 3:6, 0] * 1280, [116, 120, 124], rtol=1e-6)
    assert visible[0].tolist() == [False] * 2 + [True] * 8
    assert visible[1].tolist() == [True] * 8 + [False, True]


def module(root, **options):
    return TrajectoryDataModule(root, val=["match2"], batch_size=8, **options)


def test_whole_matches_are_held_out(labels):
    data = module(labels)
    data.setup("fit")
    names = {part: [one.clip.name for one in rallies] for part, rallies in data.parts.items()}
    assert names == {"train": ["match1/1_01_00", "match1/1_02_00"], "val": ["match2/1_01_00"]}
    data.setup("test")
    assert [one.clip.name for one in data.parts["test"]] == ["match2/1_01_00"]
    with pytest.raises(UsageError, match="would be in training and in evaluation"):
        TrajectoryDataModule(labels, train=["match*"], val=["match2"]).setup("fit")


def test_training_masks_have_a_gap_of_a_legal_length_inside(labels):
    torch.manual_seed(0)
    data = module(labels, shortest_gap=3, longest_gap=5, window=12)
    data.setup("fit")
    lengths = set()
    for batch in data.train_dataloader():
        masked = data.on_after_batch_transfer(batch, 0)
        assert masked["xy"].shape == (len(masked["mask"]), 12, 2)
        for mask in masked["mask"].numpy():
            hidden = np.flatnonzero(mask)
            lengths.add(len(hidden))
            assert hidden[-1] - hidden[0] + 1 == len(hidden)
            assert hidden[0] >= 1
            assert hidden[-1] <= 10
    assert lengths == {3, 4, 5}


def test_scattered_masks_hide_their_share(labels):
    torch.manual_seed(0)
    data = module(labels, window=20, scattered=1.0, mask_share=0.3)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    masks = torch.stack([data.on_after_batch_transfer(batch, 0)["mask"] for _ in range(100)]).float()
    # Each step for itself, as TrackNetV3 draws them: 16,000 draws, and 800 of each step.
    assert masks.mean().item() == pytest.approx(0.3, abs=0.02)
    assert ((masks.mean(dim=(0, 1)) - 0.3).abs() < 0.08).all()
    assert masks.sum(dim=2).std() > 1


def test_evaluation_batches_stay_as_they_are(labels):
    data = module(labels, augmentation=TrajectoryAugmentation())
    data.setup("validate")
    batch = next(iter(data.val_dataloader()))
    assert data.on_after_batch_transfer(batch, 0) is batch
    assert batch["mask"].sum(dim=1).tolist() == [3] * 8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shortest_gap": 9, "longest_gap": 8}, "shortest_gap: 9 is above"),
        ({"longest_gap": 15, "window": 16}, "need a data.window of 17 or more, found 16"),
    ],
)
def test_gaps_that_do_not_fit(tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        TrajectoryDataModule(tmp_path, **options)


def test_rallies_too_short_to_learn_from(tmp_path):
    write(tmp_path / "a.csv", flight(4))
    write(tmp_path / "b.csv", flight(4))
    data = TrajectoryDataModule(tmp_path, val=["a"])
    data.setup("fit")
    with pytest.raises(TrackNetError, match="no training rally has 6 frames with a ball"):
        data.train_dataloader()
    with pytest.raises(TrackNetError, match="no val rally has 5 frames in a row with a ball"):
        data.val_dataloader()


def test_augmentation_by_hand():
    xy = torch.tensor([[[0.25, 0.5], [1.0, 0.0]]])
    flipped = TrajectoryAugmentation(flip=1.0, zoom=(1, 1), shift=0.0)(xy)
    torch.testing.assert_close(flipped, torch.tensor([[[0.75, 0.5], [0.0, 0.0]]]))
    halved = TrajectoryAugmentation(flip=0.0, zoom=(0.5, 0.5), shift=0.0)(xy)
    torch.testing.assert_close(halved, torch.tensor([[[0.375, 0.5], [0.75, 0.25]]]))
    moved = TrajectoryAugmentation(flip=0.0, zoom=(1, 1), shift=0.1)(xy) - xy
    assert moved.abs().max() <= 0.1
    torch.testing.assert_close(moved[:, 0], moved[:, 1])
    with pytest.raises(UsageError, match="zoom"):
        TrajectoryAugmentation(zoom=(2, 1))


def test_noise_by_its_parts():
    torch.manual_seed(0)
    windows, length = 4000, 9
    xy = torch.full((windows, length, 2), 0.5)
    visible = torch.ones(windows, length, dtype=torch.bool)
    visible[:, 8] = False
    mask = torch.zeros_like(visible)
    mask[:, 4] = True
    scale = torch.tensor([512.0, 288.0])

    def offsets(**parts):
        quiet = {"jitter": 0.0, "wrong": 0.0, "distance": 0.0, "lost": 0.0}
        found_xy, found = DetectorNoise(**quiet | parts)(xy, visible, mask)
        return (found_xy - xy) * scale, found

    off, found = offsets()
    assert (off == 0).all()
    assert torch.equal(found, visible)
    off, _ = offsets(jitter=1.0)
    # Evenly from nothing to twice as strong: the mean of the variances is 4/3, the same along x and y.
    torch.testing.assert_close(off.square().mean(dim=(0, 1)), torch.full((2,), 4 / 3), rtol=0.05, atol=0)
    strength = off.square().mean(dim=(1, 2)).sqrt()
    assert strength.min() < 0.1, "a tracker may be exact"
    assert strength.max() < 2.0 * 2
    off, _ = offsets(wrong=0.1, distance=20.0)
    share = (off != 0).any(dim=2).float().mean(dim=0)
    assert share[[0, 1, 7, 8]].mean() == pytest.approx(0.1, abs=0.01)
    assert share[2:7].mean() == pytest.approx(0.3, abs=0.02), "within two frames of the gap"
    assert off[(off != 0).any(dim=2)].std() == pytest.approx(20, rel=0.05)
    off, found = offsets(lost=0.25)
    assert (off == 0).all()
    assert found[:, :8].float().mean() == pytest.approx(0.75, abs=0.02)
    assert not found[:, 8].any(), "no ball is invented"


def test_training_batches_hold_what_a_tracker_would_find(labels):
    torch.manual_seed(0)
    data = module(labels, noise=DetectorNoise(jitter=1.0, wrong=0.5, lost=0.5))
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    noisy = data.on_after_batch_transfer(batch, 0)
    assert torch.equal(noisy["xy"], batch["xy"])
    assert torch.equal(noisy["visible"], batch["visible"])
    assert not torch.equal(noisy["found_xy"], batch["xy"])
    assert (noisy["found"] <= noisy["visible"]).all()
    assert (noisy["found"] != noisy["visible"]).any()
    data.setup("validate")
    batch = next(iter(data.val_dataloader()))
    assert data.on_after_batch_transfer(batch, 0).keys() == {"xy", "visible", "mask"}, "labels judge"


def test_labels_count_before_what_a_tracker_wrote_of_the_same_video(tmp_path):
    write(tmp_path / "a.csv", flight(9))
    write(tmp_path / "a_ball.csv", flight(5))
    write(tmp_path / "b_ball.csv", flight(4))
    assert [(one.clip.name, len(one.visible)) for one in read_trajectories(tmp_path)] == [("a", 9), ("b", 4)]


def test_a_picture_beside_label_files_is_not_their_video(labels, tiny_rallies):
    before = read_trajectories(labels)
    (labels / "match1" / "csv" / "plot.png").write_bytes(b"no picture")
    write(labels / "c.csv", flight(5))
    (labels / "overview.png").write_bytes(b"no picture")
    after = {one.clip.name: one for one in read_trajectories(labels)}
    np.testing.assert_allclose(after.pop("c").xy[0], [100 / 1280, 50 / 720])
    assert list(after) == [one.clip.name for one in before]


def test_folders_behind_links_are_read_and_circles_end(labels):
    (labels / "match1").rename(labels.parent / "elsewhere")
    (labels / "match1").symlink_to(labels.parent / "elsewhere")
    (labels / "match1" / "again").symlink_to(labels)
    (labels / "match2" / "csv" / "1_01_00_ball.csv").rename(labels / "match2" / "csv" / "1_01_00_ball.CSV")
    try:
        assert [one.clip.name for one in read_trajectories(labels)] == [
            "match1/1_01_00",
            "match1/1_02_00",
            "match2/1_01_00",
        ]
    finally:
        (labels.parent / "elsewhere").rename(labels.parent / f"{labels.name}_read")


def test_frame_numbers_with_a_decimal_point(tmp_path):
    rows = [f"{10.0 * n},1,{100 + n},{50 + n}" for n in range(20)]
    (tmp_path / "a.csv").write_text("\n".join(["Frame,Visibility,X,Y", *rows]))
    (one,) = read_trajectories(tmp_path)
    assert np.flatnonzero(one.visible).tolist() == list(range(0, 200, 10))


def test_faulty_rows_are_told(tmp_path, caplog):
    write(tmp_path / "a.csv", [*flight(5), (5000, 3)])
    with caplog.at_level("INFO"):
        read_trajectories(tmp_path)
    assert "1 row or files with faults count as without a ball, the first is" in caplog.text
