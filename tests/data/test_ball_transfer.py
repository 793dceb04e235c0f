from __future__ import annotations

import math

import pytest
import torch

from tracknet.data.augmentation import Augmentation
from tracknet.data.ball_transfer import HIDDEN, with_balls_of
from tracknet.errors import UsageError

H, W = 48, 64
REACH = 5.0
BALL = torch.tensor([60, 70, 80], dtype=torch.uint8)


def rallies(xy: list[list[list[float]]], visible: list[list[bool]]) -> dict[str, torch.Tensor]:
    """Windows of random still pictures, in which squares of 3x3 pixels are brighter by `BALL`."""
    generator = torch.Generator().manual_seed(0)
    points, seen = torch.tensor(xy), torch.tensor(visible)
    background = torch.randint(0, 170, (len(xy), 3, H, W), dtype=torch.uint8, generator=generator)
    frames = background[:, None].repeat(1, points.shape[1], 1, 1, 1)
    for n, t in seen.nonzero().tolist():
        x, y = points[n, t].round().int().tolist()
        frames[n, t, :, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2] += BALL[:, None, None]
    return {"frames": frames, "background": background, "xy": points, "visible": seen}


def two_windows() -> dict[str, torch.Tensor]:
    return rallies(
        [[[20.0, 20.0], [24.0, 22.0], [0.0, 0.0]], [[40.0, 30.0], [0.0, 0.0], [45.0, 10.0]]],
        [[True, True, False], [True, False, True]],
    )


def test_a_hidden_ball_leaves_the_background_and_no_label():
    batch = two_windows()
    moved = with_balls_of(batch, [HIDDEN, 1], REACH)
    assert torch.equal(moved["frames"][0], batch["background"][0].expand(3, -1, -1, -1))
    assert not moved["visible"][0].any()
    for name in batch:
        assert torch.equal(moved[name][1], batch[name][1])


def test_a_pasted_ball_lies_where_its_label_says_and_adds_what_it_added():
    batch = two_windows()
    moved = with_balls_of(batch, [1, 1], REACH)
    assert torch.equal(moved["xy"][0], batch["xy"][1])
    assert torch.equal(moved["visible"], batch["visible"][[1, 1]])
    added = moved["frames"][0].int() - batch["background"][0].int()
    assert torch.equal(added, batch["frames"][1].int() - batch["background"][1].int())
    assert torch.equal(added[0, :, 30, 40], BALL.int())


def test_windows_exchange_their_balls_as_they_were_before():
    batch = two_windows()
    moved = with_balls_of(batch, [1, 0], REACH)
    for here, there in ((0, 1), (1, 0)):
        added = moved["frames"][here].int() - batch["background"][here].int()
        assert torch.equal(added, batch["frames"][there].int() - batch["background"][there].int())


def test_light_that_would_pass_white_or_black_is_kept_within_bytes():
    batch = rallies([[[10.0, 10.0]], [[30.0, 30.0]]], [[False], [True]])
    batch["frames"][0] = batch["background"][0] = 250
    assert with_balls_of(batch, [1, 1], REACH)["frames"][0, 0, :, 30, 30].tolist() == [255, 255, 255]
    batch["frames"][0] = batch["background"][0] = 5
    batch["frames"][1, 0, :, 30, 30] = 0  # a dark ball
    batch["background"][1, :, 30, 30] = 100
    assert with_balls_of(batch, [1, 1], REACH)["frames"][0, 0, :, 30, 30].tolist() == [0, 0, 0]


def test_only_the_disc_is_touched_and_it_fades_at_its_rim():
    batch = rallies([[[30.25, 20.0]]], [[True]])
    batch["frames"][:] = 100
    batch["background"][:] = 200
    row = with_balls_of(batch, [HIDDEN], REACH)["frames"][0, 0, 0, 20].tolist()
    expected = []
    for x in range(W):
        share = min(max((REACH + 1.5 - abs(x - 30.25)) / 3, 0), 1)
        expected.append(math.floor(100 + share * 100 + 0.5))
    assert row == expected
    assert row[30] == 200
    assert row[30 - 8] == 100
    assert 100 < row[30 + 5] < 200


@pytest.mark.parametrize("point", [[0.0, 0.0], [-0.5, 20.0], [W - 1.0, H - 1.0], [30.0, H - 0.6]])
def test_balls_at_the_border_are_cut_off_there(point):
    batch = rallies([[point]], [[True]])
    moved = with_balls_of(batch, [HIDDEN], REACH)
    assert torch.equal(moved["frames"][0, 0], batch["background"][0])


def test_a_frame_is_labelled_where_both_windows_are():
    batch = two_windows()
    batch["labelled"] = torch.tensor([[True, True, False], [True, False, True]])
    moved = with_balls_of(batch, [1, 1], REACH)
    assert moved["labelled"].tolist() == [[True, False, False], [True, False, True]]
    moved = with_balls_of(batch, [HIDDEN, HIDDEN], REACH)
    assert torch.equal(moved["labelled"], batch["labelled"])


def test_the_old_batch_is_left_as_it_is():
    batch = two_windows()
    before = {name: value.clone() for name, value in batch.items()}
    with_balls_of(batch, [1, HIDDEN], REACH)
    assert all(torch.equal(batch[name], before[name]) for name in batch)


def test_frames_in_any_memory_order_come_out_alike():
    batch = two_windows()
    moved = with_balls_of(batch, [1, HIDDEN], REACH)
    batch["frames"] = batch["frames"].movedim(2, -1).contiguous().movedim(-1, 2)
    assert torch.equal(with_balls_of(batch, [1, HIDDEN], REACH)["frames"], moved["frames"])


def test_the_given_shares_of_windows_are_erased_and_pasted():
    batch = rallies([[[x, 20.0]] for x in range(400)], [[True]] * 400)
    batch["frames"] = batch["frames"][..., :1, :1]
    batch["background"] = batch["background"][..., :1, :1]
    torch.manual_seed(0)
    changed = Augmentation(0.0, 0.0, 0.0, 0.0, erase=0.2, paste=0.3)(batch)
    hidden = ~changed["visible"].squeeze(1)
    replaced = changed["visible"].squeeze(1) & (changed["xy"] != batch["xy"]).any(-1).squeeze(1)
    assert 55 <= hidden.sum() <= 105
    assert 90 <= replaced.sum() <= 150


def test_balls_are_moved_before_the_picture_is_changed():
    batch = two_windows()
    batch["background"] = batch["background"] // 2
    batch["frames"] = batch["frames"] // 2
    torch.manual_seed(0)
    changed = Augmentation(flip=1.0, erase=1.0)(batch)
    assert torch.equal(changed["frames"], changed["background"][:, None].expand_as(changed["frames"]))


def test_shares_that_make_more_than_one_are_refused():
    with pytest.raises(UsageError, match=r"erase 0\.7 and paste 0\.5 add up to 1\.2"):
        Augmentation(erase=0.7, paste=0.5)


@pytest.mark.parametrize("share", [{"erase": 0.1}, {"paste": 0.1}])
def test_without_a_background_balls_cannot_be_moved(share):
    batch = two_windows()
    del batch["background"]
    with pytest.raises(UsageError, match=r"network\.init_args\.background"):
        Augmentation(**share)(batch)
