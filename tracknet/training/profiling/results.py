"""What a profile holds, its file, and the verdict in words."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from tracknet.data.whole_file import whole_file
from tracknet.errors import TrackNetError, UsageError
from tracknet.training.profiling.phases import PHASES
from tracknet.training.profiling.words import percent, rate

FORMAT = 1
FILE = "profile.json"

WAITING = 0.3
"""Share of a step spent waiting for data from which the data bound a training."""

GROUPS = {
    "compute-bound": ("forward", "backward", "optimizer"),
    "preparation-bound": ("transfer", "augmentation", "targets"),
    "callback-bound": ("callbacks", "loop"),
}
"""Verdict -> the phases that take most of a step which does not wait for data."""

LOOK_AT = {
    "preparation-bound": "data.init_args.augmentation and data.init_args.crop",
    "callback-bound": "trainer.callbacks and trainer.log_every_n_steps",
}


@dataclass(frozen=True)
class Operator:
    """An operator of torch over the traced steps.

    Args:
        name: Its name.
        calls: How often it was called.
        host_seconds: Time on the host without that of the operators it calls.
        device_seconds: The same on the device.
        allocated: Bytes that it allocated, less those it freed.
    """

    name: str
    calls: int
    host_seconds: float
    device_seconds: float
    allocated: int


@dataclass(frozen=True)
class Profiled:
    """The figures of a profile; times in seconds, memory in bytes.

    Args:
        run: What was profiled.
        device: Name of the device.
        accelerator: Its kind, such as ``cpu`` or ``cuda``.
        cores: Cores of the host that the process may use.
        threads: Threads that torch computes with.
        torch: Version of torch.
        precision: The trainer's precision.
        network: Class of what is trained.
        parameters: Numbers that are trained.
        windows: Windows of a batch.
        num_workers: Processes that load; None where it is no `DataLoader`.
        workers_key: Where the number of these processes is set.
        first_step: Steps before the first that was measured.
        step_seconds: Undisturbed steps.
        phases: Mean seconds of a step in each of `PHASES`.
        loader_rate: Windows a second that the loader delivers alone; None where it could not be measured.
        forward_flops: Floating-point operations of the forward of a batch; None where it was not counted.
        backward_flops: Those of the backward.
        peak_flops: What the device was measured to compute in a second.
        validation_seconds: Time of one validation; None where there was none.
        epoch_steps: Steps of an epoch; None where it has no end.
        memory: Peaks of memory by name.
        timeline: Memory over the traced steps by device: seconds and bytes, in order.
        operators: Operators of the traced steps, those that take most time first.
        traced_steps: Number of these steps.
    """

    run: str
    device: str
    accelerator: str
    cores: int
    threads: int
    torch: str
    precision: str
    network: str
    parameters: int
    windows: int
    num_workers: int | None
    workers_key: str
    first_step: int
    step_seconds: list[float]
    phases: dict[str, float]
    loader_rate: float | None = None
    forward_flops: int | None = None
    backward_flops: int | None = None
    peak_flops: float | None = None
    validation_seconds: float | None = None
    epoch_steps: int | None = None
    memory: dict[str, int] = field(default_factory=dict)
    timeline: dict[str, list[tuple[float, int]]] = field(default_factory=dict)
    operators: list[Operator] = field(default_factory=list)
    traced_steps: int = 0

    @property
    def step(self) -> float:
        """Seconds of a step by its phases."""
        return sum(self.phases.values())

    @property
    def training_rate(self) -> float:
        """Windows a second of the training as it is."""
        return self.windows * len(self.step_seconds) / sum(self.step_seconds)

    @property
    def network_rate(self) -> float:
        """Windows a second that the training would take if it never waited for data."""
        return self.windows / (self.step - self.phases["data_wait"])

    @property
    def flops(self) -> int | None:
        """Floating-point operations of a step."""
        if self.forward_flops is None or self.backward_flops is None:
            return None
        return self.forward_flops + self.backward_flops

    @property
    def utilisation(self) -> float | None:
        """Share of the device's peak that forward and backward reach while they run."""
        seconds = self.phases["forward"] + self.phases["backward"]
        if self.flops is None or not self.peak_flops or not seconds:
            return None
        return self.flops / seconds / self.peak_flops

    @property
    def validation_share(self) -> float | None:
        """Share of an epoch that a validation after it takes."""
        if self.validation_seconds is None or self.epoch_steps is None:
            return None
        epoch = self.epoch_steps * self.windows / self.training_rate
        return self.validation_seconds / (self.validation_seconds + epoch)

    def share(self, *phases: str) -> float:
        """Give the share of a step that phases take."""
        return sum(self.phases[phase] for phase in phases) / self.step

    @property
    def bound(self) -> str:
        """What bounds the training: ``data-bound`` or a key of `GROUPS`."""
        slow = self.loader_rate is not None and self.loader_rate < 0.9 * self.network_rate
        if slow or self.share("data_wait") >= WAITING:
            return "data-bound"
        return max(GROUPS, key=lambda group: self.share(*GROUPS[group]))

    @property
    def verdict(self) -> str:
        """What bounds the training, why, and what to try, in a sentence."""
        if self.bound == "data-bound":
            return f"data-bound: {self._data_words()}"
        takes = f"the network takes {rate(self.network_rate)} windows/s"
        if self.loader_rate is not None:
            takes += f", the loader delivers {rate(self.loader_rate)}"
        if self.bound == "compute-bound":
            return f"compute-bound: {takes}{self._compute_words()}"
        worst = max(GROUPS[self.bound], key=lambda name: self.phases[name])
        part = f"{percent(self.share(worst))} of each step goes into {PHASES[worst]}"
        return f"{self.bound}: {takes}, but {part}; look at {LOOK_AT[self.bound]}"

    def _data_words(self) -> str:
        waits = f"{percent(self.share('data_wait'))} of each step waits for data"
        if self.loader_rate is None:
            return f"{waits}; the network would take {rate(self.network_rate)} windows/s"
        rates = (
            f"the loader delivers {rate(self.loader_rate)} windows/s, "
            f"the network takes {rate(self.network_rate)}"
        )
        if self.num_workers is None:
            return f"{rates}; {waits}"
        if self.loader_rate >= self.network_rate:
            rates += f", but {waits}"
        each = self.loader_rate / max(1, self.num_workers)
        wanted = math.ceil(1.2 * self.network_rate / each)
        # A network on the CPU wants a core for itself.
        most = max(1, self.cores - (self.accelerator == "cpu"))
        count = max(min(wanted, most), min(self.num_workers + 1, most))
        if count <= self.num_workers:
            already = f"{self.num_workers} processes load on {self.cores} cores already"
            return f"{rates}; {already}: make a window cheaper to read"
        short = (
            f" (it takes some {wanted}, for which this machine has too few cores)" if wanted > most else ""
        )
        return f"{rates}; try {self.workers_key} {count}{short}"

    def _compute_words(self) -> str:
        used = self.utilisation
        if used is None:
            return ""
        words = f"; forward and backward reach {percent(used)} of the peak measured on this machine"
        if self.accelerator != "cpu" and self.precision.startswith("32"):
            return f"{words}; try trainer.precision bf16-mixed"
        if used < 0.25:
            larger = "a larger data.init_args.batch_size may help; the"
            return f"{words}; {larger} operators on the page say what takes the time"
        return f"{words}; a smaller network or input_size is faster"


