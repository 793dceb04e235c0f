"""Disturb commands at random moments, look at what they leave, run them again and look once more."""

from __future__ import annotations

import random
import shutil
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from tests.faults.activities import Activity, Training, contents
from tests.faults.children import start
from tests.faults.disturbances import Disk, Disturbance, disk
from tests.faults.table import Row

ENDS = {
    "SIGKILL": "",
    "SIGTERM": "exit code 143, or ended by the signal; no traceback; ",
    "Ctrl-C": "exit code 130, no traceback; ",
    "disk full": "exit code 1, one message with file, reason and remedy; ",
    "read-only folder": "exit code 1, one message with file, reason and remedy; ",
    "loader worker killed": "exit code 1, one message with reason and remedy; ",
}


class Campaign:
    """Disturbs activities in folders of its own.

    Args:
        scratch: Folder for all of it.
        seed: Of the moments.
    """

    def __init__(self, scratch: Path, seed: int) -> None:
        self.scratch = scratch
        self.draw = random.Random(seed)
        self.tries = 0
        self._known: dict[str, tuple[float, int]] = {}

    def disturb(self, activity: Activity, kind: Disturbance, row: Row) -> None:
        """Disturb an activity once, and its further runs as often as chance has it; counts it in a row."""
        self.tries += 1
        place = self.scratch / f"try_{self.tries}"
        place.mkdir()
        with ExitStack() as stack:
            where = stack.enter_context(disk(place / "folder")) if kind.on_a_disk else None
            self._chain(activity, kind, place, where, row)
        shutil.rmtree(place)

    def learn(self, activity: Activity) -> float:
        """Let an activity run without a fault; gives the seconds that it takes."""
        return self._undisturbed(activity)[0]

    def _chain(
        self, activity: Activity, kind: Disturbance, place: Path, where: Disk | None, row: Row
    ) -> None:
        """Disturb a command and its further runs, let the last one end, and count each fault."""
        folder, output = place / "folder", place / "output.txt"
        activity.begin(folder, self.draw)
        lasted, need = self._undisturbed(activity)
        faults: list[list[str]] = []
        while True:
            kind.before(where, need, self.draw)
            child = start(folder, activity.words(), output, activity.preparation(folder))
            time.sleep(self.draw.uniform(0, 0.95 * lasted))
            kind.strike(child, where)
            code = child.wait()
            kind.heal(where)
            if not kind.struck(code, child.said):
                break
            found = kind.faults(code, child.said) + activity.faults_left(folder)
            if found:
                print(f"{kind.name}, {activity.name}: {found}\n{child.said[-1500:]}", file=sys.stderr)
            faults.append(found)
            if row.tried + len(faults) >= row.wanted or self.draw.random() >= activity.again:
                break
        if faults:
            child = start(folder, activity.words(), output, activity.preparation(folder))
            code = child.wait()
            found = [f"the next run ends with code {code}"] if code else []
            found += activity.faults_in_the_end(folder)
            if found:
                print(f"{kind.name}, {activity.name}: {found}\n{child.said[-1500:]}", file=sys.stderr)
            faults[-1] += found
        for found in faults:
            row.count(found)

    def _undisturbed(self, activity: Activity) -> tuple[float, int]:
        """Give the seconds and the bytes that an activity takes when nobody disturbs it."""
        key = " ".join([activity.name, *activity.words()])
        if key not in self._known:
            quiet = random.Random(0)
            for turn in range(1 if self._known else 2):  # the very first one fills the frame cache
                folder = self.scratch / f"quiet_{len(self._known)}_{turn}"
                folder.mkdir()
                if isinstance(activity, Training):
                    activity.begin(folder, quiet)
                began = time.monotonic()
                output = folder.with_suffix(".txt")
                child = start(folder, activity.words(), output, activity.preparation(folder))
                assert child.wait() == 0, child.said
                lasted = time.monotonic() - began
            activity.learn(folder)
            self._known[key] = (lasted, sum(map(len, contents(folder).values())))
        return self._known[key]
