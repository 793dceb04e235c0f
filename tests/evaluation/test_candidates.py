"""All the balls that a heatmap may show, the decoder's own choice first."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tracknet.evaluation.decoding import (
    MOST_CANDIDATES,
    ComponentDecoder,
    HeatmapDecoder,
    PeakDecoder,
    centre_of_mass,
)

ALL = [
    PeakDecoder(),
    PeakDecoder(window=1),
    ComponentDecoder(),
    ComponentDecoder(select="score"),
    ComponentDecoder(centre="box"),
]


def picture(*dots, size=(24, 40)):
    """A heatmap with plus-shaped dots ``(x, y, value)``; the arms have 0.9 of the value."""
    heatmap = torch.zeros(1, *size)
    for x, y, value in dots:
        heatmap[0, y - 1 : y + 2, x] = heatmap[0, y, x - 1 : x + 2] = 0.9 * value
        heatmap[0, y, x] = value
    return heatmap


@pytest.mark.parametrize("decoder", ALL)
def test_two_dots_in_pixels_of_the_input(decoder):
    found = decoder.candidates(picture((8, 6, 0.7), (30, 16, 0.95)), (48, 80))
    assert len(found) == 1
    # Cell c has its middle at 2c + 0.5 pixels.
    assert found[0].xy.tolist() == [
        pytest.approx([60.5, 32.5], abs=1e-3),
        pytest.approx([16.5, 12.5], abs=1e-3),
    ]
    assert found[0].confidence.tolist() == pytest.approx([0.95, 0.7])


def test_the_order_is_that_of_the_choice():
    heatmap = picture((8, 6, 0.7))
    heatmap[0, 16, 20:23] = 1.0
    # The dot has 5 cells of sum 3.22 for 3 cells of sum 3.0; two more of 0.51 make 4.02 of 5.
    assert ComponentDecoder().candidates(heatmap, (24, 40))[0].confidence.tolist() == [
        pytest.approx(0.7),
        1.0,
    ]
    heatmap[0, 16, 23:25] = 0.51
    by_score = ComponentDecoder(select="score").candidates(heatmap, (24, 40))[0]
    assert by_score.confidence.tolist() == [1.0, pytest.approx(0.7)]
    assert PeakDecoder().candidates(heatmap, (24, 40))[0].confidence.tolist() == [1.0, pytest.approx(0.7)]


@pytest.mark.parametrize("decoder", ALL)
def test_each_heatmap_has_its_own(decoder):
    heatmaps = torch.cat(
        [picture((8, 6, 0.7)), picture(), picture((8, 6, 0.4)), picture((9, 7, 0.8), (30, 9, 0.6))]
    )
    found = decoder.candidates(heatmaps, (24, 40))
    assert [len(one.confidence) for one in found] == [1, 0, 0, 2]
    assert found[3].xy.round().tolist() == [[9.0, 7.0], [30.0, 9.0]]
    assert [one.xy.shape for one in found] == [(1, 2), (0, 2), (0, 2), (2, 2)]
    assert decoder.candidates(heatmaps[:0], (24, 40)) == []
    assert [len(one.xy) for one in decoder.candidates(picture(), (24, 40))] == [0]


@pytest.mark.parametrize("decoder", ALL)
@given(seed=st.integers(0, 10_000))
def test_the_first_candidate_is_what_the_decoder_finds(decoder, seed):
    heatmaps = torch.rand(3, 6, 9, generator=torch.Generator().manual_seed(seed)) * 0.7
    heatmaps[0] *= 0.6
    alone = decoder(heatmaps, (12, 18))
    for xy, confidence, many in zip(*alone, decoder.candidates(heatmaps, (12, 18)), strict=True):
        assert (confidence >= 0.5) == (len(many.xy) > 0)
        if len(many.xy):
            # The width of the arithmetic depends on how many are refined at once.
            torch.testing.assert_close(many.xy[0], xy, rtol=0, atol=1e-4)
            assert torch.equal(many.confidence[0], confidence)
            assert (many.confidence >= 0.5).all()


@pytest.mark.parametrize("decoder", ALL)
def test_what_is_at_the_threshold_counts_and_what_is_below_it_does_not(decoder):
    heatmap = torch.zeros(1, 12, 30)
    heatmap[0, 5, 5], heatmap[0, 5, 20] = 0.5, 0.49999997
    assert decoder.candidates(heatmap, (12, 30))[0].xy.round().tolist() == [[5.0, 5.0]]


@pytest.mark.parametrize("decoder", ALL)
def test_confidences_are_between_0_and_1(decoder):
    assert decoder(-torch.ones(1, 12, 30), (12, 30)).confidence.tolist() == [0.0]
    # Averages of many heatmaps may be above by rounding.
    heatmaps = picture((8, 6, 1.25))
    assert decoder.candidates(heatmaps, (24, 40))[0].confidence.tolist() == [1.0]
    assert decoder(heatmaps, (24, 40)).confidence.tolist() == [1.0]


@pytest.mark.parametrize("peak", [0.9, 0.4])
def test_the_window_of_a_component_is_two_cells_larger_on_each_side(peak):
    heatmap = torch.zeros(1, 21, 41)
    heatmap[0, 10, 20] = peak
    heatmap[0, 10, 22], heatmap[0, 13, 20], heatmap[0, 10, 15] = 0.3, 0.2, 0.3  # in it, and twice beside it
    expected = centre_of_mass(heatmap, torch.tensor([[20.0, 10.0]]), torch.tensor([[2.5, 2.5]]))
    found = ComponentDecoder()(heatmap, (21, 41))
    torch.testing.assert_close(found.xy, expected)
    # Two cells as one component: a window of seven by five.
    heatmap[0, 10, 21:23] = heatmap[0, 10, 20]
    if peak > 0.5:
        expected = centre_of_mass(heatmap, torch.tensor([[21.0, 10.0]]), torch.tensor([[3.5, 2.5]]))
        torch.testing.assert_close(ComponentDecoder()(heatmap, (21, 41)).xy, expected)


def test_a_plateau_is_one_peak():
    heatmap = torch.zeros(1, 12, 30)
    heatmap[0, 5, 3:5] = heatmap[0, 5, 20:26] = 0.8
    # Six cells in a row: the first and the one three further on are more than half a window apart.
    assert len(PeakDecoder().candidates(heatmap, (12, 30))[0].xy) == 3
    assert PeakDecoder(window=1).candidates(heatmap[:, :, :6], (12, 6))[0].xy.tolist() == [[3.0, 5.0]]


def test_a_shoulder_is_no_peak():
    heatmap = torch.zeros(1, 5, 20)
    heatmap[0, 2, 4:12] = torch.tensor([0.6, 0.7, 0.8, 0.9, 0.8, 0.7, 0.6, 0.55])
    assert PeakDecoder().candidates(heatmap, (5, 20))[0].confidence.tolist() == [pytest.approx(0.9)]


def test_a_decoder_that_knows_of_one_ball_gives_that():
    class Corner(HeatmapDecoder):
        def locate(self, heatmaps):
            return heatmaps.new_zeros((len(heatmaps), 2)), heatmaps[:, 0, 0]

    heatmaps = torch.tensor([0.5, 0.2, 0.9])[:, None, None].expand(3, 4, 4)
    found = Corner().candidates(heatmaps, (8, 8))
    assert [one.confidence.tolist() for one in found] == [[0.5], [], [pytest.approx(0.9)]]
    assert found[0].xy.tolist() == [[0.5, 0.5]]


def test_at_a_threshold_of_zero_empty_cells_are_no_candidates():
    for decoder in (PeakDecoder(0.0), ComponentDecoder(0.0)):
        assert len(decoder.candidates(picture((8, 6, 0.2)), (24, 40))[0].xy) == 1


def test_noise_has_thousands_of_which_the_first_ones_are_given():
    heatmap = torch.rand(1, 288, 512, generator=torch.Generator().manual_seed(1))
    for decoder in (PeakDecoder(threshold=0), ComponentDecoder(threshold=0.9)):
        [found] = decoder.candidates(heatmap, (288, 512))
        assert len(found.xy) == MOST_CANDIDATES
        assert found.confidence[0] == decoder(heatmap, (288, 512)).confidence
    # Of each heatmap, and the highest ones where the decoder goes by height.
    for one in PeakDecoder().candidates(torch.cat([heatmap] * 2), (288, 512), least=0.0):
        assert one.confidence.tolist() == heatmap.flatten().topk(MOST_CANDIDATES).values.tolist()
