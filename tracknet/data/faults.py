"""What can be wrong with a data set, and how to mend it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

FaultKind = Literal[
    "no-clips",
    "no-video",
    "no-labels",
    "no-clip",
    "no-split",
    "shared-clip",
    "left-out",
    "duplicate-clip",
    "unreadable",
    "frame-count",
    "odd-size",
    "turned",
    "undecodable",
    "damaged",
    "several-streams",
    "changing-size",
    "double-image",
    "missing-images",
    "not-text",
    "bad-markup",
    "empty",
    "missing-column",
    "never-visible",
    "missing-frames",
    "other-numbers",
    "unclear-numbers",
    "counted-from-1",
    "beyond-video",
    "negative-frame",
    "duplicate-frame",
    "too-many-cells",
    "bad-number",
    "bad-visibility",
    "at-origin",
    "outside-frame",
]
"""Everything that can be wrong: with a data set, with a video, with a label file, with a row of one."""

REMEDIES: dict[FaultKind, str] = {
    "no-clips": "give the folder that holds the clips, or another layout",
    "unreadable": "get the file again, or take the clip out; a video may be encoded again (ffmpeg -i OLD "
    "-c:v libx264 NEW.mp4)",
    "no-video": "add the video under this name, or take the labels out",
    "no-labels": "label the video, or take it out of the data set",
    "no-split": "get the files again, or name clips with --data.split null, --data.val and --data.test",
    "shared-clip": "list each clip for training or for evaluation; masked, it is not trained on",
    "no-clip": "nothing to do if only a part of the data set is there on purpose; if not, add the clip",
    "left-out": "nothing to do: published without labels; if not, add them",
    "duplicate-clip": "give each clip a name of its own, and one file of labels",
    "not-text": "export the labels as text in UTF-8",
    "bad-markup": "get the file again or export it again",
    "empty": "label the clip, or take it out of the data set",
    "missing-column": "name the columns in the first line of the file",
    "never-visible": "write 1 in the visibility column where the ball is seen",
    "counted-from-1": "count frames from 0: take 1 from the number of each frame",
    "unclear-numbers": "number the rows as the images",
    "beyond-video": "see that the labels belong to this video, and that the video is whole",
    "negative-frame": "count frames from 0",
    "duplicate-frame": "keep one row for each frame",
    "too-many-cells": "separate columns by semicolons where numbers have decimal commas, or name all columns",
    "bad-number": "correct the number, with a point for decimals; where rows name their frames, one may be "
    "deleted",
    "bad-visibility": "write one of the expected numbers; in a table, 0 is no ball, 1 a visible one, 2 "
    "partly hidden, 3 hidden",
    "at-origin": "write where the ball is, or visibility 0 if there is none, or delete the row if unsure",
    "outside-frame": "convert x and y to pixels of this video, or write that no ball is seen; in a table, "
    "Ball and visible go with shares of the frame (0 to 1), Visibility with pixels: rename the column",
    "frame-count": "nothing to do if the video plays to its end; if not, copy or download it again",
    "missing-frames": "nothing to do if only some frames are labelled on purpose; these frames are not used",
    "other-numbers": "nothing to do if they belong together in order; if not, number the rows as the images",
    "turned": "see that the labels belong to the picture as it is stored; or turn it for good (ffmpeg -i OLD "
    "NEW.mp4) and label that",
    "undecodable": "get the file again, or take the clip out; or encode what can be read (ffmpeg -i OLD -c:v "
    "libx264 NEW.mp4) and label that",
    "damaged": "if there is no better file, look at the labels behind it: guessed frames may hide the ball, "
    "lost ones shift what follows",
    "several-streams": "nothing to do if the right one is read; if not, take that out (ffmpeg -i OLD -map "
    "0:v:1 NEW.mp4)",
    "changing-size": "cut the video where its size changes",
    "double-image": "keep one image for each frame",
    "missing-images": "get the clip again; or nothing to do: windows go on over the gap",
    "odd-size": "see that the clip belongs here; a ball of another size is harder to learn",
}
"""How to mend each kind of fault; the report keeps this order."""

UNDECODABLE = (
    "a clip that cannot be decoded is not masked; to go on without it, take its video and its labels out of "
    "the data set"
)
"""What to do about videos that fail only when they are decoded."""

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Fault:
    """Something wrong with a file of a data set.

    Attributes:
        path: The file or folder.
        kind: What is wrong.
        message: What was found, in one line.
        line: Line of the file, counted from 1, or None when the whole file is meant.
        severity: An ``error`` stops a training unless faults are masked, a ``warning`` never does.
    """

    path: Path
    kind: FaultKind
    message: str
    line: int | None = None
    severity: Literal["error", "warning"] = "error"

    def __str__(self) -> str:
        """Give ``PATH:LINE: message``."""
        place = f"{self.path}" if self.line is None else f"{self.path}:{self.line}"
        return f"{place}: {self.message}"


def render_faults(faults: Sequence[Fault], shown: int) -> str:
    """Write faults for a person: by kind in the order of `REMEDIES`, then by file, each kind with its remedy.

    Args:
        faults: The faults, those of one file in the order of its lines.
        shown: Files shown of each kind, and stretches of lines shown of each file; 0 shows all.
    """
    kinds = _group(faults, lambda fault: fault.kind)
    parts = ["\n".join(_render_kind(kind, kinds[kind], shown)) for kind in REMEDIES if kind in kinds]
    return "\n\n".join(parts)


def plural(number: int, noun: str) -> str:
    """Write a number of things, such as ``1 row``, ``6,880 frames`` or ``3 stretches``."""
    return f"{number:,} {noun}{'' if number == 1 else 'es' if noun.endswith('ch') else 's'}"


def are(number: int) -> str:
    """Write ``is`` of one thing, and ``are`` of any other number of them."""
    return "is" if number == 1 else "are"


def _render_kind(kind: FaultKind, faults: Sequence[Fault], shown: int) -> list[str]:
    files = list(_group(faults, lambda fault: fault.path).values())
    rows = sum(fault.line is not None for fault in faults)
    where = f"{plural(rows, 'row')} in " if rows else ""
    lines = [f"{kind} ({faults[0].severity}): {where}{plural(len(files), 'file')}"]
    for first, *others in files[: shown or None]:
        numbers = [fault.line for fault in others if fault.line is not None]
        more = _stretches(numbers)
        named = ", ".join(more[: shown or None]) + (", ..." if 0 < shown < len(more) else "")
        also = f" (and {len(numbers)} more: {named})" if more else ""
        lines.append(f"  {first}{also}")
        whole = [f"  {fault}" for fault in others if fault.line is None]
        lines += whole[: shown or None]
        if 0 < shown < len(whole):
            lines.append(f"  {first.path}: and {len(whole) - shown} more")
    if 0 < shown < len(files):
        left = sum(fault.line is not None for same_file in files[shown:] for fault in same_file)
        rest = f" with {plural(left, 'row')}" if left else ""
        lines.append(f"  and {plural(len(files) - shown, 'more file')}{rest}")
    return [*lines, f"  remedy: {REMEDIES[kind]}"]


def _group(faults: Iterable[Fault], key: Callable[[Fault], Key]) -> dict[Key, list[Fault]]:
    groups: dict[Key, list[Fault]] = {}
    for fault in faults:
        groups.setdefault(key(fault), []).append(fault)
    return groups


def _stretches(numbers: Iterable[int]) -> list[str]:
    """Write rising numbers as ``3``, ``7-12``."""
    stretches: list[tuple[int, int]] = []
    for number in numbers:
        if stretches and number == stretches[-1][1] + 1:
            stretches[-1] = (stretches[-1][0], number)
        else:
            stretches.append((number, number))
    return [f"{first}" if first == last else f"{first}-{last}" for first, last in stretches]


def shown(value: object, longest: int = 40) -> str:
    """Quote a value for a message, cut short when it is long.

    Args:
        value: What was found in a file.
        longest: Characters between the quotes, those that stand for invisible ones included.

    Example:
        >>> shown("a" * 50, longest=10), len(shown(chr(0xFEFF) * 9, longest=10))
        ("'aaaaaaa...'", 11)
    """
    text = str(value)
    if len(text) <= longest and len(repr(text)) <= longest + 2:
        return repr(text)
    cut = text[: longest - 3]
    while len(repr(cut)) > longest - 1 and cut:
        cut = cut[:-1]
    return repr(f"{cut}...")
