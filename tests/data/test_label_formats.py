"""Label files that are no tables: what they say, what is wrong with them, and that they are harmless."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tracknet.data.label_formats import (
    read_ball_markup,
    read_cvat,
    read_point_lines,
    write_ball_markup,
    write_cvat,
    write_point_lines,
)
from tracknet.data.labels import Labels
from tracknet.errors import TrackNetError

SIZE = (100, 200)


def told(faults):
    return [(fault.kind, fault.line) for fault in faults]


@pytest.fixture
def markup(tmp_path):
    def _markup(text, frames=8):
        path = tmp_path / "ball_markup.json"
        path.write_text(text if isinstance(text, str) else json.dumps(text))
        return read_ball_markup(path, frames, SIZE)

    return _markup


@pytest.fixture
def cvat(tmp_path):
    def _cvat(*points, frames=4, text=None, **more):
        path = tmp_path / "a.xml"
        body = "\n".join(points)
        path.write_text(text or f"<annotations>\n<track id='0'>\n{body}\n</track>\n</annotations>")
        return read_cvat(path, frames, SIZE, **more)

    return _cvat


def point(frame, points="10.5,20", outside=0, occluded=0, inside=""):
    head = f"<points frame='{frame}' outside='{outside}' occluded='{occluded}' points='{points}'"
    return f"{head}>{inside}</points>"


USED = "<attribute name='used_in_game'>{}</attribute>"


# OpenTTGames -----------------------------------------------------------------------------------------


def test_ball_markup_is_sparse(markup):
    labels, faults = markup({"2": {"x": 10, "y": 20}, "5": {"x": -1, "y": -1}, "3": {"x": 200, "y": 99.5}})
    assert faults == []
    assert labels.labelled.nonzero()[0].tolist() == [2, 3, 5]
    assert labels.visible.nonzero()[0].tolist() == [2, 3]
    assert labels.xy[[2, 3, 5]].tolist() == [[10, 20], [200, 99.5], [0, 0]]


def test_faulty_frames_of_a_ball_markup(markup):
    labels, faults = markup(
        """{
        "0": {"x": 0, "y": 0},
        "1": {"x": 1, "y": 1},
        "2": {"x": 201, "y": 1},
        "3": {"x": -1, "y": 7},
        "4": {"x": "far", "y": 7}, "4": {"x": 4, "y": 4},
        "5": [5, 5],
        "1": {"x": 1, "y": 1},
        "-2": {"x": 1, "y": 1},
        "8": {"x": 1, "y": 1},
        "2.5": {"x": 1, "y": 1},
        "7": {"x": true, "y": 1e999}
        }"""
    )
    assert told(faults) == [
        ("at-origin", 2),
        ("outside-frame", 4),
        ("outside-frame", 5),
        ("bad-number", 6),
        ("bad-number", 7),
        ("duplicate-frame", 8),
        ("negative-frame", 9),
        ("beyond-video", 10),
        ("bad-number", 11),
        ("bad-number", 12),
    ]
    assert not labels.labelled.any()
    assert "frame 1 has an entry already, in line 3" in str(faults[5])
    assert "frame 8 is beyond the video, whose last is frame 7" in str(faults[7])


@pytest.mark.parametrize(
    ("text", "kind", "line", "words"),
    [
        ("", "empty", None, "is empty"),
        ("{}", "empty", None, "holds no frames"),
        ("[1, 2]", "bad-markup", None, "holds no table of frames"),
        ('{"1":\n {"x": 1,}}', "bad-markup", 2, "is not JSON"),
        ("[" * 100_000, "bad-markup", None, "nested too deeply"),
        ('{"1": null}', "bad-number", 1, "frame 1 holds 'null'; expected"),
        ('{"1": {"x": true, "y": [1]}}', "bad-number", 1, """holds '{"x": true, "y": "..."}'; expected"""),
        ('{"1": ' + '{"x": ' * 700 + "1" + "}" * 701, "bad-number", 1, """holds '{"x": "..."}'; expected"""),
        ('{"1": {"x": ' + "9" * 5000 + ', "y": 1}}', "bad-markup", None, "is not JSON: Exceeds the limit"),
        ("a\0b", "not-text", None, "not a text file"),
    ],
)
def test_what_is_no_ball_markup(markup, text, kind, line, words):
    labels, faults = markup(text)
    assert told(faults) == [(kind, line)]
    assert words in faults[0].message
    assert not labels.labelled.any()


@pytest.mark.parametrize("read", [read_ball_markup, read_cvat, read_point_lines])
def test_a_file_that_is_not_there(tmp_path, read):
    with pytest.raises(TrackNetError, match=r"gone: cannot read the labels: No such file"):
        read(tmp_path / "gone", 3, SIZE)


# CVAT ------------------------------------------------------------------------------------------------


def test_cvat_tracks(cvat):
    labels, faults = cvat(
        point(0), point(1, occluded=1), point(2, outside=1), point(3, "7,8;90,91"), frames=5
    )
    assert faults == []
    assert labels.labelled.all()  # annotators went through the whole clip
    assert labels.visible.tolist() == [True, False, False, True, False]
    assert labels.xy.tolist() == [[10.5, 20], [0, 0], [0, 0], [7, 8], [0, 0]]


def test_only_the_ball_in_play_counts(cvat):
    labels, faults = cvat(
        point(0, "1,1", inside=USED.format(0)),
        point(0, "2,2", inside=USED.format(1)),
        point(1, "3,3", inside=USED.format("false")),
        point(2, "4,4", inside=USED.format(" true ") + "<attribute name='other'>9</attribute>"),
        point(3, outside=1),
        used="used_in_game",
    )
    assert faults == []
    assert labels.visible.tolist() == [True, False, True, False]
    assert labels.xy[[0, 2]].tolist() == [[2, 2], [4, 4]]


def test_a_frame_is_the_image_with_its_number(cvat):
    names = ["00003.png", "00004.png", "00010.png", "cover.png"]
    labels, faults = cvat(point(4), point(10, "1,2"), point(5), images=names)
    assert labels.visible.tolist() == [False, True, True, False]
    assert told(faults) == [("beyond-video", 5)]
    assert "frame 5 is not among the images" in faults[0].message


def test_faulty_points(cvat):
    labels, faults = cvat(
        point(0, "1"),
        point(1, "1,2,3"),
        point(2, "1,nan"),
        point(3, occluded="maybe"),
        point(4, outside=""),
        point(5, "0,0"),
        point(6, "300,1"),
        point(7),
        point(7),
        point(99),
        point("x"),
        point(8),
        frames=9,
    )
    assert told(faults) == [
        ("bad-number", 3),
        ("bad-number", 4),
        ("bad-number", 5),
        ("bad-visibility", 6),
        ("bad-visibility", 7),
        ("at-origin", 8),
        ("outside-frame", 9),
        ("duplicate-frame", 11),
        ("beyond-video", 12),
        ("bad-number", 13),
    ]
    assert labels.labelled.nonzero()[0].tolist() == [8]
    _, faults = cvat(point(0), used="used_in_game")
    assert told(faults) == [("bad-visibility", 3)]
    assert "used_in_game is ''; expected 0 or 1" in faults[0].message


def track(label, *shapes):
    return f"<track id='0' label='{label}'>{''.join(shapes)}</track>"


def box(frame, left, top, right, bottom, outside=0, inside=""):
    edges = f"xtl='{left}' ytl='{top}' xbr='{right}' ybr='{bottom}'"
    return f"<box frame='{frame}' outside='{outside}' occluded='0' keyframe='1' {edges}>{inside}</box>"


def test_the_middle_of_a_box_is_the_ball(cvat):
    labels, faults = cvat(
        box(0, 10, 20, 14.5, 23), box(1, 0, 0, 9, 9, outside=1), box(2, 1, 1, "?", 4), point(3)
    )
    assert told(faults) == [("bad-number", 5)]
    assert "has not the numbers xtl, ytl, xbr and ybr" in faults[0].message
    assert labels.visible.tolist() == [True, False, False, True]
    assert labels.labelled.tolist() == [True, True, False, True]
    assert labels.xy[0].tolist() == [12.25, 21.5]
    labels, _ = cvat(
        box(0, 1, 1, 3, 3, inside=USED.format(1)),
        box(1, 1, 1, 3, 3, inside=USED.format(0)),
        used="used_in_game",
    )
    assert labels.visible.tolist() == [True, False, False, False]


def test_shapes_without_a_position_are_no_frames_without_a_ball(cvat):
    ellipse = "<ellipse frame='{}' outside='{}' occluded='0' cx='7' cy='8' rx='2' ry='2'/>"
    players = track("player", ellipse.format(0, 0))
    ball = track("ball", point(0), ellipse.format(1, 0), ellipse.format(2, 1))
    labels, (fault,) = cvat(text=f"<annotations>{players}{ball}</annotations>")
    assert fault.message == "holds <ellipse>, of which no position is read; expected <points> or <box>"
    assert labels.labelled.tolist() == [True, False, True, True]


def test_of_tracks_with_several_labels_those_of_the_ball_count(cvat):
    players = track("player", box(0, 1, 1, 50, 90), box(1, 1, 1, 50, 90))
    ball = track("Tennis ball", point(1, "7,8"))
    labels, faults = cvat(text=f"<annotations>{players}{ball}{players}</annotations>")
    assert faults == []
    assert labels.visible.tolist() == [False, True, False, False]
    assert labels.xy[1].tolist() == [7, 8]
    labels, faults = cvat(text=f"<annotations>{track('birdie', point(1))}</annotations>")
    assert labels.visible.tolist() == [False, True, False, False]
    labels, (fault,) = cvat(text=f"<annotations>{players}{track('referee')}</annotations>")
    assert fault.message == (
        "holds tracks of 'player, referee'; expected one whose label ends with ball or shuttle"
    )
    assert not labels.labelled.any()


@pytest.mark.parametrize(
    ("label", "is_ball"),
    [
        *((name, True) for name in ("ball", "Tennis_ball", "ball-1", "Shuttlecock", "shuttle", "football")),
        *((name, True) for name in ("balls", "Golf balls", "Shuttles", "BallTrack", "TennisBall")),
        *((name, True) for name in ("ball far", "ball-near", "ball_blurred", "BallFar")),
        *((name, True) for name in ("Ball_1", "tennis ball 2", "ball A", "ball (visible)", "red football")),
        *((name, True) for name in ("ball (in play)", "ball [tennis]", "thing (ball)", "ball_id_3")),
        *(
            (name, False)
            for name in (
                "ball boy",
                "ball (tennis) boy",
                "player (home)",
                "ball kid",
                "ballkid",
                "BallPerson",
                "ball machine",
                "1",
            )
        ),
        *(
            (name, False)
            for name in ("football player", "FootballPlayer", "basketball_hoop", "shuttler", "ballerina")
        ),
    ],
)
def test_the_ball_is_named_by_a_word_of_the_label(cvat, label, is_ball):
    tracks = track("referee", box(0, 1, 1, 50, 90)) + track(label, point(1, "7,8"))
    labels, faults = cvat(text=f"<annotations>{tracks}</annotations>")
    assert labels.visible.tolist() == [False, is_ball, False, False]
    assert bool(faults) != is_ball


def test_a_track_that_is_written_ends_where_the_ball_is_gone(tmp_path):
    seen = np.array([True, True, False, False, True])
    path = tmp_path / "a.xml"
    write_cvat(path, Labels(np.arange(10, dtype=np.float32).reshape(5, 2), seen, np.ones(5, bool)))
    points = [line.split(">")[0].strip() for line in path.read_text().splitlines() if "<points" in line]
    assert points == [
        f'<points frame="{frame}" outside="{outside}" occluded="0" keyframe="1" points="{xy}"'
        for frame, outside, xy in [
            (0, 0, "0.00,1.00"),
            (1, 0, "2.00,3.00"),
            (2, 1, "2.00,3.00"),
            (4, 0, "8.00,9.00"),
        ]
    ]


BOMB = """<?xml version="1.0"?>
<!DOCTYPE a [<!ENTITY a "ball"><!ENTITY b "&a;&a;&a;&a;">]>
<annotations><track><points frame="0" outside="0" occluded="0" points="1,1">&b;</points></track>
</annotations>"""
LEAK = (
    """<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><annotations><track>&a;</track></annotations>"""
)


@pytest.mark.parametrize("text", [BOMB, LEAK, '<!DOCTYPE a SYSTEM "http://example.org/a.dtd"><annotations/>'])
def test_a_document_type_is_refused(cvat, text):
    labels, faults = cvat(text=text)
    assert [fault.kind for fault in faults] == ["bad-markup"]
    assert "a document type (DOCTYPE) is refused" in faults[0].message
    assert not labels.labelled.any()


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("<annotations>\n<track>", 2, "no element found"),
        ("<annotations><image/></annotations>", None, "holds no tracks"),
        ("<annotations>&lol;</annotations>", 1, "undefined entity"),
        ("no xml", 1, "syntax error"),
    ],
)
def test_what_is_no_cvat(cvat, text, line, words):
    labels, faults = cvat(text=text)
    assert told(faults) == [("bad-markup", line)]
    assert words in faults[0].message
    assert not labels.labelled.any()


# Lines of points -------------------------------------------------------------------------------------


def test_lines_of_points(tmp_path):
    path = tmp_path / "1.txt"
    path.write_text("10 20.5\r\n0 0\n\n5 5 5\n7 1_0\n201 3\n 8\t9 \n\n\n")
    labels, faults = read_point_lines(path, 8, SIZE)
    assert told(faults) == [("bad-number", 3), ("bad-number", 4), ("bad-number", 5), ("outside-frame", 6)]
    assert labels.labelled.tolist() == [True, True, False, False, False, False, True, False]
    assert labels.visible.tolist() == [True, False, False, False, False, False, True, False]
    assert labels.xy[[0, 6]].tolist() == [[10, 20.5], [8, 9]]
    labels, (fault,) = read_point_lines(path, 6, SIZE)
    assert (fault.kind, fault.line) == ("beyond-video", None)
    assert fault.message == "holds 7 lines for 6 frames: which belong together?"
    assert not labels.labelled.any()


def test_shares_of_the_frame_are_no_pixels(tmp_path, markup, cvat):
    lines = tmp_path / "1.txt"
    lines.write_text("0.5 0.25\n0 0\n1 0.75\n")
    for labels, (fault,) in (
        read_point_lines(lines, 8, SIZE),
        markup({"2": {"x": 0.5, "y": 0.25}, "3": {"x": -1, "y": -1}}),
        cvat(point(0, "0.5,0.25"), point(1, outside=1)),
    ):
        assert (fault.kind, fault.line) == ("outside-frame", None)
        assert fault.message == "all coordinates are at most 1; expected pixels of the video"
        assert not labels.labelled.any()
    lines.write_text("1 1\n")  # a ball in the corner
    assert read_point_lines(lines, 8, SIZE)[1] == []


def test_lines_of_points_follow_the_numbers_of_images(tmp_path):
    path = tmp_path / "1.txt"
    path.write_text("10 1\n20 2\n30 3\n40 4\n")
    names = ["95.jpg", "96.jpg", "98.jpg"]
    labels, faults = read_point_lines(path, 3, SIZE, names)
    assert told(faults) == [("beyond-video", 3)]
    assert faults[0].message == "is for 97, which is not among the images of the clip"
    assert labels.xy[:, 0].tolist() == [10, 20, 40]
    labels, faults = read_point_lines(path, 5, SIZE, [*names, "99.jpg", "100.jpg"])
    assert [fault.message for fault in faults] == [
        "holds 4 lines for 5 frames, numbered 95 to 100 with gaps: which belong together?"
    ]
    assert not labels.labelled.any()
    assert read_point_lines(path, 2, SIZE, ["1.jpg", f"{'9' * 40}.jpg"])[1]
    labels, faults = read_point_lines(path, 5, SIZE, ["95.jpg", "96.jpg", "97.jpg", "98.jpg", "99.jpg"])
    assert faults == []
    assert labels.xy[:, 0].tolist() == [10, 20, 30, 40, 0]


# All -------------------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from("bnu"), st.integers(1, 200), st.integers(0, 100)), min_size=1))
def test_what_is_written_is_read_back(tmp_path_factory, states):
    states[0] = ("b", 5, 5)
    path = tmp_path_factory.mktemp("back") / "labels"
    labels = Labels(
        np.array([(x, y) if state == "b" else (0, 0) for state, x, y in states], np.float32),
        np.array([state == "b" for state, *_ in states]),
        np.array([state != "u" for state, *_ in states]),
    )
    total = len(states)
    write_ball_markup(path, labels)
    read, faults = read_ball_markup(path, total, SIZE)
    assert faults == []
    np.testing.assert_array_equal(read.labelled, labels.labelled)
    both = [read]
    write_cvat(path, labels, "used_in_game")
    read, faults = read_cvat(path, total, SIZE, used="used_in_game")
    assert faults == []
    both.append(read)
    write_point_lines(path, labels)
    read, faults = read_point_lines(path, total, SIZE)
    assert faults == []
    for one in [*both, read]:
        np.testing.assert_array_equal(one.xy, labels.xy)
        np.testing.assert_array_equal(one.visible, labels.visible)


@settings(max_examples=40)
@given(st.binary(max_size=200))
def test_any_bytes_give_labels_or_faults(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("any") / "labels"
    path.write_bytes(content)
    for read in (read_ball_markup, read_cvat, read_point_lines):
        labels, faults = read(path, 4, SIZE)
        assert len(labels.labelled) == 4
        assert faults or labels.labelled.any()


@settings(max_examples=40)
@given(st.text(alphabet='{}[]"-0123456789xy:, \n', max_size=80))
def test_near_json_gives_labels_or_faults(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("near") / "labels"
    path.write_text(text)
    labels, faults = read_ball_markup(path, 4, SIZE)
    assert faults or labels.labelled.any()
