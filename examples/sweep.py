"""Try several learning rates, one training after the other, and compare the runs.

Usage: python sweep.py optimizer.lr 0.001,0.003,0.01 +experiment=compact_cpu --data.root ROOT

Any option of `tracknet fit` can be swept, and what stands behind the values goes to every run. A value that
fails does not stop the others; a run that was interrupted goes on when the same words are given again.
This is a plain loop over a list; `tracknet sweep` lets an optimiser choose the settings.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from tracknet.cli.main import main as tracknet


def main(option: str, values: list[str], words: list[str], folder: Path = Path("runs/sweep")) -> list[Path]:
    """Train once for each value; give the folders of the runs that came to their end."""
    done = []
    for value in values:
        run = folder / f"{option}={value}"
        places = {"save_dir": run.parent, "name": "", "version": run.name}
        command = ["fit", *words, f"--{option}={value}", "--ckpt_path=last"]
        command += [f"--trainer.logger.init_args.{key}={place}" for key, place in places.items()]
        print(f"\n== {option} = {value}: tracknet {shlex.join(command)}", flush=True)
        if tracknet(command) == 0:
            done.append(run)
    if len(done) > 1:
        tracknet(["runs", "compare", *map(str, done)])
        tracknet(["runs", "list", str(folder), "--sort", "val/f1", "--columns", "name", option, "val/f1"])
    return done


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2].split(","), sys.argv[3:])
