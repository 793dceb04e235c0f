"""Windows speak of every frame; ensembles weigh what is there."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tracknet.errors import UsageError
from tracknet.tracking.windows import Ensemble, place_weights, slide


@st.composite
def cuts(draw):
    length = draw(st.integers(1, 9))
    outputs = draw(st.integers(1, length))
    return draw(st.integers(0, 40)), length, outputs, draw(st.integers(1, outputs))


@given(cuts())
def test_windows_of_any_cut_are_full_and_speak_of_every_frame(cut):
    total, length, outputs, step = cut
    windows = list(slide(range(total), length, outputs, step))
    starts = [window.start for window in windows]
    assert starts == sorted(set(starts))
    spoken = set()
    for window in windows:
        assert len(window.frames) == length
        assert window.count == min(outputs, total)
        # Output k is of frame start + k, and the frames before and behind are its neighbours, or repeated.
        assert window.frames == [
            min(max(window.start - (length - outputs) + k, 0), total - 1) for k in range(length)
        ]
        spoken |= set(range(window.start, window.start + window.count))
    assert spoken == set(range(total))
    if total >= outputs:
        assert all(start % step == 0 for start in starts[:-1])
        assert starts[-1] == total - outputs
        assert len(starts) == -(-(total - outputs) // step) + 1


def test_a_window_comes_with_its_last_frame():
    given_out = []

    def frames():
        for number in range(5):
            given_out.append(number)
            yield number

    newest = [(window.frames, given_out[-1]) for window in slide(frames(), 3, 3, 1)]
    assert newest == [([0, 1, 2], 2), ([1, 2, 3], 3), ([2, 3, 4], 4)]


@pytest.mark.parametrize("step", [0, 4])
def test_steps_that_leave_frames_out_are_refused(step):
    with pytest.raises(UsageError, match=f"step is {step}, but a window speaks of 3 frames: expected 1 to 3"):
        list(slide(range(9), 5, 3, step))


def test_weights():
    assert place_weights("average", 4) == [1, 1, 1, 1]
    assert place_weights("triangular", 1) == [1]
    assert place_weights("triangular", 4) == [1, 2, 2, 1]
    assert place_weights("triangular", 8) == [1, 2, 3, 4, 4, 3, 2, 1]


def cell(*values):
    """Heatmaps of one cell each."""
    return torch.tensor(values, dtype=torch.float32)[:, None, None]


def values(heatmaps):
    return [float(heatmap) for heatmap in heatmaps]


def test_an_ensemble_by_hand():
    # Windows of 3 over 4 frames: frame 0 is at place 0 of the first, frame 1 at place 1 of the first and 0
    # of the second, and so on.
    average = Ensemble([1, 1, 1])
    assert values(average.add(0, cell(0.5, 0.25, 1.0))) == [0.5]
    assert values(average.add(1, cell(0.75, 0.5, 0.125))) == [0.5]
    assert values(average.finish()) == [0.75, 0.125]

    triangular = Ensemble([1, 2, 1])
    assert values(triangular.add(0, cell(0.5, 0.25, 1.0))) == [0.5]
    assert values(triangular.add(1, cell(0.5, 0.25, 0.125))) == pytest.approx([(2 * 0.25 + 0.5) / 3])
    assert values(triangular.finish()) == pytest.approx([(1.0 + 2 * 0.25) / 3, 0.125])


def test_frames_between_two_windows_are_done_with_the_second():
    ensemble = Ensemble([1, 1, 1, 1])
    assert values(ensemble.add(0, cell(0.0, 0.1, 0.2, 0.3))) == pytest.approx([0.0])
    assert values(ensemble.add(2, cell(0.4, 0.5, 0.6, 0.7))) == pytest.approx([0.1, 0.3])
    assert values(ensemble.finish()) == pytest.approx([0.4, 0.6, 0.7])


@given(cuts(), st.sampled_from(["average", "triangular"]))
def test_each_frame_comes_out_once_with_the_mean_of_what_its_windows_say(cut, weighting):
    total, length, outputs, step = cut
    weights = place_weights(weighting, outputs)
    ensemble, out = Ensemble(weights), []
    said = {number: [] for number in range(total)}
    for index, window in enumerate(slide(range(total), length, outputs, step)):
        heatmaps = cell(*[(7 * index + k) % 11 for k in range(window.count)])
        for k in range(window.count):
            said[window.start + k].append((weights[k], float(heatmaps[k])))
        out += ensemble.add(window.start, heatmaps)
    out += ensemble.finish()
    expected = [sum(w * v for w, v in pairs) / sum(w for w, _ in pairs) for pairs in said.values()]
    assert values(out) == pytest.approx(expected)


def test_the_ring_holds_as_many_heatmaps_as_a_window_however_long_the_video():
    ensemble, alive, most = Ensemble([1] * 4), weakref.WeakSet(), 0
    for start in range(500):
        before = set(map(id, ensemble._sums))
        ensemble.add(start, cell(0.1, 0.2, 0.3, 0.4))
        alive.update(heatmap for heatmap in ensemble._sums if id(heatmap) not in before)
        gc.collect(0)
        most = max(most, len(alive))
    assert most == 3
