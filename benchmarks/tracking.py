"""`track` beside the bare forward of the network on ready tensors."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from benchmarks.material import Bench, a_batch, a_tracker
from benchmarks.measuring import Row, Target, paired, rate, row
from tracknet.data.video import FrameSource, open_source
from tracknet.models import WASB, HeatmapNetwork
from tracknet.tracking.tracker import track

TITLE = "Tracking a video"
BATCH = 4


def measure(bench: Bench) -> Iterator[Row]:
    """Track the shortest clip, all of it, with the compact network, and with WASB."""
    frames, source = min(
        ((source.count(), source) for source in (open_source(clip.video) for clip in bench.clips)),
        key=lambda one: one[0],
    )
    for network in (None, WASB()):
        if network is not None and (bench.quick or bench.most is not None):
            return  # some ten times the time of the compact one
        yield _row(bench, network, source, frames)


def _row(bench: Bench, network: HeatmapNetwork | None, source: FrameSource, frames: int) -> Row:
    tracker = a_tracker(bench.size, network).eval()
    batch = a_batch(tracker, BATCH, bench.size)
    x = tracker.network.stack(batch["frames"], batch["background"])
    windows = -(-frames // tracker.outputs)

    def forward() -> None:
        with torch.inference_mode():
            for first in range(0, windows, BATCH):
                tracker.network(x[: windows - first])

    def follow() -> None:
        for _ in track(source, tracker, batch_size=BATCH, progress=False):
            pass

    pairs = paired(rate(follow, frames), rate(forward, frames), bench.rounds(3), warm=0)
    info = source.info
    told = f"{frames} frames of {info.width}x{info.height}"
    told += ", held for the background" if tracker.needs_background else ""
    name = f"track / forward of {type(tracker.network).__name__}"
    return row(name, "frames/s", pairs, Target("at least", 0.9), told)
