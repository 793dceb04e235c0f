"""Splits of a data set into training, validation and test, by whole clips."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import get_args

from tracknet.data.clips import Clip, Part
from tracknet.errors import UsageError, nearest


@dataclass(frozen=True)
class Split:
    """Which clips go where; each entry is a pattern for `select`.

    Attributes:
        train: Training clips; empty means all that the others do not name.
        val: Validation clips; empty means a held-out share of the training clips.
        test: Test clips.
        lists: Files of the data set that list the clips of each part, with ``*`` for its name, if any do.
        name: Its name, where it is a named split of the field.
    """

    train: tuple[str, ...] = ()
    val: tuple[str, ...] = ()
    test: tuple[str, ...] = ()
    lists: str = ""
    name: str = ""

    @classmethod
    def of(cls, train: list[str] | None, val: list[str] | None, test: list[str] | None) -> Split:
        """Make one of lists as a person gives them, or leaves out."""
        return cls(tuple(train or ()), tuple(val or ()), tuple(test or ()))


TENNIS_SPLITS: dict[str, Split] = {
    "wasb": Split(train=tuple(f"game{n}" for n in range(1, 8)), test=("game8", "game9", "game10")),
    "tracknetv4": Split(
        train=tuple(f"game{n}" for n in (2, 3, 5, 6, 7, 8, 10)), test=("game1", "game4", "game9")
    ),
}
"""Splits of the TrackNet tennis data set by game, as used by WASB (2023) and TrackNetV4 (2024)."""

SHUTTLECOCK_SPLITS: dict[str, Split] = {
    "tracknetv2": Split(train=("Professional", "Amateur"), test=("Test",)),
    "tracknetv3": Split(train=("train",), val=("val",), test=("test",)),
}
"""Splits of the Shuttlecock Trajectory data set, by the folders in which TrackNetV2 and V3 keep matches."""

OPENTTGAMES_SPLITS: dict[str, Split] = {"openttgames": Split(train=("training",), test=("test",))}
"""Split of OpenTTGames, by its folders: games 1 to 5 against 7 short test videos."""

RACKETVISION_SPLITS: dict[str, Split] = {
    "racketvision": Split(train=("train",), val=("val",), test=("test",), lists="info/*.json"),
}
"""Split of RacketVision, by the parts in which its ``info/*.json`` list the clips."""

BLURBALL_SPLITS: dict[str, Split] = {"blurball": Split(test=("22", "23", "24", "25"))}
"""Split of BlurBall by match: 22 to 25 are the test, all others train.

Copies of its configuration list 00 to 21 for training, one of them 13 twice and 14 not, taken as a slip.
"""

SOCCER_SPLITS: dict[str, Split] = {
    "wasb": Split(train=("ID-1", "ID-2", "ID-3", "ID-4"), test=("ID-5", "ID-6")),
}
"""Split of the soccer data set by camera, as used by WASB (2023): all six film one match."""

_VOLLEYBALL_TEST = (4, 5, 9, 11, 14, 20, 21, 25, 29, 34, 35, 37, 43, 44, 45, 47)
VOLLEYBALL_SPLITS: dict[str, Split] = {
    "wasb": Split(
        train=tuple(str(n) for n in range(55) if n not in _VOLLEYBALL_TEST),
        test=tuple(str(n) for n in _VOLLEYBALL_TEST),
    ),
}
"""Split of the volleyball data set by match, as used by WASB (2023)."""

BASKETBALL_SPLITS: dict[str, Split] = {
    "wasb": Split(
        test=tuple(
            f"21{n}"
            for n in (
                *(800965, 800970, 800974, 800977, 800978, 800988, 801007, 801038, 801049, 801050),
                *(801063, 801070, 801071, 801076, 801077, 801078, 801079, 801096, 801105, 801120),
                *(801123, 801129, 801152, 801153, 801159, 801162, 801165, 801188, 801204, 801229),
            )
        )
    ),
}
"""Split of the basketball data set by video, as used by WASB (2023): 30 test videos, all others train."""

_FOLDERS: dict[str, Part] = {
    "train": "train",
    "val": "val",
    "test": "test",
    "professional": "train",
    "amateur": "train",
}
"""What the folders of a data set are in its own split, whatever their case; the last two are TrackNetV2's."""


def choose_clips(clips: Sequence[Clip], split: Split, holdout: float) -> dict[Part, list[Clip]]:
    """Split clips into parts; no clip is in two of them.

    Args:
        clips: All usable clips.
        split: Names for each part; an empty list means what is not named goes there (train), a held-out
            share of train (val), or the same as val (test).
        holdout: Share of the training clips held out where ``val`` is empty.

    Returns:
        The clips of each part.

    Raises:
        UsageError: A name matches no clip, a clip would be in training and in evaluation, or no names are
            given for clips of which some lie in the folders of a split, such as ``train`` and ``test``, and
            some do not.
    """
    if not any((split.train, split.val, split.test)):
        split = _own_split(clips)
    val, test = _part(clips, split, "val"), _part(clips, split, "test")
    held = {clip.name for clip in (*val, *test)}
    if split.train:
        train = _part(clips, split, "train")
        shared = sorted(held & {clip.name for clip in train})
        if shared:
            raise UsageError(f"data.train: {', '.join(shared[:5])} would be in training and in evaluation")
    else:
        train = [clip for clip in clips if clip.name not in held]
    if not val:
        train, val = hold_out(train, holdout)
    return {"train": train, "val": val, "test": test or val}


def select(clips: Sequence[Clip], patterns: Sequence[str], lists: str = "") -> list[Clip]:
    """Pick the clips that patterns name.

    Args:
        clips: The clips.
        patterns: Names with ``*``, ``?`` and ``[...]`` as in a shell, matched against the name of a clip, its
            group, the folders of its name and the parts of the data set's own split; ``@FILE`` stands for the
            patterns in a text file, one a line, where blank lines and lines that begin with ``#`` are
            ignored.
        lists: Files that list the clips of each part, see `Split`.

    Returns:
        The clips that any pattern matches, each once, in the order of ``clips``.

    Raises:
        UsageError: A pattern matches no clip, or a file of patterns cannot be read.
    """
    names = [_names(clip) for clip in clips]
    picked: set[int] = set()
    for pattern, origin in _expand(patterns):
        matches = {
            place
            for place, known in enumerate(names)
            if pattern in known or any(fnmatchcase(name, pattern) for name in known)
        }
        if not matches:
            known = sorted({name for clip_names in names for name in clip_names})
            shown = ", ".join(known[:5]) + (", ..." if len(known) > 5 else "")
            hint = nearest(pattern, known) or f"; there are {shown or 'no clips at all'}"
            if lists and pattern in get_args(Part):
                hint += f" (and no list such as {lists.replace('*', pattern)} holds a clip)"
            raise UsageError(f"{origin}{pattern!r} matches none of the {len(clips)} clips{hint}")
        picked |= matches
    return [clip for place, clip in enumerate(clips) if place in picked]


def hold_out(clips: Sequence[Clip], share: float) -> tuple[list[Clip], list[Clip]]:
    """Hold out a share of the clips, always the same ones for the same names.

    Args:
        clips: The clips.
        share: Share of the clips to hold out, in 0..1; of two clips or more, a share above 0 holds out at
            least one, and a share below 1 leaves at least one.

    Returns:
        The clips that are left and those held out, both in the order of ``clips``.
    """
    total = len(clips)
    count = round(share * total)
    if 0 < share < 1:
        count = min(max(count, 1), total - 1)
    drawn = shuffled([clip.name for clip in clips])
    held = set(drawn[: max(count, 0)])
    return (
        [clip for place, clip in enumerate(clips) if place not in held],
        [clip for place, clip in enumerate(clips) if place in held],
    )


def _part(clips: Sequence[Clip], split: Split, part: Part) -> list[Clip]:
    """Pick the clips of a part; what matches none is told with the key that names it."""
    try:
        return select(clips, getattr(split, part), split.lists)
    except UsageError as error:
        if not split.name:
            raise UsageError(f"data.{part}: {error}") from error
        null = "with --data.split null, --data.val and --data.test name clips"
        raise UsageError(f"data.split: {split.name}: {error}; {null}") from error


def _own_split(clips: Sequence[Clip]) -> Split:
    """Give the split that the data set comes with, or an empty one."""
    listed = {part for clip in clips for part in clip.parts}
    if listed:
        return Split.of(*([part] if part in listed else None for part in get_args(Part)))
    first = dict.fromkeys(clip.name.split("/")[0] for clip in clips if "/" in clip.name)
    train, val, test = (
        tuple(name for name in first if _FOLDERS.get(name.lower()) == part) for part in get_args(Part)
    )
    if not train or not (val or test):
        return Split()
    named = (*train, *val, *test)
    beside = [clip.name for clip in clips if clip.name.split("/")[0] not in named]
    if beside:
        raise UsageError(
            f"{', '.join(beside[:5])}{', ...' * (len(beside) > 5)} beside the folders "
            f"{' and '.join(named)}, which are the split of the data set; move "
            f"{'it' if len(beside) == 1 else 'them'} into one, or name the clips with --data.train, "
            "--data.val and --data.test"
        )
    return Split(train, val, test)


def shuffled(names: Sequence[str]) -> list[int]:
    """Give places of names in an order that is drawn from the names alone, and so is always the same."""
    return sorted(range(len(names)), key=lambda place: _draw(names[place]))


def _names(clip: Clip) -> list[str]:
    parents = [str(parent) for parent in PurePosixPath(clip.name).parents][:-1]
    return [name for name in dict.fromkeys([clip.name, clip.group, *parents, *clip.parts]) if name]


def _expand(patterns: Sequence[str]) -> list[tuple[str, str]]:
    """Give each pattern with a prefix for messages that names the file and line it came from."""
    expanded: list[tuple[str, str]] = []
    for pattern in patterns:
        if not pattern.startswith("@"):
            expanded.append((pattern, ""))
            continue
        path = Path(pattern[1:])
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
            raise UsageError(f"{pattern}: cannot read the list of clips: {reason}") from error
        named = [(line.strip(), f"{path}:{number}: ") for number, line in enumerate(lines, 1)]
        listed = [(line, origin) for line, origin in named if line and not line.startswith("#")]
        if not listed:
            raise UsageError(f"{path}: the list of clips is empty")
        expanded += listed
    return expanded


def _draw(name: str) -> bytes:
    return hashlib.blake2b(os.fsencode(name), digest_size=8).digest()
