from __future__ import annotations

import os
import subprocess
import sys

import pytest

FAULTS = """
import resource
from tracknet.cli.memory import keep_freed_memory
print(keep_freed_memory())
import torch
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for step in range(30):
    if step == 25:
        before = faults()
    torch.ones(32 << 20)
print(faults() - before)
"""

PEAK = """
import resource, sys
from tracknet.cli.main import main
code = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
sys.exit(code)
"""


def run(code: str, *words: object, **environment: str) -> list[str]:
    """Run Python without settings of the allocator; give the lines that it prints."""
    clean = {k: v for k, v in os.environ.items() if k not in ("GLIBC_TUNABLES", "LD_PRELOAD")}
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)],
        env=clean | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def page_faults(**environment: str) -> tuple[bool, int]:
    """Fill 128 MB five times in a warm process; give whether settings were made, and page faults."""
    made, count = run(FAULTS, **environment)
    return made == "True", int(count)


@pytest.mark.skipif(sys.platform != "linux", reason="settings of glibc")
def test_memory_that_was_freed_is_used_again():
    made, kept = page_faults()
    left, given_back = page_faults(MALLOC_TRIM_THRESHOLD_="1")
    assert made
    assert not left, "settings of the user stay"
    assert given_back >= 5 * 32_000, "each page of each block is asked for anew"
    assert kept < 32_000


@pytest.mark.slow
def test_the_command_line_tracks_a_long_video_in_the_memory_of_a_short_one(tmp_path, grey_video):
    import torch

    from tracknet.models import CompactTrackNet
    from tracknet.training.lightning_module import HeatmapTracker

    tracker = HeatmapTracker(CompactTrackNet(frames=8, stem=2, widths=(4, 4, 4)), input_size=(32, 48))
    checkpoint = tmp_path / "tiny.ckpt"
    torch.save({"state_dict": tracker.state_dict(), "hyper_parameters": dict(tracker.hparams)}, checkpoint)
    peaks = {}
    for count in (500, 8_000):
        path = grey_video(count, (48, 64))
        told = run(PEAK, "track", path, "--ckpt", checkpoint, "--output", tmp_path, OMP_NUM_THREADS="1")
        assert told[0].startswith(f"{count:,} frames, ")
        peaks[count] = int(told[-1])
    # With 1.7 KB a frame, as there once were, this would be 12,750.
    assert peaks[8_000] - peaks[500] < 6_000, peaks
