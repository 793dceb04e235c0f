"""Files that are there as a whole or not at all."""

from __future__ import annotations

import pytest

from tracknet.data.whole_file import whole_file
from tracknet.errors import TrackNetError


def stop_halfway(path):
    with whole_file(path) as part:
        part.write_text("half")
        assert part.suffix == ".txt"
        raise KeyError


def test_a_failure_leaves_the_old_file_and_nothing_beside(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(KeyError):
        stop_halfway(path)
    assert [one.name for one in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "old"
    with whole_file(path) as part:
        part.write_text("new")
    assert [one.name for one in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "new"


def test_what_the_disk_refuses_is_told(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(TrackNetError, match=r"a.txt: cannot be written: .*"),
        whole_file(tmp_path / "file" / "a.txt"),
    ):
        pass
    with (
        pytest.raises(TrackNetError, match=r"a.txt: cannot be written: No such file"),
        whole_file(tmp_path / "a.txt"),
    ):
        pass
