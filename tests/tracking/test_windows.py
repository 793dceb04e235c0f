"""Windows speak of every frame."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tracknet.errors import UsageError
from tracknet.tracking.windows import FirstWord, slide


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


@given(cuts())
def test_the_first_word_on_each_frame_counts(cut):
    total, length, outputs, step = cut
    first, heard = FirstWord(), []
    for number, window in enumerate(slide(range(total), length, outputs, step)):
        said = torch.tensor([[number, window.start + k] for k in range(window.count)])
        heard += [one.tolist() for one in first.add(window.start, said)]
    assert first.finish() == []
    assert [frame for _, frame in heard] == list(range(total))
    speakers = [number for number, _ in heard]
    assert speakers == sorted(speakers)
    # Each window that begins where no other has spoken yet begins with its own word.
    assert all(speakers[k * step + outputs - 1] == k for k in range(max(speakers, default=-1)))
