"""Sparse labels: which stretches of a video are used, cached and cut into windows."""

from __future__ import annotations

import json
import pickle
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracknet.data.cache import FrameCache
from tracknet.data.cached_clip import CachedClip, LabelledClip
from tracknet.data.excerpt import Excerpt, length, stretches_around, used_stretches
from tracknet.data.labels import Labels
from tracknet.data.video import ImageFolder, VideoWriter, open_source
from tracknet.data.windows import WindowDataset
from tracknet.errors import TrackNetError

SIZE = (32, 48)
STRETCHES = ((0, 2), (5, 6), (20, 29))


def marks(total: int, *labelled: int) -> np.ndarray:
    marked = np.zeros(total, bool)
    marked[list(labelled)] = True
    return marked


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """30 frames, each brighter than the one before."""
    path = tmp_path_factory.mktemp("excerpt") / "long.mp4"
    with VideoWriter(path, SIZE, fps=120, quality=4) as out:
        for number in range(30):
            out.write(np.full((*SIZE, 3), 8 * number, np.uint8))
    return path


# Which stretches -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labelled", "frames", "expected"),
    [
        ((), 3, ()),
        ((10,), 1, ((10, 11),)),
        ((10,), 2, ((9, 12),)),
        ((10,), 3, ((8, 13),)),
        ((10,), 4, ((6, 15),)),  # 3 rounded up to 4, as for 5 frames
        ((10,), 5, ((6, 15),)),
        ((10,), 8, ((2, 19),)),
        ((10,), 9, ((2, 19),)),
        ((1, 18), 3, ((0, 4), (16, 20))),
        ((4, 9), 3, ((2, 12),)),  # they touch
        ((4, 10), 3, ((2, 7), (8, 13))),
    ],
)
def test_stretches(labelled, frames, expected):
    assert stretches_around(marks(20, *labelled), frames) == expected


@given(labelled=st.lists(st.booleans(), min_size=1, max_size=60), frames=st.integers(1, 9))
def test_stretches_hold_every_window_with_a_label(labelled, frames):
    stretches = stretches_around(np.array(labelled), frames)
    held = {frame for first, stop in stretches for frame in range(first, stop)}
    assert length(stretches) == len(held)
    assert all(one[1] < two[0] for one, two in pairwise(stretches))
    for start in range(len(labelled) - frames + 1):
        if any(labelled[start : start + frames]):
            assert held >= set(range(start, start + frames))


def test_a_video_that_is_labelled_nearly_everywhere_is_used_whole():
    assert used_stretches(marks(20, *range(0, 20, 5)), 3) is None
    assert used_stretches(marks(20, 10), 3) == ((8, 13),)
    assert used_stretches(marks(20), 3) is None
    assert used_stretches(marks(20, *range(15)), 1) == ((0, 15),)
    assert used_stretches(marks(20, *range(16)), 1) is None


# Frames ----------------------------------------------------------------------------------------------


def test_an_excerpt_of_a_video_has_exactly_its_frames(video):
    source = open_source(video)
    whole = list(source.frames((16, 24)))
    excerpt = Excerpt(source, STRETCHES)
    numbers = [0, 1, 5, *range(20, 29)]
    np.testing.assert_array_equal(list(excerpt.frames((16, 24))), [whole[n] for n in numbers])
    assert (excerpt.count(), excerpt.estimate(), excerpt.path, excerpt.files()) == (12, 12, video, [video])
    assert excerpt.info == source.info
    sampled = excerpt.sample((16, 24), 3)
    np.testing.assert_array_equal(sampled, [whole[n] for n in (0, 23, 28)])


def test_an_excerpt_of_images(video, tmp_path):
    import av

    for number, frame in enumerate(list(open_source(video).frames())[:8]):
        codec = av.CodecContext.create("png", "w")
        codec.height, codec.width = SIZE
        codec.pix_fmt, codec.time_base = "rgb24", 1
        packets = codec.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")) + codec.encode(None)
        (tmp_path / f"{number}.png").write_bytes(b"".join(bytes(packet) for packet in packets))
    source = ImageFolder(tmp_path)
    whole = list(source.frames())
    assert len(whole) == 8
    np.testing.assert_array_equal(
        list(Excerpt(source, ((1, 3), (7, 8))).frames()), [whole[n] for n in (1, 2, 7)]
    )


