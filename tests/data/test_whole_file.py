"""Files that are there as a whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess

import numpy as np
import pytest

from tracknet.data.video import VideoWriter
from tracknet.data.whole_file import whole_file, why_refused
from tracknet.errors import TrackNetError
from tracknet.tracking.trajectory import TrajectoryRow, write_trajectory


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


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOSPC, "No space left on device; make room on that disk, or choose a folder on another one"),
        (
            errno.EROFS,
            "Read-only file system; choose a folder that you may write to, or change its permissions",
        ),
        (errno.EISDIR, "Is a directory"),
    ],
)
def test_the_reason_comes_with_what_can_be_done(tmp_path, number, told):
    error = OSError(number, os.strerror(number))
    assert why_refused(error) == told
    with (
        pytest.raises(TrackNetError, match=f"a.txt: cannot be written: {told}$"),
        whole_file(tmp_path / "a.txt"),
    ):
        raise error


def test_a_process_that_was_killed_leaves_nothing_for_ever(tmp_path):
    killed = subprocess.Popen(["true"])
    killed.wait()
    names = [".{}.ball.csv", ".{}.ball.mp4"]
    for name in names:
        for owner in (killed.pid, os.getppid()):
            (tmp_path / name.format(owner)).write_text("half")
    with VideoWriter(tmp_path / "ball.mp4", (32, 48), 30) as video:
        video.write(np.zeros((32, 48, 3), np.uint8))
    write_trajectory(tmp_path / "ball.csv", [TrajectoryRow(0, False, 0, 0, 0)])
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"ball.csv", "ball.mp4", *(name.format(os.getppid()) for name in names)}
