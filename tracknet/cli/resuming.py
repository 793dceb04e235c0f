"""Which checkpoint ``--ckpt_path last``, ``best`` or a folder means, and what has changed since it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from tracknet.cli.words import CKPT_FLAG, checkpoints_named
from tracknet.configs import compose
from tracknet.errors import TrackNetError, UsageError
from tracknet.training.checkpoint_files import checkpoints_in
from tracknet.training.checkpoint_format import check_seal, read_metadata
from tracknet.training.checkpoint_reading import read_checkpoint
from tracknet.training.checkpoint_report import changes, flat

_FOUND = ("last", "best")
_RUNS = "runs"
_OF_EACH_RUN = ("ckpt_path", "trainer.logger.version", "config")
"""Settings that are another in each run."""


@dataclass
class Resolved:
    """The words of a command with the checkpoint they mean.

    Attributes:
        words: The words, with the file in the place of ``last``, ``best`` or a folder.
        notes: What was passed over, a line each.
    """

    words: list[str]
    notes: list[str] = field(default_factory=list)


def resolve(words: Sequence[str], command: str) -> Resolved:
    """Put the checkpoint's file in the place of ``last``, ``best`` or the folder of a run.

    ``last`` is the newest checkpoint of the runs in the folder of the logger (``save_dir/name``), and of
    those that callbacks with a ``dirpath`` write elsewhere; ``best`` is the newest ``best*.ckpt`` there. A
    folder means the newest checkpoint in it. A checkpoint that is damaged is passed over for the next newest.

    Args:
        words: Words of the command line after the command.
        command: The command.

    Returns:
        The words and what there is to say. ``fit --ckpt_path last`` begins anew where there is no checkpoint
        yet, so that one command starts and resumes a run.

    Raises:
        UsageError: There is no checkpoint.
        TrackNetError: All are damaged.
    """
    words = list(words)
    for place, rest, name in checkpoints_named(words):
        if name not in _FOUND and not Path(name).is_dir():
            continue
        others = words[:place] + words[rest:]
        folder = Path(name)
        elsewhere: dict[Path, list[Path]] = {}
        if name in _FOUND:
            trainer = compose(others, command).values.get("trainer", {})
            folder, elsewhere = folder_of_runs(trainer), _written_elsewhere(trainer)
        searched = " or ".join(map(str, dict.fromkeys([folder, *elsewhere])))
        files = _newest_first([*checkpoints_in(folder, below=True), *chain(*elsewhere.values())])
        if name == "best":
            files = [path for path in files if path.name.startswith("best")]
        if command == "fit":
            files = [path for path in files if _is_resumable(path)]
        if not files and command == "fit" and name == "last":
            return Resolved(others, [f"no checkpoint under {searched} yet; training begins anew"])
        if not files:
            what = "checkpoint to go on from" if command == "fit" else "checkpoint"
            raise UsageError(f"{CKPT_FLAG} {name}: no {what} under {searched}")
        notes: list[str] = []
        chosen = _first_whole(files, notes)
        notes.append(f"{CKPT_FLAG} {name}: {chosen}")
        return Resolved([*others[:place], f"{CKPT_FLAG}={chosen}", *others[place:]], notes)
    return Resolved(words)


def folder_of_runs(trainer: Mapping[str, Any]) -> Path:
    """Give the folder in which the logger of a configuration puts its runs.

    Args:
        trainer: Settings of the trainer.

    Returns:
        ``save_dir/name``, with the version where one is set; ``runs`` where nothing is set.
    """
    logger = trainer.get("logger")
    first = logger[0] if isinstance(logger, list) and logger else logger
    options = first.get("init_args", {}) if isinstance(first, Mapping) else {}
    folder = Path(str(options.get("save_dir") or _RUNS)) / str(options.get("name") or "")
    version = options.get("version")
    if version is None:
        return folder
    return folder / (version if isinstance(version, str) else f"version_{version}")


def changes_since(checkpoint: Path, config: str) -> list[str]:
    """Say which settings are not those of the run that a checkpoint comes from.

    Those of optimizer and schedule have no effect: they come back with the state in the checkpoint.

    Args:
        checkpoint: The checkpoint.
        config: Configuration of this run as YAML.

    Returns:
        A line for each setting; none where the checkpoint does not tell its configuration.

    Raises:
        UsageError: The optimizer or the schedule is of another class, which cannot take up that state, or
            the schedule has a length that comes back with it.
    """
    found = read_metadata(checkpoint)
    told = found["config"] if found else None
    beside = checkpoint.parent.parent / "config.yaml"
    if told is None and beside.is_file():
        told = beside.read_text(encoding="utf-8")
    if told is None:
        return []
    try:
        before, after = (
            {key: value for key, value in flat(_plain(yaml.safe_load(text))) if not _is_of_each_run(key)}
            for text in (told, config)
        )
    except yaml.YAMLError as error:
        return [f"its configuration is not plain YAML: {' '.join(str(error).split())}"]
    for part in ("optimizer", "lr_scheduler"):
        old, new = (_class_name(settings, part) for settings in (before, after))
        if old and new and old != new:
            raise UsageError(
                f"{part}: {checkpoint} holds the state of {old}, which {new} cannot take up; leave {part} as "
                f"it is, or {_FROM_WEIGHTS}"
            )
    if _class_name(after, "lr_scheduler") == "OneCycleLR":  # fails in the step past its end
        for key in _LENGTH_OF_CYCLE:
            if (old := before.get(key)) != (new := after.get(key)):
                raise UsageError(
                    f"{key}: {checkpoint} holds a OneCycleLR that was begun with {old} and cannot be made "
                    f"another length, found {new}; leave the lengths of cycle and run as they are, "
                    f"or {_FROM_WEIGHTS}"
                )
    taken = {"lr_scheduler.total_steps"}
    if _class_name(after, "lr_scheduler") == "CosineAnnealingLR":
        taken.add("lr_scheduler.T_max")
    # What is not set is that of an option which is newer than the run.
    told_of = changes(
        before, {key: value for key, value in after.items() if key in before or value is not None}
    )
    return [f"{line}{_WITHOUT_EFFECT}" if _comes_back(line, taken) else line for line in told_of]


_FROM_WEIGHTS = "begin a run from the weights alone, with the callback PretrainedWeights"
_LENGTH_OF_CYCLE = tuple(f"lr_scheduler.{one}" for one in ("total_steps", "epochs", "steps_per_epoch"))
_WITHOUT_EFFECT = " (without effect: that of the checkpoint comes back with its state)"


def _class_name(settings: Mapping[str, Any], part: str) -> str | None:
    chosen = settings.get(f"{part}.class_path", settings.get(part))
    return None if chosen is None else str(chosen).rpartition(".")[2]


def _comes_back(line: str, taken: Collection[str]) -> bool:
    key = line.split(maxsplit=1)[1].partition(":")[0]
    return key.startswith(("optimizer.", "lr_scheduler.")) and key not in taken


def _plain(tree: Any) -> dict[str, Any]:
    return tree if isinstance(tree, dict) else {}


def _is_of_each_run(key: str) -> bool:
    return any(key == one or key.startswith(f"{one}.") for one in _OF_EACH_RUN)


def _written_elsewhere(trainer: Mapping[str, Any]) -> dict[Path, list[Path]]:
    """Give what callbacks wrote into each ``dirpath``, by its name: runs with other names may share it."""
    found: dict[Path, list[Path]] = {}
    callbacks = trainer.get("callbacks")
    for one in callbacks if isinstance(callbacks, list) else [callbacks]:
        options = one.get("init_args") if isinstance(one, Mapping) else None
        if not isinstance(options, Mapping) or options.get("dirpath") is None:
            continue
        parts = re.split(r"\{.*?\}", str(options.get("filename") or "{}"))
        names = [".*".join(map(re.escape, parts)), *(["last"] if options.get("save_last") else [])]
        written = re.compile(rf"({'|'.join(names)})(-v\d+)?\.ckpt")
        folder = Path(str(options["dirpath"]))
        found.setdefault(folder, []).extend(
            path for path in checkpoints_in(folder) if written.fullmatch(path.name)
        )
    return found


def _newest_first(paths: Iterable[Path]) -> list[Path]:
    files = {path for path in paths if path.is_file()}
    return sorted(files, key=lambda path: path.stat().st_mtime_ns, reverse=True)


def _is_resumable(path: Path) -> bool:
    found = read_metadata(path)
    return found is None or found["resumable"]


def _first_whole(files: Sequence[Path], notes: list[str]) -> Path:
    for path in files:
        try:
            if check_seal(path) != "whole":
                read_checkpoint(path)
        except TrackNetError as error:
            notes.append(f"{error}; the one before it is taken")
        else:
            return path
    raise TrackNetError(f"{CKPT_FLAG}: none of {len(files)} checkpoints can be read: {notes[0]}")
