from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tracknet.data.augmentation import Augmentation
from tracknet.errors import TrackNetError, UsageError

H, W = 48, 64
STILL = {"flip": 0.0, "brightness": 0.0, "contrast": 0.0, "colour": 0.0}


def random_batch(windows: int = 3, frames: int = 4, background: bool = True) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (windows, frames)
    batch = {
        "frames": torch.randint(0, 256, (*shape, 3, H, W), dtype=torch.uint8, generator=generator),
        "xy": torch.rand(*shape, 2, generator=generator) * torch.tensor([W - 1.0, H - 1.0]),
        "visible": torch.rand(shape, generator=generator) < 0.7,
        "labelled": torch.rand(shape, generator=generator) < 0.8,
        "clip": torch.arange(windows),
    }
    if background:
        batch["background"] = torch.randint(
            0, 256, (windows, 3, H, W), dtype=torch.uint8, generator=generator
        )
    return batch


def blobs(points: torch.Tensor, sigma: float = 2.0) -> torch.Tensor:
    """Grey pictures with a bright spot at each point: uint8 ``[..., 3, H, W]``."""
    rows, columns = torch.arange(H).float()[:, None], torch.arange(W).float()
    square = (columns - points[..., 0, None, None]) ** 2 + (rows - points[..., 1, None, None]) ** 2
    spot = (200 * (-square / (2 * sigma**2)).exp()).round().to(torch.uint8)
    return spot.unsqueeze(-3).expand(*spot.shape[:-2], 3, H, W).contiguous()


def centroids(pictures: torch.Tensor) -> torch.Tensor:
    """Centre of the bright spot of each picture, ``[..., 2]``."""
    weight = pictures.float().mean(dim=-3)
    mass = weight.sum(dim=(-2, -1))
    x = (weight.sum(dim=-2) * torch.arange(W)).sum(dim=-1) / mass
    y = (weight.sum(dim=-1) * torch.arange(H)).sum(dim=-1) / mass
    return torch.stack([x, y], dim=-1)


def test_a_flip_is_exact():
    batch = random_batch()
    flipped = Augmentation(**STILL | {"flip": 1.0})(batch)
    assert torch.equal(flipped["frames"], batch["frames"].flip(-1))
    assert torch.equal(flipped["background"], batch["background"].flip(-1))
    assert torch.equal(flipped["xy"][..., 0], W - 1 - batch["xy"][..., 0])
    assert torch.equal(flipped["xy"][..., 1], batch["xy"][..., 1])
    assert torch.equal(flipped["visible"], batch["visible"])


def test_a_flipped_ball_lies_where_its_label_says():
    frames = torch.zeros(1, 1, 3, H, W, dtype=torch.uint8)
    frames[..., 10, 7] = 255
    batch = {"frames": frames, "xy": torch.tensor([[[7.0, 10.0]]]), "visible": torch.tensor([[True]])}
    flipped = Augmentation(**STILL | {"flip": 1.0})(batch)
    x, y = flipped["xy"][0, 0].int().tolist()
    assert flipped["frames"][0, 0, 0, y, x] == 255
    assert (x, y) == (W - 8, 10)


def test_with_everything_off_nothing_changes():
    batch = random_batch()
    same = Augmentation(**STILL)(batch)
    assert same.keys() == batch.keys()
    assert all(torch.equal(same[name], batch[name]) for name in batch)


def test_the_old_batch_is_left_as_it_is():
    batch = random_batch()
    before = {name: value.clone() for name, value in batch.items()}
    Augmentation(flip=1.0, brightness=1.0, scale=(0.5, 2.0))(batch)
    assert all(torch.equal(batch[name], before[name]) for name in batch)


def test_other_entries_pass_through():
    batch = random_batch(background=False)
    changed = Augmentation(flip=1.0, scale=(2.0, 2.0))(batch)
    assert changed["clip"] is batch["clip"]
    assert torch.equal(changed["labelled"], batch["labelled"])
    assert "background" not in changed


