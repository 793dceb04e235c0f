from __future__ import annotations

import pytest
import torch

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
