"""Losses that leave out the frames without a ball: by hand, in double precision."""

from __future__ import annotations

import math

import pytest
import torch

from tracknet.training.losses import HeatmapLoss, MaskedFocalLoss, MaskedMSELoss, MSELoss
from tracknet.training.micro_batches import BatchLoss
from tracknet.training.targets import GaussianTarget

ALL = [MaskedMSELoss, MaskedFocalLoss, lambda **o: MaskedFocalLoss(0.5, 0.0, **o)]


def maps(*frames: list[float]) -> torch.Tensor:
    return torch.tensor([[[frame] for frame in frames]], dtype=torch.float64)


def test_mse_by_hand():
    # p = 1/2, 1/4, 3/4, 9/10; the third frame shows no ball and would cost (9/10)^2 a cell.
    logits = maps([0.0, -math.log(3)], [math.log(3), 0.0], [math.log(9), math.log(9)])
    target = maps([1.0, 0.0], [0.5, 0.25], [0.0, 0.0])
    frames = (0.25 + 0.0625) + (0.0625 + 0.0625)
    assert MaskedMSELoss()(logits, target).item() == pytest.approx(frames / 4, rel=1e-12)
    assert MaskedMSELoss("ball")(logits, target).item() == pytest.approx(frames / 2, rel=1e-12)
    assert MSELoss()(logits, target).item() == pytest.approx((frames + 1.62) / 6, rel=1e-12)


def test_focal_by_hand():
    # The ball's cell p = 1/4: (3/4)^2 log 4; beside it y = 1/2, p = 1/2: (1/2)^4 (1/2)^2 log 2;
    # far from it y = 0, p = 3/4: (3/4)^2 log 4.
    logits = maps([-math.log(3), 0.0, math.log(3)], [5.0, 5.0, 5.0])
    target = maps([0.9, 0.5, 0.0], [0.0, 0.0, 0.0])
    cells = [9 / 16 * math.log(4), math.log(2) / 64, 9 / 16 * math.log(4)]
    loss = MaskedFocalLoss()
    assert loss.cell_loss(logits, target)[0, 0, 0].tolist() == pytest.approx(cells, rel=1e-12)
    assert loss(logits, target).item() == pytest.approx(sum(cells), rel=1e-12)
    assert MaskedFocalLoss(reduction="pixel")(logits, target).item() == pytest.approx(sum(cells) / 3)
    # alpha 1, beta 2: the exponents are where they belong.
    cells = [3 / 4 * math.log(4), math.log(2) / 8, 3 / 4 * math.log(4)]
    assert MaskedFocalLoss(1.0, 2.0)(logits, target).item() == pytest.approx(sum(cells), rel=1e-12)


def test_every_highest_cell_is_the_ball_and_a_far_tail_is_not():
    logits = maps([0.0, 0.0, 0.0])
    quarter = math.log(2) / 4
    tie = MaskedFocalLoss().cell_loss(logits, maps([1.0, 1.0, 0.0])).flatten().tolist()
    assert tie == pytest.approx([quarter] * 3)
    tail = MaskedFocalLoss().cell_loss(logits, maps([0.3, 0.2, 0.0])).flatten().tolist()
    assert tail == pytest.approx([0.7**4 * quarter, 0.8**4 * quarter, quarter])


@pytest.mark.parametrize("make", ALL)
def test_frames_without_a_ball_change_nothing(make):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 2, 4, 6, dtype=torch.float64, generator=generator)
    xy = torch.tensor([[[1.2, 2.0], [0.0, 0.0]], [[4.0, 1.5], [3.0, 3.0]]])
    visible = torch.tensor([[True, False], [True, True]])
    target = GaussianTarget(2.0)(xy, visible, (4, 6), (4, 6)).double()
    value = make()(logits, target)
    changed = logits.clone()
    changed[0, 1] += 7
    assert torch.equal(make()(changed, target), value)
    changed[1, 1] += 7
    assert make()(changed, target) > value
    # A weight that leaves out a frame is not undone by its ball.
    weight = torch.tensor([[1.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    assert torch.equal(make()(changed, target, weight), make()(logits, target, weight))
    alone = [make(reduction="ball")(logits[b, :1][None], target[b, :1][None]) for b in range(2)]
    torch.testing.assert_close(make(reduction="ball")(logits, target, weight), sum(alone) / 2)


@pytest.mark.parametrize("make", ALL)
def test_nothing_visible_gives_zero_with_a_gradient(make):
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    value = make()(logits, torch.zeros(1, 2, 3, 3))
    value.backward()
    assert value.item() == 0.0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("reduction", ["pixel", "ball"])
def test_gradients_are_those_of_the_value_and_stay_finite(make, reduction):
    logits = torch.randn(2, 2, 2, 3, dtype=torch.float64, requires_grad=True)
    target = torch.rand(2, 2, 2, 3, dtype=torch.float64)
    target[0, 1] = 0.0
    loss = make(reduction=reduction)
    assert torch.autograd.gradcheck(lambda x: loss(x, target), (logits,))
    extreme = torch.tensor([[[[1e4, -1e4, 0.0]]]], requires_grad=True)
    value = loss(extreme, torch.tensor([[[[0.0, 1.0, 0.6]]]]))
    value.backward()
    assert value.isfinite()
    assert extreme.grad.isfinite().all()


@pytest.mark.parametrize("make", ALL)
def test_parts_of_a_batch_add_up_to_the_batch(make):
    logits = torch.randn(3, 1, 2, 3, dtype=torch.float64)
    target = torch.rand(3, 1, 2, 3, dtype=torch.float64)
    target[1] = 0.0
    weight = torch.ones(3, 1, dtype=torch.float64)
    loss: HeatmapLoss = make()
    loss_of = BatchLoss(loss, lambda logits: target, weight)
    parts = [loss_of(logits[part], part) for part in (slice(0, 2), slice(2, 3))]
    assert [total.item() for _, total in parts] == [2.0, 2.0]
    torch.testing.assert_close(parts[0][0] + parts[1][0], loss(logits, target))
