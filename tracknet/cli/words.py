"""The words of a training command: the run that a checkpoint comes from, and what no one may set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tracknet.configs import COMMAND_LINE, CONFIG_FLAGS, Composed, Start
from tracknet.errors import UsageError, nearest

LINKS = {
    "frames": "frames",
    "outputs": "outputs",
    "needs_background": "background",
    "input_size": "size",
    "overlaps": "overlap",
}
"""Attribute of the module -> parameter of the data: written once, at the model."""

FOUND_BY_LIGHTNING = ("last", "hpc")
"""Values of ``--ckpt_path`` that are no files: what a resumed training looks for in its own folder."""

_SET_AT = {
    "input_size": "model.input_size",
    "needs_background": "model.network.background",
    "overlaps": "model.eval_mode",
}


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
    for place, word in enumerate(words):
        flag, _, value = word.partition("=")
        if flag != "--ckpt_path" or not (value or place + 1 < len(words)):
            continue
        name = value or words[place + 1]
        if name in FOUND_BY_LIGHTNING or "://" in name or name.startswith("registry:"):
            continue
        path = Path(name)
        if not path.is_file():
            near = [str(p) for p in path.parent.glob("*.ckpt")] if path.parent.is_dir() else []
            raise UsageError(f"--ckpt_path: no file {name!r}{nearest(name, near)}")
        if path.suffix.lower() in (".yaml", ".yml"):
            raise UsageError(
                f"--ckpt_path: {name} is a configuration; expected a checkpoint, such as "
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
