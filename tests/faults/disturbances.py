"""What disturbs a command: signals, a disk that fills up, a folder that can only be read."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.children import Child

_REMEDY = re.compile(r"make room|another|choose|free|move|allow|write permission", re.IGNORECASE)


def _traceback(said: str) -> bool:
    """Tell whether the command ended in one; errors that PyTorch handles and logs begin otherwise."""
    return re.search(r"^Traceback", said, re.MULTILINE) is not None


class Disk:
    """A file system of its own, in memory.

    Args:
        folder: Where it is mounted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / ".ballast"

    def leave(self, room: int) -> None:
        """Fill it up so that so many bytes are free; what cannot be taken any more is left."""
        self.free()
        told = os.statvfs(self.folder)
        taken = told.f_bavail * told.f_bsize - room
        with self._ballast.open("wb") as file:
            while taken > 0:
                try:
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), taken)
                    return
                except OSError:  # the command was faster
                    taken //= 2

    def free(self) -> None:
        """Give the room back."""
        self._ballast.unlink(missing_ok=True)

    def allow_writing(self, allowed: bool) -> None:
        """Make it read-only, or writable again."""
        _mount("-o", f"remount,{'rw' if allowed else 'ro'}", str(self.folder))


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True, capture_output=True)


def may_mount() -> bool:
    """Say whether file systems can be mounted here, which only root may."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with disk(Path(folder) / "disk"):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False


@contextmanager
def disk(folder: Path, megabytes: int = 64) -> Iterator[Disk]:
    """Mount a file system for a while."""
    folder.mkdir(parents=True)
    _mount("-t", "tmpfs", "-o", f"size={megabytes}m", "tracknet-faults", str(folder))
    try:
        yield Disk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, capture_output=True)


class Disturbance:
    """Something that goes wrong while a command runs."""

    name = ""
    on_a_disk = False

    def before(self, disk: Disk | None, need: int, draw: random.Random) -> None:
        """Prepare, before the command begins; it needs so many bytes."""

    def strike(self, child: Child, disk: Disk | None) -> None:
        """Do it, at a random moment."""

    def heal(self, disk: Disk | None) -> None:
        """Mend it, after the command has ended."""

    def struck(self, code: int, said: str) -> bool:
        """Say whether the command was disturbed at all, or was done before."""
        return code != 0

    def faults(self, code: int, said: str) -> list[str]:
        """Look at how the command ended."""
        raise NotImplementedError


class Signal(Disturbance):
    """A signal to the command and its children.

    Args:
        number: Its number.
    """

    def __init__(self, number: signal.Signals) -> None:
        self.number = number
        self.name = "Ctrl-C" if number == signal.SIGINT else number.name

    def strike(self, child: Child, disk: Disk | None) -> None:
        child.send(self.number)

    def faults(self, code: int, said: str) -> list[str]:
        expected = {
            signal.SIGKILL: (-signal.SIGKILL,),
            signal.SIGTERM: (-signal.SIGTERM, 143),
            signal.SIGINT: (130,),
        }[self.number]
        faults = [] if code in expected else [f"exit code {code}"]
        if "hangs" in said.splitlines()[-1:]:
            faults.append("it hangs")
        return faults + (["a traceback"] if _traceback(said) else [])


def signals() -> list[Disturbance]:
    """Give the signals."""
    return [Signal(number) for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)]


class LostWorker(Disturbance):
    """One of the processes that load the data is killed, as the kernel does when memory runs out."""

    name = "loader worker killed"

    def strike(self, child: Child, disk: Disk | None) -> None:
        while not child.ended():
            workers = [pid for pid in children_of(child.pid) if "pt_data" in _name(pid)]
            if workers:
                os.kill(workers[-1], signal.SIGKILL)
                return
            time.sleep(0.005)

    def faults(self, code: int, said: str) -> list[str]:
        faults = [] if code == 1 else [f"exit code {code}"]
        if _traceback(said):
            return [*faults, "a traceback"]
        last = next((line for line in reversed(said.splitlines()) if line.startswith("tracknet ")), "")
        told = "worker" in last and "--data.num_workers" in last
        return faults if told else [*faults, f"no reason or no remedy in the message: {last}"]


def children_of(pid: int) -> list[int]:
    """List the children of a process; none where it has ended."""
    try:
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return ""


class _Refusal(Disturbance):
    """The disk refuses to write."""

    on_a_disk = True
    reason = ""

    def faults(self, code: int, said: str) -> list[str]:
        faults = [] if code == 1 else [f"exit code {code}"]
        if _traceback(said):
            return [*faults, "a traceback"]
        last = next((line for line in reversed(said.splitlines()) if line.startswith("tracknet ")), "")
        if last.count(":") < 2 or not last.split(":")[1].strip():  # tracknet COMMAND: PLACE: why
            faults.append(f"no file in the message: {last or said[-200:]}")
        if self.reason not in last and "too little room" not in last:
            faults.append(f"no reason in the message: {last or said[-200:]}")
        if not _REMEDY.search(last):
            faults.append(f"no remedy in the message: {last or said[-200:]}")
        return faults


class FullDisk(_Refusal):
    """A disk that is nearly full from the start, or that others fill up in the middle."""

    name = "disk full"
    reason = "No space left on device"

    def before(self, disk: Disk | None, need: int, draw: random.Random) -> None:
        assert disk is not None
        self._later = draw.random() < 0.5
        if not self._later:
            disk.leave(round(need * draw.uniform(0, 0.95)))

    def strike(self, child: Child, disk: Disk | None) -> None:
        assert disk is not None
        if self._later:
            disk.leave(0)

    def heal(self, disk: Disk | None) -> None:
        assert disk is not None
        disk.free()


class ReadOnly(_Refusal):
    """A folder that can only be read."""

    name = "read-only folder"
    reason = "Read-only file system"

    def before(self, disk: Disk | None, need: int, draw: random.Random) -> None:
        assert disk is not None
        disk.allow_writing(False)

    def heal(self, disk: Disk | None) -> None:
        assert disk is not None
        disk.allow_writing(True)
