"""The machine of a run and its process: what they are, and whether the process still lives."""

from __future__ import annotations

import os
import platform
import socket
import sys
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

from tracknet.data.threads import usable_cores

_PROC = Path("/proc")


def this_process() -> dict[str, Any]:
    """Give what tells this process from all others: number, start, machine, boot and namespace."""
    return {
        "pid": os.getpid(),
        "started": _started(os.getpid()),
        "host": socket.gethostname(),
        "boot": _boot(),
        "namespace": _namespace(),
    }


def lives(process: dict[str, Any]) -> bool | None:
    """Say whether the process of a record still runs.

    Args:
        process: As `this_process` gave it.

    Returns:
        None where it cannot be known from here: another machine, or another container of this one.
    """
    if process.get("host") != socket.gethostname():
        return None
    if process.get("boot") != _boot():
        return False
    pid = process.get("pid")
    if process.get("namespace") != _namespace() or not isinstance(pid, int):
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # of another user: it is there
    # A number is given again to another process; a dead one that nobody has waited for keeps its.
    return _started(pid) == process.get("started") and _letter(pid) != "Z"


def hardware() -> dict[str, Any]:
    """Give processor, cores, memory in bytes, GPUs and system."""
    found: dict[str, Any] = {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "cores_allowed": usable_cores(),
        "memory": None,
        "gpus": [],
        "system": platform.platform(),
        "python": platform.python_version(),
    }
    with suppress(OSError, ValueError, AttributeError):
        found["memory"] = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    torch = sys.modules.get("torch")  # loaded in a training, and not asked for elsewhere
    if torch is not None and torch.cuda.is_available():
        cards = [torch.cuda.get_device_properties(n) for n in range(torch.cuda.device_count())]
        found["gpus"] = [{"name": card.name, "memory": card.total_memory} for card in cards]
        found["cuda"] = torch.version.cuda
    return found


def packages() -> dict[str, str]:
    """Give the installed packages and their versions, by name."""
    found = {one.metadata["Name"]: one.version for one in metadata.distributions() if one.metadata["Name"]}
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def _boot() -> str | None:
    with suppress(OSError):
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    return None


def _namespace() -> str | None:
    with suppress(OSError):
        return os.readlink(_PROC / "self/ns/pid")
    return None


def _state(pid: int) -> list[str]:
    with suppress(OSError):
        # The name of the program, in brackets, may hold spaces.
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return []


def _started(pid: int) -> int | None:
    fields = _state(pid)
    return int(fields[19]) if len(fields) > 19 else None


def _letter(pid: int) -> str:
    return (_state(pid) or [""])[0]


def cpu_name() -> str:
    """Give the name of the processor as its maker writes it, where the system tells."""
    with suppress(OSError):
        for line in (_PROC / "cpuinfo").read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                return value.strip()
    return platform.processor() or platform.machine()
