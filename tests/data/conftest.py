"""What several tests of data need."""

from __future__ import annotations

import pytest

from tracknet.data.labels import read_labels


@pytest.fixture
def read(tmp_path):
    """Reads a text as the labels of a clip of 1280x720."""

    def _read(text: str | bytes, frames: int = 3, **more):
        path = tmp_path / "clip.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_labels(path, frames, (720, 1280), **more)

    return _read
