"""Pages of what was measured, and notebooks, from where they lie in the repository."""

from __future__ import annotations

import json
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
_RESULTS = REPOSITORY / "benchmarks" / "results"
_NOTEBOOKS = REPOSITORY / "examples" / "notebooks"


def measured_pages() -> dict[str, str]:
    """Write a page for each file of results, and the lists of benchmarks and of faults."""
    files = sorted(_RESULTS.glob("*.md"))
    pages = {f"explanations/measured/{path.name}": _page(path) for path in files}
    faults = [path for path in files if path.stem.startswith("faults")]
    pages["explanations/measured/benchmarks.md"] = _list(
        "Benchmarks",
        "What was measured, and with which command: `python -m benchmarks` runs them. Figures of time are "
        "those of the machine that each page names.",
        [path for path in files if path not in faults],
    )
    pages["explanations/measured/fault_tables.md"] = _list(
        "Faults",
        "What goes wrong when a file is damaged, a process is killed, a disk is full or a setting is wrong, "
        "and what tracknet does then: each row was made to happen.",
        faults,
    )
    return pages


def notebooks() -> dict[str, str]:
    """Copy the notebooks, with the outputs that they have stored, and list them."""
    files = sorted(_NOTEBOOKS.glob("*.ipynb"))
    pages = {f"notebooks/{path.name}": path.read_text(encoding="utf-8") for path in files}
    lines = [f"- [{_title(path)}]({path.name})" for path in files]
    pages["notebooks/index.md"] = "\n".join(
        [
            "# Notebooks\n",
            "Each runs as it is, from the first cell to the last, on a machine without a GPU. They lie in "
            "`examples/notebooks/`.\n",
            *lines,
            "",
            _toctree([path.stem for path in files]),
            _onward(
                "- [The examples](../examples.md): scripts and configurations",
                "- [The guides](../guides/index.md)",
            ),
        ]
    )
    return pages


def _page(path: Path) -> str:
    text = path.read_text(encoding="utf-8").rstrip()
    return f"{text}\n\n{_onward('- [All benchmarks](benchmarks.md)', '- [Faults](fault_tables.md)')}"


def _list(title: str, about: str, files: list[Path]) -> str:
    lines = [f"- [{_heading(path)}]({path.name})" for path in files] or ["Nothing yet."]
    onward = _onward(
        "- [How the house is built and why](../index.md)",
        "- [The classes](../../reference/classes/index.rst)",
    )
    return "\n".join(
        [f"# {title}\n", f"{about}\n", *lines, "", _toctree([path.stem for path in files]), onward]
    )


def _heading(path: Path) -> str:
    return path.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ").strip() or path.stem


def _title(path: Path) -> str:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    text = "".join("".join(cell["source"]) + "\n" for cell in cells if cell["cell_type"] == "markdown")
    return next((line.lstrip("# ") for line in text.splitlines() if line.startswith("# ")), path.stem)


def _toctree(names: list[str]) -> str:
    return "\n".join(["```{toctree}", ":hidden:", "", *names, "```", ""])


def _onward(*links: str) -> str:
    return "\n".join([":::{rubric} Where to go next", ":::", "", *links, ""])
