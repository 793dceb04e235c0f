from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tracknet.data.cached_clip import CachedClip, LabelledClip
from tracknet.data.labels import Labels
from tracknet.data.windows import EvaluationSampler, WindowDataset


def a_clip(total: int, name: str = "rally", unlabelled: tuple[int, ...] = ()) -> LabelledClip:
    """A clip whose pixels hold the frame number and whose ball lies at x = frame number."""
    frames = np.broadcast_to(np.arange(total, dtype=np.uint8).reshape(-1, 1, 1, 1), (total, 3, 4, 8)).copy()
    labelled = np.ones(total, bool)
    labelled[list(unlabelled)] = False
    xy = np.stack([np.arange(total), np.ones(total)], axis=1).astype(np.float32)
    labels = Labels(xy=xy, visible=labelled & (np.arange(total) % 2 == 0), labelled=labelled)
    return LabelledClip(name, CachedClip(frames, frames[0]), labels, (4, 8), 30.0)


def windows(clips, frames, outputs, step, background=False, eval_step=None) -> WindowDataset:
    return WindowDataset(clips, frames, outputs, (4, 8), background, step, eval_step)


def test_training_windows_start_at_every_step():
    dataset = windows([a_clip(10)], frames=4, outputs=4, step=3)
    assert [dataset[i]["frame"].tolist() for i in range(len(dataset))] == [
        [0, 1, 2, 3],
        [3, 4, 5, 6],
        [6, 7, 8, 9],
    ]


def test_a_sample_holds_pixels_and_labels_of_the_same_frames():
    dataset = windows([a_clip(3), a_clip(9, unlabelled=(6,))], frames=4, outputs=4, step=1, background=True)
    sample = dataset[len(dataset) - 1]
    assert sample["frames"].dtype == torch.uint8
    assert sample["frames"].shape == (4, 3, 4, 8)
    assert sample["frames"][:, 0, 0, 0].tolist() == [5, 6, 7, 8]
    assert sample["xy"][:, 0].tolist() == [5.0, 6.0, 7.0, 8.0]
    assert sample["visible"].tolist() == [False, False, False, True]
    assert sample["labelled"].tolist() == [True, False, True, True]
    assert sample["visibility"].tolist() == dataset.clips[1].labels.visibility[5:].tolist()
    assert sample["xy"].dtype == torch.float32
    assert sample["clip"].item() == 1
    assert sample["source_size"].tolist() == [4, 8]
    assert sample["background"].shape == (3, 4, 8)


def test_labels_move_to_the_cached_size():
    clip = a_clip(4)
    half = WindowDataset([LabelledClip("r", clip.cached, clip.labels, (8, 16), 30.0)], 4, 4, (4, 8), False, 1)
    assert half[0]["xy"][3].tolist() == [(3 + 0.5) / 2 - 0.5, (1 + 0.5) / 2 - 0.5]


@given(
    totals=st.lists(st.integers(1, 23), min_size=1, max_size=3),
    frames=st.integers(1, 9),
    many=st.booleans(),
    eval_step=st.none() | st.integers(1, 9),
)
def test_evaluation_counts_every_frame_exactly_once(totals, frames, many, eval_step):
    outputs = frames if many else 1
    eval_step = eval_step and min(eval_step, outputs)
    dataset = windows([a_clip(n) for n in totals], frames, outputs, step=None, eval_step=eval_step)
    seen: list[tuple[int, int]] = []
    for place in range(len(dataset)):
        sample = dataset[place]
        assert sample["frames"].shape[0] == frames
        assert sample["frames"][:, 0, 0, 0].tolist() == sample["frame"].tolist()
        counted = sample["frame"][sample["counted"]].tolist()
        if not many:
            assert sample["counted"].tolist() == [False] * (frames - 1) + [True]
        seen += [(int(sample["clip"]), frame) for frame in counted]
    assert seen == [(clip, frame) for clip, n in enumerate(totals) for frame in range(n)]


def test_overlapping_windows_count_what_no_later_one_speaks_of():
    dataset = windows([a_clip(5), a_clip(2)], frames=3, outputs=3, step=None, eval_step=1)
    samples = [dataset[place] for place in range(len(dataset))]
    assert [(s["frame"].tolist(), s["counted"].tolist()) for s in samples] == [
        ([0, 1, 2], [True, False, False]),
        ([1, 2, 3], [True, False, False]),
        ([2, 3, 4], [True, True, True]),
        ([0, 1, 1], [True, True, False]),
    ]
    dataset = windows([a_clip(10), a_clip(1)], frames=4, outputs=4, step=None, eval_step=3)
    samples = [dataset[place] for place in range(len(dataset))]
    assert [(s["frame"].tolist(), s["counted"].tolist()) for s in samples] == [
        ([0, 1, 2, 3], [True, True, True, False]),
        ([3, 4, 5, 6], [True, True, True, False]),
        ([6, 7, 8, 9], [True, True, True, True]),
        ([0, 0, 0, 0], [True, False, False, False]),
    ]
    dataset = windows([a_clip(8)], frames=4, outputs=4, step=None, eval_step=3)  # the last is moved back
    samples = [dataset[place] for place in range(len(dataset))]
    assert [(s["frame"].tolist(), s["counted"].tolist()) for s in samples] == [
        ([0, 1, 2, 3], [True, True, True, False]),
        ([3, 4, 5, 6], [True, False, False, False]),
        ([4, 5, 6, 7], [True, True, True, True]),
    ]


