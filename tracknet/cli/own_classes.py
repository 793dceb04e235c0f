"""What a class of the user's own says against its values, in one message."""

from __future__ import annotations

from traceback import walk_tb
from types import FrameType

from jsonargparse import Namespace

from tracknet.configs.check import Fault
from tracknet.configs.crossing import chosen_classes, path_of
from tracknet.configs.options import load
from tracknet.errors import reasons

_NOT_THEIRS = ("tracknet", "lightning", "torch", "torchmetrics", "jsonargparse")


def refused_by_own_class(error: BaseException, config: Namespace) -> Fault | None:
    """Find out whether a class of the user's own, chosen by the configuration, has refused its values.

    Args:
        error: What came of building the classes.
        config: The parsed configuration of one command.

    Returns:
        The key of the class, and what was raised where in their code. None where it was no ``ValueError``,
        which is how a class refuses values, or came from our own code: that is a bug, to be seen as a whole.
    """
    theirs = {load(path): key for key, path in reversed(list(chosen_classes(config)))}
    for reason in reasons(error):  # the last that their code let through: what it caught itself is its own
        lines = dict(walk_tb(reason.__traceback__))
        frames = list(reversed(lines))
        frame = next((one for one in frames if _class_begun_in(one) in theirs), None)
        if frame is None:
            continue
        if not isinstance(reason, ValueError) or _package(frames[0]) in _NOT_THEIRS[:1]:
            return None
        cls = _class_begun_in(frame)
        package = cls.__module__.partition(".")[0]
        place = next(one for one in frames if one is frame or _package(one) == package)
        at = f"{place.f_code.co_filename}:{lines[place]}"
        said = f"{type(reason).__name__}: {' '.join(str(reason).split())} ({at})"
        return Fault(path_of(theirs[cls]), f"{cls.__name__} does not take its values: {said}")
    return None


def _class_begun_in(frame: FrameType) -> type:
    """Give the class of the user's own whose ``__init__`` runs there; ``NoneType`` where none does."""
    cls = type(frame.f_locals.get("self"))
    own = cls.__module__.partition(".")[0] not in _NOT_THEIRS
    return cls if own and frame.f_code.co_name == "__init__" else type(None)


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
