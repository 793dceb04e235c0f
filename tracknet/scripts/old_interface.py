"""What the commands of the older tracknet share: options, files by name, the merged configuration."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tracknet.cli.held_interrupt import INTERRUPTED
from tracknet.configs.migration import Migration, convert, legacy, read_sections
from tracknet.configs.migration.draft import Draft
from tracknet.data.faults import plural
from tracknet.data.whole_file import whole_file
from tracknet.errors import TrackNetError, UsageError, nearest

TITLE = "==== TrackNet Config (merged) ===="
_SHOWN = 5


@dataclass(frozen=True)
class Prepared:
    """A run of the older interface.

    Attributes:
        merged: The merged old configuration, ``runtime`` included.
        migration: What it becomes.
        words: Files and values that give the same configuration to ``tracknet config migrate``.
    """

    merged: dict[str, Any]
    migration: Migration
    words: list[str]

    @property
    def runtime(self) -> dict[str, Any]:
        """Names and folders of this run."""
        section: dict[str, Any] = self.merged["runtime"]
        return section

    def dump(self) -> str:
        """Write the merged configuration under its title."""
        return f"{TITLE}\n{Draft(self.merged).text()}"

    def write(self, path: Path) -> Path:
        """Write the new configuration.

        Args:
            path: Where.

        Returns:
            The same path.
        """
        with whole_file(path) as part:
            part.write_text(self.migration.yaml(), encoding="utf-8")
        return path

    def deprecation(self, script: str, command: str) -> str:
        """Name the new command.

        Args:
            script: Name of the old one.
            command: The new one, for the file ``new.yaml``.

        Returns:
            One line.
        """
        migrate = shlex.join(["tracknet", "config", "migrate", *self.words, "--out", "new.yaml"])
        return f"deprecated: tracknet.scripts.{script}; the new form is: {migrate} && {command}"


def parser(script: str, about: str) -> argparse.ArgumentParser:
    """Make a parser with the options that all commands have.

    Args:
        script: Name of the command.
        about: What it does.

    Returns:
        The parser.
    """
    made = argparse.ArgumentParser(
        prog=f"python -m tracknet.scripts.{script}",
        description=f"{about} Deprecated: see `tracknet --help` and `tracknet config migrate --help`.",
        epilog="KEY=VALUE words change single values, such as training.optimizer.lr=1e-4.",
        allow_abbrev=False,
    )
    for section, usual in legacy.SECTIONS.items():
        told = f"configs/{section}/NAME.yaml here, else the packaged one (default {usual})"
        made.add_argument(f"--{section}", default=usual, metavar="NAME", help=told)
    made.add_argument("--seed", type=int, metavar="N", help="seed of the run")
    made.add_argument("--output-dir", metavar="DIR", help="folder of logs, checkpoints and predictions")
    return made


def prepare(options: argparse.Namespace, overrides: Sequence[str]) -> Prepared:
    """Merge the named files with the options, and convert the result.

    Args:
        options: What `parser` gave.
        overrides: The words that it did not know.

    Returns:
        The run.

    Raises:
        UsageError: There is no such file, or a word sets nothing that there is.
    """
    for word in overrides:
        key = word.partition("=")[0]
        section = key.partition(".")[0]
        if "=" not in word or word.startswith("-") or section not in legacy.SECTIONS or section == key:
            known = [*legacy.SECTIONS, "seed", "output-dir", "dry-run"]
            hint = "" if section in legacy.SECTIONS else nearest(section.lstrip("-"), known)
            raise UsageError(f"found {word!r}; expected KEY=VALUE with data., model. or training.{hint}")
    files = {section: find(section, getattr(options, section)) for section in legacy.SECTIONS}
    told = list(overrides)
    if options.seed is not None:
        told.append(f"training.seed={options.seed}")
    if options.output_dir is not None:
        folder = Path(options.output_dir)
        told.append(f"training.output_dir={folder}")
        told += [f"training.{key}={folder / name}" for key, name in legacy.FOLDERS.items()]
    found = read_sections(files, told)
    old = legacy.with_defaults(legacy.flat(found.values), found.filed)
    runtime = _runtime(old)
    migration = convert(found, runtime["run_id"])
    for line in migration.lines:
        if line.kind == "unknown" and line.place == "command line":
            raise UsageError(f"{line.key}={line.value}: {line.note}")
    merged = {**found.values, "runtime": runtime}
    return Prepared(merged, migration, [*map(str, files.values()), *told])


def find(section: str, name: str) -> Path:
    """Find the file of a section.

    Args:
        section: ``data``, ``model`` or ``training``.
        name: Its name.

    Returns:
        ``configs/SECTION/NAME.yaml`` of the current folder, else the packaged file.

    Raises:
        UsageError: There is neither.
    """
    folders = [Path("configs") / section, legacy.folder() / section]
    for folder in folders:
        if (folder / f"{name}.yaml").is_file():
            return folder / f"{name}.yaml"
    known = sorted({path.stem for folder in folders for path in folder.glob("*.yaml")})
    raise UsageError(
        f"--{section}: no file configs/{section}/{name}.yaml here or among the packaged ones"
        f"{nearest(name, known)} (those are {', '.join(known)})"
    )


def tell(prepared: Prepared, options: argparse.Namespace, script: str, command: str) -> None:
    """Say on the error stream what is deprecated and what else is to know.

    Args:
        prepared: The run.
        options: What `parser` gave.
        script: Name of the old command.
        command: The new one, for the file ``new.yaml``.
    """
    print(prepared.deprecation(script, command), file=sys.stderr)
    if options.output_dir is not None:
        print(
            f"note: --output-dir {options.output_dir} moves logs and checkpoints too, whatever "
            "training.log_dir and training.ckpt_dir say",
            file=sys.stderr,
        )
    for line in prepared.migration.lines:
        if line.kind == "unknown":
            print(f"note: {line.place}: {line.key} is passed over: {line.note}", file=sys.stderr)
    for kind, said in (("changed", "with another meaning now"), ("dropped", "without effect now")):
        keys = [line.key for line in prepared.migration.lines if line.kind == kind]
        if keys:
            named = ", ".join(keys[:_SHOWN]) + (", ..." if len(keys) > _SHOWN else "")
            print(
                f"note: {plural(len(keys), 'setting')} {said} ({named}); "
                "`tracknet config migrate` says of each why",
                file=sys.stderr,
            )


def guarded(script: str, run: Callable[[], int]) -> int:
    """Run a command; what a person can mend is one message.

    Args:
        script: Its name.
        run: The command.

    Returns:
        Exit code: that of the command, 1 failure, 2 wrong usage, 130 interrupted.
    """
    try:
        return run()
    except TrackNetError as error:
        print(f"tracknet.scripts.{script}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"tracknet.scripts.{script}: interrupted", file=sys.stderr)
        return INTERRUPTED


def _runtime(old: dict[str, Any]) -> dict[str, Any]:
    now = datetime.now()
    seed = old["training.seed"]
    logs = Path(old["training.log_dir"])
    # Runs that begin in the same second do not share a folder.
    while (logs / (name := f"run-{now:%Y%m%d-%H%M%S}-s{seed}")).exists():
        now += timedelta(seconds=1)
    return {
        "seed": seed,
        "project_root": str(Path.cwd()),
        "output_root": str(old["training.output_dir"]),
        "log_dir": str(logs),
        "ckpt_dir": str(old["training.ckpt_dir"]),
        "timestamp": f"{now:%Y%m%d-%H%M%S}",
        "run_id": name,
    }
