"""Mutation testing: does a test fail when the code is wrong? ``python -m tests.mutation --children 2``.

mutmut makes each small change (``<`` into ``<=``, 2 into 3, an argument dropped) of the modules that
``[tool.mutmut]`` in pyproject.toml lists, and runs the tests that reach it. A change that no test notices
survives; survivors that somebody has looked at are listed in ``mutation.yaml`` with the reason. The table of
counts, with what has not been looked at, goes to ``benchmarks/results/mutation.md``.

``--again`` tries only the survivors without a reason, each in a process of its own, against the tests of its
module as they are now and slower ones that reach it.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
EXAMINED = Path(__file__).with_suffix(".yaml")
RESULTS = ROOT / "benchmarks" / "results" / "mutation.md"

AGAIN = Path("mutants") / "again.json"
_LONGEST = 300  # seconds; a survivor that takes longer, such as an endless loop, is noticed

_CHECKPOINTS = [
    "tests/training/test_checkpoint_format.py",
    "tests/training/test_checkpoints.py",
    "tests/training/test_compression.py",
    "tests/faults/test_traps.py",
    "tests/faults/test_safety.py",
    "tests/training/test_checkpoint_retention.py",
    "tests/training/test_run_record.py",
]
TESTS = {
    "data/windows.py": [
        "tests/data/test_windows.py",
        "tests/data/test_excerpt.py",
        "tests/training/test_hard_frames.py",
    ],
    "evaluation/": ["tests/evaluation"],
    "tracking/windows.py": ["tests/tracking/test_windows.py", "tests/tracking/test_tracker.py"],
    "training/checkpoint": _CHECKPOINTS,
    "training/compression.py": _CHECKPOINTS,
    "training/losses.py": ["tests/training/test_losses.py", "tests/training/test_masked_losses.py"],
    "training/targets.py": ["tests/training/test_targets.py"],
}
"""What a survivor is tried against again, by the beginning of its module."""

NOTICED = "noticed"
_NOTICED = ("killed", "caught by type check", "timeout", "segfault")  # what mutmut calls it


@dataclass(frozen=True)
class Mutant:
    """One change.

    Attributes:
        name: What mutmut calls it.
        module: Path of the file below ``tracknet/``.
        function: Name of the function, with its class.
        change: The lines that are changed, ``- before`` and ``+ after``; empty of one that was noticed.
        outcome: ``noticed``, ``survived``, ``no tests``, ``not checked``.
    """

    name: str
    module: str
    function: str
    change: str
    outcome: str

    @property
    def survived(self) -> bool:
        return self.outcome != NOTICED


@dataclass(frozen=True)
class Reason:
    """Why survivors are left.

    Attributes:
        why: In words.
        equal: Whether no input tells the change from the code, so that no test can notice it.
        pattern: What the lines of such a change match.
        where: What module and function match, ``evaluation/ensemble.py: WindowEnsemble.merge``.
    """

    why: str
    equal: bool
    pattern: re.Pattern[str]
    where: re.Pattern[str]

    def covers(self, mutant: Mutant) -> bool:
        return bool(
            self.where.search(f"{mutant.module}: {mutant.function}") and self.pattern.search(mutant.change)
        )


def examined(path: Path = EXAMINED) -> list[Reason]:
    """Read the reasons that are known."""
    return [
        Reason(one["why"], one["equal"], re.compile(one["change"]), re.compile(one.get("where", "")))
        for one in yaml.safe_load(path.read_text(encoding="utf-8"))
    ]


def _noticed_again() -> list[str]:
    found: list[str] = json.loads(AGAIN.read_text(encoding="utf-8")) if AGAIN.exists() else []
    return found


def mutants() -> Iterator[Mutant]:
    """Read what a run of mutmut has left below ``mutants/``."""
    noticed_again = set(_noticed_again())
    from mutmut.mutation.diff_apply import get_diff_for_mutant
    from mutmut.stats import status_by_exit_code

    for path in sorted(Path("mutants").rglob("*.py.meta")):
        source = path.relative_to("mutants").with_suffix("")
        for name, code in json.loads(path.read_text(encoding="utf-8"))["exit_code_by_key"].items():
            status = status_by_exit_code[code]
            outcome = NOTICED if status in _NOTICED or name in noticed_again else status
            change = ""
            if outcome != NOTICED:
                lines = get_diff_for_mutant(name, path=source).splitlines()[2:]
                change = "\n".join(f"{one[0]} {one[1:].strip()}" for one in lines if one[:1] in ("+", "-"))
            function = re.sub("^x_?", "", name.rpartition(".")[2].rpartition("__mutmut")[0])
            yield Mutant(
                name,
                source.relative_to("tracknet").as_posix(),
                function.strip("ǁ").replace("ǁ", "."),
                change,
                outcome,
            )


def reason_of(mutant: Mutant, reasons: list[Reason]) -> Reason | None:
    """Give the first reason why a survivor is left."""
    return next((one for one in reasons if one.covers(mutant)), None)


def try_again(children: int) -> None:
    """Try the survivors that nobody has a reason for against the tests as they are now."""
    reasons = examined()
    left = [one for one in mutants() if one.survived and reason_of(one, reasons) is None]
    shutil.copytree(ROOT / "tests", "mutants/tests", dirs_exist_ok=True)
    place = Path("mutants").absolute()

    def is_noticed(one: Mutant) -> bool:
        files = next(files for start, files in TESTS.items() if one.module.startswith(start))
        command = [sys.executable, "-m", "pytest", "-qx", "-p", "no:cacheprovider", *files]
        environment = os.environ | {"MUTANT_UNDER_TEST": one.name, "PYTHONPATH": str(place)}
        try:
            done = subprocess.run(
                command, cwd=place, env=environment, capture_output=True, text=True, timeout=_LONGEST
            )
        except subprocess.TimeoutExpired:
            print(f"{one.name}: not done in {_LONGEST} s", flush=True)
            return True
        print(f"{one.name}: {(done.stdout.splitlines() or [''])[-1]}", flush=True)
        return done.returncode == 1

    noticed = _noticed_again()
    with ThreadPoolExecutor(children) as pool:
        for one, found in zip(left, pool.map(is_noticed, left), strict=True):
            if found:
                noticed.append(one.name)
                AGAIN.write_text(json.dumps(noticed), encoding="utf-8")


def as_markdown(found: list[Mutant], reasons: list[Reason], date: str) -> str:
    """Write the table, what was left and why, and what nobody has looked at."""
    why = {one: reason_of(one, reasons) for one in found if one.survived}
    rows, left = [], Counter((reason.why, reason.equal) for reason in why.values() if reason)
    for module in [*sorted({one.module for one in found}), ""]:
        mine = [one for one in found if one.module == module or not module]
        survivors = [one for one in mine if one.survived]
        verdicts = [reason.equal if (reason := why[one]) else None for one in survivors]
        equal, left_so, unknown = (verdicts.count(verdict) for verdict in (True, False, None))
        noticed = len(mine) - len(survivors)
        counts = [len(mine), noticed, equal, left_so, unknown]
        score = f"{100 * noticed / max(len(mine) - equal, 1):.1f}"
        name = f"`{module}`" if module else "all"
        rows.append(f"| {' | '.join([name, *(f'{count:,}' for count in counts), score])} |")
    lines = [
        "# Changes that tests notice",
        "",
        f"`python -m tests.mutation` on {date}, mutmut {version('mutmut')}. Every operator, number,",
        "string and argument of the modules that figures rest on is changed, one at a time, and the tests",
        "that reach it are run; survivors without a reason are then tried against slower tests (`--again`).",
        "The score is the share noticed of the changes that make a difference.",
        "",
        "| module | changes | noticed | equal in effect | left | not examined | score, % |",
        "|---|---:|---:|---:|---:|---:|---:|",
        *rows,
        "",
        "## Survivors that were examined",
        "",
        "| changes | why it is left | equal in effect |",
        "|---:|---|---|",
        *(
            f"| {count} | {told} | {'yes' if equal else 'no'} |"
            for (told, equal), count in left.most_common()
        ),
    ]
    rest = [one for one, reason in why.items() if reason is None]
    if rest:
        lines += ["", "## Survivors that nobody has looked at", ""]
        for one in rest:
            lines += [
                f"`{one.module}`, `{one.function}` ({one.outcome}):",
                "",
                "```diff",
                one.change,
                "```",
                "",
            ]
    return "\n".join(lines).rstrip() + "\n"


def main(argv: list[str] | None = None) -> int:
    """Run mutmut where asked, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--children", type=int, default=2, help="changes tried at the same time")
    parser.add_argument("--no-run", action="store_true", help="write the table of a run made before")
    parser.add_argument("--again", action="store_true", help="try the survivors of a run made before")
    parser.add_argument("--folder", type=Path, default=ROOT, help="a clone of the repository to run in")
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args(argv)
    output = given.output.absolute()
    if find_spec("mutmut") is None:
        parser.error("mutmut is not installed: pip install -e '.[mutation]'")
    if not (given.folder / "pyproject.toml").is_file():
        parser.error(f"--folder: {given.folder} is no clone of the repository: it has no pyproject.toml")
    os.chdir(given.folder)  # all of mutmut looks for its files there
    if given.again:
        try_again(given.children)
    elif not given.no_run:
        # mutmut's names move with the code: what was noticed of those of a run before is of other changes.
        AGAIN.unlink(missing_ok=True)
        command = [sys.executable, "-m", "mutmut", "run", "--max-children", str(given.children)]
        if code := subprocess.run(command).returncode:
            print(f"mutmut ended with code {code}; {output} is as it was", file=sys.stderr)
            return 1
    found = list(mutants())
    if not found:
        print(f"{given.folder}: holds no run of mutmut; {output} is as it was", file=sys.stderr)
        return 1
    date = datetime.now(timezone.utc).date().isoformat()
    output.write_text(as_markdown(found, examined(), date), encoding="utf-8")
    print(f"{output}: {len(found):,} changes")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