def write_profile(profile: Profiled, path: Path) -> None:
    """Write the figures, the derived ones and the verdict as JSON.

    Args:
        profile: The figures.
        path: The file.

    Raises:
        TrackNetError: The disk does not allow it.
    """
    derived = {
        "step": profile.step,
        "training_rate": profile.training_rate,
        "network_rate": profile.network_rate,
        "utilisation": profile.utilisation,
        "validation_share": profile.validation_share,
        "bound": profile.bound,
        "verdict": profile.verdict,
    }
    with whole_file(path) as part:
        part.write_text(json.dumps({"format": FORMAT, **derived, **asdict(profile)}, indent=1) + "\n")


def read_profile(path: Path) -> Profiled:
    """Read a profile.

    Args:
        path: ``profile.json``, or the folder it is in, or that of its run.

    Returns:
        The figures.

    Raises:
        UsageError: There is no such file.
        TrackNetError: It is no profile, or one of another version.
    """
    places = [path, path / FILE, path / "profile" / FILE]
    file = next((one for one in places if one.is_file()), None)
    if file is None:
        raise UsageError(f"{path}: no {FILE} there or in profile/; write one with `tracknet profile {path}`")
    try:
        values: Any = json.loads(file.read_text())
        found = values["format"]
        known = {one.name for one in fields(Profiled)}
        kept = {name: value for name, value in values.items() if name in known}
        if found == FORMAT:
            if set(kept["phases"]) != set(PHASES):
                raise ValueError("other phases")
            kept["operators"] = [Operator(**one) for one in kept["operators"]]
            kept["timeline"] = {name: [(t, b) for t, b in line] for name, line in kept["timeline"].items()}
            return Profiled(**kept)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TrackNetError(f"{file}: is no profile of `tracknet profile`") from error
    raise TrackNetError(f"{file}: profile of format {found}, expected {FORMAT}; profile the run again")