def test_a_video_that_ends_before_its_labels_is_told(video):
    with pytest.raises(TrackNetError, match=r"long\.mp4: ends before frame 30, which its labels need"):
        list(Excerpt(open_source(video), ((28, 31),)).frames((2, 2)))


# The cache -------------------------------------------------------------------------------------------


def test_only_the_stretches_are_cached_and_their_size_is_told(video, tmp_path, capsys):
    cache = FrameCache(tmp_path, SIZE)
    whole, excerpt = open_source(video), Excerpt(open_source(video), STRETCHES)
    other = Excerpt(open_source(video), ((0, 12),))
    assert len({cache.key(source) for source in (whole, excerpt, other)}) == 3
    frame = 3 * SIZE[0] * SIZE[1]
    assert cache.bytes_needed([excerpt]) == 13 * frame + 256
    cache.build([excerpt])
    assert "frame cache: 1 clip, 0.1 MB to write" in capsys.readouterr().err
    assert cache.missing([whole, excerpt, other]) == [whole, other]
    clip = cache.open(excerpt)
    assert clip.frames.shape == (12, 3, *SIZE)
    assert clip.stretches == STRETCHES
    expected = list(whole.frames(SIZE))
    for number in (0, 1, 5, 20, 28):
        np.testing.assert_array_equal(clip.frames[clip.row(number)].transpose(1, 2, 0), expected[number])
    for number in (-1, 2, 19, 29):
        with pytest.raises(IndexError, match=f"frame {number} is not cached"):
            clip.row(number)
    assert clip.between(-5, 3) == [0, 1]
    assert clip.between(1, 22) == [1, 5, 20, 21]
    assert CachedClip(clip.frames, clip.background).between(10, 99) == [10, 11]
    sent = pickle.loads(pickle.dumps(clip))
    assert sent.stretches == STRETCHES
    assert pickle.loads(pickle.dumps(CachedClip(np.zeros(1), np.zeros(1), ((3, 4),)))).stretches == ((3, 4),)


def test_an_entry_whose_stretches_do_not_match_is_built_again(video, tmp_path):
    cache = FrameCache(tmp_path, SIZE)
    excerpt = Excerpt(open_source(video), STRETCHES)
    cache.build([excerpt], progress=False)
    (meta,) = tmp_path.rglob("meta.json")
    content = json.loads(meta.read_text())
    for broken in ([[0, 2]], "x", [[0]], 5):
        meta.write_text(json.dumps(content | {"stretches": broken}))
        assert cache.missing([excerpt]) == [excerpt]
    meta.write_text("[]")
    assert cache.missing([excerpt]) == [excerpt]
    cache.build([excerpt], progress=False)
    assert cache.open(excerpt).stretches == STRETCHES


# Windows ---------------------------------------------------------------------------------------------


def a_clip(labelled: list[bool], frames: int, whole: bool) -> LabelledClip:
    """A clip whose pixels and x hold the frame number."""
    marked = np.array(labelled)
    stretches = None if whole else stretches_around(marked, frames) or ((0, len(marked)),)
    numbers = np.concatenate([np.arange(*stretch) for stretch in stretches or ((0, len(marked)),)])
    pixels = np.broadcast_to(numbers.astype(np.uint8).reshape(-1, 1, 1, 1), (len(numbers), 3, 4, 8)).copy()
    xy = np.stack([np.arange(len(marked)), np.ones(len(marked))], axis=1).astype(np.float32)
    labels = Labels(xy, marked.copy(), marked)
    return LabelledClip("long", CachedClip(pixels, pixels[0], stretches), labels, (4, 8), 120.0)


def samples(clip: LabelledClip, frames: int, outputs: int, step: int | None):
    dataset = WindowDataset([clip], frames, outputs, (4, 8), False, step)
    return [dataset[n] for n in range(len(dataset))]


