"""Which number the rows of a label file name each frame by: that of its image, or its place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tracknet.data.faults import Fault


def image_numbers(images: Sequence[str]) -> list[int]:
    """Numbers that are the names of images; none where a name is no number.

    Args:
        images: Names of the image files of a clip, in order.
    """
    stems = [Path(name).stem for name in images]
    return [int(stem) for stem in stems] if all(stem.isdecimal() for stem in stems) else []


def match_numbers(
    path: Path, rows: set[int], frames: Sequence[int], images: Sequence[str]
) -> tuple[Sequence[int], list[Fault]]:
    """Find the number by which rows name each frame, and what is odd about it.

    Args:
        path: The file of labels.
        rows: Numbers in the rows.
        frames: Numbers of the frames, counted from 0.
        images: Names of the image files, in order.

    Returns:
        The number of each frame, and at most one fault.
    """
    plain = image_numbers(images)
    numbers = plain or _numbers_behind_prefix(images) or list(frames)
    if rows <= set(numbers) or not numbers:
        return numbers, []
    first, last, count = numbers[0], numbers[-1], len(numbers)
    message = f"the images are numbered {first} to {last}, the rows {min(rows)} to {max(rows)}"
    # Numbers behind a prefix tell little where they disagree: every fifth frame of a video has such names.
    if (not plain and max(rows) < count) or (first > 0 and _count_images(rows, numbers)):
        message += ": row 0 is taken for the first image"
        warning = Fault(path, "other-numbers", message, severity="warning")
        return frames, _counted_from_1(path, rows, count - 1) or [warning]
    if first == 0:
        return numbers, _counted_from_1(path, rows, last)
    if min(rows) >= first or max(rows) == last:
        return numbers, []
    return numbers, [Fault(path, "unclear-numbers", f"{message}: which belong together?")]


def _numbers_behind_prefix(images: Sequence[str]) -> list[int]:
    """Numbers at the end of names that begin alike, as frame_0001.jpg; none where they do not rise."""
    found = [match for name in images if (match := re.fullmatch(r"(.*?)(\d+)", Path(name).stem, re.DOTALL))]
    numbers = [int(match[2]) for match in found]
    alike = len(found) == len(images) and len({match[1] for match in found}) == 1
    return numbers if alike and numbers == sorted(set(numbers)) else []


def _count_images(rows: set[int], numbers: Sequence[int]) -> bool:
    """Say whether rows count the images from 0 rather than name their numbers, which begin higher."""
    first, last, count = numbers[0], numbers[-1], len(numbers)
    if rows.isdisjoint(numbers) and min(rows) < min(first, count):
        return True
    within = [row for row in rows if row <= last]
    if 0 not in rows or max(within) != count - 1 or len(rows) - len(within) > 1:  # one slip
        return False
    gapless = last - first + 1 == count
    return gapless or len(within) == count


def _counted_from_1(path: Path, rows: set[int], last: int) -> list[Fault]:
    """Give the fault of rows that begin at 1 and end one behind the last frame, if they do."""
    message = f"seems to count frames from 1: none is 0, and {last + 1} is behind the last"
    shifted = min(rows) == 1 and max(rows) == last + 1
    return [Fault(path, "counted-from-1", message)] if shifted else []
