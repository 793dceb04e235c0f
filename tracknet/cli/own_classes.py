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
    first = list(reasons(error))[-1]
    lines = dict(walk_tb(first.__traceback__))
    frames = list(lines)
    if not isinstance(first, ValueError) or not frames or _package(frames[-1]) in _NOT_THEIRS[:1]:
        return None
    theirs = {load(path): key for key, path in reversed(list(chosen_classes(config)))}
    for frame in reversed(frames):
        cls = type(frame.f_locals.get("self"))
        package = cls.__module__.partition(".")[0]
        if frame.f_code.co_name != "__init__" or cls not in theirs or package in _NOT_THEIRS:
            continue
        place = next(one for one in reversed(frames) if one is frame or _package(one) == package)
        at = f"{place.f_code.co_filename}:{lines[place]}"
        said = " ".join(str(first).split())
        kind = type(first).__name__
        return Fault(path_of(theirs[cls]), f"{cls.__name__} does not take its values: {kind}: {said} ({at})")
    return None


def _package(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]
