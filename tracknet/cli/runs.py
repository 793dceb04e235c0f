"""``tracknet runs``: list, show, compare, repeat and tidy runs by the records that trainings keep."""

from __future__ import annotations

import csv
import json
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

from jsonargparse import ArgumentParser

from tracknet.cli.runs_shown import compared, described, in_short, print_table
from tracknet.cli.subcommands import commands_parser, run_subcommand
from tracknet.data.faults import plural
from tracknet.data.sizes import days_of
from tracknet.data.whole_file import whole_file
from tracknet.errors import TrackNetError, UsageError, nearest
from tracknet.training.records.figures import draw
from tracknet.training.records.query import check_key, order, parse_condition, select, value_of
from tracknet.training.records.repeating import repeat_command
from tracknet.training.records.run import find_run, find_runs, need_record
from tracknet.training.records.tidying import Kind, removable_runs, remove_run

ABOUT = "List, show, compare, repeat and tidy runs."
ROOT = Path("runs")
COLUMNS = ("name", "state", "start", "seconds", "step", "best", "tags", "folder")
METRICS = ("val/f1", "train/loss")
KINDS: tuple[Kind, ...] = ("no-checkpoint", "failed", "killed")
_LISTS = ("--filter", "--columns", "--metrics", "--kinds")
_SWITCHES = ("--json", "--csv", "--yes")


def main(argv: Sequence[str]) -> int:
    """Run ``tracknet runs``.

    Args:
        argv: The words after ``runs``.

    Returns:
        Exit code: 0; 1 when something could not be removed.

    Raises:
        UsageError: A wrong command, option, filter or folder.
        TrackNetError: A record is missing or damaged where it is needed.
    """
    return run_subcommand("runs", ABOUT, COMMANDS, _for_jsonargparse(list(argv)))


def make_parser() -> ArgumentParser:
    """Make what reads the words of ``tracknet runs``."""
    return commands_parser("runs", ABOUT, COMMANDS)


def list_runs(
    root: Path = ROOT,
    sort: str | None = None,
    filter: list[str] | None = None,
    columns: list[str] | None = None,
    json: bool = False,
    csv: bool = False,
) -> int:
    """List runs: tracknet runs list [ROOT] --filter 'val/f1>0.8' tag=paper --sort val/f1.

    Args:
        root: Folder of the runs; need not be named when it comes first.
        sort: Figure, setting or field to sort by, such as val/f1, optimizer.lr or -start; default the newest
            first. Figures have their best first.
        filter: Conditions that must all hold, such as 'val/f1>0.8' 'model.init_args.lr<0.01' tag=paper.
        columns: Figures, settings or fields to show; default name, state, start, seconds, step, best, tags
            and folder.
        json: Write JSON instead of a table.
        csv: Write CSV instead of a table.

    Returns:
        Exit code 0.

    Raises:
        UsageError: There is no such folder, or a wrong filter or key.
    """
    runs = find_runs(root)
    columns = columns or list(COLUMNS)
    for key in columns:
        check_key(runs, key, "--columns")
    for run in runs:
        if run.damage is not None:
            print(f"damaged record: {run.damage}", file=sys.stderr)
    chosen = order(select(runs, [parse_condition(one) for one in filter or ()]), sort)
    rows = [[value_of(run, key) for key in columns] for run in chosen]
    if json:
        _write_json([dict(zip(columns, row, strict=True)) for row in rows])
    elif csv:
        _write_csv(columns, rows)
    elif not runs:
        print(f"{root}: no runs")
    else:
        print_table(columns, [[in_short(k, v) for k, v in zip(columns, row, strict=True)] for row in rows])
        print(f"{len(chosen)} of {plural(len(runs), 'run')}")
    return 0


def show_run(run: str, root: Path = ROOT, json: bool = False) -> int:
    """Show all that is known of a run, and the command that repeats it.

    Args:
        run: Folder of the run, or its name or id.
        root: Where names and ids are looked for.
        json: Write the record, the tests and the settings as JSON.

    Returns:
        Exit code 0.

    Raises:
        UsageError: There is no such run.
    """
    found = find_run(run, root)
    if json:
        _write_json(
            {"folder": str(found.folder), "state": found.state, "detail": found.detail}
            | {"record": found.record, "tests": found.tests, "settings": found.settings}
        )
        return 0
    print("\n".join(described(found)))
    if found.record:
        print("\nto repeat it:")
        print("\n".join(f"  {line}" for line in repeat_command(found)))
    return 0


