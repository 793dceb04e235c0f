"""What checkpoints of others may hold beside tensors and plain values: NumPy scalars, and what is left out.

Nothing of another package is imported or called for it, whatever a file names.
"""

from __future__ import annotations

from typing import Any

import numpy as np


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

_scalar = np.float64(0).__reduce__()[0]

ALLOWED: list[Any] = [
    # The names under which NumPy 1 and NumPy 2 pickle a scalar such as max_val_acc.
    (_scalar, "numpy.core.multiarray.scalar"),
    (_scalar, "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "?")),
    *((LeftOut, name) for name in _LEFT_OUT),
]
"""What `torch.serialization.safe_globals` is to let pass: nothing that does anything."""
