"""Runs as a person reads them: tables, descriptions, comparisons."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from tracknet.cli.words import checkpoints_named
from tracknet.errors import TrackNetError, UsageError
from tracknet.training.records.figures import curve_of, read_curves
from tracknet.training.records.query import value_of
from tracknet.training.records.run import Run, figures_in, is_number

_PIPE_WIDTH = 400  # nothing is cut where no terminal says how wide it is
_MISSING = "-"


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table on standard output.

    Args:
        columns: Headings.
        rows: Cells, as they are: nothing in them is markup.
    """
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(Text(name), overflow="fold")
    for row in rows:
        table.add_row(*(Text(_printable(cell)) for cell in row))
    console = Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, file=sys.stdout)
    with console.capture() as captured:
        console.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def in_short(key: str, value: Any) -> str:
    """Write a value for a cell.

    Args:
        key: What it is; times are written without seconds, durations as h:mm:ss.
        value: The value.
    """
    if value is None:
        return _MISSING
    if key in ("start", "end"):
        return str(value)[:16].replace("T", " ")
    if key == "seconds":
        whole = int(value)
        return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
    if isinstance(value, list):
        return " ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def described(run: Run) -> Iterator[str]:
    """Describe a run in lines.

    Args:
        run: The run; without a record, what its other files tell.

    Yields:
        Lines ``what: value``.
    """
    detail = f": {run.detail}" if run.detail else ""
    where = (run.session.get("exit") or {}).get("where")
    facts: dict[str, Any] = {
        "run": run.folder,
        "name": run.name,
        "id": run.record.get("id"),
        "tags": " ".join(run.tags),
        "notes": run.record.get("notes"),
        "state": f"{run.state}{detail}" + (f" ({where})" if where else ""),
        "time": in_short("seconds", run.seconds) if run.seconds is not None else None,
    }
    yield from _lines(facts)
    for number, session in enumerate(run.record.get("sessions") or (), 1):
        yield f"\nsession {number}:"
        yield from _lines(_session(session), "  ")
    for which in ("best", "last"):
        if figures := run.figures_at(which):
            told = run.record[which]
            monitor = f", chosen by {told['monitor']}" if told.get("monitor") else ""
            when = _printable(f"step {told.get('step')}, epoch {told.get('epoch')}{monitor}")
            yield f"\n{which} figures ({when}):"
            yield from _lines({name: in_short(name, float(value)) for name, value in figures.items()}, "  ")
    for test in run.tests:
        yield f"\ntested {_printable(in_short('end', test.get('time')))}:"
        yield from _lines(_test(test), "  ")
    if not run.record and (curves := read_curves(run.folder)):
        yield "\nlast figures:"
        yield from _lines({name: in_short(name, curve[-1][1]) for name, curve in curves.items()}, "  ")
    if files := run.checkpoints:
        yield "\ncheckpoints:"
        yield from (f"  {path} ({path.stat().st_size / 2**20:.1f} MiB)" for path in files)


def _session(session: Mapping[str, Any]) -> dict[str, Any]:
    ended = session.get("exit") or {}
    process, machine = session.get("process") or {}, session.get("hardware") or {}
    data, packages = session.get("data") or {}, session.get("packages") or {}
    code = session.get("code") or {}
    told = f"{data.get('fingerprint')} (of {data.get('of')})" if data else None
    variables = session.get("environment") or {}
    main = ("torch", "lightning", "torchmetrics", "jsonargparse", "numpy", "av")
    versions = {name: version for name, version in packages.items() if name in main}
    gpus = [str(card.get("name")) for card in machine.get("gpus") or () if isinstance(card, dict)]
    memory = machine.get("memory")
    return {
        "time": f"{session.get('start')} to {session.get('end') or session.get('heartbeat')}",
        "ended": f"{ended.get('reason')}" + (f": {ended['detail']}" if ended.get("detail") else "")
        if ended
        else None,
        "command": shlex.join(map(str, session.get("command") or ())),
        "folder": session.get("folder"),
        "variables": " ".join(f"{name}={value}" for name, value in variables.items()),
        "resumed from": session.get("resumed_from"),
        "configuration": session.get("config"),
        "seed": session.get("seed"),
        "data": told,
        "data folder": data.get("root"),
        "code": _version(code.get("folder")),
        "tracknet": " ".join(filter(None, [code.get("tracknet_version"), _version(code.get("tracknet"))])),
        "packages": ", ".join(f"{name} {version}" for name, version in versions.items())
        + f" ({len(packages)} in all)",
        "machine": f"{process.get('host')}, {machine.get('cpu')}, {machine.get('cores_allowed')} of "
        f"{machine.get('cores')} cores"
        + (f", {memory / 2**30:.1f} GiB" if is_number(memory) else "")
        + f", {', '.join(gpus) or 'no GPU'}",
        "system": machine.get("system"),
        "process": process.get("pid"),
    }