@given(
    labelled=st.lists(st.sampled_from([False, False, False, True]), min_size=1, max_size=50),
    frames=st.integers(1, 6),
    many=st.booleans(),
)
def test_windows_of_stretches_are_those_of_the_whole_that_hold_a_label(labelled, frames, many):
    outputs = frames if many else 1
    both = [samples(a_clip(labelled, frames, whole), frames, outputs, 1) for whole in (True, False)]
    found = [[tuple(sample["frame"].tolist()) for sample in one] for one in both]
    assert found[1] == found[0]
    starts = range(max(len(labelled) - frames, 0) + 1)
    windows = [[min(start + n, len(labelled) - 1) for n in range(frames)] for start in starts]
    assert found[0] == [tuple(one) for one in windows if any(labelled[n] for n in one[-outputs:])]
    for sample in both[1]:
        assert sample["frames"][:, 0, 0, 0].tolist() == sample["frame"].tolist()
        assert sample["xy"][:, 0].tolist() == sample["frame"].tolist()


@given(
    labelled=st.lists(st.sampled_from([False, False, False, True]), min_size=1, max_size=50),
    frames=st.integers(1, 6),
    many=st.booleans(),
    step=st.sampled_from([None, 1, 2]),
)
def test_places_are_rows_of_what_is_cached(labelled, frames, many, step):
    clip = a_clip(labelled, frames, whole=False)
    dataset = WindowDataset([clip], frames, frames if many else 1, (4, 8), False, step)
    _, rows = dataset.places()
    firsts = [dataset[place]["frame"][0].item() for place in range(len(dataset))]
    assert [clip.cached.frames[row, 0, 0, 0] for row in rows] == firsts


def test_a_later_stretch_shorter_than_a_window_repeats_its_own_last_frame():
    clip = a_clip([True] * 9, 3, whole=True)
    kept = np.concatenate([clip.cached.frames[0:4], clip.cached.frames[6:8]])
    cached = CachedClip(kept, clip.cached.background, ((0, 4), (6, 8)))
    dataset = WindowDataset(
        [LabelledClip("long", cached, clip.labels, (4, 8), 120.0)], 3, 3, (4, 8), False, 2
    )
    assert [dataset[n]["frames"][:, 0, 0, 0].tolist() for n in range(2)] == [[0, 1, 2], [6, 7, 7]]
    assert [part.tolist() for part in dataset.places()] == [[0, 0], [0, 4]]


def test_a_last_window_whose_own_frames_are_not_labelled_is_left_out():
    clip = a_clip([True, False, False, False, False, True, False], 3, whole=True)
    cached = CachedClip(clip.cached.frames, clip.cached.background, ((0, 7),))
    found = samples(LabelledClip("long", cached, clip.labels, (4, 8), 120.0), 3, 3, None)
    # That of the frames 4 to 6 would count frame 6 alone.
    assert [sample["frame"].tolist() for sample in found] == [[0, 1, 2], [3, 4, 5]]


@given(
    labelled=st.lists(st.sampled_from([False, False, False, True]), min_size=1, max_size=50),
    frames=st.integers(1, 6),
    many=st.booleans(),
)
def test_evaluation_counts_each_labelled_frame_once(labelled, frames, many):
    outputs = frames if many else 1
    counted = []
    for sample in samples(a_clip(labelled, frames, whole=False), frames, outputs, None):
        assert sample["frames"][:, 0, 0, 0].tolist() == sample["frame"].tolist()
        assert (sample["counted"] & sample["labelled"])[-outputs:].any()
        counted += sample["frame"][sample["counted"] & sample["labelled"]].tolist()
    assert sorted(counted) == [n for n, marked in enumerate(labelled) if marked]


def test_steps_begin_anew_in_each_stretch():
    labelled = [n in (3, 4, 30) for n in range(40)]
    found = samples(a_clip(labelled, 4, whole=False), 4, 4, 2)
    assert [sample["frame"][0].item() for sample in found] == [0, 2, 4, 28, 30]


def test_training_on_a_whole_clip_skips_windows_without_a_label():
    labelled = [n < 5 for n in range(12)]
    clip = a_clip(labelled, 3, whole=True)
    assert [sample["frame"][0].item() for sample in samples(clip, 3, 3, 2)] == [0, 2, 4]
    assert len(samples(clip, 3, 3, None)) == 4  # what is evaluated and predicted is the whole clip
