"""The entry point: finds the command, and turns failures into one message and an exit code."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

import tracknet
from tracknet.cli.held_interrupt import INTERRUPTED, is_heard
from tracknet.cli.memory import keep_freed_memory
from tracknet.cli.trusting import TRUST_FLAG, trusting
from tracknet.errors import TrackNetError, nearest, refuse_second_import

COMMANDS = {
    "fit": ("train", "Train a tracker as configured; validates after every epoch."),
    "validate": ("train", "Compute the figures of a checkpoint on the validation rallies."),
    "test": ("train", "Compute the figures of a checkpoint on the test rallies, clip by clip."),
    "predict": ("train", "Write the trajectories that a checkpoint finds in the test rallies."),
    "track": ("track", "Find the ball in a video or in many: trajectory as CSV, overlay video on request."),
    "config": ("config", "Explain, check, compare and write configurations."),
    "list": ("list", "List networks, losses, callbacks and other classes, those of plugins included."),
    "data": ("data", "Check a data set, generate rallies, fill the frame cache."),
    "checkpoint": ("checkpoint", "Import checkpoints of other trackers; say what a checkpoint is."),
    "export": ("export", "Write a checkpoint as an ONNX, TorchScript or torch.export graph, and check it."),
    "profile": ("profile", "Say what bounds the speed of a training, and what to change; compare two."),
    "runs": ("runs", "List, show, compare, repeat and tidy runs by the records they keep."),
    "sweep": ("sweep", "Train many times with settings that an optimiser chooses; report the best."),
    "demo": ("demo", "Generate rallies, train on them, test on unseen courts and show the result."),
}
"""Module below `tracknet.cli` and one line of help for each command."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: Words after ``tracknet``; default those of the process.

    Returns:
        Exit code: 0 done, 1 failure, 2 wrong usage, 130 interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with trusting(words) as rest:
            refuse_second_import()
            code = _run(rest)
        # Here, and not when Python ends, it can be told that nobody reads.
        sys.stdout.flush()
        return code
    except TrackNetError as error:
        print(f"tracknet {words[0]}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(f"tracknet {words[0]}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader went away (`tracknet ... | head`): nothing is left to say.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except SystemExit as stop:  # how jsonargparse ends after --help
        if isinstance(stop.code, str):
            raise
        return stop.code or 0


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_help())
        return 0
    if words[0] in ("-V", "--version"):
        print(f"tracknet {tracknet.__version__}")
        return 0
    if words[0] not in COMMANDS:
        print(
            f"tracknet: no command {words[0]!r}{nearest(words[0], COMMANDS)}; `tracknet --help` lists them",
            file=sys.stderr,
        )
        return 2
    keep_freed_memory()
    room = COMMANDS[words[0]][0]
    module = import_module(f"tracknet.cli.{room}")
    # The four training commands share one parser, which reads the command too.
    return int(module.main(words if room == "train" else words[1:]))


def run() -> None:
    """Run the command of this process and exit with its code, also where SIGTERM comes while Python ends."""
    heard = is_heard(signal.SIGTERM)
    if heard:
        # A supervisor that says it twice would see a kill, of what has ended in order. Called last of all.
        atexit.register(signal.signal, signal.SIGTERM, signal.SIG_IGN)
    code = main()
    if heard:  # until then, a thread that does not end must not make it deaf
        signal.signal(signal.SIGTERM, lambda *_: os._exit(code))
    sys.exit(code)


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [
        f"tracknet {tracknet.__version__}: train, evaluate and run sports-ball trackers",
        "",
        "usage: tracknet COMMAND [options]",
        "",
        *(f"  {name:<{width}}  {line}" for name, (_, line) in COMMANDS.items()),
        "",
        "`tracknet COMMAND --help` explains one; a first run: tracknet demo",
        f"{TRUST_FLAG} lets the checkpoints of a command name any class; its --help and SECURITY.md say more",
    ]
    return "\n".join(lines)
