"""Follow the ball of a live camera from your own program, each position as soon as its frame is there.

Usage: python live_camera.py best.ckpt 0                       # the first camera of this computer
       python live_camera.py best.ckpt rtsp://cam/court1       # a network stream
       ffmpeg -i match.mp4 -f mpegts - | python live_camera.py best.ckpt -

The command `tracknet track rtsp://cam/court1 --ckpt best.ckpt --output -` does the same without a program.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from tracknet.cli.engines import load_detector
from tracknet.data.running_background import RunningBackground
from tracknet.data.stream import LiveStream
from tracknet.tracking.finder import choose_finder
from tracknet.tracking.live import follow
from tracknet.tracking.online import OnlineTracker
from tracknet.tracking.trajectory import TrajectoryRow

CAMERAS = {"linux": "/dev/video{}", "darwin": "avfoundation:{}", "win32": "dshow:video={}"}
"""What a camera is called; on Windows by its name instead of a number."""


def watch(ckpt: Path, camera: str) -> Iterator[TrajectoryRow]:
    """Give a row for the newest frame, again and again; frames that come too late are passed over."""
    name = CAMERAS[sys.platform].format(camera) if camera.isdecimal() else camera
    detector, device = load_detector(ckpt, "auto")
    with LiveStream(name, detector.input_size, newest=detector.frames) as stream:
        size = (stream.info.height, stream.info.width)
        finder = choose_finder(detector, size, device, tracker=OnlineTracker(), overlaps=True)
        background = RunningBackground(stream.info.fps) if detector.needs_background else None
        yield from follow(stream.arrivals(), finder, detector.frames, background)


def main(ckpt: Path, camera: str) -> None:
    """Print where the ball is; put what your program does with it here."""
    for row in watch(ckpt, camera):
        if row.visible:
            print(f"frame {row.frame}: ball at {row.x:.1f}, {row.y:.1f} ({row.confidence:.2f})", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
