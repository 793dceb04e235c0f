"""Size, cost and speed of every network, as a Markdown table.

    python -m benchmarks.networks [--forwards 2] [--threads N] > benchmarks/results/networks.md

Parameters and operations are exact and the same everywhere; frames a second are those of this machine. The
networks on backbones need the extra ``tracknet[backbones]``.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from tracknet.cli.memory import keep_freed_memory
from tracknet.models import (
    WASB,
    CompactTrackNet,
    ConvNeXtFPN,
    ConvNeXtHRNet,
    HeatmapNetwork,
    MonoTrack,
    ResTrackNetV2,
    TrackNetV1,
    TrackNetV2,
    TrackNetV3,
    TrackNetV4,
    TrackNetV5,
    ViTUpsample,
)

NETWORKS: list[tuple[type[HeatmapNetwork], tuple[int, int]]] = [
    (TrackNetV1, (360, 640)),
    (TrackNetV2, (288, 512)),
    (TrackNetV3, (288, 512)),
    (TrackNetV4, (288, 512)),
    (TrackNetV5, (288, 512)),
    (WASB, (288, 512)),
    (MonoTrack, (288, 512)),
    (ResTrackNetV2, (288, 512)),
    (CompactTrackNet, (288, 512)),
]
"""As published, at the size at which they were."""

BACKBONES: list[tuple[type[HeatmapNetwork], tuple[int, int]]] = [
    (ConvNeXtFPN, (288, 512)),
    (ConvNeXtHRNet, (288, 512)),
    (ViTUpsample, (288, 512)),
]
"""With their defaults; no pretrained weights are fetched."""


@dataclass(frozen=True)
class Row:
    """What is told of a network; GMAC of one forward, seconds and CPU seconds of the fastest one."""

    name: str
    size: tuple[int, int]
    frames: int
    outputs: int
    background: str
    parameters: int
    gmac: float
    seconds: float
    cpu_seconds: float


def measure(cls: type[HeatmapNetwork], size: tuple[int, int], forwards: int) -> Row:
    with torch.device("meta"):
        network = cls().eval()  # type: ignore[call-arg]
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, network.in_channels, *size))
    network = cls().eval().to(memory_format=torch.channels_last)  # type: ignore[call-arg, call-overload]
    x = torch.rand(1, network.in_channels, *size).contiguous(memory_format=torch.channels_last)
    times, cpu_times = [], []
    with torch.inference_mode():
        network(x)
        for _ in range(forwards):
            start, cpu_start = time.perf_counter(), time.process_time()
            network(x)
            times.append(time.perf_counter() - start)
            cpu_times.append(time.process_time() - cpu_start)
    return Row(
        cls.__name__,
        size,
        network.frames,
        network.outputs,
        network.background,
        sum(parameter.numel() for parameter in network.parameters()),
        counter.get_total_flops() / 2e9,
        min(times),
        min(cpu_times),
    )


def table(rows: list[Row]) -> str:
    head = "| network | input | frames in, heatmaps out | background | parameters "
    head += "| GMAC a forward | GMAC a frame | frames/s | frames a CPU second |"
    lines = [head, "|---|---|---|---|---|---|---|---|---|"]
    for row in rows:
        height, width = row.size
        lines.append(
            f"| {row.name} | {height}x{width} | {row.frames}, {row.outputs} | {row.background} "
            f"| {row.parameters:,} | {row.gmac:.1f} | {row.gmac / row.outputs:.1f} "
            f"| {_rate(row.outputs / row.seconds)} | {_rate(row.outputs / row.cpu_seconds)} |"
        )
    return "\n".join(lines)


def _rate(rate: float) -> str:
    return f"{rate:.2g}" if rate < 99.5 else f"{rate:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--forwards", type=int, default=2, help="timed forwards of each; the fastest counts")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of PyTorch")
    parser.add_argument("--machine", default="", help="the machine in words; default what can be seen")
    args = parser.parse_args()
    keep_freed_memory()  # as the commands do
    torch.set_num_threads(args.threads)
    seen = f"{os.cpu_count()} cores, {torch.backends.cpu.get_cpu_capability()}, {platform.machine()}"
    print("# Networks\n")
    print(
        f"Batch 1, float32, channels_last, PyTorch {torch.__version__} with {args.threads} thread(s),\non "
        f"{args.machine or seen}. Frames/s: heatmaps a second with\nwindows that do not overlap; the fastest "
        f"of {args.forwards} forwards after one that is not timed.\n"
        "GMAC: `torch.utils.flop_counter` / 2, so that GFLOP are twice as many.\n"
        "On a busy machine the CPU seconds, over all threads, tell more than those of the clock.\n"
    )
    print(table([measure(cls, size, args.forwards) for cls, size in [*NETWORKS, *BACKBONES]]))


if __name__ == "__main__":
    main()
