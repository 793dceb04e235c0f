"""Fixtures shared by all rooms of the tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real labelled rallies; tests that need it are skipped where it is missing."""
    root = Path(
        os.environ.get("TRACKNET_TEST_DATA", Path(__file__).resolve().parents[1].parent / "shared" / "data")
    )
    if not (root / "badminton").is_dir():
        pytest.skip(f"no real rallies under {root} (set TRACKNET_TEST_DATA)")
    return root
