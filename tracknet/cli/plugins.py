"""Classes of other packages, imported for the commands that take class names."""

from __future__ import annotations

import sys
from functools import cache

from lightning.pytorch.utilities import rank_zero_only

from tracknet.configs.plugins import load_plugins


@cache
def import_plugins() -> None:
    """Import the classes of all plugins; say once, and in one process only, which plugins fail."""
    for fault in load_plugins():
        rank_zero_only(print)(f"tracknet: {fault}", file=sys.stderr)
