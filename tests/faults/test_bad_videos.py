"""Videos of every kind are read exactly by the commands, or refused in one message that says what to do."""

from __future__ import annotations

import pytest

from tracknet.data.video import open_source
from tracknet.errors import TrackNetError

from .inputs import Outcome, markdown, try_medium, write_tracker
from .media import media, write_image

MEDIA = list(media())
FAST = (
    "B-frames in a pyramid",
    "variable frame rate and B-frames",
    "turned by 90 degrees",
    "odd size 95x63, grey",
    "10 bits",
    "the same with B-frames",
    "twenty bytes overwritten in a frame",
    "a single frame",
    "a Matroska named .mp4",
    "cut in half, index first",
    "the last 1 % is missing",
    "overwritten in the middle",
    "a picture named .mp4",
    "sound only",
    "a broken image in the folder",
)


@pytest.fixture(scope="module")
def ckpt(bright_network, tmp_path_factory):
    return write_tracker(tmp_path_factory.mktemp("ckpt") / "bright.ckpt")


@pytest.mark.parametrize("medium", [one for one in MEDIA if one.name in FAST], ids=lambda one: one.name)
def test_a_video_is_read_exactly_or_refused(medium, ckpt, tmp_path):
    assert try_medium(medium, tmp_path, ckpt).wrong == ()


@pytest.mark.slow
@pytest.mark.parametrize("medium", [one for one in MEDIA if one.name not in FAST], ids=lambda one: one.name)
def test_more_videos(medium, ckpt, tmp_path):
    assert try_medium(medium, tmp_path, ckpt).wrong == ()


def test_the_names_of_the_fast_cases_are_right():
    assert set(FAST) <= {one.name for one in MEDIA}


def test_what_is_odd_is_said_once(tmp_path, capsys):
    odd = [one for one in MEDIA if one.note]
    assert len(odd) == 5
    source = open_source(odd[0].make(tmp_path))
    for _ in range(2):
        assert len(list(source.frames())) == 16
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"note: {tmp_path}/clip.mp4: players show it turned by ")


def test_a_picture_is_a_video_of_one_frame_under_its_own_name(tmp_path):
    path = write_image(tmp_path / "clip.png", 3)
    assert len(list(open_source(path).frames())) == 1
    with pytest.raises(TrackNetError, match="is a single picture; expected a video"):
        open_source(path.rename(tmp_path / "clip.avi"))


def test_the_table_counts_what_was_lost():
    found = [Outcome("a text", {"track": "refused", "data check": "told"}, ())]
    found.append(Outcome("a film", {"track": "5 frames", "data check": "6 frames"}, ("track: 5 of 6",)))
    text = markdown({"Videos": found}, ["note: x\ncsv: 1,200 files in 2.0 min (seed 1): 0 findings\n"])
    assert "## Videos: tried 2, survived 1, lost 1\n\n| input | track | data check |\n|---|---|---|\n" in text
    assert "| a text | refused | told |\n| a film **wrong** | 5 frames | 6 frames |\n" in text
    assert text.endswith("\n- csv: 1,200 files in 2.0 min (seed 1): 0 findings\n")
