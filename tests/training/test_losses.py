from __future__ import annotations

import math

import pytest
import torch

from tracknet.errors import UsageError
from tracknet.models import CompactTrackNet, TrackNetV1
from tracknet.training.losses import (
    ComboLoss,
    FocalLoss,
    GreyLevelLoss,
    HeatmapLoss,
    MaskedFocalLoss,
    MSELoss,
    QualityFocalLoss,
    WBCELoss,
)

ALL = [
    WBCELoss,
    FocalLoss,
    QualityFocalLoss,
    MSELoss,
    lambda **o: FocalLoss(0.5, 0.25, **o),
    lambda **o: QualityFocalLoss(0.5, **o),
    lambda **o: FocalLoss(0.0, **o),
    lambda **o: QualityFocalLoss(0.0, **o),
]

PLAIN = [
    (
        WBCELoss(),
        lambda p, y: -((1 - p) ** 2 * y * math.log(p) + p**2 * (1 - y) * math.log(1 - p)),
    ),
    (
        FocalLoss(1.5, 0.25),
        lambda p, y: -(0.25 * (1 - p) ** 1.5 * y * math.log(p) + 0.75 * p**1.5 * (1 - y) * math.log(1 - p)),
    ),
    (FocalLoss(2.0, 0.0), lambda p, y: -(p**2) * (1 - y) * math.log(1 - p)),
    (FocalLoss(0.0), lambda p, y: -(y * math.log(p) + (1 - y) * math.log(1 - p))),
    (
        QualityFocalLoss(2.0),
        lambda p, y: -(abs(y - p) ** 2) * ((1 - y) * math.log(1 - p) + y * math.log(p)),
    ),
    (QualityFocalLoss(0.0), lambda p, y: -(y * math.log(p) + (1 - y) * math.log(1 - p))),
    (MSELoss(), lambda p, y: (p - y) ** 2),
]


def maps(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64).reshape(1, 1, 1, -1)


@pytest.mark.parametrize(("loss", "plain"), PLAIN)
def test_every_loss_follows_its_plain_formula(loss, plain):
    probabilities = [0.5, 0.01, 0.99, 0.3, 0.7, 0.9]
    targets = [1.0, 0.0, 0.0, 0.6, 1.0, 0.25]
    logits = maps(*[math.log(p / (1 - p)) for p in probabilities])
    expected = [plain(p, y) for p, y in zip(probabilities, targets, strict=True)]
    torch.testing.assert_close(loss.cell_loss(logits, maps(*targets)), maps(*expected))
    torch.testing.assert_close(loss(logits, maps(*targets)).item(), sum(expected) / 6)


def test_combo_is_cross_entropy_and_dice_of_each_frame():
    p, y = [0.5, 0.01, 0.9, 0.3], [1.0, 0.0, 0.25, 0.0]
    logits = maps(*[math.log(one / (1 - one)) for one in p])
    entropy = [-(b * math.log(a) + (1 - b) * math.log(1 - a)) for a, b in zip(p, y, strict=True)]
    overlap = sum(a * b for a, b in zip(p, y, strict=True))
    dice = (2 * overlap + 1e-4) / (sum(p) + sum(y) + 1e-4)
    expected = 0.9 * sum(entropy) / 4 + 0.1 * (1 - dice)
    assert ComboLoss()(logits, maps(*y)).item() == pytest.approx(expected, rel=1e-12)
    # A frame that does not count changes nothing.
    two = torch.cat([logits, -logits], dim=1)
    weight = torch.tensor([[1.0, 0.0]])
    found = ComboLoss()(two, torch.cat([maps(*y), maps(*y)], dim=1), weight).item()
    assert found == pytest.approx(expected, rel=1e-12)


