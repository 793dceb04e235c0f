"""Muon and AdamW in one: against their formulas, against PyTorch's own, and over an interruption."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tracknet.training.optimizers import MuonAdamW, is_matrix, nearly_orthogonal


def through_singular_values(matrix):
    """The five iterations, on singular values alone."""
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    s = s / s.norm()
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return u @ torch.diag(s) @ vh


def stepped(optimizer, parameter, gradients):
    for gradient in gradients:
        parameter.grad = gradient.clone()
        optimizer.step()
    return parameter.detach()


@pytest.mark.parametrize("shape", [(4, 30), (30, 4), (7, 7)])
class TestNearlyOrthogonal:
    def test_singular_values_change_and_vectors_stay(self, shape):
        matrix = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        found = nearly_orthogonal(matrix)
        torch.testing.assert_close(found, through_singular_values(matrix), rtol=0, atol=1e-6)
        values = torch.linalg.svdvals(found)
        assert values.min() > 0.6
        assert values.max() < 1.3

    def test_where_products_are_in_fewer_bits(self, shape, monkeypatch):
        matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        expected = nearly_orthogonal(matrix)
        monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: "medium")
        torch.testing.assert_close(nearly_orthogonal(matrix), expected, rtol=0, atol=1e-5)


def test_a_matrix_of_few_directions_stays_bounded():
    torch.manual_seed(0)
    matrix = torch.randn(64, 3) @ torch.randn(3, 500) + 1e-6 * torch.randn(64, 500)
    assert torch.linalg.matrix_norm(nearly_orthogonal(matrix), 2) < 1.3
    assert torch.equal(nearly_orthogonal(torch.zeros(3, 5)), torch.zeros(3, 5))


def test_what_is_a_matrix():
    shapes = [(4, 3), (4, 3, 3, 3), (1, 16, 1, 1), (16, 1, 1, 1), (16,), ()]
    assert [is_matrix(torch.zeros(shape)) for shape in shapes] == [True, True, False, False, False, False]


def test_two_steps_on_a_kernel_by_the_formula():
    torch.manual_seed(0)
    start, first, second = torch.randn(3, 6, 2, 3, 3, dtype=torch.float64)
    kernel = nn.Parameter(start.clone())
    found = stepped(MuonAdamW([kernel], lr=0.01, weight_decay=0.5, momentum=0.8), kernel, (first, second))
    expected, mean = start.flatten(1), torch.zeros(6, 18, dtype=torch.float64)
    for gradient in (first.flatten(1), second.flatten(1)):
        mean = 0.8 * mean + 0.2 * gradient
        step = through_singular_values(0.8 * mean + 0.2 * gradient)
        expected = (1 - 0.01 * 0.5) * expected - 0.2 * 0.01 * 18**0.5 * step
    torch.testing.assert_close(found.flatten(1), expected, rtol=0, atol=1e-7)


def test_matrices_as_pytorch_steps_them():
    torch.manual_seed(0)
    start, *gradients = torch.randn(6, 8, 20)
    found, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    settings = {"lr": 0.01, "weight_decay": 0.1, "momentum": 0.9}
    stepped(MuonAdamW([found], **settings), found, gradients)
    muon = pytest.importorskip("torch.optim", reason="PyTorch before 2.9 has no Muon").Muon
    stepped(muon([theirs], **settings, adjust_lr_fn="match_rms_adamw"), theirs, gradients)
    # PyTorch iterates in bfloat16.
    assert (found - start).abs().max() > 0.02
    torch.testing.assert_close(found, theirs, rtol=0, atol=1e-3)


def test_others_as_adamw_steps_them():
    torch.manual_seed(0)
    start, *gradients = torch.randn(6, 5, dtype=torch.float64)
    found, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    settings = {"lr": 0.01, "weight_decay": 0.1, "betas": (0.8, 0.95), "eps": 1e-6}
    stepped(MuonAdamW([found], **settings), found, gradients)
    stepped(torch.optim.AdamW([theirs], **settings), theirs, gradients)
    torch.testing.assert_close(found, theirs, rtol=0, atol=1e-12)


def test_a_saved_state_goes_on_as_if_nothing_had_been():
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 4, 3)
    optimizer = MuonAdamW(layer.parameters(), lr=0.01)
    gradients = [[torch.randn_like(one) for one in layer.parameters()] for _ in range(4)]

    def step(layer, optimizer, values):
        for parameter, gradient in zip(layer.parameters(), values, strict=True):
            parameter.grad = gradient
        optimizer.step()

    for values in gradients[:2]:
        step(layer, optimizer, values)
    other = copy.deepcopy(layer)
    resumed = MuonAdamW(other.parameters(), lr=0.5)
    resumed.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for values in gradients[2:]:
        step(layer, optimizer, values)
        step(other, resumed, values)
    for one, two in zip(layer.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_order_in_memory_does_not_count():
    torch.manual_seed(0)
    start, gradient = torch.randn(2, 6, 4, 3, 3)
    plain = nn.Parameter(start.clone())
    last = nn.Parameter(start.clone().to(memory_format=torch.channels_last))
    stepped(MuonAdamW([plain]), plain, [gradient])
    stepped(MuonAdamW([last]), last, [gradient.to(memory_format=torch.channels_last)])
    assert torch.equal(plain, last)
    assert last.is_contiguous(memory_format=torch.channels_last)


def test_a_closure_and_parameters_without_gradient():
    used, unused = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    optimizer = MuonAdamW([used, unused], lr=0.1)

    def closure():
        optimizer.zero_grad()
        loss = used.square().sum()
        loss.backward()
        return float(loss)

    assert optimizer.step(closure) == 4.0
    assert not torch.equal(used, unused)
    assert torch.equal(unused, torch.ones(2, 2))


@pytest.mark.parametrize("shares", [{"momentum": 1.0}, {"betas": (1.0, 0.9)}, {"betas": (0.9, 1.0)}])
def test_means_that_never_move_are_refused(shares):
    with pytest.raises(ValueError, match=rf"{next(iter(shares))}: 1.0 is no share"):
        MuonAdamW([nn.Parameter(torch.ones(2, 2))], **shares)
