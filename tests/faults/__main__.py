"""Run the campaign: ``python -m tests.faults --moments 100``."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from tests.faults.activities import Activity, Caching, Exporting, Tracking, Training
from tests.faults.campaign import ENDS, Campaign
from tests.faults.disturbances import Disturbance, FullDisk, LostWorker, ReadOnly, may_mount, signals
from tests.faults.material import make_material
from tests.faults.singles import CLOCK, LOGGER, TWO_RUNS, broken_logger, clock_jumps, two_runs, why_no_wandb
from tests.faults.table import Row, as_markdown, counts_of

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results" / "faults.md"
FORMATS = ("torchscript", "torch_export", "onnx")


def _import_all() -> None:
    """Import what the commands need, before they are forked."""
    import tracknet.cli.data
    import tracknet.cli.export
    import tracknet.cli.rectifier
    import tracknet.cli.track
    import tracknet.cli.train
    import tracknet.data.check
    import tracknet.tracking.export
    import tracknet.tracking.overlay
    import tracknet.tracking.rectification
    import tracknet.tracking.tracker  # noqa: F401

    for optional in ("onnx", "onnxscript", "onnxruntime"):
        try:
            __import__(optional)
        except ImportError:
            print(f"{optional} is not installed", file=sys.stderr)


@dataclass
class Step:
    """A row of the table and what makes one more count in it."""

    row: Row
    once: Callable[[Row], None] | None = None
    attempts: int = 0

    @property
    def name(self) -> str:
        return f"{self.row.fault}, {self.row.during}"

    @property
    def open(self) -> bool:
        """Whether it is to be tried once more; chance may have it that a command is always done before."""
        left = self.row.tried < self.row.wanted and self.attempts < 4 * self.row.wanted + 8
        return left and self.once is not None


def plan(campaign: Campaign, moments: int, formats: tuple[str, ...]) -> list[Step]:
    """List what is done; the training is learnt first: it makes the tracker of the others."""
    material = campaign.scratch / "material"
    training = Training(material)
    lasted = campaign.learn(training)
    four = [training, Caching(material), Exporting(material, formats), Tracking(material)]
    few, steps = max(1, moments // 5), []

    def disturbed(activity: Activity, kind: Disturbance, wanted: int) -> Step:
        row = Row(kind.name, activity.name, f"{ENDS[kind.name]}{activity.checked}", wanted)
        return Step(row, partial(campaign.disturb, activity, kind))

    for activity in four:
        for number, kind in enumerate(signals()):
            steps.append(disturbed(activity, kind, (moments + 2 - number) // 3))
    for activity in four:
        for refusal, wanted in ((FullDisk(), few), (ReadOnly(), 1)):
            steps.append(disturbed(activity, refusal, wanted))
            if not may_mount():
                steps[-1].once, steps[-1].row.skipped = None, "only root may mount a small disk"
    steps.append(disturbed(Training(material, workers=2), LostWorker(), few))
    where = (training, campaign.scratch, campaign.draw)
    steps += [
        Step(Row("two runs at once in one folder", training.name, TWO_RUNS, few), partial(two_runs, *where)),
        Step(Row("the clock jumps an hour", training.name, CLOCK, few), partial(clock_jumps, *where, lasted)),
        Step(Row("a logger raises", training.name, LOGGER, few), partial(broken_logger, *where)),
        Step(Row("W&B unreachable", training.name, "", skipped=why_no_wandb())),
    ]
    return steps


def main() -> int:
    """Run what is asked for, and write the table; 1 where something was lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument(
        "--moments", type=int, default=100, help="random moments of each of the four activities"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=[""], metavar="NAME", help="parts of faults or commands")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the table, Markdown")
    parser.add_argument(
        "--formats", nargs="+", choices=FORMATS, default=FORMATS, help="graphs that are exported"
    )
    parser.add_argument("--minutes", type=float, default=1e9, help="begin nothing more after so long")
    parser.add_argument("--add", action="store_true", help="to the counts of the table that is there")
    given = parser.parse_args()
    earlier = counts_of(given.out.read_text()) if given.add and given.out.is_file() else {}
    began = time.monotonic()
    torch.set_num_threads(1)
    _import_all()
    with tempfile.TemporaryDirectory(prefix="tracknet-faults-") as folder:
        scratch = Path(folder).resolve()
        os.environ["TRACKNET_CACHE"] = str(scratch / "cache")
        make_material(scratch / "material")
        campaign = Campaign(scratch, given.seed)
        steps = plan(campaign, given.moments, tuple(given.formats))
        rows = [step.row for step in steps]
        words = [f"--moments={given.moments}", f"--seed={given.seed}"]
        words += ["--only", *given.only] if any(given.only) else []
        for row in rows:
            row.earlier = earlier.get((row.fault, row.during), (0, 0))
        steps = [one for one in steps if any(part.lower() in one.name.lower() for part in given.only)]
        # In rounds, so that all have had their turn whenever the time is up.
        while todo := [step for step in steps if step.open]:
            for step in todo:
                if time.monotonic() - began > 60 * given.minutes:
                    todo = []
                    break
                step.attempts += 1
                assert step.once is not None
                step.once(step.row)
                minutes = (time.monotonic() - began) / 60
                print(f"{minutes:5.1f} min  {' | '.join(step.row.told()[:5])}", flush=True)
                table = as_markdown(rows, words, minutes)
                given.out.parent.mkdir(parents=True, exist_ok=True)
                given.out.write_text(table)
            if not todo:
                break
    return int(any(step.row.lost for step in steps))


if __name__ == "__main__":
    sys.exit(main())