def test_a_window_asked_for_by_its_complement_is_the_same_and_counts_nothing():
    dataset = windows([a_clip(7)], frames=3, outputs=3, step=None)
    for place in range(len(dataset)):
        once, again = dataset[place], dataset[~place]
        assert once.pop("counted").any()
        assert not again.pop("counted").any()
        assert all(torch.equal(again[name], value) for name, value in once.items())


@pytest.mark.parametrize(
    ("outputs", "step", "eval_step", "lead"),
    [
        *[(4, None, 1, 3), (4, None, 2, 2), (4, None, 3, 1), (4, None, 4, 1), (4, None, None, 0)],
        *[(4, 1, 1, 0), (1, None, 1, 0), (4, 2, None, 0)],
    ],
)
def test_only_overlapping_windows_that_are_judged_have_others_before_them(outputs, step, eval_step, lead):
    assert windows([a_clip(9)], 4, outputs, step, eval_step=eval_step).lead == lead


def test_the_last_window_is_moved_back_so_that_it_is_full():
    dataset = windows([a_clip(5)], frames=3, outputs=3, step=None)
    samples = [dataset[place] for place in range(len(dataset))]
    assert [(s["frame"].tolist(), s["counted"].tolist()) for s in samples] == [
        ([0, 1, 2], [True, True, True]),
        ([2, 3, 4], [False, True, True]),
    ]


def test_windows_do_not_overlap_unless_they_are_asked_to():
    dataset = WindowDataset([a_clip(8)], 4, 4, (4, 8), False, None)
    assert [dataset[place]["frame"].tolist()[0] for place in range(len(dataset))] == [0, 4]


def test_no_windows_are_none():
    dataset = windows([a_clip(5, unlabelled=tuple(range(5)))], 3, 3, 1)
    assert len(dataset) == 0
    assert [len(part) for part in dataset.places()] == [0, 0]


def test_places_are_where_windows_begin_in_the_frames_of_their_clip():
    dataset = windows([a_clip(3), a_clip(9)], frames=3, outputs=3, step=2)
    assert [part.tolist() for part in dataset.places()] == [[0, 1, 1, 1, 1], [0, 0, 2, 4, 6]]
    # Windows that begin before their clip begin with its first frame.
    dataset = windows([a_clip(3)], frames=3, outputs=1, step=None)
    assert [part.tolist() for part in dataset.places()] == [[0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("eval_step", [None, 1])
@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_processes_share_the_windows_without_counting_one_twice(processes, eval_step):
    dataset = windows([a_clip(13)], frames=2, outputs=2, step=None, eval_step=eval_step)
    samplers = [EvaluationSampler(dataset, processes, rank) for rank in range(processes)]
    dealt = [list(sampler) for sampler in samplers]
    assert {len(part) for part in dealt} == {len(samplers[0])}
    if eval_step:
        # The window before the first that counts is there, for its say on the frame that they share.
        for part in dealt[1:]:
            first = next((place for place, index in enumerate(part) if index >= 0), None)
            assert first is None or part[first - 1] == ~(part[first] - 1)
    counted = [
        frame
        for part in dealt
        for place in part
        for frame in dataset[place]["frame"][dataset[place]["counted"]].tolist()
    ]
    assert sorted(counted) == list(range(13))


@given(
    totals=st.lists(st.integers(1, 23), min_size=1, max_size=3),
    frames=st.integers(1, 9),
    step=st.integers(1, 7),
    labelled=st.sets(st.integers(0, 22)),
)
def test_training_windows_are_consecutive_frames_of_one_clip_with_a_label(totals, frames, step, labelled):
    clips = [a_clip(n, unlabelled=tuple(set(range(n)) - labelled)) for n in totals]
    dataset = windows(clips, frames, frames, step)
    found = []
    for place in range(len(dataset)):
        sample = dataset[place]
        which, numbers = int(sample["clip"]), sample["frame"].tolist()
        assert sample["counted"].tolist() == [numbers[0] + k < totals[which] for k in range(frames)]
        # A clip shorter than a window repeats its last frame.
        assert numbers == [min(numbers[0] + k, totals[which] - 1) for k in range(frames)]
        assert sample["frames"][:, 0, 0, 0].tolist() == numbers
        assert sample["xy"][:, 0].tolist() == numbers
        assert sample["labelled"].tolist() == [number in labelled for number in numbers]
        found.append((which, numbers[0]))
    assert found == [
        (which, start)
        for which, total in enumerate(totals)
        for start in range(0, max(total - frames, 0) + 1, step)
        if labelled & set(range(start, min(start + frames, total)))
    ]
