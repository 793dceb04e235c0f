"""The file format of checkpoints: a zip archive of PyTorch with metadata, sealed with its SHA-256.

``torch.load`` reads such a file as any other. One more record of the archive, ``tracknet.json``, says what it
holds and is read without the tensors; the comment at the end of the archive is the SHA-256 of all before it.

In a compressed checkpoint, such an archive is one compressed record of another one, which has the metadata
and the SHA-256; `plain_archive` gives what ``torch.load`` reads.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from math import isfinite
from pathlib import Path
from typing import IO, Any, Literal, TypedDict

import torch

from tracknet.data.whole_file import remove_leftovers, whole_file
from tracknet.errors import TrackNetError, reasons
from tracknet.training.compression import (
    DEFAULT_LEVEL,
    Compression,
    Method,
    compress,
    expand,
    is_allowed,
    is_compression,
)

FORMAT = 2
"""Number of the format that is written."""

FORMAT_KEY = "tracknet_format"
"""Where it is in the content; what is read has it always."""

Seal = Literal["whole", "damaged", "none"]

_RECORD = "tracknet.json"
_COMPRESSED = "checkpoint/archive.zst"
_MARK = b"tracknet sha256 "
_HEX = 64
_TAIL = 1 << 20
_METADATA_LIMIT = 1 << 24
_PARTS = ("state_dict", "hyper_parameters", "rectifier", "callbacks")


class Metadata(TypedDict):
    """What a checkpoint says of itself.

    Attributes:
        format: Number of its format.
        versions: Version of tracknet, Lightning and PyTorch that wrote it.
        saved: When, UTC, ISO 8601.
        epoch: Epoch, from 0.
        step: Steps of the optimizer that were taken.
        metrics: Figures that checkpoints are chosen by, those of the moment.
        model: Class path of the module; None where it is not told.
        network: Class path of its network; None where it is not told.
        config: Configuration of the run as YAML; None where it is not told.
        data: Fingerprint of the training data; None where it is not told.
        resumable: Whether it holds the state of training, too.
        compression: How it is compressed and what that was worth; None where it is not.
        sha256: SHA-256 of the file without its last 64 bytes, hexadecimal; not compared with the file.
    """

    format: int
    versions: dict[str, str]
    saved: str
    epoch: int
    step: int
    metrics: dict[str, float]
    model: str | None
    network: str | None
    config: str | None
    data: str | None
    resumable: bool
    compression: Compression | None
    sha256: str


def _from_1(content: dict[str, Any]) -> dict[str, Any]:
    """Format 1 is Lightning's own: nothing has another name, only the number is new."""
    return content | {FORMAT_KEY: 2}


MIGRATIONS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: _from_1}
"""For each older format, what makes the content of the next one of it."""


