"""Ensembles weigh what is there."""

from __future__ import annotations

import gc
import weakref

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tracknet.data.windows import EvaluationSampler
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


def as_batches(total_of_clips, length, weighting, batch_size, order=None):
    """What every (clip, frame) comes to when its windows come in batches; window w says (7 w + k) % 11."""
    samples, said = [], {}
    for clip, total in enumerate(total_of_clips):
        last = max(total - length, 0)
        for start in range(last + 1):
            heatmaps = cell(*[(7 * len(samples) + k) % 11 for k in range(length)])
            counted = [start + k < total and (k == 0 or start == last) for k in range(length)]
            samples.append((clip, start, heatmaps, counted))
            for k in range(min(length, total)):
                said.setdefault((clip, start + k), []).append((k, float(heatmaps[k])))
    weights = place_weights(weighting, length)
    expected = {
        frame: sum(weights[k] * v for k, v in pairs) / sum(weights[k] for k, _ in pairs)
        for frame, pairs in said.items()
    }
    ensemble, found = WindowEnsemble(weighting, length), {}
    order = list(range(len(samples))) if order is None else order(samples)
    for place in range(0, len(order), batch_size):
        indices = order[place : place + batch_size]
        batch = [samples[~index if index < 0 else index] for index in indices]
        counted = torch.tensor(
            [s[3] if i >= 0 else [False] * length for i, s in zip(indices, batch, strict=True)]
        )
        given_in = torch.stack([s[2] for s in batch])
        merged = ensemble.merge(given_in, [s[0] for s in batch], [s[1] for s in batch], counted)
        for row, (clip, start, _, _) in enumerate(batch):
            for k in counted[row].nonzero().flatten().tolist():
                assert (clip, start + k) not in found
                found[clip, start + k] = float(merged[row, k])
    return found, expected


@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=3),
    st.integers(2, 5),
    st.sampled_from(["average", "triangular"]),
    st.integers(1, 4),
)
def test_windows_in_batches_come_to_the_mean_of_all_that_see_a_frame(totals, length, weighting, batch_size):
    found, expected = as_batches(totals, length, weighting, batch_size)
    assert found == pytest.approx(expected)


@given(st.lists(st.integers(1, 12), min_size=1, max_size=3), st.integers(2, 5), st.integers(2, 4))
def test_windows_dealt_to_processes_come_to_the_same(totals, length, processes):
    class Windows:
        lead = length - 1

        def __init__(self, samples):
            self.samples = samples

        def __len__(self):
            return len(self.samples)

    found = {}
    for rank in range(processes):
        part, expected = as_batches(
            totals,
            length,
            "triangular",
            3,
            order=lambda samples, rank=rank: list(EvaluationSampler(Windows(samples), processes, rank)),
        )
        assert not found.keys() & part.keys()
        found |= part
    assert found == pytest.approx(expected)
