"""Measure how fast tracknet is beside what it is compared with, and write the table of record.

    python -m benchmarks [PART...] [--quick] [--data FOLDER] [--out FILE.md] [--compare OLD.json]

Each part measures ours and a reference in turns in one run. Without ``--quick`` the table goes to
``benchmarks/results/TABLE.md`` and the figures to ``benchmarks/results/MACHINE.json``, where they replace
those of the same parts; with ``--out`` both go there. ``--quick`` tries the parts out on tiny rallies. The
parts ``step`` and ``memory`` train on a GPU where there is one, which ``CUDA_VISIBLE_DEVICES=`` hides.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from tracknet.data.whole_file import whole_file
from tracknet.errors import TrackNetError, UsageError, nearest

if TYPE_CHECKING:
    from benchmarks.record import Record

RESULTS = Path(__file__).parent / "results"
PARTS = ("cache", "loader", "packed", "step", "targets", "decoding", "tracking", "startup", "memory", "docs")
"""Modules of this folder, each with a title ``TITLE`` and a function ``measure``."""


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, and write the table after each comparison.

    Returns:
        The exit code: 1 when a part could not be measured, 2 for wrong usage. A missed target is no failure.
    """
    about, _, usage = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser("python -m benchmarks", description=about, epilog=usage)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; default all")
    parser.add_argument("--quick", action="store_true", help="try out: tiny rallies, two rounds")
    parser.add_argument(
        "--data", type=Path, help="folder of NAME.mp4 with NAME.csv; default generated rallies"
    )
    parser.add_argument("--clips", type=_count, default=6, help="clips taken of the data, default 6")
    parser.add_argument("--rounds", type=_count, help="rounds of each measurement at most")
    parser.add_argument("--threads", type=_count, help="threads of PyTorch; default its own choice")
    parser.add_argument("--out", type=Path, help="Markdown file of the table")
    parser.add_argument(
        "--compare", type=Path, help="JSON of an earlier run on such a machine, as full or as quick"
    )
    options = parser.parse_args(argv)
    try:
        return _measure(options)
    except TrackNetError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return error.exit_code


def _count(text: str) -> int:
    """Read a whole number above 0."""
    number = int(text) if text.isdecimal() else 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, found {text}")
    return number


def _measure(options: argparse.Namespace) -> int:
    for name in options.parts:
        if name not in PARTS:
            raise UsageError(f"no part {name!r}{nearest(name, PARTS)} (there are {', '.join(PARTS)})")
    if options.data is not None and not options.data.is_dir():
        raise UsageError(f"--data {options.data}: no such folder")
    # What takes seconds to import comes once the words are known to be right.
    import torch

    from benchmarks.material import Bench
    from benchmarks.record import Part, Record, kind, load, markdown, now, refuse_unlike, this_machine
    from tracknet.cli.memory import keep_freed_memory

    keep_freed_memory()  # as every command does; the references gain by it too
    if options.threads:
        torch.set_num_threads(options.threads)
    record = Record(this_machine(torch.get_num_threads()))
    parts = options.parts or PARTS
    earlier = None
    if options.compare:
        earlier = load(options.compare)
        refuse_unlike(earlier, options.compare, record.machine, parts, options.quick)
    table, figures = _places(options, kind(record.machine))
    if figures is not None and figures.exists() and not options.quick:
        record.parts |= load(figures).parts
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.quick, options.data, options.clips, options.rounds)
        measured = []
        for name in parts:
            module = import_module(f"benchmarks.{name}")
            part = Part(module.TITLE, *now(), options.quick, [], "stopped before the end")
            measured.append(part)
            record.parts[name] = part
            record.parts = {name: record.parts[name] for name in PARTS if name in record.parts}
            print(f"{name}: {part.title}", file=sys.stderr, flush=True)
            try:
                for one in module.measure(bench):
                    part.rows.append(one)
                    told = f"{one.ratio:.3f} {one.target or ''} {one.verdict}" if one.rounds else one.note
                    print(f"  {one.name}: {told}".rstrip(), file=sys.stderr, flush=True)
                    _write(table, figures, record, earlier)
                part.failure = ""
            except (TrackNetError, OSError, RuntimeError) as error:
                part.failure = str(error)
            _write(table, figures, record, earlier)
    print(markdown(record, earlier))
    return 1 if any(part.failure for part in measured) else 0


def _write(table: Path | None, figures: Path | None, record: Record, earlier: Record | None) -> None:
    from benchmarks.record import markdown, save

    if table is not None and figures is not None:
        save(record, figures)
        with whole_file(table) as part:
            part.write_text(markdown(record, earlier), encoding="utf-8")


def _places(options: argparse.Namespace, machine: str) -> tuple[Path | None, Path | None]:
    if options.out:
        return options.out, options.out.with_suffix(".json")
    if options.quick:
        return None, None
    return RESULTS / "TABLE.md", RESULTS / f"{machine}.json"


if __name__ == "__main__":
    sys.exit(main())
