"""Label files as spreadsheets, scripts and people leave them, with exactly what is in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tracknet.data.check import check_dataset
from tracknet.data.labels import Labels

from .media import encode

FRAMES = 4
Place = tuple[float, float] | None | str
"""Where the ball is; None without one, ``"?"`` where the file says nothing that can be used."""

EXACT: tuple[Place, ...] = ((10.5, 20), None, (30, 40.25), (50, 60))
NOTHING: tuple[Place, ...] = ("?",) * FRAMES
_HEAD = "Frame,Visibility,X,Y\n"
_ROWS = "0,1,10.5,20\n1,0,0,0\n2,1,30,40.25\n3,1,50,60\n"


@dataclass(frozen=True)
class Table:
    """A label file of a clip of `FRAMES` frames.

    Attributes:
        name: What it is, in a few words.
        content: Its bytes.
        places: What it says of each frame.
        faults: Kind and line of what is wrong with it, in order.
    """

    name: str
    content: bytes
    places: tuple[Place, ...] = EXACT
    faults: tuple[tuple[str, int | None], ...] = field(default=())


def _with(row: str, line: int = 2) -> bytes:
    """Give the sound file with one line replaced."""
    lines = (_HEAD + _ROWS).splitlines()
    lines[line - 1] = row
    return "\n".join(lines).encode()


def _bad(name: str, row: str, kind: str) -> Table:
    """Give a file whose first row has one fault: that frame is lost, no other."""
    return Table(name, _with(row), ("?", *EXACT[1:]), ((kind, 2),))


def tables() -> Iterator[Table]:
    """Give all cases: first those that say the same as the plain file, then those with faults."""
    text = _HEAD + _ROWS
    plain = text.encode()
    yield Table("plain", plain)
    yield Table("byte-order mark", b"\xef\xbb\xbf" + plain)
    yield Table("CRLF", text.replace("\n", "\r\n").encode())
    yield Table("CR alone", text.replace("\n", "\r").encode())
    yield Table(
        "byte-order mark, CRLF and semicolons",
        ("\ufeff" + text).replace("\n", "\r\n").replace(",", ";").encode(),
    )
    yield Table("semicolons and decimal commas", text.replace(",", ";").replace(".", ",").encode())
    yield Table("tabs", text.replace(",", "\t").encode())
    quoted = "\n".join(",".join(f'"{cell}"' for cell in line.split(",")) for line in text.splitlines())
    yield Table("quotes around everything", quoted.encode())
    yield Table("spaces around everything", text.replace(",", " , ").replace("\n", "  \n").encode())
    yield Table("blank lines", text.replace("\n", "\n\n").encode() + b"\n , , \n\n")
    yield Table("no newline at the end", plain[:-1])
    yield Table("trailing commas", text.replace("\n", ",\n").encode())
    yield Table("upper and lower case", text.replace("Frame,Visibility,X,Y", "FRAME,visibility,x,Y").encode())
    further = text.replace("\n", ",left\n").replace("Y,left", "Y,Side", 1)
    yield Table("a further column", further.encode())
    yield Table("a further column in Latin-1", further.replace("left", "rückhand").encode("latin-1"))
    reordered = "Y,X,Visibility,Frame\n20,10.5,1,0\n0,0,0,1\n40.25,30,1,2\n60,50,1,3\n"
    yield Table("columns in another order", reordered.encode())
    yield Table("rows in another order", (_HEAD + "".join(reversed(_ROWS.splitlines(True)))).encode())
    yield Table(
        "numbers as programs write them",
        (_HEAD + "0.0,1.0,1.05e1,+20.\n1,0,nan,nan\n2,2,30,40.25\n3,3,5E1,60\n").encode(),
    )
    yield Table("an absent ball at -1", plain.replace(b"1,0,0,0", b"1,0,-1,-1"))
    shares = "Frame,Ball,x,y\n0,1,0.109375,0.3125\n1,0,0,0\n2,1,0.3125,0.62890625\n3,1,0.5208333333,0.9375\n"
    yield Table("shares of the frame", shares.encode())

    yield _bad("NaN", "0,1,nan,20", "bad-number")
    yield _bad("infinite", "0,1,10.5,inf", "bad-number")
    yield _bad("negative", "0,1,-10.5,20", "outside-frame")
    yield _bad("beyond the frame", "0,1,97,20", "outside-frame")
    yield _bad("huge", "0,1,1e300,20", "outside-frame")
    yield _bad("more digits than a number holds", f"0,1,{'9' * 400},20", "bad-number")
    yield _bad("a visible ball at 0,0", "0,1,0,0", "at-origin")
    yield _bad("a word for a number", "0,1,ten,20", "bad-number")
    yield _bad("a blank", "0,1,,20", "bad-number")
    yield _bad("a row that ends early", "0,1,10.5", "bad-number")
    yield _bad("a word for the visibility", "0,yes,10.5,20", "bad-visibility")
    yield _bad("a visibility of 5", "0,5,10.5,20", "bad-visibility")
    yield _bad("decimal commas between commas", "0,1,10,5,20,0", "too-many-cells")
    lost = ("?", *EXACT[1:])
    first = ("missing-frames", None)
    yield Table("a negative frame", _with("-1,1,10.5,20"), lost, (("negative-frame", 2), first))
    yield Table("a huge frame", _with("99999999999999999999,1,10.5,20"), lost, (("beyond-video", 2), first))
    yield Table("half a frame", _with("0.5,1,10.5,20"), lost, (("bad-number", 2), first))
    yield Table("a missing frame", _with(""), lost, (first,))
    yield Table(
        "a repeated frame", _with("2,1,9,9", 5), (*EXACT[:2], "?", "?"), (("duplicate-frame", 5), first)
    )
    yield Table("a frame beyond the video", plain + b"4,1,5,5\n", EXACT, (("beyond-video", 6),))
    many = _HEAD + "0,1,0,0\n1,1,5,-5\n1,0,0,0\n2,9,1,1\nx,1,1,1\n7,1,1,1\n"
    kinds = ["at-origin", "outside-frame", "duplicate-frame", "bad-visibility", "bad-number", "beyond-video"]
    found = tuple((kind, line) for line, kind in enumerate(kinds, start=2))
    yield Table("six faults at once", many.encode(), NOTHING, (*found, first))
    yield Table("an open quote", _with('0,1,"10.5,20'), NOTHING, (("bad-number", 5), first))
    yield Table("empty", b"", NOTHING, (("empty", None),))
    yield Table("white space alone", b"\n \n\t\n", NOTHING, (("empty", None),))
    yield Table("a header alone", _HEAD.encode(), NOTHING, (("empty", None),))
    yield Table("no header", _ROWS.encode(), NOTHING, (("missing-column", 1),))
    yield Table(
        "a misspelt column", plain.replace(b"Visibility", b"Visibilty"), NOTHING, (("missing-column", 1),)
    )
    never = plain.replace(b",1,", b",0,")
    yield Table("a visible column of zeros", never, NOTHING, (("never-visible", None),))
    yield Table(
        "shares in columns of pixels",
        shares.replace("Ball", "Visibility").encode(),
        NOTHING,
        (("outside-frame", None),),
    )
    yield Table("UTF-16", text.encode("utf-16"), NOTHING, (("not-text", None),))
    yield Table("UTF-32", text.encode("utf-32"), NOTHING, (("not-text", None),))
    yield Table("a spreadsheet named .csv", b"PK\x03\x04" + bytes(200), NOTHING, (("not-text", None),))
    yield Table("random bytes", bytes(range(1, 256)) * 4, NOTHING, (("missing-column", 1),))
    yield Table("a cell of a megabyte", _with(f"0,1,10.5,{'1' * 1_000_000}"), NOTHING, (("not-text", None),))


def write_clip(table: Table, root: Path, name: str) -> Path:
    """Write a video of `FRAMES` frames with the file beside it, and return the file."""
    encode(root / f"{name}.mp4", range(FRAMES))
    path = root / f"{name}.csv"
    path.write_bytes(table.content)
    return path


def places_of(labels: Labels | None) -> tuple[Place, ...]:
    """Write labels as `Table.places` has them."""
    if labels is None:
        return NOTHING
    rows = zip(labels.xy.tolist(), labels.visible.tolist(), labels.labelled.tolist(), strict=True)
    return tuple(
        "?" if not said else (round(xy[0], 3), round(xy[1], 3)) if seen else None for xy, seen, said in rows
    )


def report_of(table: Table, root: Path) -> tuple[str, tuple[str, ...]]:
    """Check a data set of this one clip.

    Args:
        table: The label file.
        root: An empty folder.

    Returns:
        What was found, in a few words, and what is not as it should be.
    """
    write_clip(table, root, "clip")
    report = check_dataset(root)
    faults = tuple((fault.kind, fault.line) for fault in report.faults)
    places = places_of(report.checked[0].labels)
    wrong = [] if faults == table.faults else [f"faults {faults}"]
    wrong += [] if places == table.places else [f"labels {places}"]
    told = [kind if line is None else f"{kind} in line {line}" for kind, line in faults]
    return ", ".join(told) or "exact labels", tuple(wrong)
