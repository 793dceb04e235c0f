"""Changed indices of packed data, with a digest that fits."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tracknet.data.check import check_dataset
from tracknet.data.packed import Pack
from tracknet.data.packed_index import INDEX, digest_of_index
from tracknet.data.packing import Packing, PackSettings
from tracknet.data.splits import Split, choose_clips
from tracknet.data.video import VideoWriter

from .mutate import mutate

SIZE = (32, 48)
FRAMES = 6
_VALUES: tuple[Any, ...] = (
    *(None, True, 0, 1, -1, 7, 1e308, 2**70, 10**9, "", "..", "../a", "/a", "a\0", "x" * 300, [], {}, [[]]),
    *("../../outside", "train-00000.tar", "0" * 40, [0, 1], [0, 2**63], [1, 0], {"0": [0, 1, 0]}, {"9": []}),
)
_TOKENS = [
    *(b'null true 0 -1 1e999 NaN [ ] { } , : " name digest shards clips rows bytes first stop'.split())
]


def write_packed(folder: Path) -> Path:
    """Pack two short clips into one shard each; gives the folder."""
    source = folder / "source"
    source.mkdir(parents=True, exist_ok=True)
    for name in "ab":
        with VideoWriter(source / f"{name}.mp4", SIZE, fps=30) as video:
            for number in range(FRAMES):
                video.write(np.full((*SIZE, 3), 20 * number, np.uint8))
        rows = "".join(f"{number},1,{3 + number},9\n" for number in range(FRAMES))
        (source / f"{name}.csv").write_text(f"Frame,Visibility,X,Y\n{rows}")
    report = check_dataset(source)
    parts = choose_clips([one.clip for one in report.checked], Split(val=("a",)), 0.0)
    packed = folder / "packed"
    Packing(packed, report, parts, PackSettings(SIZE, 90, 10_000, 3)).write(progress=False)
    return packed


def sealed(index: dict[str, Any]) -> bytes:
    """Write an index with its digest, as whoever changes one can."""
    told = {name: value for name, value in index.items() if name != "digest"}
    return json.dumps(told | {"digest": digest_of_index(told)}).encode()


def packed_files(folder: Path) -> Callable[[random.Random], tuple[str, bytes]]:
    """Give what makes changed indices."""
    whole = (write_packed(folder) / INDEX).read_bytes()
    index = json.loads(whole)

    def make(draw: random.Random) -> tuple[str, bytes]:
        if draw.random() < 0.3:
            return INDEX, mutate(whole, draw, _TOKENS)
        changed = index
        for _ in range(draw.choice((1, 1, 2))):
            changed = _changed(changed, draw)
        return INDEX, sealed(changed) if isinstance(changed, dict) else json.dumps(changed).encode()

    return make


def read_packed(folder: Path) -> Callable[[Path], str]:
    """Give what opens packed data with that index and reads frames, in place and through copies."""
    packed, copies = folder / "packed", folder / "copies"

    def read(path: Path) -> str:
        path.replace(packed / INDEX)
        before = _outside(folder, packed, copies)
        try:
            for place in (None, copies):
                pack = Pack(str(packed), place, 1 << 24)
                for clip in (one for part in ("train", "val", "test") for one in pack.clips(part)):
                    assert clip.cached.frames[[0, -1]].shape == (2, 3, *pack.size)
                    assert np.asarray(clip.cached.background).shape == (3, *pack.size)
        finally:
            assert _outside(folder, packed, copies) == before
        return "read"

    return read


def _outside(folder: Path, *inside: Path) -> set[Path]:
    """List the files that are in none of some folders."""
    return {path for path in folder.rglob("*") if not any(path.is_relative_to(one) for one in inside)}


def _changed(value: Any, draw: random.Random) -> Any:
    """Put another value in some place of nested dictionaries and lists."""
    if isinstance(value, dict) and value and draw.random() < 0.95:
        key = draw.choice(list(value))
        if draw.random() < 0.05:
            return {name: one for name, one in value.items() if name != key}
        return {**value, key: _changed(value[key], draw)}
    if isinstance(value, list) and value and draw.random() < 0.9:
        place = draw.randrange(len(value))
        return [*value[:place], _changed(value[place], draw), *value[place + 1 :]]
    return draw.choice(_VALUES)