def test_wbce_by_hand():
    # p = 1/2: (1/4) log 2 whatever the target; p = 1/4, y = 0: (1/16) log(4/3); p = 1/4, y = 1: (9/16) log 4.
    logits = maps(0.0, -math.log(3), -math.log(3))
    found = WBCELoss().cell_loss(logits, maps(0.5, 0.0, 1.0)).flatten().tolist()
    assert found == pytest.approx([math.log(2) / 4, math.log(4 / 3) / 16, math.log(4) * 9 / 16], rel=1e-12)


def test_wbce_is_the_focal_loss_with_gamma_two():
    logits, target = (
        torch.randn(2, 3, 4, 5, dtype=torch.float64) * 5,
        torch.rand(2, 3, 4, 5, dtype=torch.float64),
    )
    torch.testing.assert_close(WBCELoss()(logits, target), FocalLoss(2.0)(logits, target))


@pytest.mark.parametrize("make", [*ALL, ComboLoss])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_logits_keep_loss_and_gradient_finite(make, dtype):
    loss = make()
    for logit in (1e4, -1e4, 100.0, -100.0, 0.0):
        for y in (0.0, 0.6, 1.0):
            logits = torch.full((1, 1, 2, 2), logit, dtype=dtype, requires_grad=True)
            value = loss(logits, torch.full((1, 1, 2, 2), y, dtype=dtype))
            value.backward()
            assert value.isfinite()
            assert value >= 0
            assert logits.grad.isfinite().all()


@pytest.mark.parametrize("loss", [WBCELoss(), FocalLoss(), QualityFocalLoss()])
def test_a_confident_mistake_costs_its_logit_and_can_be_unlearnt(loss):
    logits = torch.tensor([[[[1e4, -1e4]]]], requires_grad=True)
    value = loss(logits, torch.tensor([[[[0.0, 1.0]]]]))
    value.backward()
    assert value.item() == pytest.approx(1e4)
    assert logits.grad.flatten().tolist() == pytest.approx([0.5, -0.5])