def compare_runs(
    runs: list[str],
    root: Path = ROOT,
    plot: Path | None = None,
    metrics: list[str] | None = None,
) -> int:
    """Compare runs: settings, code, data and figures that differ; --plot FILE draws --metrics over the steps.

    Args:
        runs: Two runs or more: folders, names or ids.
        root: Where names and ids are looked for.
        plot: Picture to write, such as curves.png.
        metrics: Figures to draw; default val/f1 and train/loss.

    Returns:
        Exit code 0.

    Raises:
        UsageError: A run or a figure does not exist, or there are fewer than two runs.
    """
    if len(runs) < 2:
        raise UsageError(f"compare: expected two runs or more, found {len(runs)}")
    found = [find_run(one, root) for one in runs]
    for one in found:
        if one.damage is not None:
            print(f"damaged record: {one.damage}", file=sys.stderr)
    compared(found)
    if plot is not None:
        figure = draw(found, metrics or METRICS)
        try:
            with whole_file(plot) as part:
                figure.savefig(part, dpi=120)
        except ValueError as error:
            raise UsageError(f"--plot {plot}: {error}") from error
        print(f"plot: {plot}")
    return 0


def repeat_run(run: str, root: Path = ROOT) -> int:
    """Print the command that repeats a run: folder, commit, uncommitted changes, configuration, seed.

    Args:
        run: Folder of the run, or its name or id.
        root: Where names and ids are looked for.

    Returns:
        Exit code 0.

    Raises:
        UsageError: There is no such run.
        TrackNetError: It has no record.
    """
    print("\n".join(repeat_command(need_record(find_run(run, root)))))
    return 0


def clean_runs(
    root: Path = ROOT,
    kinds: list[str] | None = None,
    older_than: str | None = None,
    yes: bool = False,
) -> int:
    """List runs that may go, and delete them with --yes; never one that trains.

    Args:
        root: Folder of the runs; need not be named when it comes first.
        kinds: Which runs; default no-checkpoint, failed and killed; any needs --older_than.
        older_than: Only runs whose last sign is longer ago than that, such as 30d, 12h or 2w.
        yes: Delete them.

    Returns:
        Exit code: 0, or 1 when some could not be removed.

    Raises:
        UsageError: There is no such folder, or `any` without an age.
    """
    known = get_args(Kind)
    if wrong := [one for one in kinds or () if one not in known]:
        hint = nearest(wrong[0], known)
        raise UsageError(f"--kinds: found {wrong[0]!r}{hint} (those are {', '.join(known)})")
    kinds = kinds or list(KINDS)
    if "any" in kinds and older_than is None:
        raise UsageError("--kinds any: also say --older_than, such as 30d")
    days = None if older_than is None else days_of(older_than)
    found = removable_runs(root, kinds, days)
    total, kept = 0, 0
    for one in found:
        if yes:
            try:
                remove_run(one.run, root)
            except TrackNetError as error:
                kept += 1
                print(error, file=sys.stderr)
                continue
        total += one.size
        told = (
            f"{', '.join(one.reasons)}; {plural(len(one.run.checkpoints), 'checkpoint')}" if not yes else ""
        )
        print(f"{one.run.folder}: {'removed' if yes else told} ({one.size / 2**20:.1f} MiB)")
    if not found:
        print(f"{root}: nothing to remove")
    elif yes:
        print(f"{plural(len(found) - kept, 'run')} removed, {total / 2**20:.1f} MiB")
    else:
        again = shlex.join(["tracknet", "runs", "clean", str(root), "--kinds", *kinds])
        again += "" if older_than is None else f" --older_than {older_than}"
        print(f"{plural(len(found), 'run')}, {total / 2**20:.1f} MiB; nothing is removed yet: {again} --yes")
    return int(kept > 0)


def _for_jsonargparse(words: list[str]) -> list[str]:
    """Let a root come first, lists be words one after another, and switches be without a value."""
    command, rest = words[:1], words[1:]
    if command in (["list"], ["clean"]) and rest and not rest[0].startswith("-"):
        rest.insert(0, "--root")
    lists: dict[str, list[str]] = {}
    told: list[str] = []
    flag = ""
    for word in rest:
        name, equals, value = word.partition("=")
        if name in _LISTS:
            flag = name
            lists.setdefault(name, []).extend([value] if equals else [])
        elif word in _SWITCHES:
            flag = ""
            told += [word, "true"]
        elif flag and not word.startswith("--"):
            lists[flag].append(word)
        else:
            flag = ""
            told.append(word)
    return [*command, *told, *(f"{name}={json.dumps(values)}" for name, values in lists.items())]


def _write_json(value: Any) -> None:
    print(json.dumps(value, indent=1, ensure_ascii=False, default=str))


def _write_csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([" ".join(map(str, one)) if isinstance(one, list) else one for one in row])


COMMANDS: dict[str, Callable[..., int]] = {
    "list": list_runs,
    "show": show_run,
    "compare": compare_runs,
    "repeat": repeat_run,
    "clean": clean_runs,
}
"""The sub-commands."""
