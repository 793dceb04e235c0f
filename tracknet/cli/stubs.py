"""Type stubs, from which jsonargparse knows the types of some classes of PyTorch and others."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typeshed_client

_get_search_context = typeshed_client.get_search_context


def look_in_this_process() -> None:
    """Let stubs be looked for on the path of this process.

    typeshed_client starts a Python of its own to ask for that path, at each command: it takes as long as an
    import of NumPy, and Ctrl-C meanwhile makes it die with a traceback on the user's terminal.
    """
    typeshed_client.get_search_context = _search_context


def _search_context(**options: Any) -> typeshed_client.SearchContext:
    if not options.keys() & {"search_path", "python_executable"}:
        options["search_path"] = [Path(path) for path in sys.path if path]
    return _get_search_context(**options)
