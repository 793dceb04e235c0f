"""``python -m tracknet.scripts.train``: train as the older tracknet did; now `tracknet fit`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from tracknet.scripts.old_interface import guarded, parser, prepare, tell


def main(argv: Sequence[str] | None = None) -> int:
    """Train.

    Args:
        argv: Words of the command line; default those of the process.

    Returns:
        Exit code.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    return guarded("train", lambda: _run(words))


def _run(words: list[str]) -> int:
    made = parser("train", "Train a network.")
    made.add_argument("--dry-run", action="store_true", help="print the merged configuration and stop")
    options, overrides = made.parse_known_args(words)
    prepared = prepare(options, overrides)
    tell(prepared, options, "train", "tracknet fit --config new.yaml")
    if options.dry_run:
        print(f"{prepared.dump()}[dry-run] Exiting before training loop.")
        return 0
    from tracknet.cli.main import main as tracknet

    runtime = prepared.runtime
    config = prepared.write(Path(runtime["log_dir"]) / f"{runtime['run_id']}.yaml")
    return tracknet(["fit", "--config", str(config)])


if __name__ == "__main__":
    sys.exit(main())