@pytest.mark.parametrize("make", ALL)
@pytest.mark.parametrize("reduction", ["pixel", "ball"])
def test_gradients_are_those_of_the_value(make, reduction):
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(2, 2, 2, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    target = torch.rand(2, 2, 2, 3, dtype=torch.float64, generator=generator)
    weight = torch.tensor([[1.0, 0.0], [0.5, 2.0]], dtype=torch.float64)
    loss = make(reduction=reduction)
    assert torch.autograd.gradcheck(lambda x: loss(x, target, weight), (logits,))


@pytest.mark.parametrize("make", ALL)
def test_weights_choose_and_weigh_the_frames(make):
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(2, 2, 3, 4, dtype=torch.float64, generator=generator)
    target = torch.rand(2, 2, 3, 4, dtype=torch.float64, generator=generator)
    weight = torch.tensor([[1.0, 0.0], [0.5, 2.0]], dtype=torch.float64)
    cells = make().cell_loss(logits, target)
    by_hand = cells[0, 0].sum() + 0.5 * cells[1, 0].sum() + 2 * cells[1, 1].sum()
    torch.testing.assert_close(make()(logits, target, weight), by_hand / (3.5 * 12))
    torch.testing.assert_close(make(reduction="ball")(logits, target, weight), by_hand / 3.5)
    torch.testing.assert_close(make()(logits, target), cells.mean())
    changed = logits.clone()
    changed[0, 1] += 7
    assert torch.equal(make()(changed, target, weight), make()(logits, target, weight))


def test_boolean_weights_count_as_one_and_zero():
    logits, target = torch.randn(1, 2, 3, 3), torch.rand(1, 2, 3, 3)
    weight = torch.tensor([[True, False]])
    torch.testing.assert_close(WBCELoss()(logits, target, weight), WBCELoss()(logits[:, :1], target[:, :1]))


@pytest.mark.parametrize("make", ALL)
def test_nothing_counted_gives_zero_with_a_gradient(make):
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    value = make()(logits, torch.rand(1, 2, 3, 3), torch.zeros(1, 2))
    value.backward()
    assert value.item() == 0.0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_ball_reduction_does_not_depend_on_the_resolution():
    # The same ball on twice the canvas, around it cells that are answered perfectly.
    small, large = torch.full((1, 1, 4, 4), -1e4), torch.full((1, 1, 8, 8), -1e4)
    small[0, 0, 1, 1] = large[0, 0, 1, 1] = 0.0
    answers = [
        torch.zeros_like(m).index_put_((torch.tensor(0),) * 2 + (torch.tensor(1),) * 2, torch.tensor(1.0))
        for m in (small, large)
    ]
    ball = [WBCELoss("ball")(x, y) for x, y in zip((small, large), answers, strict=True)]
    pixel = [WBCELoss()(x, y) for x, y in zip((small, large), answers, strict=True)]
    assert ball[0] == ball[1] == pytest.approx(math.log(2) / 4)
    assert pixel[0] == pytest.approx(4 * pixel[1].item())


def test_settings_are_kept_as_attributes():
    focal = FocalLoss(1.0, 0.3, "ball")
    assert (focal.gamma, focal.alpha, focal.reduction) == (1.0, 0.3, "ball")
    assert QualityFocalLoss(3.0).beta == 3.0
    assert MSELoss().reduction == "pixel"


def test_defaults_are_those_of_the_papers():
    focal, quality, masked = FocalLoss(), QualityFocalLoss(), MaskedFocalLoss()
    assert (focal.gamma, focal.alpha, focal.reduction) == (2.0, None, "pixel")
    assert (quality.beta, quality.reduction) == (2.0, "pixel")
    assert (masked.alpha, masked.beta, masked.reduction) == (2.0, 4.0, "ball")


def test_the_loss_has_the_type_of_the_logits_whatever_that_of_the_weights():
    logits, target = torch.zeros(1, 2, 3, 3), torch.rand(1, 2, 3, 3)
    weight = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    assert WBCELoss()(logits, target, weight).dtype == torch.float32
    assert WBCELoss()(logits, target, weight.float(), weight.sum()).dtype == torch.float32


def test_a_small_sum_of_weights_is_divided_by_too():
    logits, target = torch.randn(1, 2, 3, 3), torch.rand(1, 2, 3, 3)
    weight = torch.tensor([[0.25, 0.5]])
    torch.testing.assert_close(MSELoss()(logits, target, weight), MSELoss()(logits, target, 8 * weight))


def test_the_base_class_cannot_be_built():
    with pytest.raises(TypeError, match="abstract"):
        HeatmapLoss()


def test_grey_levels_are_classes_by_hand():
    levels = torch.randn(1, 256, 1, 3, dtype=torch.float64)
    target = torch.tensor([0.0, 128.4 / 255, 1.0], dtype=torch.float64).reshape(1, 1, 1, 3)
    expected = [-levels[0, :, 0, i].log_softmax(dim=0)[k].item() for i, k in enumerate((0, 128, 255))]
    loss = GreyLevelLoss()
    assert loss.cell_loss(levels, target).flatten().tolist() == pytest.approx(expected)
    assert loss(levels, target).item() == pytest.approx(sum(expected) / 3)
    assert GreyLevelLoss("ball")(levels, target).item() == pytest.approx(sum(expected))


def test_what_a_loss_asks_for():
    network, x = TrackNetV1(width=1).eval(), torch.rand(1, 9, 8, 8)
    for loss, expected in ((WBCELoss(), network(x)), (GreyLevelLoss(), network.intensities(x))):
        answer = loss.ask(network, x)
        assert torch.equal(answer, expected)
        assert torch.equal(loss.heatmap_logits(network, answer), network(x))


def test_other_networks_have_no_grey_levels():
    with pytest.raises(UsageError, match="grey levels of TrackNetV1, found CompactTrackNet"):
        GreyLevelLoss().ask(CompactTrackNet(), torch.rand(1, 27, 16, 16))
