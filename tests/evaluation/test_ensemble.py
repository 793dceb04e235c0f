"""Ensembles weigh what is there."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tracknet.data.cached_clip import CachedClip, LabelledClip
from tracknet.data.labels import Labels
from tracknet.data.windows import EvaluationSampler, WindowDataset
from tracknet.evaluation.ensemble import Ensemble, WindowEnsemble, place_weights
from tracknet.tracking.windows import slide


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


@given(
    st.tuples(st.integers(0, 40), st.integers(1, 9), st.integers(1, 9), st.integers(1, 9)),
    st.sampled_from(["average", "triangular"]),
)
def test_each_frame_comes_out_once_with_the_mean_of_what_its_windows_say(cut, weighting):
    total, length, outputs, step = cut
    outputs = min(outputs, length)
    step = min(step, outputs)
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


def a_clip(stretches: list[tuple[int, int]]) -> LabelledClip:
    """A clip of which the frames of some stretches are there, each so many frames behind the one before."""
    bounds, at = [], 0
    for gap, length in stretches:
        bounds.append((at + gap, at + gap + length))
        at = bounds[-1][1]
    frames = np.zeros((sum(length for _, length in stretches), 3, 1, 1), np.uint8)
    labels = Labels(xy=np.zeros((at, 2)), visible=np.ones(at, bool), labelled=np.ones(at, bool))
    return LabelledClip("rally", CachedClip(frames, frames[0], tuple(bounds)), labels, (1, 1), 30.0)


@given(
    st.lists(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 12)), min_size=1, max_size=3), min_size=1),
    st.tuples(st.integers(2, 5), st.integers(1, 5)),
    st.sampled_from(["average", "triangular"]),
    st.integers(1, 4),
    st.integers(1, 4),
)
def test_windows_in_batches_come_to_the_mean_of_all_that_see_a_frame(
    clips, cut, weighting, batch_size, processes
):
    length, step = cut[0], min(cut)
    dataset = WindowDataset(
        [a_clip(stretches) for stretches in clips], length, length, (1, 1), False, None, step
    )
    weights, said, found = place_weights(weighting, length), {}, {}
    for window in range(len(dataset)):
        sample = dataset[window]
        for k, frame in enumerate(dict.fromkeys(sample["frame"].tolist())):
            said.setdefault((int(sample["clip"]), frame), []).append((weights[k], (7 * window + k) % 11))
    for rank in range(processes):
        ensemble, order = WindowEnsemble(weighting, length), list(EvaluationSampler(dataset, processes, rank))
        for place in range(0, len(order), batch_size):
            indices = order[place : place + batch_size]
            batch = {name: torch.stack([dataset[n][name] for n in indices]) for name in dataset[0]}
            windows = [~n if n < 0 else n for n in indices]
            heatmaps = torch.stack([cell(*[(7 * n + k) % 11 for k in range(length)]) for n in windows])
            merged = ensemble.merge(heatmaps, batch["clip"], batch["frame"], batch["counted"])
            for row, k in batch["counted"].nonzero().tolist():
                frame = int(batch["clip"][row]), int(batch["frame"][row, k])
                assert frame not in found
                found[frame] = float(merged[row, k])
    assert found == pytest.approx(
        {frame: sum(w * v for w, v in pairs) / sum(w for w, _ in pairs) for frame, pairs in said.items()}
    )
