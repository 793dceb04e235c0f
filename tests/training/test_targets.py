from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tracknet.training.targets import DiscTarget, GaussianTarget, HeatmapTarget, PeakTarget

ALL = [DiscTarget(), GaussianTarget(), PeakTarget()]
SEEN = torch.tensor([[True]])


def draw(target: HeatmapTarget, x: float, y: float, size=(8, 12), heatmap=(8, 12)) -> torch.Tensor:
    return target(torch.tensor([[[x, y]]]), SEEN, size, heatmap)[0, 0]


def plain(value, x: float, y: float, size, heatmap) -> torch.Tensor:
    """Every cell by its definition, one at a time."""
    (height, width), (h, w) = size, heatmap
    rows = []
    for i in range(h):
        cy = (i + 0.5) * height / h - 0.5
        rows.append([value(math.hypot((j + 0.5) * width / w - 0.5 - x, cy - y)) for j in range(w)])
    return torch.tensor(rows)


FORMULAS = [
    (DiscTarget(2.5), lambda d: float(d <= 2.5)),
    (GaussianTarget(1.5), lambda d: math.exp(-(d**2) / (2 * 1.5**2))),
    (PeakTarget(3.0, 0.7), lambda d: 1 - 0.3 * (d / 3) ** 2 if d <= 3 else 0.0),
]


@pytest.mark.parametrize(("target", "value"), FORMULAS)
@pytest.mark.parametrize(("size", "heatmap"), [((8, 12), (8, 12)), ((16, 24), (8, 12)), ((16, 24), (8, 6))])
def test_every_cell_follows_the_formula(target, value, size, heatmap):
    for x, y in [(5.0, 3.0), (4.3, 2.6), (0.0, 0.0), (size[1] - 1.0, size[0] - 1.0), (-0.4, 3.2)]:
        found = draw(target, x, y, size, heatmap)
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, plain(value, x, y, size, heatmap), atol=1e-5, rtol=0)


def test_the_disc_of_the_papers_has_21_cells():
    disc = draw(DiscTarget(), 5.0, 3.0)
    assert disc.sum() == 21
    assert disc[3].tolist() == [0, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0]
    assert disc[1].tolist() == [0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0]
    assert disc[0].sum() == disc[6].sum() == 0


@pytest.mark.parametrize("target", ALL)
def test_x_is_the_column_and_y_the_row(target):
    found = draw(target, 7.0, 2.0)
    assert found[2, 7] == 1.0
    assert found[2, 9] > 0.5
    assert found[2, 10] < 0.5
    assert found[4, 7] > 0.5
    assert found[5, 7] < 0.5


@pytest.mark.parametrize("target", ALL)
def test_frames_without_a_ball_are_zero_whatever_their_position(target):
    xy = torch.tensor([[[3.0, 3.0], [math.nan, math.nan], [math.inf, 0.0], [3.0, 3.0]]])
    visible = torch.tensor([[False, False, False, True]])
    found = target(xy, visible, (8, 12), (8, 12))
    assert found[0, :3].count_nonzero() == 0
    assert found[0, 3, 3, 3] == 1.0


@pytest.mark.parametrize("target", ALL)
def test_windows_and_frames_are_drawn_independently(target):
    xy = torch.rand(3, 4, 2) * 8
    visible = torch.tensor([[True, False, True, True]] * 3)
    found = target(xy, visible, (16, 16), (8, 8))
    assert found.shape == (3, 4, 8, 8)
    for b in range(3):
        for n in range(4):
            alone = target(xy[b : b + 1, n : n + 1], visible[b : b + 1, n : n + 1], (16, 16), (8, 8))
            assert torch.equal(found[b, n], alone[0, 0])


