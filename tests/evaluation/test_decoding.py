from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from tracknet.errors import UsageError
from tracknet.evaluation.decoding import (
    ComponentDecoder,
    HeatmapDecoder,
    PeakDecoder,
    centre_of_mass,
    highest_cells,
)
from tracknet.training.targets import DiscTarget, GaussianTarget, HeatmapTarget

SIZE = (64, 96)
ALL = [
    PeakDecoder(),
    PeakDecoder(window=1),
    ComponentDecoder(),
    ComponentDecoder(select="score"),
    ComponentDecoder(centre="box"),
]
REFINED = [PeakDecoder(), ComponentDecoder(), ComponentDecoder(select="score")]


def drawn(target: HeatmapTarget, points: list[tuple[float, float]], stride: int) -> torch.Tensor:
    xy = torch.tensor(points).reshape(1, -1, 2)
    seen = torch.ones(1, len(points), dtype=torch.bool)
    return target(xy, seen, SIZE, (SIZE[0] // stride, SIZE[1] // stride))[0]


def errors(decoder, target, points, stride) -> torch.Tensor:
    return (decoder(drawn(target, points, stride), SIZE).xy - torch.tensor(points)).norm(dim=1)


# The tails of the shape must lie in the picture; the border has its own tests.
def positions(margin: float):
    return st.tuples(st.floats(margin, SIZE[1] - 1 - margin), st.floats(margin, SIZE[0] - 1 - margin))


@pytest.mark.parametrize("decoder", REFINED)
@pytest.mark.parametrize("stride", [1, 2, 4])
@given(points=st.lists(positions(12.0), min_size=1, max_size=4))
@settings(max_examples=30)
def test_a_gaussian_decodes_to_its_centre(decoder, stride, points):
    assert errors(decoder, GaussianTarget(2.5), points, stride).max() < 0.1


# A binary disc tells its place only through the cells that it covers: half a cell along each axis at worst.
@pytest.mark.parametrize("decoder", REFINED)
@pytest.mark.parametrize(("stride", "bound"), [(1, 0.5), (2, 1.0), (4, 2 * math.sqrt(2) + 0.01)])
@given(points=st.lists(positions(12.0), min_size=1, max_size=4))
@settings(max_examples=30)
def test_a_disc_decodes_to_its_centre(decoder, stride, bound, points):
    assert errors(decoder, DiscTarget(2.5), points, stride).max() < bound


@pytest.mark.parametrize("decoder", REFINED)
@pytest.mark.parametrize(("stride", "bound"), [(1, 0.5), (2, 1.1), (4, 2.5)])
@given(x=st.floats(0, 12), y=st.floats(0, 63), mirrored=st.booleans())
@settings(max_examples=30)
def test_at_the_border_a_gaussian_is_found_within_half_a_cell_along_each_axis(
    decoder, stride, bound, x, y, mirrored
):
    point = (SIZE[1] - 1 - x, SIZE[0] - 1 - y) if mirrored else (x, y)
    assert errors(decoder, GaussianTarget(2.5), [point], stride).max() < bound


@pytest.mark.parametrize("decoder", ALL)
@pytest.mark.parametrize("target", [DiscTarget(2.5), GaussianTarget(2.5)])
@given(x=st.floats(-0.5, 95.5), y=st.floats(-0.5, 63.5), stride=st.sampled_from([1, 2, 4]))
@example(x=0.0, y=0.0, stride=1)
@example(x=95.0, y=63.0, stride=4)
@settings(max_examples=30)
def test_no_ball_inside_decodes_far_off_or_outside(decoder, target, x, y, stride):
    found = decoder(drawn(target, [(x, y)], stride), SIZE)
    # A disc's highest cell may lie at its rim: that bounds the decoder without refinement.
    assert (found.xy[0] - torch.tensor([x, y])).norm() < 2.5 + stride * 0.75
    assert 0 <= found.xy[0, 0] <= SIZE[1] - 1
    assert 0 <= found.xy[0, 1] <= SIZE[0] - 1
    assert found.confidence[0] >= 0.25


@pytest.mark.parametrize("decoder", ALL)
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_cells_lie_where_the_pixel_convention_says(decoder, stride):
    # One cell alone, at every stride: any shift by one pixel, or x and y swapped, shows here.
    for row, column in [(3, 10), (0, 0), (SIZE[0] // stride - 1, SIZE[1] // stride - 1), (5, 7)]:
        heatmap = torch.zeros(1, SIZE[0] // stride, SIZE[1] // stride)
        heatmap[0, row, column] = 0.75
        found = decoder(heatmap, SIZE)
        expected = [(column + 0.5) * stride - 0.5, (row + 0.5) * stride - 0.5]
        assert found.xy[0].tolist() == pytest.approx(expected, abs=1e-4)
        assert found.confidence.tolist() == [0.75]


@pytest.mark.parametrize("decoder", ALL)
def test_strides_may_differ_between_the_axes(decoder):
    heatmap = torch.zeros(1, 16, 48)  # stride 4 down, 2 across
    heatmap[0, 6, 20] = 1.0
    assert decoder(heatmap, SIZE).xy[0].tolist() == pytest.approx([40.5, 25.5])


@pytest.mark.parametrize("decoder", ALL)
def test_types_shapes_and_ranges(decoder):
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        found = decoder(torch.rand(3, 8, 12).to(dtype), SIZE)
        assert found.xy.shape == (3, 2)
        assert found.confidence.shape == (3,)
        assert found.xy.dtype == found.confidence.dtype == torch.float32
    empty = decoder(torch.zeros(0, 8, 12), SIZE)
    assert empty.xy.shape == (0, 2)
    assert empty.confidence.shape == (0,)


@pytest.mark.parametrize("decoder", ALL)
def test_an_empty_heatmap_gives_no_confidence(decoder):
    found = decoder(torch.zeros(2, 8, 12), SIZE)
    assert found.confidence.tolist() == [0.0, 0.0]
    assert found.xy.isfinite().all()


@pytest.mark.parametrize("decoder", ALL)
def test_a_broken_heatmap_spoils_only_itself(decoder):
    heatmaps = drawn(GaussianTarget(), [(40.0, 30.0)] * 3, 2)
    alone = decoder(heatmaps, SIZE)
    heatmaps[1] = math.nan
    found = decoder(heatmaps, SIZE)
    assert found.confidence[1] == 0
    assert found.xy.isfinite().all()
    assert torch.equal(found.xy[[0, 2]], alone.xy[[0, 2]])


@pytest.mark.parametrize("decoder", ALL)
def test_each_heatmap_is_decoded_for_itself(decoder):
    heatmaps = torch.rand(6, 16, 24, generator=torch.Generator().manual_seed(3)) ** 4
    together = decoder(heatmaps, SIZE)
    for n in range(6):
        alone = decoder(heatmaps[n : n + 1], SIZE)
        torch.testing.assert_close(together.xy[n], alone.xy[0], atol=1e-3, rtol=0)
        assert together.confidence[n] == alone.confidence[0]


@pytest.mark.parametrize("decoder", ALL)
def test_below_the_threshold_the_peak_stands_in_with_its_low_confidence(decoder):
    heatmap = torch.full((1, 8, 12), 0.0)
    heatmap[0, 2, 9] = 0.3
    found = decoder(heatmap, (8, 12))
    assert found.xy[0].tolist() == pytest.approx([9.0, 2.0])
    assert found.confidence.item() == pytest.approx(0.3)
    assert found.confidence.item() < decoder.threshold


@pytest.mark.parametrize("decoder", REFINED)
def test_the_background_and_a_far_ball_do_not_pull(decoder):
    heatmaps = drawn(GaussianTarget(2.5), [(30.3, 24.6)], 1) * 0.9 + 0.05
    heatmaps[0, 40:42, 70:72] = 0.6
    found = decoder(heatmaps, SIZE)
    assert found.xy[0].tolist() == pytest.approx([30.3, 24.6], abs=0.1)


def two_candidates() -> torch.Tensor:
    heatmap = torch.zeros(1, 12, 20)
    heatmap[0, 2, 2:6] = 0.5  # 4 cells, sum 2.0
    heatmap[0, 9, 14:17] = 0.9  # 3 cells, sum 2.7
    return heatmap


def test_area_and_score_choose_differently():
    by_area = ComponentDecoder(select="area")(two_candidates(), (12, 20))
    by_score = ComponentDecoder(select="score")(two_candidates(), (12, 20))
    assert by_area.xy[0].tolist() == pytest.approx([3.5, 2.0])
    assert by_area.confidence.item() == 0.5
    assert by_score.xy[0].tolist() == pytest.approx([15.0, 9.0])
    assert by_score.confidence.item() == pytest.approx(0.9)


def test_a_streak_has_the_largest_box_and_not_the_most_cells():
    heatmap = torch.zeros(1, 16, 24)
    heatmap[0, 2:5, 2:5] = 0.9  # nine cells, in a box of nine
    for n in range(6):
        heatmap[0, 8 + n, 12 + n] = 0.8  # six cells, in a box of 36
    centre = {"threshold": 0.5, "centre": "box"}
    assert ComponentDecoder(select="area", **centre)(heatmap, (16, 24)).xy.tolist() == [[3.0, 3.0]]
    assert ComponentDecoder(select="box", **centre)(heatmap, (16, 24)).xy.tolist() == [[14.5, 10.5]]
    assert ComponentDecoder(select="score", **centre)(heatmap, (16, 24)).xy.tolist() == [[3.0, 3.0]]


def test_ties_of_the_area_go_to_the_higher_score():
    heatmap = torch.zeros(1, 12, 20)
    heatmap[0, 2, 2:4] = 0.6
    heatmap[0, 9, 14:16] = 0.7
    assert ComponentDecoder()(heatmap, (12, 20)).xy[0].tolist() == pytest.approx([14.5, 9.0])


def test_confidence_is_the_peak_of_the_chosen_candidate_not_of_the_heatmap():
    heatmap = two_candidates()
    heatmap[0, 5, 10] = 1.0
    assert ComponentDecoder()(heatmap, (12, 20)).confidence.item() == 0.5
    assert PeakDecoder()(heatmap, (12, 20)).xy[0].tolist() == pytest.approx([10.0, 5.0])


def test_cells_that_touch_diagonally_belong_together():
    heatmap = torch.zeros(1, 8, 8)
    heatmap[0, 1, 1] = heatmap[0, 2, 2] = heatmap[0, 3, 3] = 0.8
    heatmap[0, 6, 5:7] = 0.9
    found = ComponentDecoder(centre="box")(heatmap, (8, 8))
    assert found.xy[0].tolist() == [2.0, 2.0]


def test_candidates_of_neighbouring_heatmaps_are_not_joined():
    heatmaps = torch.zeros(2, 6, 6)
    heatmaps[0, 5, 2] = heatmaps[1, 0, 2] = 0.9
    found = ComponentDecoder()(heatmaps, (6, 6))
    torch.testing.assert_close(found.xy, torch.tensor([[2.0, 5.0], [2.0, 0.0]]))


def test_the_box_centre_is_that_of_the_bounding_box():
    heatmap = torch.zeros(1, 8, 8)
    heatmap[0, 2, 1:5] = 0.9
    heatmap[0, 3:5, 1] = 0.9
    assert ComponentDecoder(centre="box")(heatmap, (8, 8)).xy[0].tolist() == [2.5, 3.0]


def test_a_cell_at_the_threshold_counts():
    heatmap = torch.zeros(1, 4, 6)
    heatmap[0, 1, 1] = heatmap[0, 1, 2] = 0.5
    heatmap[0, 3, 5] = 0.7
    assert ComponentDecoder(0.5, centre="box")(heatmap, (4, 6)).xy[0].tolist() == [1.5, 1.0]
    assert ComponentDecoder(0.51, centre="box")(heatmap, (4, 6)).xy[0].tolist() == [5.0, 3.0]


def test_a_threshold_of_zero_leaves_out_empty_cells():
    heatmap = torch.zeros(1, 4, 6)
    heatmap[0, 1, 1] = 0.2
    found = ComponentDecoder(0.0, centre="box")(heatmap, (4, 6))
    assert found.xy[0].tolist() == [1.0, 1.0]
    assert found.confidence.item() == pytest.approx(0.2)


def test_a_heatmap_all_above_the_threshold_decodes_to_its_middle():
    found = ComponentDecoder()(torch.full((1, 80, 120), 0.6), (80, 120))
    assert found.xy[0].tolist() == pytest.approx([59.5, 39.5], abs=1e-3)


def test_the_decoder_does_not_change_the_heatmaps():
    for decoder in ALL:
        heatmaps = torch.rand(2, 8, 12)
        before = heatmaps.clone()
        decoder(heatmaps, SIZE)
        assert torch.equal(heatmaps, before)


def test_gradients_do_not_hinder():
    heatmaps = torch.rand(2, 8, 12, requires_grad=True)
    assert not ComponentDecoder()(heatmaps.sigmoid(), SIZE).xy.requires_grad


def test_the_centre_of_mass_by_hand():
    # Two equal cells between empty ones: only midway is the point its own centre of mass.
    row = torch.tensor([[[0.0, 0.5, 0.5, 0.0, 0.0]]])
    half = torch.tensor([[1.5, 0.5]])
    assert centre_of_mass(row, torch.tensor([[1.0, 0.0]]), half)[0].tolist() == pytest.approx(
        [1.5, 0.0], abs=1e-3
    )
    # A window at the border holds 1.5 cells at least: it sees the second one, and stops once it is whole.
    edge = torch.tensor([[[0.5, 0.5, 0.0, 0.0, 0.0]]])
    assert centre_of_mass(edge, torch.tensor([[0.0, 0.0]]), half)[0, 0].item() == pytest.approx(
        0.25, abs=1e-3
    )
    # It never leaves half a window, and an empty window leaves the point alone.
    slope = torch.arange(-49.0, 1.0).mul(2).exp().reshape(1, 1, 50)
    assert centre_of_mass(slope, torch.tensor([[20.0, 0.0]]), half)[0].tolist() == pytest.approx([21.5, 0.0])
    assert centre_of_mass(torch.zeros(1, 4, 4), torch.tensor([[1.2, 2.3]]), half)[
        0
    ].tolist() == pytest.approx([1.2, 2.3])


def test_the_highest_cell_by_hand():
    heatmaps = torch.tensor(np.arange(24).reshape(2, 3, 4) % 13, dtype=torch.float32)
    cells, values = highest_cells(heatmaps)
    assert cells.tolist() == [[3.0, 2.0], [0.0, 0.0]]
    assert values.tolist() == [11.0, 12.0]


def test_an_even_window_is_a_mistake():
    with pytest.raises(UsageError, match="window is 4; expected an odd number"):
        PeakDecoder(window=4)


def test_settings_are_kept_as_attributes():
    assert (PeakDecoder(0.3, 7).threshold, PeakDecoder(0.3, 7).window) == (0.3, 7)
    decoder = ComponentDecoder(0.4, "score", "box")
    assert (decoder.threshold, decoder.select, decoder.centre) == (0.4, "score", "box")


class Counted(TorchDispatchMode):
    """Counts the operations of PyTorch."""

    number = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.number += 1
        return func(*args, **(kwargs or {}))


def test_a_peak_takes_few_operations():
    with Counted() as counted:
        PeakDecoder()(torch.rand(2, 20, 30), (40, 60))
    # Each is a kernel to start, and a node of an exported graph: the more, the longer its making takes.
    assert counted.number <= 480


def test_the_base_class_cannot_be_built():
    with pytest.raises(TypeError, match="abstract"):
        HeatmapDecoder()
