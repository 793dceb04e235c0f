"""The index of packed data, ``index.json``: read only where nothing in it leads elsewhere.

Packed data travel, and whoever changes an index can compute its digest anew. Copies of shards are named after
digests, and shards are found by name: neither may be anything but that.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from tracknet.data.clips import is_clip_name
from tracknet.data.shards import ShardError, chunks_at, patiently
from tracknet.errors import TrackNetError

PACK_VERSION = 1
INDEX, TABLE = "index.json", "frames.npy"

_SHARD = re.compile(r"(train|val|test)(_(train|val|test))*-[0-9]{5,9}\.tar", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{40}", re.ASCII)
_LARGEST_SIDE = 1 << 14
_LONGEST = 10_000_000  # frames of a clip
_LARGEST_SHARD = 1 << 50


def read_index(root: str) -> dict[str, Any]:
    """Read the index of packed data.

    Args:
        root: Folder or address of the packed data.

    Returns:
        Its content: names of shards are those of files beside it, digests are digests, and all numbers fit
        together.

    Raises:
        TrackNetError: There is none, or it is damaged or of another version.
    """
    address = f"{root.rstrip('/')}/{INDEX}"
    try:
        content = b"".join(patiently(lambda: [*chunks_at(address)]))
    except ShardError as error:
        raise TrackNetError(
            f"{error}; expected packed data that are whole: tracknet data pack goes on when called again"
        ) from error
    try:
        index: dict[str, Any] = json.loads(content)
        digest = index.pop("digest")
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise TrackNetError(f"{address}: damaged; write it again with tracknet data pack") from error
    if index.get("version") != PACK_VERSION:
        raise TrackNetError(
            f"{address}: version {index.get('version')}, expected {PACK_VERSION}; pack the data again"
        )
    if digest != digest_of_index(index):
        raise TrackNetError(f"{address}: damaged; write it again with tracknet data pack")
    if fault := _fault(index):
        raise TrackNetError(f"{address}: not opened: {fault}; get the data again, or pack them again")
    return index


def digest_of_index(index: Mapping[str, Any]) -> str:
    """Hash an index without its digest; 40 hexadecimal digits."""
    return hashlib.blake2b(json.dumps(index, sort_keys=True).encode(), digest_size=20).hexdigest()


def _fault(index: Mapping[str, Any]) -> str:
    """Say what in an index `tracknet data pack` would not have written; empty where there is nothing."""
    settings, shards, clips = (index.get(name) for name in ("settings", "shards", "clips"))
    if not isinstance(settings, dict) or not isinstance(shards, list) or not isinstance(clips, list):
        return "expected settings, shards and clips"
    if not _numbers(settings.get("size"), 2, 1, _LARGEST_SIDE) or not _number(settings.get("frames"), 1):
        return f"the settings {_short(settings)}"
    if not _is_digest(index.get("table")):
        return f"the digest of the table {_short(index.get('table'))}, expected 40 hexadecimal digits"
    if not shards:
        return "no shards"
    for shard in shards:
        if fault := _shard_fault(shard):
            return fault
    bounds = [(shard["first"], shard["stop"]) for shard in shards]
    if bounds[0][0] != 0 or any(before[1] != after[0] for before, after in pairwise(bounds)):
        return "shards whose rows do not follow each other"
    for clip in clips:
        if not _is_clip(clip, shards):
            return f"the clip {_short(clip)}"
    return ""


def _shard_fault(shard: Any) -> str:
    if not isinstance(shard, dict) or shard.keys() != {"name", "bytes", "digest", "first", "stop"}:
        return f"the shard {_short(shard)}"
    if not isinstance(shard["name"], str) or not _SHARD.fullmatch(shard["name"]):
        return f"the shard {_short(shard['name'])}, expected the name of a file beside it, train-00000.tar"
    if not _is_digest(shard["digest"]):
        return f"the digest {_short(shard['digest'])} of a shard, expected 40 hexadecimal digits"
    rows = shard["first"], shard["stop"]
    if not _number(shard["bytes"], 0, _LARGEST_SHARD) or not _is_range(rows, _LARGEST_SHARD):
        return f"the shard {_short(shard)}"
    return ""


def _is_clip(clip: Any, shards: list[dict[str, Any]]) -> bool:
    """Tell whether a clip has the shape of one, and whether its frames and rows are as many."""
    names = {"name", "parts", "key", "fps", "source_size", "frames", "stretches", "rows", "background"}
    if not isinstance(clip, dict) or not names <= clip.keys():
        return False
    rows, frames, stretches = clip["rows"], clip["frames"], clip["stretches"]
    if not _is_range(rows, shards[-1]["stop"]) or not _number(frames, 1, _LONGEST):
        return False
    if stretches is None:
        packed = frames
    elif isinstance(stretches, list) and all(_is_range(one, frames) for one in stretches):
        packed = sum(stop - first for first, stop in stretches)
    else:
        return False
    return (
        packed == rows[1] - rows[0]
        and all(isinstance(clip[name], str) for name in ("name", "key"))
        and is_clip_name(clip["name"])
        and isinstance(clip["parts"], list)
        and isinstance(clip["fps"], (int, float))
        and _numbers(clip["source_size"], 2, 1)
        and isinstance(clip["background"], dict)
        and bool(clip["background"])
        and all(_is_span(number, span, shards) for number, span in clip["background"].items())
    )


def _is_span(number: str, span: Any, shards: list[dict[str, Any]]) -> bool:
    """Tell whether a place lies in a shard."""
    if not re.fullmatch("[0-9]{1,9}", number, re.ASCII) or int(number) >= len(shards):
        return False
    return _numbers(span, 3, 0) and span[0] + span[1] <= shards[int(number)]["bytes"]


def _is_range(value: Any, most: int) -> bool:
    return _numbers(value, 2, 0, most) and bool(value[0] < value[1])


def _numbers(value: Any, count: int, least: int, most: int = 1 << 60) -> bool:
    return (
        isinstance(value, (list, tuple))
        and len(value) == count
        and all(_number(one, least, most) for one in value)
    )


def _number(value: Any, least: int, most: int = 1 << 60) -> bool:
    return type(value) is int and least <= value <= most


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and bool(_DIGEST.fullmatch(value))


def _short(value: Any) -> str:
    told = " ".join(repr(value).split())
    return told if len(told) <= 100 else f"{told[:100]} ..."
