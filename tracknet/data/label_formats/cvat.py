"""Tracks of points or boxes as the annotation tool CVAT exports them ("CVAT for video 1.1").

They are the labels of WASB's soccer and basketball, too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from tracknet.data.faults import Fault, shown
from tracknet.data.label_formats.sheet import LabelSheet, number, whole_number
from tracknet.data.label_text import read_text, write_text
from tracknet.data.labels import Labels

_TRUE = ("1", "true")
_FALSE = ("0", "false")
_READ = ("points", "box")
_SHAPES = (*_READ, "ellipse", "polygon", "polyline", "cuboid", "mask", "skeleton")
_BALLS = ("ball", "balls", "shuttle", "shuttles", "shuttlecock", "shuttlecocks")
_OF_A_BALL = (
    "id",
    "track",
    "tracks",
    "position",
    "point",
    "centre",
    "center",
    "box",
    "visible",
    "hidden",
    "occluded",
    "blurred",
    "far",
    "near",
)
"""Words behind the ball in a label that still is that of the ball."""


def read_cvat(
    path: Path,
    frames: int,
    size: tuple[int, int],
    images: Sequence[str] | None = None,
    used: str | None = None,
) -> tuple[Labels, list[Fault]]:
    """Read ``<track><points frame= outside= occluded= points="x,y">`` in pixels of the source.

    A point with ``outside`` 1 ends a track: it is no ball. The ball is visible when ``occluded`` is 0. Of
    several points separated by semicolons the first one counts; of a ``<box xtl= ytl= xbr= ybr=>`` the middle
    does. Where tracks have several labels, those count that end with ``ball``, ``shuttle`` or
    ``shuttlecock``, such as ``tennis ball``, ``Ball_1`` and ``football``, but not ``ball boy``. Frames
    without a point have no ball, because annotators went through the whole clip. XML with a document type
    is refused, so that nothing in it can refer to other files or grow without limit.

    Args:
        path: The file.
        frames: Frames of the video, N.
        size: Height and width of the video.
        images: Names of the image files of the clip, in order, when it is a folder of images: a frame is then
            the image with this number in its name.
        used: Name of an attribute of a point that must be 1, or the point is left out: which of several
            balls is in play. None takes all points.

    Returns:
        The labels, and the faults in the order of the file.

    Raises:
        TrackNetError: The file cannot be read at all.
    """
    path = Path(path)
    sheet = LabelSheet(path, frames, size)
    text = read_text(path)
    if isinstance(text, Fault):
        return sheet.labels(), [text]
    reader = _Reader()
    try:
        reader.read(text)
    except (expat.ExpatError, _RefusedError) as error:
        line = error.lineno if isinstance(error, expat.ExpatError) else error.line
        message = expat.ErrorString(error.code) if isinstance(error, expat.ExpatError) else str(error)
        return sheet.labels(), [Fault(path, "bad-markup", f"is not XML that can be read: {message}", line)]
    if not reader.tracks:
        message = "holds no tracks; expected <track> with <points> or <box>, as CVAT exports them for a video"
        return sheet.labels(), [Fault(path, "bad-markup", message)]
    tracks = _of_the_ball(reader.tracks)
    if not tracks:
        named = ", ".join(sorted(set(reader.tracks)))
        message = f"holds tracks of {shown(named, 80)}; expected one whose label ends with ball or shuttle"
        return sheet.labels(), [Fault(path, "bad-markup", message)]
    places = None if images is None else _places(images)
    for point in reader.points:
        if point.track in tracks:
            _put(sheet, point, places, used)
    return sheet.labels(rest_without_ball=True), sheet.faults


def write_cvat(path: Path, labels: Labels, used: str | None = None) -> None:
    """Write labels as `read_cvat` reads them and CVAT takes them up ("CVAT 1.1"), all as one track ``ball``.

    Args:
        path: File to write; it appears whole or not at all.
        labels: The labels; frames without a ball and frames that are not labelled are written alike.
        used: Name of an attribute that says of each point that it is the ball in play.

    Raises:
        TrackNetError: The file cannot be written.
    """
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", '  <track id="0" label="ball">']
    mark = "" if used is None else f"<attribute name={quoteattr(used)}>1</attribute>"
    seen = labels.visible & labels.labelled
    for frame, (x, y) in enumerate(labels.xy):
        # CVAT goes on with a track until a point says that it ends.
        ends = frame > 0 and seen[frame - 1] and not seen[frame]
        if ends:
            x, y = labels.xy[frame - 1]
        if ends or seen[frame]:
            head = f'<points frame="{frame}" outside="{int(ends)}" occluded="0" keyframe="1"'
            lines.append(f'    {head} points="{x:.2f},{y:.2f}">{mark}</points>')
    write_text(path, "\n".join([*lines, "  </track>", "</annotations>", ""]))


class _RefusedError(Exception):
    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


class _Point:
    """A shape of a track, mostly ``<points>`` or ``<box>``; the track has a number."""

    def __init__(self, track: int, shape: str, line: int, given: Mapping[str, str]) -> None:
        self.track = track
        self.shape = shape
        self.line = line
        self.given = given
        self.attributes: dict[str, str] = {}


class _Reader:
    """Collects the labels and the points of all tracks."""

    def __init__(self) -> None:
        self.tracks: list[str] = []
        self.points: list[_Point] = []
        self._path: list[str] = []
        self._attribute: str | None = None
        self._parser = expat.ParserCreate()
        self._parser.StartDoctypeDeclHandler = self._refuse
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._text

    def read(self, text: str) -> None:
        self._parser.Parse(text, True)

    def _refuse(self, *_: object) -> None:
        raise _RefusedError(
            "a document type (DOCTYPE) is refused, expected plain XML", self._parser.CurrentLineNumber
        )

    def _start(self, name: str, given: dict[str, str]) -> None:
        self._path.append(name)
        match self._path[1:]:
            case ["track"]:
                self.tracks.append(given.get("label", ""))
            case ["track", shape] if shape in _SHAPES:
                self.points.append(_Point(len(self.tracks) - 1, shape, self._parser.CurrentLineNumber, given))
            case ["track", shape, "attribute"] if shape in _SHAPES:
                self._attribute = given.get("name", "")

    def _end(self, name: str) -> None:
        self._path.pop()
        self._attribute = None

    def _text(self, text: str) -> None:
        if self._attribute is not None:
            attributes = self.points[-1].attributes
            attributes[self._attribute] = attributes.get(self._attribute, "") + text.strip()


def _put(sheet: LabelSheet, point: _Point, places: Mapping[int, int] | None, used: str | None) -> None:
    """Take down one point."""
    given, line = point.given, point.line
    frame = named = whole_number(given.get("frame"))
    if named is None:
        return sheet.fault("bad-number", f"the frame {shown(given.get('frame'))} is not a whole number", line)
    if places is not None:
        frame = places.get(named)
        if frame is None:
            return sheet.fault("beyond-video", f"frame {named} is not among the images of the clip", line)
    assert frame is not None
    # In this order: what is left out need not be sound in the rest.
    for name, text, left_out in (
        ("outside", given.get("outside", ""), _TRUE),
        *([(used, point.attributes.get(used, ""), _FALSE)] if used is not None else []),
    ):
        if text.lower() not in (*_TRUE, *_FALSE):
            return sheet.fault("bad-visibility", f"{name} is {shown(text)}; expected 0 or 1", line, frame)
        if text.lower() in left_out:
            return None
    occluded = given.get("occluded", "").lower()
    if occluded not in (*_TRUE, *_FALSE):
        return sheet.fault("bad-visibility", f"occluded is {shown(occluded)}; expected 0 or 1", line, frame)
    if occluded in _TRUE:
        return sheet.put(frame, None, line)
    if point.shape not in _READ:
        message = f"holds <{point.shape}>, of which no position is read; expected <points> or <box>"
        return sheet.fault("bad-markup", message, line, frame)
    ball = _position(point)
    if isinstance(ball, str):
        return sheet.fault("bad-number", ball, line, frame)
    return sheet.put(frame, ball, line)


def _of_the_ball(labels: Sequence[str]) -> set[int]:
    """Choose the tracks of the ball, by number; all, where all have one label."""
    tracks = range(len(labels))
    if len(set(labels)) == 1:
        return set(tracks)
    return {track for track in tracks if _names_ball(labels[track])}


def _names_ball(label: str) -> bool:
    spaced = re.sub("(?<=[a-z])(?=[A-Z])", " ", label)  # BallTrack
    without_remarks = re.sub(r"\(.*?\)|\[.*?\]", " ", spaced)  # ball (in play)
    return any(_ends_with_ball(one) for one in (spaced, without_remarks))


def _ends_with_ball(label: str) -> bool:
    words = re.findall(r"[^\W\d_]+", label.lower())
    while words and (words[-1] in _OF_A_BALL or len(words[-1]) == 1):  # ball A
        words.pop()
    return bool(words) and words[-1].endswith(_BALLS)


def _position(point: _Point) -> tuple[float, float] | str:
    """Read where the ball is; text says why it cannot be read."""
    given = point.given
    if point.shape == "box":
        edges = [number(given.get(edge)) for edge in ("xtl", "ytl", "xbr", "ybr")]
        left, top, right, bottom = edges
        if left is None or top is None or right is None or bottom is None:
            return f"the box {shown(dict(given))} has not the numbers xtl, ytl, xbr and ybr"
        return (left + right) / 2, (top + bottom) / 2
    numbers = [number(part.strip()) for part in given.get("points", "").split(";")[0].split(",")]
    if len(numbers) != 2 or numbers[0] is None or numbers[1] is None:
        return f"the points {shown(given.get('points', ''))} are not x,y"
    return numbers[0], numbers[1]


def _places(images: Sequence[str]) -> dict[int, int]:
    """Positions of the images by the number that is their name."""
    return {int(Path(name).stem): place for place, name in enumerate(images) if Path(name).stem.isdecimal()}
