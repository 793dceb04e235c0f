"""What the machine and the loader can do on their own."""

from __future__ import annotations

import copy
import resource
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from lightning.pytorch.utilities.data import extract_batch_size
from torch.nn.functional import conv2d
from torch.utils.data import BatchSampler, DataLoader, IterableDataset, RandomSampler

from tracknet.training.profiling.phases import synchronize
from tracknet.training.records.machine import cpu_name

LOADER_SECONDS = 10.0
"""Longest time that the loader is measured for, in seconds."""


def loader_rate(loader: Any, batches: int) -> float | None:
    """Measure how many windows a second a loader delivers when nothing else is done.

    A loader of its own reads random windows of the same data set in the same way, so that the order and the
    processes of the one in use are left alone. What its processes have ready at the start does not count.

    Args:
        loader: The loader in use.
        batches: Batches to count.

    Returns:
        Windows a second; None for something else than a `DataLoader`, or where it delivers nothing.
    """
    if not isinstance(loader, DataLoader):
        return None
    ahead = max(1, loader.num_workers * (loader.prefetch_factor or 0))
    delivered = iter(_like(loader, ahead + batches))
    for _ in range(ahead):
        if next(delivered, None) is None:
            return None
    windows = 0
    started = time.perf_counter()
    for batch, _ in zip(delivered, range(batches), strict=False):
        windows += windows_of(batch)
        if time.perf_counter() - started > LOADER_SECONDS:
            break
    return windows / (time.perf_counter() - started) if windows else None


def _like(loader: DataLoader[Any], batches: int) -> DataLoader[Any]:
    options: dict[str, Any] = {
        "num_workers": loader.num_workers,
        "collate_fn": loader.collate_fn,
        "pin_memory": loader.pin_memory,
        "timeout": loader.timeout,
        "worker_init_fn": loader.worker_init_fn,
        "multiprocessing_context": loader.multiprocessing_context,
        "prefetch_factor": loader.prefetch_factor,
    }
    if isinstance(loader.dataset, IterableDataset):
        return DataLoader(loader.dataset, batch_size=loader.batch_size, drop_last=loader.drop_last, **options)
    if loader.batch_size is None:
        return DataLoader(loader.dataset, batch_sampler=copy.copy(loader.batch_sampler), **options)
    sampler = RandomSampler(loader.dataset, replacement=True, num_samples=batches * loader.batch_size)  # type: ignore[arg-type]
    whole = BatchSampler(sampler, loader.batch_size, drop_last=True)
    return DataLoader(loader.dataset, batch_sampler=whole, **options)


def windows_of(batch: Any) -> int:
    """Give the number of windows in a batch."""
    return int(extract_batch_size(batch))


def measure_peak(device: torch.device, dtype: torch.dtype, seconds: float = 0.5) -> float:
    """Measure what a device can compute: the best of matrix products and convolutions of several sizes.

    The process's own settings hold, such as the number of threads and TF32.

    Args:
        device: The device.
        dtype: Numbers that are multiplied.
        seconds: Time for each size.

    Returns:
        Floating-point operations a second; a multiplication and an addition are two.
    """
    with torch.inference_mode():
        return max(_rate(run, flops, device, seconds) for run, flops in _kernels(device, dtype))


def _kernels(device: torch.device, dtype: torch.dtype) -> Iterator[tuple[Callable[[], Any], float]]:
    for side in (1024,) if device.type == "cpu" else (4096, 8192):
        a, b = (torch.rand(side, side, device=device, dtype=dtype) for _ in range(2))
        yield partial(torch.matmul, a, b), 2.0 * side**3
    batch, channels, side = (1, 64, 128) if device.type == "cpu" else (32, 256, 64)
    x = torch.rand(batch, channels, side, side, device=device, dtype=dtype)
    x = x.to(memory_format=torch.channels_last)
    weight = torch.rand(channels, channels, 3, 3, device=device, dtype=dtype)
    weight = weight.to(memory_format=torch.channels_last)
    yield partial(conv2d, x, weight, padding=1), 2.0 * 9 * batch * channels**2 * side**2


def _rate(run: Callable[[], Any], flops: float, device: torch.device, seconds: float) -> float:
    run()
    synchronize(device)
    best = 0.0
    ends = time.perf_counter() + seconds
    while not best or time.perf_counter() < ends:
        started = time.perf_counter()
        run()
        synchronize(device)
        best = max(best, flops / (time.perf_counter() - started))
    return best


def dtype_of(precision: str) -> torch.dtype:
    """Give the numbers that a trainer's precision computes with.

    Example:
        >>> dtype_of("bf16-mixed")
        torch.bfloat16
    """
    if precision.startswith("bf16"):
        return torch.bfloat16
    return {"16": torch.float16, "64": torch.float64}.get(precision.partition("-")[0], torch.float32)


def device_name(device: torch.device) -> str:
    """Give the name of a device as its maker writes it, where the system tells."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return cpu_name() if device.type == "cpu" else device.type


def memory_peaks(device: torch.device) -> dict[str, int]:
    """Give the peaks of memory so far, in bytes: of the host, and of the device as torch counts them."""
    unit = 1 if sys.platform == "darwin" else 1024
    peaks = {"host resident": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    if device.type == "cuda":
        peaks["device allocated"] = torch.cuda.max_memory_allocated(device)
        peaks["device reserved"] = torch.cuda.max_memory_reserved(device)
    return peaks
