from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tracknet.data.crops import RandomCrop
from tracknet.errors import UsageError


def a_batch(windows=64, height=32, width=48):
    """Windows whose only bright pixel is the ball."""
    frames = torch.zeros(windows, 2, 3, height, width, dtype=torch.uint8)
    generator = torch.Generator().manual_seed(1)
    x = torch.randint(0, width, (windows, 2), generator=generator)
    y = torch.randint(0, height, (windows, 2), generator=generator)
    for window in range(windows):
        for frame in range(2):
            frames[window, frame, :, y[window, frame], x[window, frame]] = 255
    visible = torch.ones(windows, 2, dtype=torch.bool)
    xy = torch.stack([x, y], dim=-1).float()
    return {"frames": frames, "xy": xy, "visible": visible, "background": frames[:, 0].clone()}


def test_labels_stay_on_the_pixel_of_the_ball():
    torch.manual_seed(0)
    batch = a_batch()
    cropped = RandomCrop((16, 32))(batch)
    assert cropped["frames"].shape == (64, 2, 3, 16, 32)
    assert torch.equal(cropped["background"], cropped["frames"][:, 0])
    assert 0 < cropped["visible"].sum() < cropped["visible"].numel()
    for window in range(64):
        for frame in range(2):
            picture = cropped["frames"][window, frame, 0]
            if cropped["visible"][window, frame]:
                x, y = cropped["xy"][window, frame].int().tolist()
                assert picture[y, x] == 255
            else:
                assert picture.max() == 0


def test_crops_on_the_ball_always_hold_one():
    torch.manual_seed(0)
    assert RandomCrop((16, 16), on_ball=1.0)(a_batch())["visible"].any(dim=1).all()


def test_crops_reach_every_corner_and_follow_the_seed():
    batch = a_batch(windows=200)
    batch["visible"][:] = False
    torch.manual_seed(3)
    first = RandomCrop((31, 47), on_ball=1.0)(batch)
    corners = {
        tuple((a - b).int().tolist()) for a, b in zip(batch["xy"][:, 0], first["xy"][:, 0], strict=True)
    }
    assert corners == {(0, 0), (0, 1), (1, 0), (1, 1)}
    torch.manual_seed(3)
    assert torch.equal(RandomCrop((31, 47), on_ball=1.0)(batch)["frames"], first["frames"])


def test_a_crop_larger_than_the_picture_is_named():
    with pytest.raises(UsageError, match="64x64 is larger than the input, 32x48"):
        RandomCrop((64, 64))(a_batch(windows=1))


def test_crops_can_end_before_the_training_does():
    assert [RandomCrop(epochs=2).lasts(epoch) for epoch in range(4)] == [True, True, False, False]
    assert RandomCrop().lasts(1000)


@given(
    seed=st.integers(0, 2**32 - 1),
    picture=st.tuples(st.integers(4, 40), st.integers(4, 40)),
    share=st.tuples(st.floats(0.1, 1), st.floats(0.1, 1)),
    place=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    on_ball=st.floats(0, 1),
)
def test_a_crop_moves_all_labels_by_whole_pixels_and_hides_what_it_leaves_out(
    seed, picture, share, place, on_ball
):
    height, width = picture
    size = tuple(max(1, int(side * part)) for side, part in zip(picture, share, strict=True))
    # Each pixel tells where it was.
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([rows, columns, rows]).to(torch.uint8)
    xy = torch.tensor([[place[0] * (width - 1), place[1] * (height - 1)], [0.0, 0.0]])
    batch = {
        "frames": pixels.expand(1, 2, -1, -1, -1),
        "xy": xy[None],
        "visible": torch.tensor([[True, False]]),
    }
    torch.manual_seed(seed)
    cropped = RandomCrop(size, on_ball=on_ball)(batch)
    found = cropped["frames"][0, 0]
    top, left = int(found[0, 0, 0]), int(found[1, 0, 0])
    assert found.shape == (3, *size)
    assert torch.equal(found, pixels[:, top : top + size[0], left : left + size[1]])
    assert torch.allclose(cropped["xy"][0] + torch.tensor([left, top]), xy, atol=1e-4)
    x, y = cropped["xy"][0, 0].tolist()
    inside = -0.5 <= x < size[1] - 0.5 and -0.5 <= y < size[0] - 0.5
    assert cropped["visible"][0].tolist() == [inside, False]
    if on_ball == 1:
        assert inside