def migrate(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    """Bring the content of a checkpoint to the format of today.

    Args:
        path: Its file, for messages.
        content: The content.

    Returns:
        The content, with its format number under ``tracknet_format``.

    Raises:
        TrackNetError: The format is of a newer tracknet, or the content has not the shape of a checkpoint.
    """
    if fault := _misshapen(content):
        raise TrackNetError(f"{path}: not a readable checkpoint: {fault}; get it again, or take another one")
    found = content.get(FORMAT_KEY, 1)
    if not isinstance(found, int) or not 1 <= found <= FORMAT:
        raise TrackNetError(
            f"{path}: its format is {found!r}; this tracknet reads the formats 1 to {FORMAT}; "
            "it was written by a newer one: pip install --upgrade tracknet"
        )
    for number in range(found, FORMAT):
        content = MIGRATIONS[number](content)
    return content


def _misshapen(content: Mapping[str, Any]) -> str:
    """Say which part of the content is not what it is in checkpoints; an empty text where all are."""
    recipe = content.get("hyper_parameters", {})
    parts = {name: content.get(name, {}) for name in _PARTS}
    if isinstance(recipe, Mapping):
        parts["network"] = recipe.get("network", {})
    for name, part in parts.items():
        if not isinstance(part, Mapping):
            return f"its {name} is a {type(part).__name__}, expected names and values"
        if not all(isinstance(key, str) for key in part):
            return f"its {name} has a name that is no text"
    return ""


def write_checkpoint(
    content: Mapping[str, Any],
    path: Path,
    config: str | None = None,
    compression: Method = "none",
    level: int = DEFAULT_LEVEL,
) -> Compression | None:
    """Write a checkpoint so that it is there as a whole, and on the disk, or not at all.

    Args:
        content: Tensors and plain values, by name.
        path: The file; what is there is replaced.
        config: Configuration of the run as YAML, for the metadata.
        compression: How it is compressed.
        level: Effort of the compression, from 1 to 19.

    Returns:
        What compression was worth; None where there is none, as for gigabytes of zeros, which readers could
        not tell from a trap.

    Raises:
        TrackNetError: The disk does not allow it, or there is more than tensors and plain values in it, which
            could not be read back; or the package that compresses is missing.
    """
    remove_leftovers(path)
    content = dict(content) | {FORMAT_KEY: FORMAT}
    with whole_file(path) as part:
        if compression == "none":
            worth = None
            # Through a file of Python's own, whose errors say what the disk refused.
            with part.open("wb") as file:
                _save(content, file)
            _refuse_code(part, path)
        else:
            # Without a name, so that it goes with the process; not in memory, which training may fill.
            with tempfile.TemporaryFile(dir=path.parent) as plain:
                _save(content, plain)
                _refuse_code(plain, path)
                worth = _compressed(plain, part, level)
        with zipfile.ZipFile(part, "a") as archive:
            told = json.dumps(_describe(content, config) | {"compression": worth}, indent=1)
            archive.writestr(f"{archive.namelist()[0].partition('/')[0]}/{_RECORD}", told)
            archive.comment = _MARK + b"0" * _HEX
        with part.open("rb+") as file:
            digest = _digest(part)
            file.seek(-_HEX, os.SEEK_END)
            file.write(digest.encode())
    return worth


def _save(content: Mapping[str, Any], file: IO[bytes]) -> None:
    """Let PyTorch write to a file; where a disk refuses, it complains of positions, not of the disk."""
    try:
        torch.save(content, file)
    except RuntimeError as error:
        refusal = next((one for one in reasons(error) if isinstance(one, OSError)), None)
        if refusal is None:
            raise
        raise refusal from error


def _refuse_code(archive: Path | IO[bytes], path: Path) -> None:
    if not isinstance(archive, Path):
        archive.seek(0)
    if names := torch.serialization.get_unsafe_globals_in_checkpoint(archive):
        raise TrackNetError(
            f"{path}: not written: it would hold {', '.join(sorted(names)[:3])}, which is code and would "
            "not be read back; keep tensors and plain values in hyperparameters and state_dict()"
        )


def _compressed(plain: IO[bytes], part: Path, level: int) -> Compression | None:
    """Write the archive that holds another one compressed; that other one itself where it may not be."""
    with zipfile.ZipFile(part, "w") as archive, archive.open(_COMPRESSED, "w", force_zip64=True) as record:
        worth = compress(plain, record, level)
    if is_allowed(worth["size"], worth["compressed"]):
        return worth
    plain.seek(0)
    with part.open("wb") as file:
        shutil.copyfileobj(plain, file)
    return None


def plain_archive(path: Path) -> Path | io.BytesIO:
    """Give the archive that ``torch.load`` reads: the file itself, or what is compressed in it.

    Args:
        path: The file.

    Raises:
        TrackNetError: It is compressed, and the package for it is missing, or more or less comes out of it
            than it tells.
    """
    found = read_metadata(path)
    plain: Path | io.BytesIO = path
    if found is not None and found["compression"] is not None:
        with zipfile.ZipFile(path) as archive, archive.open(_COMPRESSED) as record:
            plain = expand(record, found["compression"], path)
    _refuse_trap(plain, path)
    return plain


def _refuse_trap(archive: Path | IO[bytes], path: Path) -> None:
    """Refuse records that zip has compressed, as PyTorch never does, to be far more than the file.

    Also where several of them are the same bytes of the file.
    """
    with suppress(zipfile.BadZipFile), zipfile.ZipFile(archive) as opened:
        size = sum(record.file_size for record in opened.infolist())
        if not is_allowed(size, path.stat().st_size):
            raise TrackNetError(
                f"{path}: not opened: {path.stat().st_size / 1e6:.1f} MB would become {size / 1e6:.0f} MB, "
                "more than any checkpoint is compressed"
            )
    if not isinstance(archive, Path):
        archive.seek(0)


def read_metadata(path: Path) -> Metadata | None:
    """Read what a checkpoint says of itself, without its tensors.

    Args:
        path: The file.

    Returns:
        The metadata; None where there are none, as in files of other programs and of format 1, or where they
        cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            record = next(one for one in archive.infolist() if one.filename.endswith(f"/{_RECORD}"))
            if record.file_size > _METADATA_LIMIT:
                return None
            told = json.loads(archive.read(record))
            sha256 = archive.comment.removeprefix(_MARK).decode("ascii")
    except (OSError, StopIteration, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile):
        return None
    if not isinstance(told, dict) or not _is_metadata(told):
        return None
    found: Metadata = {"compression": None, **told, "sha256": sha256}  # type: ignore[typeddict-item]
    return found


def _is_metadata(told: dict[str, Any]) -> bool:
    texts = ("model", "network", "config", "data")
    return (
        Metadata.__required_keys__ <= told.keys() | {"sha256", "compression"}
        and all(isinstance(told[name], int) for name in ("format", "epoch", "step"))
        and all(isinstance(told[name], dict) for name in ("versions", "metrics"))
        and isinstance(told["saved"], str)
        and all(told[name] is None or isinstance(told[name], str) for name in texts)
        and (told.get("compression") is None or is_compression(told["compression"]))
    )


def check_seal(path: Path) -> Seal:
    """Compare a checkpoint with the SHA-256 in it.

    Args:
        path: The file.

    Returns:
        ``whole``: it is what was written. ``damaged``: it is not. ``none``: it is of format 1, of another
        program or so damaged that it is no archive; it holds no SHA-256.
    """
    tail = _tail(path)
    if not _is_marked(tail):
        return "damaged" if f"/{_RECORD}".encode() in tail else "none"
    return "whole" if _digest(path).encode() == tail[-_HEX:] else "damaged"


def damaged_records(path: Path) -> list[str]:
    """List the records of an archive that are not what their CRC-32 says.

    ``torch.load`` does not compare it. None are listed where all are so: such a file was written without
    these sums, as PyTorch does when it is told to.

    Args:
        path: The file.
    """
    damaged, whole = [], 0
    try:
        with zipfile.ZipFile(path) as archive:
            for record in archive.infolist():
                if record.compress_type != zipfile.ZIP_STORED:
                    continue  # PyTorch compresses none: what comes out may be any size
                try:
                    with archive.open(record) as opened:
                        while opened.read(_TAIL):
                            pass
                    whole += bool(record.file_size)
                except zipfile.BadZipFile:
                    damaged.append(record.filename)
    except (zipfile.BadZipFile, NotImplementedError):
        return []
    return damaged if whole else []


def is_sealed(path: Path) -> bool:
    """Say whether a checkpoint holds a SHA-256, without computing it again.

    Args:
        path: The file.
    """
    return _is_marked(_tail(path))


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _TAIL))
        return file.read()


def _is_marked(tail: bytes) -> bool:
    return tail[-_HEX - len(_MARK) : -_HEX] == _MARK


def _digest(path: Path) -> str:
    """Give the SHA-256 of a file without its last 64 bytes."""
    left = path.stat().st_size - _HEX
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while left > 0 and (block := file.read(min(left, _TAIL))):
            digest.update(block)
            left -= len(block)
    return digest.hexdigest()


def _describe(content: Mapping[str, Any], config: str | None) -> dict[str, Any]:
    recipe = content.get("hyper_parameters", {})
    network = recipe.get("network", content.get("rectifier"))
    states = [one for one in content.values() if isinstance(one, dict)]
    return {
        "format": FORMAT,
        "versions": {name: _version(name) for name in ("tracknet", "lightning", "torch")},
        "saved": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "epoch": int(content.get("epoch", 0)),
        "step": int(content.get("global_step", 0)),
        "metrics": figures_of(content),
        "model": recipe.get("_class_path"),
        "network": network.get("class_path") if isinstance(network, dict) else None,
        "config": config,
        "data": next((one["fingerprint"] for one in states if "fingerprint" in one), None),
        "resumable": "optimizer_states" in content,
    }


def figures_of(content: Mapping[str, Any]) -> dict[str, float]:
    """Give the figures that checkpoints were chosen by, by name, those of the moment that are numbers.

    Args:
        content: Content of a checkpoint.
    """
    states = [one for one in content.get("callbacks", {}).values() if isinstance(one, Mapping)]
    return {
        str(one["monitor"]): float(one["current_score"])
        for one in states
        if one.get("monitor") and one.get("current_score") is not None and isfinite(one["current_score"])
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
