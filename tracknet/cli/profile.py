"""``tracknet profile``: what bounds the speed of a training, from a few steps of it; and two side by side."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from tracknet.cli.trusting import TRUST_HELP
from tracknet.errors import UsageError

_TRUST = textwrap.fill(TRUST_HELP, 100, subsequent_indent=" " * 15, initial_indent=" " * 15).lstrip()
HELP = f"""\
usage: tracknet profile RUN|CONFIG... [--output FOLDER] [fit options]
       tracknet profile compare A B

Takes a few steps of a training, validation and checkpoints off, writes profile.html, profile.json and
trace.json, and says what bounds the speed: the loader, the network or what is around them.

  RUN          Folder of a run; its config.yaml is what is profiled, from fresh weights.
  CONFIG       Training configuration, several as for --config.
  --output     Folder to write to; default RUN/profile, or profile in the current folder.
  fit options  As of `tracknet fit`, such as --data.num_workers 4 or +model=wasb. How much is measured:
               --profile.start_step 10, --profile.steps 10, --profile.trace_steps 3.
  --trust      {_TRUST}

compare prints the figures of two profiles and their changes; A and B are runs, profile folders or files.
In a training of one's own: tracknet fit ... --trainer.callbacks+=Profile\
"""


def main(argv: Sequence[str]) -> int:
    """Run ``tracknet profile``.

    Args:
        argv: The words after ``profile``.

    Returns:
        Exit code.

    Raises:
        UsageError: A wrong option, or a run or file that is not there.
        TrackNetError: The training fails, or is too short to be measured.
    """
    words = list(argv)
    if not words:
        raise UsageError("expected a run or a configuration (see tracknet profile --help)")
    if words[0] in ("-h", "--help") or words[:2] in (["compare", "-h"], ["compare", "--help"]):
        print(HELP)
        return 0
    if words[0] == "compare":
        return compare_profiles(words[1:])
    count = next((at for at, word in enumerate(words) if word.startswith(("-", "+"))), len(words))
    return profile_training([Path(word) for word in words[:count]], words[count:])


def compare_profiles(words: Sequence[str]) -> int:
    """Print two profiles side by side.

    Args:
        words: The two, as `read_profile` takes them.

    Returns:
        Exit code 0.

    Raises:
        UsageError: There are not two, or one is not there.
        TrackNetError: One is no profile.
    """
    if len(words) != 2:
        raise UsageError(f"compare: expected two profiles, found {len(words)} (see tracknet profile --help)")
    from tracknet.training.profiling.comparison import compare
    from tracknet.training.profiling.results import read_profile

    print(compare(*(read_profile(Path(word)) for word in words)))
    return 0


def profile_training(sources: Sequence[Path], words: Sequence[str]) -> int:
    """Take a few steps of a training and profile them.

    Args:
        sources: Folders of runs, and configurations.
        words: Options of ``tracknet fit``, and ``--output``.

    Returns:
        Exit code.

    Raises:
        UsageError: A source is not there, or an option is wrong.
        TrackNetError: The training fails, or is too short to be measured.
    """
    if not sources:
        raise UsageError(f"expected a run or a configuration before {words[0]} (see tracknet profile --help)")
    files = [word for source in sources for word in ("--config", str(config_of(source)))]
    runs = [source for source in sources if source.is_dir()]
    output = (runs[-1] if runs else Path()) / "profile"

    from tracknet.cli.profiled_fit import profiled_fit

    return profiled_fit([*files, "--output", str(output), *words])


def config_of(source: Path) -> Path:
    """Give the configuration of a run, or the one that is named.

    Args:
        source: Folder of a run, or a YAML file, also one of those that come with the package.

    Returns:
        The file.

    Raises:
        UsageError: The folder is none of a run.
    """
    if not source.is_dir():
        return source
    config = source / "config.yaml"
    if not config.is_file():
        raise UsageError(f"{source}: no config.yaml there; expected the folder of a run or a configuration")
    return config
