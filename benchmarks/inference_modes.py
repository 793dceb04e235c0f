"""What each way of tracking finds, and how fast it is, over labelled clips.

    python -m benchmarks.inference_modes --ckpt FILE --data ROOT [--clips 00009 00040] [--frames 60]
        [--graphs best.onnx int8.onnx]

Every figure comes from tracking the videos themselves, as ``tracknet track`` does. The frames a second are
those of this machine; the ratio between two modes is what other machines share.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch

from benchmarks.measuring import Took
from tracknet.cli.engines import Precision, load_detector
from tracknet.cli.memory import keep_freed_memory
from tracknet.data.clips import Clip
from tracknet.data.geometry import resize_xy
from tracknet.data.labels import read_labels
from tracknet.data.layouts import detect_layout
from tracknet.data.splits import select
from tracknet.data.video import count_frames, open_source
from tracknet.evaluation.metrics import BallMetrics
from tracknet.tracking.modes import Mode
from tracknet.tracking.onnx_detector import load_onnx
from tracknet.tracking.tracker import BallDetector, track
from tracknet.tracking.trackers import TrackerName, choose_tracker
from tracknet.training.checkpoints import load_tracker
from tracknet.training.settings import is_emulated

VAL = ("00009", "00017", "00031", "00040", "00046", "00049")


@dataclass(frozen=True)
class Way:
    """One way of tracking."""

    name: str
    mode: Mode
    flip: bool = False
    tracker: TrackerName = "none"
    precision: Precision = "32"
    step: int | None = None
    lookahead: int = 0


WAYS = (
    Way("single", "single"),
    Way("single, bf16", "single", precision="bf16"),
    Way("single, online tracker", "single", tracker="online"),
    Way("single, flight tracker", "single", tracker="flight"),
    Way("single, flip", "single", flip=True),
    Way("average", "average"),
    *(Way(f"average, step {step}", "average", step=step) for step in (2, 4, 5, 6, 7)),
    Way("average, step 4, flight tracker", "average", step=4, tracker="flight"),
    Way("average, step 6, bf16", "average", step=6, precision="bf16"),
    Way("average, step 6, flip", "average", step=6, flip=True),
    *(Way(f"triangular, step {step}", "triangular", step=step) for step in (4, 5, 6)),
    Way("triangular", "triangular"),
    Way("triangular, online tracker", "triangular", tracker="online"),
    Way("triangular, flip", "triangular", flip=True),
    Way("causal", "causal"),
    Way("causal, bf16", "causal", precision="bf16"),
    Way("causal, step 2", "causal", step=2),
    Way("causal, step 4", "causal", step=4),
    Way("causal, lookahead 4", "causal", lookahead=4),
    Way("causal, step 2, lookahead 3", "causal", step=2, lookahead=3),
    Way("causal, step 4, lookahead 2", "causal", step=4, lookahead=2),
    Way("causal, online tracker", "causal", tracker="online"),
)


def main(argv: Sequence[str] | None = None) -> None:
    """Track every clip in every way, and write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ckpt", type=Path, required=True, help="checkpoint of tracknet fit")
    parser.add_argument("--data", type=Path, required=True, help="folder of labelled clips")
    parser.add_argument("--clips", nargs="+", default=list(VAL), help="names or patterns")
    parser.add_argument("--frames", type=int, help="only the first so many frames of each clip")
    parser.add_argument("--ways", nargs="+", help="only these rows of the table")
    parser.add_argument("--graphs", nargs="+", type=Path, default=[], help="graphs of tracknet export, too")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--output", type=Path, default=Path(__file__).parent / "results" / "inference_modes.md"
    )
    options = parser.parse_args(argv)
    keep_freed_memory()  # as every command does
    clips = select(detect_layout(options.data).find(options.data)[0], options.clips)
    tracker = load_tracker(options.ckpt, options.device)
    quick = [way.name for way in WAYS if options.device != "cpu" or not is_emulated(way.precision)]
    names = options.ways or quick
    chosen = [way for way in WAYS if way.name in names]
    loaded: dict[Precision, BallDetector] = {"32": tracker}
    for precision in {way.precision for way in chosen} - loaded.keys():
        loaded[precision], _ = load_detector(options.ckpt, options.device, precision=precision)
    ways: list[tuple[Way, BallDetector]] = [(way, loaded[way.precision]) for way in chosen]
    ways += [
        (Way(f"single, {path.stem} in ONNX Runtime", "single"), load_onnx(path)) for path in options.graphs
    ]
    rows = []
    for way, detector in ways:
        metrics, frames, spent = BallMetrics("tracknetv2"), 0, Took(0.0, 0.0)
        for clip in clips:
            done, took = judge(detector, clip, way, metrics, options.frames, options.device)
            frames, spent = frames + done, Took(spent.clock + took.clock, spent.cpu + took.cpu)
        found = metrics.compute()
        rows.append(
            f"| {way.name} | {found['f1']:.3f} | {found['precision']:.3f} | {found['recall']:.3f} "
            f"| {frames / spent.clock:.2f} | {frames / spent.cpu:.2f} |"
        )
        print(rows[-1], flush=True)
    first = f" (the first {options.frames} frames of each)" if options.frames else ""
    network = tracker.network
    text = (
        f"# Inference modes\n\n{len(clips)} clips: {', '.join(clip.name for clip in clips)}{first}; "
        f"{type(network).__name__}, {network.frames} frames a window, background {network.background}; "
        f"{metrics.label}; device {options.device}, {torch.get_num_threads()} threads.\n\n"
        "| way | F1 | precision | recall | frames/s | frames a CPU second |\n|---|---|---|---|---|---|\n"
        + "\n".join(rows)
        + "\n\n"
        f"Peak memory of the whole run: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB. "
        "The mode causal makes the background of what it has seen; the others know that of the whole clip.\n"
    )
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(text)


def judge(
    detector: BallDetector, clip: Clip, way: Way, metrics: BallMetrics, limit: int | None, device: str
) -> tuple[int, Took]:
    """Track one clip, add its frames to the metrics, and give their number and what it took."""
    source = open_source(clip.video)
    size = (source.info.height, source.info.width)
    assert clip.labels is not None
    labels, _ = read_labels(clip.labels, count_frames(source), size)
    started, cpu = time.monotonic(), time.process_time()
    with closing(
        track(
            source,
            detector,
            mode=way.mode,
            step=way.step,
            lookahead=way.lookahead,
            flip=way.flip,
            tracker=choose_tracker(way.tracker),
            device=device,
            progress=False,
        )
    ) as stream:
        rows = list(islice(stream, limit))
    took = Took(time.monotonic() - started, time.process_time() - cpu)
    count = len(rows)
    metrics.update(
        _as_input(torch.tensor([[row.x, row.y] for row in rows]), size, detector),
        torch.tensor([[row.visible for row in rows]]),
        _as_input(torch.from_numpy(labels.xy[:count]), size, detector),
        torch.from_numpy(labels.visible[None, :count]),
        torch.from_numpy(labels.labelled[None, :count]),
        detector.input_size,
        torch.tensor([size]),
    )
    return count, took


def _as_input(xy: torch.Tensor, size: tuple[int, int], detector: BallDetector) -> torch.Tensor:
    moved: torch.Tensor = resize_xy(xy.float(), size, detector.input_size)
    return moved[None]


if __name__ == "__main__":
    main()
