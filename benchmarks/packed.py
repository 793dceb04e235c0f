"""Packed data beside the frame cache: how fast they are made and read, their size, the memory they take."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import shutil
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from benchmarks.cache import decode
from benchmarks.loader import delivery
from benchmarks.material import Bench
from benchmarks.measuring import Row, Target, paired, rate, row
from tracknet.data.check import DatasetReport, check_dataset
from tracknet.data.packed_datamodule import PackedDataModule
from tracknet.data.packed_index import INDEX, TABLE, digest_of_index, read_index
from tracknet.data.packing import Packing, PackSettings
from tracknet.data.shards import digest_of_file
from tracknet.data.splits import Split, choose_clips
from tracknet.data.threads import usable_cores
from tracknet.data.video import open_source

TITLE = "Packed data"
QUALITY = 95
SHARD = 4_000_000
"""Bytes of a shard: few, so that the few clips of a run make several."""
FOLD = 100


def measure(bench: Bench) -> Iterator[Row]:
    """Pack, compare sizes, read with 0 and 2 workers, and read from 100 times as many shards."""
    report = check_dataset(bench.root)
    folder = bench.folder / "packed"
    files = [clip.video for clip in bench.clips]
    frames = sum(open_source(file).count() for file in files)
    cores = usable_cores()

    def write() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        _packing(bench, report, folder).write(progress=False)

    def bare() -> None:
        with ThreadPoolExecutor(cores) as pool:
            list(pool.map(lambda file: decode(file, bench.size), files))

    made = paired(rate(write, frames), rate(bare, frames), bench.rounds(3))
    sizes = f"{bench.size[1]}x{bench.size[0]}"
    told = f"{frames} frames to {sizes}; JPEG {QUALITY} is made, written, hashed and synced too"
    yield row(f"Packing / bare PyAV, {cores} at a time", "frames/s", made, None, told)

    cached = bench.a_data_module(0)
    stored = [(_bytes(folder) / 1e6, _bytes(bench.folder / "cache") / 1e6)]
    yield row("Packed data / the frame cache, on disk", "MB", stored, None, f"JPEG {QUALITY} / raw frames")

    batches = 3 if bench.quick else 25
    for workers in (0, 2):
        packed = delivery(_a_data_module(folder, bench.size, workers), batches)
        cache = delivery(cached if not workers else bench.a_data_module(workers), batches)
        pairs = paired(packed, cache, bench.rounds(5))
        del packed, cache
        note = "JPEG is decoded for each window; what the network takes is in the part `loader`"
        yield row(f"Packed data / the frame cache, {workers} workers", "windows/s", pairs, None, note)
    yield from _many(bench, folder)


def _packing(bench: Bench, report: DatasetReport, folder: Path) -> Packing:
    names = [clip.name for clip in bench.clips]
    usable = [one.clip for one in report.checked if one.clip.name in names and one.labels is not None]
    split = Split(train=tuple(names[1:]), val=tuple(names[:1]))
    shard = 20_000 if bench.quick else SHARD
    return Packing(
        folder, report, choose_clips(usable, split, 0.0), PackSettings(bench.size, QUALITY, shard, 8)
    )


def _a_data_module(folder: Path, size: tuple[int, int], workers: int = 0) -> PackedDataModule:
    data = PackedDataModule(str(folder), num_workers=workers, frames=8, outputs=8, size=size, background=True)
    data.prepare_data()
    data.setup("fit")
    return data


def _many(bench: Bench, folder: Path) -> Iterator[Row]:
    """Read as many windows of many shards as of few, each in a fresh process."""
    many = bench.folder / "many"
    shards = _repeat(folder, many, FOLD)
    count = 40 if bench.quick else 400

    def peak(where: Path) -> float:
        context = multiprocessing.get_context("spawn")
        told, tell = context.Pipe(duplex=False)
        process = context.Process(target=_stream, args=(tell, where, bench.size, count))
        process.start()
        tell.close()
        try:
            return float(told.recv())
        except EOFError:
            raise RuntimeError("the process that reads shards ended without a word") from None
        finally:
            process.join()

    pairs = paired(lambda: peak(many), lambda: peak(folder), bench.rounds(3), warm=0)
    told = (
        f"{FOLD * shards} shards / {shards}; the whole process behind {count} windows, its imports included"
    )
    yield row(f"Peak memory with {FOLD} times the shards", "MB", pairs, Target("at most", 1.05), told)


def _repeat(folder: Path, many: Path, times: int) -> int:
    """Make packed data that hold the same clips many times, in shards of their own; tells those of one."""
    index = read_index(str(folder))
    rows, clips, shards = np.load(folder / TABLE), index["clips"], index["shards"]
    many.mkdir()
    np.save(many / TABLE, np.tile(rows, times))
    index["table"] = digest_of_file(str(many / TABLE))
    index["clips"], index["shards"] = [], []
    for number in range(times):
        more, first = number * len(rows), number * len(shards)
        for at, shard in enumerate(shards, first):
            name = f"train-{at:05d}.tar"
            os.link(folder / shard["name"], many / name)
            rows_there = {"first": shard["first"] + more, "stop": shard["stop"] + more}
            index["shards"].append(shard | {"name": name} | rows_there)
        for clip in clips:
            spans = {str(int(which) + first): span for which, span in clip["background"].items()}
            place = {"name": f"{number}-{clip['name']}", "rows": [row + more for row in clip["rows"]]}
            index["clips"].append(clip | place | {"background": spans})
    (many / INDEX).write_text(json.dumps(index | {"digest": digest_of_index(index)}), encoding="utf-8")
    return len(shards)


def _stream(tell: Connection, folder: Path, size: tuple[int, int], count: int) -> None:
    """Read windows in this process and tell its peak of memory, in MB."""
    data = _a_data_module(folder, size)
    for _ in islice(data.train_dataloader(), count // data.batch_size):
        pass
    unit = 1 if sys.platform == "darwin" else 1024
    tell.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6)


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
