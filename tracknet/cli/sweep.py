"""``tracknet sweep``: many trainings whose settings an optimiser chooses."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser

from tracknet.cli.trusting import TRUST_FLAG, add_trust
from tracknet.errors import TrackNetError, UsageError, nearest

_SPACE = (
    "space: each setting is {choices: [A, B]} or {low: A, high: B}, with log: true or step: S where wanted, "
    "and choices that are none of text, number, true, false and null are quoted"
)


def main(argv: Sequence[str]) -> int:
    """Run ``tracknet sweep``.

    Args:
        argv: The words after ``sweep``.

    Returns:
        Exit code, see `run_sweep`.

    Raises:
        UsageError: A wrong option or setting.
        TrackNetError: Optuna is not installed, or no trial came to an end.
    """
    parser = make_parser()
    from tracknet.cli.sweep_run import run_sweep

    words = list(argv)
    if words and not words[0].startswith("-"):
        file_named = Path(words[0])
        if not file_named.exists():
            beside = [path.name for path in file_named.parent.glob("*.yaml")]
            raise UsageError(f"{file_named}: no such file{nearest(file_named.name, beside)}")
        words.insert(0, "--sweep")
    try:
        options = parser.parse_args(words)
    except argparse.ArgumentError as error:
        from tracknet.cli.explaining import explain
        from tracknet.cli.usage import option_names

        key, wrong = explain(str(error), option_names(parser), _classes())
        if key == "space":
            wrong = f"{_SPACE}; found {str(error).rpartition(' value: ')[2].strip()}"
        raise UsageError(f"{wrong} (see tracknet sweep --help)") from error
    chosen = vars(parser.instantiate(options))
    file = chosen.pop("sweep")
    if "trust" in chosen:
        raise UsageError(f"{TRUST_FLAG} is given after the command, and no file may set it")
    if chosen["name"] is None and file:
        chosen["name"] = str(file[-1].relative).rpartition("/")[2].rpartition(".")[0]
    return run_sweep(**chosen)


def make_parser() -> ArgumentParser:
    """Make what reads the words of ``tracknet sweep``.

    Raises:
        TrackNetError: Optuna is not installed.
    """
    try:
        from tracknet.cli.sweep_run import run_sweep
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "optuna":
            raise
        raise TrackNetError("needs Optuna: pip install 'tracknet[sweep]'") from error
    parser = ArgumentParser(
        prog="tracknet sweep",
        usage="tracknet sweep SWEEP.yaml [options]",
        description="Train many times, with settings that an optimiser chooses; report which are the best.",
        allow_abbrev=False,
        exit_on_error=False,
    )
    told = "File with the options below; may also be the first word, without the flag."
    parser.add_argument("--sweep", action="config", metavar="SWEEP.yaml", help=told)
    parser.add_function_arguments(run_sweep, as_group=False)
    add_trust(parser)
    return parser


def _classes() -> list[str]:
    import optuna

    return [*optuna.samplers.__all__, *optuna.pruners.__all__]
