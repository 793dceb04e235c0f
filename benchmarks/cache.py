"""Building the frame cache beside bare decoding and resizing of the same files."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
from av.video.reformatter import Interpolation

from benchmarks.material import Bench
from benchmarks.measuring import Row, Target, paired, rate, row, seconds
from tracknet.data.cache import FrameCache
from tracknet.data.threads import usable_cores
from tracknet.data.video import open_source

TITLE = "Building the frame cache"


def measure(bench: Bench) -> Iterator[Row]:
    """Build it on all cores and on one, and ask for one that is there."""
    sources = [open_source(clip.video) for clip in bench.clips]
    files = [source.path for source in sources]
    info, frames = sources[0].info, sum(source.count() for source in sources)
    folder = bench.folder / "built"
    sizes = f"{info.width}x{info.height} to {bench.size[1]}x{bench.size[0]}"
    told = f"{len(files)} clips of {frames} frames, {sizes}"

    def build(workers: int | None) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        FrameCache(folder, bench.size).build(sources, workers=workers, progress=False)

    def bare(workers: int) -> None:
        with ThreadPoolExecutor(workers) as pool:
            for future in [pool.submit(decode, file, bench.size) for file in files]:
                future.result()

    cores = usable_cores()
    for workers in sorted({cores, 1}, reverse=True):
        pairs = paired(
            rate(lambda n=workers: build(None if n == cores else n), frames),  # type: ignore[misc]
            rate(lambda n=workers: bare(n), frames),  # type: ignore[misc]
            bench.rounds(5),
        )
        name = f"Cache / bare PyAV, {workers} at a time"
        target = Target("at least", 0.9) if workers == cores else None
        yield row(name, "frames/s", pairs, target, told + "; the cache is hashed, written and synced too")

    def find() -> None:
        FrameCache(folder, bench.size).build(sources, progress=False)

    pairs = paired(seconds(find), seconds(lambda: bare(cores)), bench.rounds(3), warm=0)
    yield row(
        "A cache that is there / decoding again", "s", pairs, Target("at most", 0.1), "every file is hashed"
    )


def decode(path: Path, size: tuple[int, int]) -> None:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for frame in container.decode(stream):
            frame.reformat(size[1], size[0], "rgb24", interpolation=Interpolation.AREA).to_ndarray()