def test_seeds_repeat_the_changes_and_windows_differ():
    batch = random_batch(windows=8)
    augmentation = Augmentation(scale=(0.8, 1.25))
    runs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        runs.append(augmentation(batch))
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in batch)
    assert not torch.equal(runs[0]["frames"], runs[2]["frames"])
    # The same picture in every window: each window must come out in its own way.
    batch["frames"] = batch["frames"][:1].expand_as(batch["frames"]).contiguous()
    changed = augmentation(batch)["frames"]
    assert not any(torch.equal(changed[0], changed[n]) for n in range(1, 8))


def test_switching_one_change_off_does_not_alter_the_draws_of_the_others():
    batch = random_batch(windows=8)
    torch.manual_seed(3)
    first, after = Augmentation()(batch), torch.rand(1)
    torch.manual_seed(3)
    second = Augmentation(brightness=0.0, contrast=0.0, colour=0.0)(batch)
    assert torch.equal(first["xy"], second["xy"])
    assert torch.equal(after, torch.rand(1))


def test_all_frames_of_a_window_and_its_background_change_alike():
    batch = random_batch(windows=6)
    batch["frames"] = batch["frames"][:, :1].expand_as(batch["frames"]).contiguous()
    batch["background"] = batch["frames"][:, 0].contiguous()
    changed = Augmentation(brightness=0.5, contrast=0.5, colour=0.2, scale=(0.7, 1.4))(batch)
    for n in range(4):
        assert torch.equal(changed["frames"][:, n], changed["background"])


def test_about_the_given_share_of_the_windows_is_flipped():
    batch = random_batch(windows=200, frames=1, background=False)
    torch.manual_seed(0)
    changed = Augmentation(**STILL | {"flip": 0.25})(batch)
    flipped = (changed["frames"] == batch["frames"].flip(-1)).flatten(1).all(dim=1)
    kept = (changed["frames"] == batch["frames"]).flatten(1).all(dim=1)
    assert (flipped ^ kept).all()
    assert 30 <= flipped.sum() <= 70


def grey_levels(windows: int) -> dict[str, torch.Tensor]:
    """Every grey level once in every channel."""
    levels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 1, 16, 16).expand(windows, 1, 3, 16, 16)
    return {
        "frames": levels.contiguous(),
        "xy": torch.zeros(windows, 1, 2),
        "visible": torch.ones(windows, 1, dtype=torch.bool),
    }


def recoloured(windows: int = 400, **strengths: float) -> torch.Tensor:
    torch.manual_seed(0)
    return (
        Augmentation(**STILL | strengths)(grey_levels(windows))["frames"].flatten(3).squeeze(1)
    )  # [B, 3, 256]


def test_brightness_multiplies():
    out = recoloured(brightness=0.2)
    factor = out[:, :, 200].float() / 200
    assert factor.min() == pytest.approx(0.8, abs=0.01)
    assert factor.max() == pytest.approx(1.2, abs=0.01)
    assert torch.equal(out[:, 0], out[:, 1])
    assert (out[..., 0] == 0).all()
    expected = (factor[..., None] * torch.arange(256)).clamp(max=255)
    # The factor is read from a rounded value, and so is what it is compared with.
    assert (out.float() - expected).abs().max() <= 255 / 200 * 0.5 + 0.51


def test_contrast_turns_around_mid_grey():
    out = recoloured(contrast=0.2).float()
    factor = (out[..., 200] - out[..., 55]) / 145
    assert factor.min() == pytest.approx(0.8, abs=0.02)
    assert factor.max() == pytest.approx(1.2, abs=0.02)
    assert (out[..., 127] - 127.5).abs().max() <= 1.2
    assert (out[..., 128] - 127.5).abs().max() <= 1.2
    assert (out[..., 0] > 0).any()
    assert torch.equal(out[:, 0], out[:, 2])


