"""Damaged files: ``python -m tests.faults.safety`` writes benchmarks/results/faults_safety.md."""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from datetime import date
from pathlib import Path

import torch

import tracknet
from tests.faults.test_bit_flips import caches_damaged, checkpoints_damaged

TABLE = Path(__file__).parents[2] / "benchmarks" / "results" / "faults_safety.md"


def main() -> int:
    """Damage files and write the table; 1 where something went unnoticed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--number", type=int, default=300, help="How often each is damaged.")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--output", type=Path, default=TABLE)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        tried, lost = checkpoints_damaged(Path(name), options.number, options.seed)
        cached, unnoticed, by_opening = caches_damaged(
            Path(name) / "frames", options.number, options.seed + 1
        )
    rows = [
        (
            "bit flipped or end cut",
            "checkpoint, the newest of two",
            tried,
            lost,
            "refused by name; `--ckpt_path` goes on from the one before and says so",
        ),
        (
            "bit flipped or end cut",
            "clip of the frame cache",
            cached,
            unnoticed,
            f"`data cache --verify` names and rebuilds it; "
            f"opening it, as a training does, noticed {by_opening}",
        ),
    ]
    lines = [
        "# Damaged files",
        "",
        f"{date.today().isoformat()}, `python -m tests.faults.safety --number {options.number} --seed "
        f"{options.seed}`. tracknet {tracknet.__version__}, PyTorch {torch.__version__}, Python "
        f"{platform.python_version()}, {platform.system()}.",
        "",
        "| fault | file | tried | survived | lost | what was checked |",
        "|---|---|---:|---:|---:|---|",
        *(
            f"| {fault} | {file} | {number} | {number - len(wrong)} | {len(wrong)} | {checked} |"
            for fault, file, number, wrong, checked in rows
        ),
        *(f"\n- {one}" for _, _, _, wrong, _ in rows for one in wrong),
    ]
    options.output.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    return int(bool(lost or unnoticed))


if __name__ == "__main__":
    sys.exit(main())
