"""What tells one set of labelled clips from another: their names, frames and labels."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from tracknet.data.cached_clip import LabelledClip
from tracknet.data.clips import Part
from tracknet.data.labels import Labels

_HEX = 16
_NAMED = 3


def clip_prints(clips: Sequence[LabelledClip]) -> dict[str, str]:
    """Give a short hexadecimal number for each clip that changes with its frames or its labels.

    Args:
        clips: Clips, mostly of the frame cache, which knows them by their content and size.

    Returns:
        Name of the clip -> number.
    """
    return {clip.name: clip_print(clip.cached.key, clip.cached.frames.shape, clip.labels) for clip in clips}


def clip_print(key: str, shape: tuple[int, ...], labels: Labels) -> str:
    """Give the number of one clip.

    Args:
        key: Name of the frames, which changes with them.
        shape: Their shape.
        labels: The labels.
    """
    digest = hashlib.sha256(f"{key}{shape}".encode())
    # Without degrees of visibility, its bytes are those of "visible"; zeros have no sign.
    for column in (labels.xy + 0.0, labels.visibility, labels.labelled):
        digest.update(np.ascontiguousarray(column).tobytes())
    return digest.hexdigest()[:_HEX]


def fingerprint(parts: Mapping[Part, Mapping[str, str]]) -> str:
    """Give one number for the clips of all parts.

    Args:
        parts: Part -> what `clip_prints` gives for it.
    """
    told = sorted((part, *one) for part, clips in parts.items() for one in clips.items())
    return hashlib.sha256(repr(told).encode()).hexdigest()[:_HEX]


def differences(
    before: Mapping[Part, Mapping[str, str]], after: Mapping[Part, Mapping[str, str]]
) -> list[str]:
    """Say which clips are new, gone or changed.

    Args:
        before: Part -> what `clip_prints` gave for it.
        after: The same of today; parts that only one of them has are passed over.

    Returns:
        A line for each part in which something is not the same.
    """
    lines = []
    for part in before:
        if part not in after:
            continue
        old, new = before[part], after[part]
        sorts = {
            "new": [name for name in new if name not in old],
            "gone": [name for name in old if name not in new],
            "changed": [name for name in old if name in new and new[name] != old[name]],
        }
        told = [f"{len(names)} {sort} ({_some(names)})" for sort, names in sorts.items() if names]
        if told:
            lines.append(f"{part} clips: {', '.join(told)}")
    return lines


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", ..." if len(names) > _NAMED else "")
