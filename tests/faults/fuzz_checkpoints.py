"""Changed checkpoints: of their bytes, metadata and content, with and without a seal that fits."""

from __future__ import annotations

import hashlib
import io
import json
import random
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .mutate import mutate

_MARK = b"tracknet sha256 "
_VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1e308,
    float("nan"),
    "",
    "x" * 500,
    [],
    {},
    [[]],
    {"a": {}},
    b"\xff",
    2**70,
)
_ENDLESS: list[Any] = []
_ENDLESS.append(_ENDLESS)
_UNFOLDING: list[Any] = ["x"] * 10
for _ in range(20):
    _UNFOLDING = [_UNFOLDING] * 10
_TOKENS = [
    *(b'null true false 0 -1 1e999 NaN [ ] { } , : " format versions saved epoch step metrics model'.split()),
    *(b"network config data resumable BrightNetwork os.system builtins.eval ctorch collections".split()),
]


def checkpoint_files(folder: Path) -> Callable[[random.Random], tuple[str, bytes]]:
    """Give what makes changed checkpoints."""
    import torch

    from tracknet.training.checkpoint_format import write_checkpoint

    from .inputs import write_tracker

    path = write_tracker(folder / "seed.ckpt")
    whole = path.read_bytes()
    content = torch.load(path, weights_only=True)
    path.unlink()

    def change_content(draw: random.Random) -> bytes:
        changed = _change_value(content, draw)
        target = folder / "made.ckpt"
        try:
            write_checkpoint(changed, target)
        except Exception:  # what cannot be written is no file to read
            torch.save(changed, target)
        made = target.read_bytes()
        target.unlink()
        return made

    def make(draw: random.Random) -> tuple[str, bytes]:
        how = draw.choice(("bytes", "record", "sealed record", "content"))
        if how == "bytes":
            return "changed.ckpt", mutate(whole, draw, _TOKENS)
        if how == "content":
            return "changed.ckpt", change_content(draw)
        return "changed.ckpt", _change_record(whole, draw, sealed=how == "sealed record")

    return make


def read_checkpoints(folder: Path) -> Callable[[Path], str]:
    """Give what inspects, verifies and loads a checkpoint; each must refuse it or read it."""
    from tracknet.errors import TrackNetError
    from tracknet.training.checkpoint_format import check_seal, read_metadata
    from tracknet.training.checkpoint_report import report_checkpoint
    from tracknet.training.checkpoint_tools import verify
    from tracknet.training.checkpoints import load_tracker

    def read(path: Path) -> str:
        check_seal(path)
        read_metadata(path)
        refused = 0
        for one in (report_checkpoint, verify, load_tracker):
            try:
                one(path)
            except TrackNetError as error:
                refused += 1
                if str(path) not in str(error):
                    raise AssertionError("the message does not name the file") from error
        return "refused" if refused else "read"

    return read


def _change_record(whole: bytes, draw: random.Random, sealed: bool) -> bytes:
    """Change one record of the archive; with a seal that fits, or with none."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as source, zipfile.ZipFile(out, "w") as target:
        names = source.namelist()
        weights = [8 if name.endswith(("data.pkl", "tracknet.json")) else 1 for name in names]
        (chosen,) = draw.choices(names, weights)
        for name in names:
            record = source.read(name)
            if name == chosen:
                is_json = name.endswith(".json") and draw.random() < 0.6
                record = _change_json(record, draw) if is_json else mutate(record, draw, _TOKENS)
            if name != chosen or draw.random() > 0.05:
                target.writestr(name, record)
        target.comment = _MARK + b"0" * 64 if sealed else b""
    made = out.getvalue()
    return made[:-64] + hashlib.sha256(made[:-64]).hexdigest().encode() if sealed else made


def _change_json(record: bytes, draw: random.Random) -> bytes:
    values = [one for one in _VALUES if not isinstance(one, bytes)]
    told = json.loads(record)
    told[draw.choice(list(told))] = draw.choice(values)
    return json.dumps(told if draw.random() > 0.05 else draw.choice(values)).encode()


def _change_value(content: Any, draw: random.Random) -> Any:
    """Put another value in some place of nested dictionaries and lists."""
    if isinstance(content, dict) and content and draw.random() < 0.85:
        key = draw.choice(list(content))
        what = draw.random()
        if what < 0.1:
            return {name: one for name, one in content.items() if name != key}
        if what < 0.15:
            return {**content, draw.choice((0, "x", "network", None, "_class_path")): draw.choice(_VALUES)}
        return {**content, key: _change_value(content[key], draw)}
    if isinstance(content, list) and content and draw.random() < 0.7:
        place = draw.randrange(len(content))
        return [*content[:place], _change_value(content[place], draw), *content[place + 1 :]]
    return draw.choice((*_VALUES, _ENDLESS, _UNFOLDING))