def _test(test: Mapping[str, Any]) -> dict[str, Any]:
    data = test.get("data")
    figures = {name: in_short(name, float(v)) for name, v in figures_in(test["figures"]).items()}
    return {
        "checkpoint": test.get("checkpoint"),
        "step": test.get("step"),
        "metric": test.get("metric"),
        "data": f"{data.get('fingerprint')} of {data.get('root')}" if isinstance(data, dict) else None,
        "command": shlex.join(map(str, test.get("command") or ())),
        "folder": test.get("folder"),
        **figures,
    }


def _checkpoint(test: Mapping[str, Any]) -> str | None:
    """Name a checkpoint that was tested, and its step: the name may be that of a later one now."""
    if not test:
        return None
    name, step = Path(str(test.get("checkpoint"))).name, test.get("step")
    return name if step is None else f"{name}, step {step}"


def _options(test: Mapping[str, Any]) -> str | None:
    """Give what a test was told besides its checkpoint."""
    if not test:
        return None
    words = list(map(str, test.get("command") or ()))[2:]
    with suppress(UsageError):  # an empty one, which only a script of its own can have been given
        place, rest, _ = next(checkpoints_named(words), (0, 0, ""))
        del words[place:rest]
    return shlex.join(words)


def _version(code: Any) -> str | None:
    if not isinstance(code, dict):
        return None
    changed = f" with uncommitted changes ({code.get('diff')})" if code.get("dirty") else ""
    return f"{code.get('commit')} of {code.get('root')}{changed}"


def compared(runs: Sequence[Run]) -> None:
    """Print what runs differ in, beside each other.

    Args:
        runs: Two runs or more.
    """
    from tracknet.configs.diff import differences  # what reads YAML with its places, which lists do without

    names = _told_apart(runs)
    settings: dict[str, list[Any]] = {}
    for place, run in enumerate(runs[1:], 1):
        try:
            found = differences(runs[0].folder, run.folder)
        except TrackNetError as error:
            print(f"settings cannot be compared: {error}", file=sys.stderr)
            continue
        for one in found:
            row = settings.setdefault(one.key, [one.before] * len(runs))
            row[place] = one.after
    rows = [[key, *(_setting(cell) for cell in row)] for key, row in settings.items()]
    _section("settings", names, rows)
    facts = {key: [value_of(run, key) for run in runs] for key in ("state", "seed", "data", "commit", "host")}
    facts["tracknet"] = [(run.session.get("code") or {}).get("tracknet_version") for run in runs]
    facts["tracknet commit"] = [value_of(run, "tracknet_commit") for run in runs]
    newest = [run.tests[-1] if run.tests else {} for run in runs]
    facts["test data"] = [(test.get("data") or {}).get("fingerprint") for test in newest]
    facts["test metric"] = [test.get("metric") for test in newest]
    facts["tested checkpoint"] = [_checkpoint(test) for test in newest]
    facts["tested by"] = [_options(test) for test in newest]
    installed = [run.session.get("packages") or {} for run in runs]
    for name in sorted({name for packages in installed for name in packages}):
        facts[f"package {name}"] = [packages.get(name) for packages in installed]
    differing = {key: values for key, values in facts.items() if any(one != values[0] for one in values)}
    _section("circumstances", names, [[k, *(in_short(k, v) for v in row)] for k, row in differing.items()])
    figures = [_figures(run) for run in runs]
    keys = list(dict.fromkeys(name for values in figures for name in values))
    rows = [[key, *(in_short(key, values.get(key)) for values in figures)] for key in keys]
    _section("figures", names, rows)


def _section(title: str, names: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if rows:
        print_table([title, *names], rows)
        print()
    else:
        print(f"{title}: {'none' if title == 'figures' else 'the same'}")


def _setting(cell: Any) -> str:
    return "" if cell is None else "null" if cell[0] is None else str(cell[0])


def _figures(run: Run) -> dict[str, float]:
    """Give the figures of the record, or the last of the table where there is none, and those of a test."""
    found = dict(run.figures)
    if not found:
        curves = read_curves(run.folder)
        found = {name: curve[-1][1] for name in curves if (curve := curve_of(curves, name))}
    return {name: float(value) for name, value in (found | dict(run.tested)).items()}


def _told_apart(runs: Sequence[Run]) -> list[str]:
    names = [run.name for run in runs]
    return names if len(set(names)) == len(names) else [str(run.folder) for run in runs]


def _lines(facts: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    shown = {_printable(name): value for name, value in facts.items() if value not in (None, "")}
    width = max(map(len, shown), default=0) + 1
    for name, value in shown.items():
        yield f"{indent}{name + ':':<{width}} {_printable(str(value))}"


def _printable(text: str) -> str:
    """Write control characters, which would reach the terminal, as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
