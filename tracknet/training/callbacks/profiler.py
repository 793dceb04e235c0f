"""A callback that says how fast a training is, and what bounds it."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from jsonargparse.typing import NonNegativeInt, PositiveInt
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.profilers import PyTorchProfiler
from lightning.pytorch.utilities import rank_zero_warn
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor
from torch.profiler import ProfilerActivity, profile, schedule
from torch.utils.flop_counter import FlopCounterMode

from tracknet.data.threads import usable_cores
from tracknet.data.whole_file import whole_file
from tracknet.errors import UsageError
from tracknet.training.profiling.measures import (
    device_name,
    dtype_of,
    loader_rate,
    measure_peak,
    memory_peaks,
    windows_of,
)
from tracknet.training.profiling.page import PAGE, write_page
from tracknet.training.profiling.phases import PHASES, PhaseClock, synchronize
from tracknet.training.profiling.results import FILE, Operator, Profiled, write_profile
from tracknet.training.profiling.trace import memory_lines, top_operators

Recording = Generator[None, None, None]


class Profile(Callback):
    """Writes what a training step spends its time on, and what bounds the training, in words.

    Some steps in mid-training are measured, one thing after the other so that none disturbs another: steps as
    they are, steps phase by phase, the floating-point operations of one step, steps under torch's profiler;
    then the loader and the device alone. ``profile.html`` shows all of it, ``profile.json`` holds it,
    ``trace.json`` is for chrome://tracing or Perfetto. Before and after, training goes on as without. Of
    several processes, the first is measured. `torch.compile` hides operations from the count.

    Lightning's SimpleProfiler adds up times that lie inside one another and does not wait for the device,
    its PyTorchProfiler leaves a trace to be read, its DeviceStatsMonitor logs counters; none knows what the
    loader delivers alone or the device can compute, and none says what to change.

    Args:
        start_step: Steps before the first that is measured: workers and kernels have to get going.
        steps: Steps that are measured as they are, and again phase by phase. The first step of an epoch and
            those about a validation are passed over.
        trace_steps: Steps under torch's profiler.
        folder: Folder to write to; default ``profile`` in the run's folder.
        stop: Whether to end the training when all is measured.
    """

    def __init__(
        self,
        start_step: NonNegativeInt = 10,
        steps: PositiveInt = 10,
        trace_steps: PositiveInt = 3,
        folder: Path | None = None,
        stop: bool = False,
    ) -> None:
        self.start_step = start_step
        self.steps = steps
        self.trace_steps = trace_steps
        self.folder = folder
        self.stop = stop
        self._folder = folder or Path("profile")
        self.profiled: Profiled | None = None
        self._recording: Recording | None = None
        self._forget()

    def _forget(self) -> None:
        self._windows = 0
        self._step_seconds: list[float] = []
        self._laps: list[dict[str, float]] = []
        self._counter: FlopCounterMode | None = None
        self._forward_flops: int | None = None
        self._all_flops: int | None = None
        self._operators: list[Operator] = []
        self._timeline: dict[str, list[tuple[float, int]]] = {}
        self._validation: float | None = None
        self._disturbed = True
        self._measurable = False
        self._since = 0.0

    @property
    def needed_steps(self) -> int:
        """Steps that it takes at least."""
        return int(self.start_step + 2 * self.steps + self.trace_steps + 2)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a second user of torch's profiler, and to stop only one of several processes.

        Raises:
            UsageError: The trainer has a `PyTorchProfiler`, or `stop` is set and there are several processes.
        """
        if self.stop and trainer.world_size > 1:
            raise UsageError("Profile: stop ends the first process only; set trainer.devices to 1")
        if isinstance(trainer.profiler, PyTorchProfiler):  # type: ignore[attr-defined]
            raise UsageError(
                "trainer.profiler: pytorch and the callback Profile do not go together; leave one out"
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count steps."""
        self._forget()
        self.profiled = None
        # Asked for in all processes: Lightning tells it from the first to the others.
        run = trainer.log_dir
        self._folder = self.folder or Path(run or trainer.default_root_dir) / "profile"
        if trainer.is_global_zero:
            self._recording = self._record(trainer, pl_module)
            next(self._recording)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Pass over the first step of an epoch, which starts the loader."""
        self._disturbed = True
        self._measurable = False

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of a validation."""
        self._disturbed = True
        self._since = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock of a validation, and add it to a profile that is written already."""
        if trainer.sanity_checking or not trainer.is_global_zero:
            return
        synchronize(pl_module.device)
        self._validation = time.perf_counter() - self._since
        if self.profiled is not None and self.profiled.validation_seconds is None:
            self._write(replace(self.profiled, validation_seconds=self._validation))

    def on_before_backward(self, trainer: Trainer, pl_module: LightningModule, loss: Tensor) -> None:
        """Tell the operations of the forward from those of the backward."""
        if self._counter is not None:
            self._forward_flops = self._counter.get_total_flops()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Take the figures of a step; write all of them after the last one."""
        if self._recording is None:
            return
        self._windows = self._windows or windows_of(batch)
        try:
            next(self._recording)
        except StopIteration:
            self._recording = None
            self._finish(trainer, pl_module)
            trainer.should_stop = trainer.should_stop or self.stop
        self._measurable = self._measurable or not self._disturbed
        self._disturbed = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give up where epochs hold no step that can be measured."""
        if self._recording is not None and not self._measurable:
            trainer.should_stop = trainer.should_stop or self.stop

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write what there is where the training ends before all is measured."""
        if self._recording is None:
            return
        self._abandon()
        if self._step_seconds and self._laps:
            self._finish(trainer, pl_module)
            return
        rank_zero_warn(
            f"Profile: nothing measured, the training ended too early; it takes {self.needed_steps} steps or "
            "more, in epochs of several batches each (start_step, steps and trace_steps say how many)"
        )

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leave nothing behind that slows or watches."""
        self._abandon()

    def _abandon(self) -> None:
        if self._recording is not None:
            self._recording.close()
            self._recording = None

    def _record(self, trainer: Trainer, pl_module: LightningModule) -> Recording:
        """Measure one thing after the other; goes on at the end of each step."""
        for _ in range(self.start_step):
            yield
        yield from self._as_they_are(pl_module.device)
        yield from self._by_phases(trainer, pl_module)
        yield from self._operations()
        yield from self._traced(pl_module.device)

    def _as_they_are(self, device: torch.device) -> Recording:
        # Waited for at the ends only: a device that runs behind the host is part of how things are.
        synchronize(device)
        since = time.perf_counter()
        while len(self._step_seconds) < self.steps:
            yield
            if self._disturbed or len(self._step_seconds) == self.steps - 1:
                synchronize(device)
            now = time.perf_counter()
            if not self._disturbed:
                self._step_seconds.append(now - since)
            since = now

    def _by_phases(self, trainer: Trainer, pl_module: LightningModule) -> Recording:
        clock = PhaseClock(trainer.profiler, pl_module.device)  # type: ignore[attr-defined]
        hooks = clock.watch_targets(pl_module)
        trainer.profiler = clock  # type: ignore[attr-defined]
        try:
            clock.begin()
            while len(self._laps) < self.steps:
                yield
                lap = clock.lap()
                if not self._disturbed:
                    self._laps.append(lap)
        finally:
            trainer.profiler = clock.inner  # type: ignore[attr-defined]
            for hook in hooks:
                hook.remove()

    def _operations(self) -> Recording:
        try:
            while self._all_flops is None:
                with FlopCounterMode(display=False) as self._counter:
                    yield
                if not self._disturbed:
                    self._all_flops = self._counter.get_total_flops()
        finally:
            self._counter = None

    def _traced(self, device: torch.device) -> Recording:
        activities = [ProfilerActivity.CPU]
        if device.type == "cuda":
            activities.append(ProfilerActivity.CUDA)
        steps = schedule(wait=0, warmup=1, active=self.trace_steps, repeat=1)
        profiler = profile(activities=activities, schedule=steps, profile_memory=True, record_shapes=True)
        with profiler:
            for _ in range(1 + self.trace_steps):
                yield
                synchronize(device)
                profiler.step()
        with whole_file(self._folder / "trace.json") as part:
            profiler.export_chrome_trace(str(part))
        self._timeline = memory_lines(self._folder / "trace.json")
        self._operators = top_operators(profiler)

    def _finish(self, trainer: Trainer, pl_module: LightningModule) -> None:
        device, loader = pl_module.device, trainer.train_dataloader
        epoch, folder = trainer.num_training_batches, self._folder.resolve()
        memory = memory_peaks(device)
        with isolate_rng():
            rate = loader_rate(loader, self.steps)
            peak = measure_peak(device, dtype_of(str(trainer.precision)))
        known = hasattr(getattr(trainer, "datamodule", None), "num_workers")
        self._write(
            Profiled(
                run=str(folder.parent if folder.name == "profile" else folder),
                device=device_name(device),
                accelerator=device.type,
                cores=usable_cores(),
                threads=torch.get_num_threads(),
                torch=str(torch.__version__),
                precision=str(trainer.precision),
                network=type(getattr(pl_module, "network", pl_module)).__name__,
                parameters=sum(one.numel() for one in pl_module.parameters() if one.requires_grad),
                windows=self._windows,
                num_workers=getattr(loader, "num_workers", None),
                workers_key="data.init_args.num_workers" if known else "num_workers",
                first_step=self.start_step,
                step_seconds=self._step_seconds,
                phases={name: fmean(lap[name] for lap in self._laps) for name in PHASES},
                loader_rate=rate,
                forward_flops=self._forward_flops,
                backward_flops=None
                if self._all_flops is None
                else self._all_flops - (self._forward_flops or 0),
                peak_flops=peak,
                validation_seconds=self._validation,
                epoch_steps=int(epoch) if epoch != float("inf") else None,
                memory=memory,
                timeline=self._timeline,
                operators=self._operators,
                traced_steps=self.trace_steps if self._operators else 0,
            )
        )
        if self.profiled is not None:
            print(f"{self.profiled.verdict}\nprofile: {self._folder / PAGE}", flush=True)

    def _write(self, profiled: Profiled) -> None:
        self.profiled = profiled
        write_profile(profiled, self._folder / FILE)
        write_page(profiled, self._folder / PAGE)