def test_colour_changes_each_channel_by_itself():
    out = recoloured(colour=0.1)
    factor = out[:, :, 200].float() / 200
    assert factor.min() == pytest.approx(0.9, abs=0.01)
    assert factor.max() == pytest.approx(1.1, abs=0.01)
    for first, second in [(0, 1), (1, 2), (0, 2)]:
        both = torch.stack([factor[:, first], factor[:, second]])
        assert abs(torch.corrcoef(both)[0, 1]) < 0.2


def test_the_formula_by_hand(monkeypatch):
    # Shares of the draws: no flip, b = 1.1, c = 0.9, gains 1.05, 1, 0.95.
    draws = torch.tensor([[0.9, 0.75, 0.25, 0.75, 0.5, 0.25, 0.0, 0.0, 0.0]])
    monkeypatch.setattr(torch, "rand", lambda *size: draws)
    out = Augmentation(0.5, brightness=0.2, contrast=0.2, colour=0.1)(grey_levels(1))["frames"].flatten(3)[
        0, 0
    ]
    for channel, gain in enumerate([1.05, 1.0, 0.95]):
        for v in (0, 1, 100, 200, 255):
            expected = ((v - 127.5) * 0.9 + 127.5) * 1.1 * gain
            assert abs(out[channel, v].item() - min(max(expected, 0), 255)) <= 0.5 + 1e-3


def test_levels_never_wrap_around():
    out = recoloured(brightness=1.0, contrast=1.0, colour=1.0).int()
    assert (out.diff(dim=-1) >= 0).all()


@pytest.mark.parametrize("flip", [0.0, 1.0])
@given(
    seed=st.integers(0, 2**31),
    low=st.floats(0.6, 2.0),
    high=st.floats(0.6, 2.0),
    x=st.floats(0, W - 1),
    y=st.floats(0, H - 1),
)
@settings(max_examples=60)
def test_the_label_follows_the_ball_through_a_zoom(flip, seed, low, high, x, y):
    point = torch.tensor([[[x, y]]])
    batch = {"frames": blobs(point), "xy": point, "visible": torch.tensor([[True]])}
    torch.manual_seed(seed)
    zoomed = Augmentation(**STILL | {"flip": flip}, scale=(min(low, high), max(low, high)))(batch)
    moved = zoomed["xy"][0, 0]
    inside = -0.5 <= moved[0] < W - 0.5 and -0.5 <= moved[1] < H - 0.5
    assert zoomed["visible"].item() == inside
    # Where the whole spot lies in both pictures, its centre tells where the ball went.
    margin = torch.tensor([8.0, 8.0])
    if all(
        (p >= m).all() and (p <= torch.tensor([W - 1.0, H - 1.0]) - m).all()
        for p, m in ((point[0, 0], margin), (moved, 2 * margin))
    ):
        assert (centroids(zoomed["frames"])[0, 0] - moved).norm() < 0.1


def test_a_zoom_that_is_known_by_hand(monkeypatch):
    def drawn(zoom_at: float, left: float, top: float, scale):
        shares = torch.tensor([[0.9, 0.5, 0.5, 0.5, 0.5, 0.5, zoom_at, left, top]])
        monkeypatch.setattr(torch, "rand", lambda *size: shares)
        points = torch.tensor([[[20.0, 20.0], [40.0, 30.0]]])
        batch = {"frames": blobs(points), "xy": points, "visible": torch.ones(1, 2, dtype=torch.bool)}
        return Augmentation(**STILL, scale=scale)(batch)

    # Twice as large, the top left quarter: (x + 0.5) * 2 - 0.5.
    zoomed = drawn(0.0, 0.0, 0.0, (2.0, 2.0))
    assert zoomed["xy"][0].tolist() == [[40.5, 40.5], [80.5, 60.5]]
    assert zoomed["visible"].tolist() == [[True, False]]
    assert centroids(zoomed["frames"])[0, 0, 0].item() == pytest.approx(40.5, abs=0.1)
    # The bottom right quarter: the corner lies at (W / 2, H / 2).
    zoomed = drawn(0.0, 1.0, 1.0, (2.0, 2.0))
    assert zoomed["xy"][0, 1].tolist() == [(40.5 - W / 2) * 2 - 0.5, (30.5 - H / 2) * 2 - 0.5]
    assert centroids(zoomed["frames"])[0, 1].tolist() == pytest.approx(zoomed["xy"][0, 1].tolist(), abs=0.1)
    # Halved and pushed to the bottom right; a share of 1/2 on the log scale from 1/4 to 1 is 1/2.
    zoomed = drawn(0.5, 0.0, 0.0, (0.25, 1.0))
    assert zoomed["xy"][0, 0].tolist() == pytest.approx([20.5 / 2 - 0.5, 20.5 / 2 - 0.5])
    zoomed = drawn(0.5, 1.0, 1.0, (0.25, 1.0))
    assert zoomed["xy"][0, 0].tolist() == pytest.approx([20.5 / 2 + W / 2 - 0.5, 20.5 / 2 + H / 2 - 0.5])
    assert centroids(zoomed["frames"])[0, 0].tolist() == pytest.approx(zoomed["xy"][0, 0].tolist(), abs=0.1)