@given(
    x=st.floats(-0.5, 95.5),
    y=st.floats(-0.5, 63.5),
    cells=st.sampled_from([(64, 96), (16, 24), (4, 6), (2, 3)]),
)
def test_a_ball_inside_the_picture_never_vanishes(x, y, cells):
    stride = 64 / cells[0]
    column = min(int((x + 0.5) / stride), cells[1] - 1)
    row = min(int((y + 0.5) / stride), cells[0] - 1)
    for target, least in [(DiscTarget(), 1.0), (PeakTarget(floor=0.6), 0.6)]:
        # The cell that holds the ball; the neighbours stand in for it where float32 cannot tell a tie.
        near = draw(target, x, y, (64, 96), cells)[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
        assert near.max() >= least - 1e-6


def test_a_ball_between_coarse_cells_sets_the_nearest_one():
    # Stride 8: centres at 3.5, 11.5; the ball is 3.2 from the nearest centre along x, beyond the radius.
    found = draw(DiscTarget(2.5), 6.7, 3.5, (16, 16), (2, 2))
    assert found.tolist() == [[1, 0], [0, 0]]
    assert draw(PeakTarget(2.5, 0.6), 6.7, 3.5, (16, 16), (2, 2)).flatten() == pytest.approx([0.6, 0, 0, 0])


def test_a_ball_outside_the_picture_changes_nothing_for_the_other_frames():
    dot, seen = DiscTarget(0.1), torch.ones(1, 2, dtype=torch.bool)
    heatmaps = dot(torch.tensor([[[6.7, 3.5], [60.0, 3.5]]]), seen, (16, 16), (2, 2))
    assert heatmaps.flatten(2).tolist() == [[[1, 0, 0, 0], [0, 0, 0, 0]]]


def test_a_tie_between_coarse_cells_sets_them_all():
    assert draw(DiscTarget(2.5), 7.5, 7.5, (16, 16), (2, 2)).tolist() == [[1, 1], [1, 1]]


def test_a_ball_outside_the_picture_does_not_set_the_nearest_cell():
    assert draw(DiscTarget(2.5), -3.0, 3.0).count_nonzero() == 0
    assert draw(DiscTarget(2.5), 12.0, 3.0).count_nonzero() > 0  # its disc still reaches in


def test_a_ball_outside_the_picture_shows_the_cells_within_its_radius():
    # 1.1 px beside the first column: squared distances 1.21 + m^2 and 4.41 + m^2, up to 6.25.
    heatmap = draw(DiscTarget(2.5), -1.1, 3.0, (8, 8), (8, 8))
    assert heatmap.nonzero().tolist() == [[1, 0], [2, 0], [2, 1], [3, 0], [3, 1], [4, 0], [4, 1], [5, 0]]


def test_the_picture_ends_half_a_pixel_beyond_the_outer_centres():
    dot = DiscTarget(0.1)
    for x, y in [(-0.5, 3.4), (11.5, 3.4), (4.4, -0.5), (4.4, 7.5)]:
        assert draw(dot, x, y).sum() == 1
    for x, y in [(-0.55, 3.4), (11.55, 3.4), (4.4, -0.55), (4.4, 7.55)]:
        assert draw(dot, x, y).sum() == 0


def test_a_peak_with_floor_one_is_the_disc():
    assert torch.equal(draw(PeakTarget(2.5, 1.0), 5.3, 3.1), draw(DiscTarget(2.5), 5.3, 3.1))


def test_settings_are_kept_as_attributes():
    assert DiscTarget(3.0).radius == 3.0
    assert GaussianTarget(1.0).sigma == 1.0
    assert (PeakTarget(3.0, 0.7).radius, PeakTarget(3.0, 0.7).floor) == (3.0, 0.7)
    assert (PeakTarget().radius, PeakTarget().floor) == (2.5, 0.6)


def test_the_base_class_cannot_be_built():
    with pytest.raises(TypeError, match="abstract"):
        HeatmapTarget()


def test_a_gaussian_in_cells_of_the_heatmap():
    # 6x12 px on 3x4 cells: x = 7 is the cell coordinate 7.5 / 3 - 0.5 = 2, y = 2.5 is 3 / 2 - 0.5 = 1.
    found = draw(GaussianTarget(2.0, "heatmap"), 7.0, 2.5, (6, 12), (3, 4))
    one, two = math.exp(-1 / 8), math.exp(-4 / 8)
    rows = [[two * one, one * one, one, one * one], [two, one, 1.0, one]]
    torch.testing.assert_close(found, torch.tensor([rows[0], rows[1], rows[0]]))
    # In pixels of the input a cell is 3 px wide and 2 px high.
    pixels = draw(GaussianTarget(2.0), 7.0, 2.5, (6, 12), (3, 4))
    torch.testing.assert_close(pixels[1, 1].log() * 8, torch.tensor(-9.0))
    torch.testing.assert_close(pixels[0, 2].log() * 8, torch.tensor(-4.0))
