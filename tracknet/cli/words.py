"""The words of a training command: the run that a checkpoint comes from, and what no one may set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from tracknet.configs import COMMAND_LINE, CONFIG_FLAGS, Composed, Start
from tracknet.errors import UsageError, nearest

LINKS = {
    "frames": "frames",
    "outputs": "outputs",
    "needs_background": "background",
    "input_size": "size",
    "eval_step": "eval_step",
}
"""Attribute of the module -> parameter of the data: written once, at the model."""

CKPT_FLAG = "--ckpt_path"
NO_CKPT = f"{CKPT_FLAG}: expected a file or a folder, found nothing"
FOUND_BY_LIGHTNING = ("last", "hpc")
"""Values of ``--ckpt_path`` that are no files: what a resumed training looks for in its own folder."""

_SET_AT = {
    "input_size": "model.input_size",
    "needs_background": "model.network.background",
    "eval_step": "model.eval_step",
}


def checkpoints_named(words: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Find ``--ckpt_path`` in words.

    Args:
        words: Words of the command line.

    Yields:
        Where it stands, where the words behind it and its value begin, and the value.

    Raises:
        UsageError: The value is empty, as of a variable of the shell that is not set.
    """
    for place, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag != CKPT_FLAG or not (equals or place + 1 < len(words)):
            continue
        name, rest = (value, place + 1) if equals else (words[place + 1], place + 2)
        if not name:
            raise UsageError(NO_CKPT)
        yield place, rest, name


def config_of_run(words: Sequence[str]) -> Start | None:
    """Find the configuration of the run that a checkpoint comes from, where no configuration is named.

    Args:
        words: Words of the command line.

    Returns:
        ``RUN/config.yaml`` for ``--ckpt_path RUN/checkpoints/best.ckpt``; where there is none, what the
        checkpoint itself holds; nothing where that is nothing, or where ``--config`` names a file.

    Raises:
        UsageError: There is no such checkpoint, or it is a configuration.
    """
    for _, _, name in checkpoints_named(words):
        if name in FOUND_BY_LIGHTNING or "://" in name or name.startswith("registry:"):
            continue
        path = Path(name)
        if not path.is_file():
            near = [str(p) for p in path.parent.glob("*.ckpt")] if path.parent.is_dir() else []
            raise UsageError(f"{CKPT_FLAG}: no file {name!r}{nearest(name, near)}")
        if path.suffix.lower() in (".yaml", ".yml"):
            raise UsageError(
                f"{CKPT_FLAG}: {name} is a configuration; expected a checkpoint, such as "
                "RUN/checkpoints/best.ckpt, which finds its configuration by itself"
            )
        if any(word.partition("=")[0] in CONFIG_FLAGS for word in words):
            continue
        config = path.parent.parent / "config.yaml"
        if config.is_file():
            return Start(config)
        from tracknet.training.checkpoint_format import read_metadata

        found = read_metadata(path)
        if found is not None and found["config"] is not None:
            return Start(path, found["config"])
    return None


def follows_model(attribute: str) -> str:
    """Say where to set a value of the data that follows an attribute of the model."""
    return f"it follows the model; set {_SET_AT.get(attribute, 'model.network.frames')} instead"


def refuse_linked(composed: Composed) -> None:
    """Refuse values that follow the model, which would otherwise be passed over without a word.

    Args:
        composed: The configuration.

    Raises:
        UsageError: A flag, an environment variable or a file sets such a value.
    """
    for attribute, parameter in LINKS.items():
        if place := composed.place(f"data.{parameter}"):
            mend = follows_model(attribute)
            if place.source != COMMAND_LINE:
                column = "" if place.column is None else f":{place.column}"
                raise UsageError(f"{place}{column}: data.{parameter}: {mend}")
            names = (f"--data.{parameter}", f"--data.init_args.{parameter}")
            flags = (word.partition("=")[0] for word in composed.words)
            raise UsageError(f"{next(flag for flag in flags if flag in names)}: {mend}")