def test_a_zoom_blends_between_pixels_and_rounds():
    ramp = (3 * torch.arange(W)).to(torch.uint8).expand(1, 1, 3, H, W).contiguous()
    batch = {"frames": ramp, "xy": torch.zeros(1, 1, 2), "visible": torch.tensor([[False]])}
    torch.manual_seed(0)
    zoomed = Augmentation(**STILL, scale=(2.0, 2.0))(batch)
    corner = zoomed["xy"][0, 0, 0]  # where the old (0, 0) went
    expected = 3 * (torch.arange(W) - corner) / 2
    assert (zoomed["frames"][0, 0, 0, 5] - expected).abs().max() <= 0.5 + 1e-3


@pytest.mark.parametrize("name", ["frames", "background"])
def test_other_pictures_than_bytes_are_refused(name):
    batch = random_batch()
    batch[name] = batch[name] / 255
    with pytest.raises(
        TrackNetError, match=rf"Augmentation: {name} are torch\.float32; expected torch\.uint8"
    ):
        Augmentation()(batch)


def test_balls_that_leave_the_picture_stay_labelled():
    batch = random_batch(windows=30)
    changed = Augmentation(scale=(3.0, 3.0))(batch)
    gone = batch["visible"] & ~changed["visible"]
    assert gone.any()
    assert changed["visible"].any()
    assert not (changed["visible"] & ~batch["visible"]).any()
    assert torch.equal(changed["labelled"], batch["labelled"])


def test_a_zoomed_picture_is_recoloured_too():
    batch = grey_levels(1)
    batch["frames"].fill_(100)
    torch.manual_seed(0)
    plain = Augmentation(**STILL | {"brightness": 0.5})(batch)["frames"]
    torch.manual_seed(0)
    zoomed = Augmentation(**STILL | {"brightness": 0.5}, scale=(0.5, 2.0))(batch)["frames"]
    assert torch.equal(zoomed, plain)
    assert plain.unique().tolist() != [100]


def test_nan_positions_of_unlabelled_frames_do_no_harm():
    batch = random_batch(windows=1)
    batch["xy"][0, 0] = math.nan
    batch["visible"][0] = torch.tensor([False, True, True, True])
    changed = Augmentation(flip=1.0, scale=(0.5, 0.5))(batch)
    assert changed["visible"].tolist() == [[False, True, True, True]]


def test_a_range_the_wrong_way_round_is_a_mistake():
    with pytest.raises(UsageError, match=r"scale is \[1.2, 0.8\]; expected the smaller magnification first"):
        Augmentation(scale=(1.2, 0.8))


def test_settings_are_kept_as_attributes():
    augmentation = Augmentation(0.1, 0.2, 0.3, 0.4, [0.5, 2])
    assert (augmentation.flip, augmentation.brightness, augmentation.contrast) == (0.1, 0.2, 0.3)
    assert (augmentation.colour, augmentation.scale) == (0.4, (0.5, 2.0))
