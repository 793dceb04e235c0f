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


def page_faults(**environment: str) -> tuple[bool, int]:
    """Fill 128 MB five times in a warm process; give whether settings were made, and page faults."""
    clean = {k: v for k, v in os.environ.items() if k not in ("GLIBC_TUNABLES", "LD_PRELOAD")}
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], env=clean | environment, capture_output=True, text=True, check=True
    )
    made, count = done.stdout.split()
    return made == "True", int(count)


@pytest.mark.skipif(sys.platform != "linux", reason="settings of glibc")
def test_memory_that_was_freed_is_used_again():
    made, kept = page_faults()
    left, given_back = page_faults(MALLOC_TRIM_THRESHOLD_="1")
    assert made
    assert not left, "settings of the user stay"
    assert given_back >= 5 * 32_000, "each page of each block is asked for anew"
    assert kept < 32_000
