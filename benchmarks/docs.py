"""How long the site takes to build again when one page has changed, beside all of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.util import find_spec

from benchmarks import docs_build
from benchmarks.material import Bench
from benchmarks.measuring import Row, Target, Took, row
from tracknet.errors import TrackNetError

TITLE = "Building the site"


def measure(bench: Bench) -> Iterator[Row]:
    """Build it once from nothing and once again; nothing where it is only tried out, for it takes minutes."""
    if find_spec("sphinx") is None:
        raise TrackNetError("Sphinx is not installed: pip install -e '.[docs]'")
    if bench.quick:
        return
    jobs = os.cpu_count() or 1
    whole = _build(bench, jobs)
    (docs_build.DOCS / docs_build.TOUCHED).touch()
    again = _build(bench, jobs)
    told = f"{jobs} processes of sphinx-build, which stops at a warning"
    yield row("Again, one page touched / everything", "s", [(again, whole)], Target("at most", 0.5), told)


def _build(bench: Bench, jobs: int) -> Took:
    _, _, seconds, cpu_seconds, _ = docs_build.measure("", bench.folder / "site", jobs).split("|")
    return Took(float(seconds), float(cpu_seconds))
