"""How long the site takes to build, from nothing and again after one page has changed.

    python -m benchmarks.docs_build [--jobs 2]

Each build is a process of its own, into a folder of its own. Notebooks are shown with the outputs that they
have stored, and nothing is fetched from the network.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"
TOUCHED = "reference/glossary.md"


def main(argv: Sequence[str] | None = None) -> None:
    """Time the builds and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes of sphinx-build")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "docs_build.md")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure("everything", Path(folder), options.jobs)]
        pages = sum(1 for _ in Path(folder, "html").rglob("*.html"))
        (DOCS / TOUCHED).touch()
        rows.append(measure("again, one page touched", Path(folder), options.jobs))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(
        f"# Building the site\n\n`sphinx-build -W --keep-going -n -j {options.jobs}`, {pages} pages, on "
        f"{os.cpu_count()} cores with a load of {os.getloadavg()[0]:.1f}. CPU seconds are summed over all "
        "processes; on a busy machine they tell more than those of the clock.\n\n"
        "| build | seconds | CPU seconds |\n|---|---|---|\n" + "\n".join(rows) + "\n"
    )


def measure(name: str, folder: Path, jobs: int) -> str:
    """Build the site once.

    Args:
        name: Shown.
        folder: Where to.
        jobs: Processes.

    Returns:
        Row of the table.
    """
    words = ["-W", "--keep-going", "-n", "-q", "-j", str(jobs), "-d", str(folder / "doctrees")]
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, "-m", "sphinx", *words, str(DOCS), str(folder / "html")], check=True)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return f"| {name} | {seconds:.0f} | {cpu:.0f} |"


if __name__ == "__main__":
    main()
