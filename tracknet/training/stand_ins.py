"""What checkpoints of others may hold beside tensors and plain values: NumPy scalars, and what is left out.

Nothing of another package is imported or called for it, whatever a file names: what stands here for their
names is Python, which looks at what it is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pickle import UnpicklingError
from typing import Any, Literal

import numpy as np
import torch


class LeftOut(dict[str, Any]):
    """Stands for an object that is not needed; it takes whatever a pickle does to it, and stays empty.

    Args:
        parts: What the object would be made of.
    """

    def __new__(cls, *parts: object) -> LeftOut:
        """Make it without its parts."""
        return super().__new__(cls)

    def __init__(self, *parts: object) -> None:
        super().__init__()

    def __setstate__(self, state: object) -> None:
        """Pass over what it would hold."""


_NODES = ("Any", "Boolean", "Bytes", "Enum", "Float", "Integer", "Path", "String")
_LEFT_OUT = (
    *("omegaconf.dictconfig.DictConfig", "omegaconf.listconfig.ListConfig"),
    *("omegaconf.base.Metadata", "omegaconf.base.ContainerMetadata"),
    *(f"omegaconf.nodes.{kind}Node" for kind in _NODES),
    # What their metadata name as types of values.
    *(f"builtins.{kind}" for kind in ("bool", "bytes", "dict", "float", "int", "list", "str", "tuple")),
    *("typing.Any", "collections.defaultdict"),
    *(
        f"{module}.{flavour}{system}Path"
        for module in ("pathlib", "pathlib._local")
        for flavour in ("", "Pure")
        for system in ("Posix", "Windows")
    ),
)

_ORDERS: dict[object, Literal["<", ">", "|"]] = {"<": "<", ">": ">", "|": "|"}
_KINDS = ("f2", "f4", "f8", "i4", "i8", "b1")


class Kind:
    """Stands for ``numpy.dtype``: one of a few kinds of numbers, in an order of bytes, and nothing else.

    NumPy's own takes from a file what it holds unchecked, such as the place of a Python object.

    Args:
        name: As NumPy names it, such as ``f8``.
        options: Not used.

    Raises:
        UnpicklingError: It is none of those.
    """

    __slots__ = ("name", "order")
    name: str
    order: Literal["<", ">", "|"]

    def __new__(cls, name: object, *options: object) -> Kind:
        """Make it; a pickle may leave out ``__init__``."""
        if type(name) is not str or name not in _KINDS:
            raise UnpicklingError("a kind of values that no checkpoint needs")
        kind = super().__new__(cls)
        kind.name, kind.order = name, "|"
        return kind

    def __setstate__(self, state: object) -> None:
        """Take the order of the bytes, and nothing else of what NumPy would."""
        order = state[1] if type(state) is tuple and len(state) > 1 else None
        if type(order) is not str or order not in _ORDERS:
            raise UnpicklingError("an order of bytes that there is not")
        self.order = _ORDERS[order]


def scalar(kind: object, data: object) -> Any:
    """Stand for NumPy's function of that name, which makes a number of bytes.

    Args:
        kind: Kind of number.
        data: Its bytes, as many as it has; text from Python 2.

    Returns:
        The number, as a scalar of NumPy.

    Raises:
        UnpicklingError: It is no number.
    """
    if type(kind) is not Kind:
        raise UnpicklingError("a value of NumPy that is no number")
    number = np.dtype(kind.name).newbyteorder(kind.order)
    if type(data) is str and len(data) == number.itemsize:
        data = data.encode("latin1")
    if type(data) is not bytes or len(data) != number.itemsize:
        raise UnpicklingError(f"not the {number.itemsize} bytes of a number")
    return np.frombuffer(data, number)[0]


ALLOWED: list[tuple[Any, str]] = [
    # The names under which NumPy 1 and NumPy 2 pickle a scalar such as max_val_acc.
    (scalar, "numpy.core.multiarray.scalar"),
    (scalar, "numpy._core.multiarray.scalar"),
    (Kind, "numpy.dtype"),
    *((LeftOut, name) for name in _LEFT_OUT),
]
"""What stands for which names in a file. Nothing of NumPy is called by what a file says."""


@contextmanager
def stand_ins() -> Iterator[None]:
    """Let files hold what is in `ALLOWED` for a while, whatever else was allowed under these names."""
    serialization = torch.serialization
    before = serialization.get_safe_globals()
    taken = {name for _, name in ALLOWED}
    serialization.clear_safe_globals()
    serialization.add_safe_globals([*(one for one in before if _name_of(one) not in taken), *ALLOWED])
    try:
        yield
    finally:
        serialization.clear_safe_globals()
        serialization.add_safe_globals(before)


def _name_of(allowed: Any) -> str:
    return allowed[1] if isinstance(allowed, tuple) else f"{allowed.__module__}.{allowed.__qualname__}"
