"""Splits: patterns, lists of them, and clips that are held out."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracknet.data.clips import Clip, is_clip_name
from tracknet.data.splits import SHUTTLECOCK_SPLITS, TENNIS_SPLITS, Split, choose_clips, hold_out, select
from tracknet.errors import UsageError


def clip(name: str, group: str = "") -> Clip:
    return Clip(name, group, Path(f"{name}.mp4"), None)


CLIPS = [
    clip("game1/Clip1", "game1"),
    clip("game1/Clip10", "game1"),
    clip("game10/Clip1", "game10"),
    clip("game2_Clip1", "game2"),
    clip("train/match1/1_01_00", "train/match1"),
    clip("odd[1]"),
]


@pytest.mark.parametrize(
    ("patterns", "places"),
    [
        (["game1"], [0, 1]),
        (["game1/Clip1"], [0]),
        (["game1/Clip?"], [0]),
        (["game1*"], [0, 1, 2]),
        (["game2"], [3]),
        (["train"], [4]),
        (["train/match1"], [4]),
        (["*/match1"], [4]),
        (["odd[1]"], [5]),
        (["game2", "game1", "game1/Clip1"], [0, 1, 3]),
        ([], []),
    ],
)
def test_patterns(patterns, places):
    assert select(CLIPS, patterns) == [CLIPS[place] for place in places]


def test_the_key_that_names_no_clip_is_told():
    with pytest.raises(UsageError, match=r"^data\.val: 'nobody' matches none of the 6 clips"):
        choose_clips(CLIPS, Split(val=("nobody",)), 0.5)
    published = Split(test=("game1", "game8"), name="wasb")
    with pytest.raises(UsageError, match=r"^data\.split: wasb: 'game8' matches none .*--data\.split null"):
        choose_clips(CLIPS, published, 0.5)


def test_a_pattern_without_a_match_names_the_nearest():
    with pytest.raises(UsageError, match=r"'gmae2' matches none of the 6 clips; did you mean 'game\d+'\?"):
        select(CLIPS, ["game1", "gmae2"])
    with pytest.raises(
        UsageError, match="'zzzzzzzzz' matches none of the 6 clips; there are game1, game1/Clip1,"
    ):
        select(CLIPS, ["zzzzzzzzz"])
    with pytest.raises(UsageError, match="none of the 0 clips; there are no clips at all"):
        select([], ["game1"])


def test_a_list_of_patterns(tmp_path):
    names = tmp_path / "val.txt"
    names.write_text("\ufeff# held back\n\ngame10\n  game2_* \n", encoding="utf-8")
    assert select(CLIPS, [f"@{names}", "odd[1]"]) == [CLIPS[2], CLIPS[3], CLIPS[5]]
    names.write_text("game10\n\ngmae2\n")
    with pytest.raises(UsageError, match=r"val\.txt:3: 'gmae2' matches none"):
        select(CLIPS, [f"@{names}"])
    names.write_text("# nothing\n")
    with pytest.raises(UsageError, match=r"val\.txt: the list of clips is empty"):
        select(CLIPS, [f"@{names}"])
    names.write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"val\.txt: cannot read the list of clips: it is not text"):
        select(CLIPS, [f"@{names}"])
    with pytest.raises(UsageError, match=r"gone\.txt: cannot read the list of clips: No such file"):
        select(CLIPS, [f"@{tmp_path / 'gone.txt'}"])


def test_named_splits_cover_the_games_once():
    games = {f"game{number}" for number in range(1, 11)}
    assert TENNIS_SPLITS["wasb"].test == ("game8", "game9", "game10")
    assert TENNIS_SPLITS["tracknetv4"].test == ("game1", "game4", "game9")
    for split in (*TENNIS_SPLITS.values(), *SHUTTLECOCK_SPLITS.values()):
        parts = [*split.train, *split.val, *split.test]
        assert len(parts) == len(set(parts))
        if split in TENNIS_SPLITS.values():
            assert set(parts) == games


def test_held_out_clips_are_always_the_same():
    clips = [clip(f"{number:05d}") for number in range(20)]
    rest, held = hold_out(clips, 0.15)
    assert [one.name for one in held] == ["00015", "00018", "00019"]
    assert rest == [one for one in clips if one not in held]
    assert hold_out(clips[::-1], 0.15)[1] == held[::-1]


_NAMES = st.text(max_size=5).filter(is_clip_name)


@given(st.sets(_NAMES, max_size=12), st.floats(0, 1))
def test_whole_clips_go_to_one_side(names, share):
    clips = [clip(name) for name in sorted(names)]
    rest, held = hold_out(clips, share)
    assert sorted(one.name for one in rest + held) == sorted(names)
    if share == 0:
        assert held == []
    elif share == 1:
        assert rest == []
    elif len(clips) > 1:
        assert held
        assert rest
    else:
        assert rest == clips
