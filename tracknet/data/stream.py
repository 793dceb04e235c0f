"""Frames out of what is being made just now: cameras, network streams, pipes."""

from __future__ import annotations

import errno
import re
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import av
import av.error
import numpy as np
from jsonargparse.typing import PositiveFloat, PositiveInt

from tracknet.data.damage import HELD_BACK, Damage
from tracknet.data.faults import plural
from tracknet.data.frame_source import FALLBACK_FPS, FrameResizer, VideoInfo
from tracknet.data.stream_names import CAMERA_FORMATS, SCHEMES, without_secrets
from tracknet.data.video import packets_of
from tracknet.errors import TrackNetError, nearest

WAITING = 4
"""Frames decoded and not yet taken, at most; then the stream has to wait (or the camera drops its own)."""

# Less looking ahead before the first frame than FFmpeg does for files, and no holding back afterwards. Not
# "nobuffer": it throws away the frames that were looked at, and all others would have the wrong number.
_OPTIONS = {
    "flags": "low_delay",
    "analyzeduration": "1000000",
    "rtsp_flags": "prefer_tcp",
}

_SLOW = "; such a stream cannot wait: where frames come faster than they are tracked, take --drop_late"


class LiveStream:
    """A stream that is read once, in a thread, as fast as it comes.

    Use it as a context manager; leaving it stops the thread. A frame that cannot be decoded, such as after a
    lost packet, is passed over; how many there were is said at the end, on standard error.

    Args:
        name: See `is_live`; messages show it without user, password and query.
        size: Height and width to resize to by area averaging.
        newest: Drop what is late: hold no more than the last `newest` frames, and hand them over together.
            None drops nothing: the stream waits while nobody takes its frames.
        patience: Seconds without data, or without a frame that can be decoded, after which a stream counts as
            broken; its beginning may take twice as long. A pipe is waited for as long as its writer is there;
            that it is silent is said, on standard error.

    Attributes:
        info: Size and speed, known once entered; the length never is.
        came: How many frames `arrivals` has handed over, or passed over for newer ones.
    """

    info: VideoInfo
    came = 0

    def __init__(
        self,
        name: str,
        size: tuple[int, int],
        newest: PositiveInt | None = None,
        patience: PositiveFloat = 30.0,
    ) -> None:
        self.name = name
        self._shown = without_secrets(name)
        self._size = size
        self._newest = newest
        self._patience = patience
        self._pipe = name == "-" or name.startswith(("pipe:", "file:")) or Path(name).is_fifo()
        self._waiting: deque[tuple[int, np.ndarray]] = deque(maxlen=newest)
        self._changed = threading.Condition()
        self._begun = self._opened = self._ended = self._stopped = self._interrupted = False
        self._failure: TrackNetError | None = None
        self._told_waiting = False
        self._heard = time.monotonic()  # when the last packet, of sound too, came or had been dealt with
        self._number = 0
        self._damage = Damage()
        self._notes: list[str] = []

    def __enter__(self) -> LiveStream:
        """Open the stream, waiting for its first data.

        Raises:
            KeyboardInterrupt: See `interrupt`.
            TrackNetError: There is no such stream, or it holds no video, or not a single frame.
        """
        # A thread blocked in a read cannot be stopped; as a daemon it does not keep the process.
        threading.Thread(target=self._read, name="stream", daemon=True).start()
        try:
            with self._changed:
                self._wait(lambda: self._opened or self._ended)
        except BaseException:
            self._stop()
            raise
        if not self._opened:
            self._stop()
            raise self._failure or TrackNetError(f"{self._shown}: the stream ended without a single frame")
        self._told_waiting = False
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop reading."""
        self._stop()

    def interrupt(self) -> None:
        """Raise KeyboardInterrupt in whoever waits for frames, now or next; a handler of signals may call it.

        A KeyboardInterrupt that the handler raises itself can fall between a lock and its release, and end as
        another error than what it is.
        """
        self._interrupted = True

    def arrivals(self) -> Iterator[list[tuple[int, np.ndarray]]]:
        """Give what has come since the last look, waiting for it, until the stream ends.

        Yields:
            Numbers and frames, uint8 ``[h, w, 3]``, the newest last: one at a time, or with `newest` up to so
            many, numbers missing where more have come.

        Raises:
            KeyboardInterrupt: See `interrupt`.
            TrackNetError: The stream broke off; what came before has been given.
        """
        try:
            while True:
                with self._changed:
                    self._wait(lambda: bool(self._waiting) or self._ended)
                    if not self._waiting:
                        break
                    taken = 1 if self._newest is None else len(self._waiting)
                    arrived = [self._waiting.popleft() for _ in range(taken)]
                    self._changed.notify_all()
                self.came = arrived[-1][0] + 1
                yield arrived
        finally:
            for told in (*self._notes, *self._damage.in_words()):
                print(f"note: {self._shown}: {told}", file=sys.stderr)
        if self._failure:
            raise self._failure

    def _wait(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so, or nothing has come for too long: FFmpeg waits for cameras for ever."""
        began = time.monotonic()
        while not (self._interrupted or condition()):
            # With a limit, signals get through on every system, and interruptions are seen.
            self._changed.wait(0.1)
            if self._interrupted or condition():
                break
            now = time.monotonic()
            # Whether anything comes while FFmpeg opens a stream cannot be known.
            limit = self._patience if self._begun else 2 * self._patience
            if not self._pipe and now - max(began, self._heard) >= limit:
                self._failure = self._broken(self._silence)
                self._ended = True
            elif (self._pipe or self._begun) and now - began >= self._patience and not self._told_waiting:
                self._told_waiting = True
                told = f"no frame has come for {self._patience:g} s; still waiting, Ctrl-C ends it"
                print(f"note: {self._shown}: {told}", file=sys.stderr, flush=True)
        if self._interrupted:
            raise KeyboardInterrupt

    def _stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _read(self) -> None:
        """Decode until the end; runs in the thread."""
        resize = FrameResizer(self._size)
        self._heard = time.monotonic()
        try:
            with self._container() as (container, stream):
                self._heard, self._begun = time.monotonic(), True
                for frame in self._frames(container, stream):
                    if not self._number:
                        self._tell(frame, float(stream.average_rate or 0))
                    self._damage.see(frame.time)
                    self._check_size(frame, self._number)
                    if not self._put((self._number, resize(frame))):
                        return
                    self._number += 1
                # FFmpeg makes the same of a goodbye and of a server that dies; a file has a length.
                if not self._pipe and container.duration is None:
                    self._notes.append("the other side ended the stream, or the connection was lost")
        except TrackNetError as error:
            self._failure = error
        except av.error.FFmpegError as error:
            self._failure = self._broken(self._reason(error))
        except Exception as error:  # whatever it is, this is no ordinary end
            self._failure = self._broken(f"{type(error).__name__}: {error}")
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _frames(self, container: Any, stream: Any) -> Iterator[Any]:
        """Give all frames that can be decoded, the last ones of a stream that breaks off, too."""
        since, without = 0.0, 0
        try:
            for packet in packets_of(_Heard(container, self._hear), stream, self._notes.append):
                if self._stopped:
                    return
                frames = self._decoded(packet.decode)
                yield from frames
                since = since if without else time.monotonic()
                without = 0 if frames else without + 1
                if without > HELD_BACK and time.monotonic() - since > self._patience:
                    raise self._broken(f"no frame could be decoded for {self._patience:g} s")
        except av.error.FFmpegError:
            yield from self._decoded(stream.codec_context.decode)
            raise

    def _hear(self) -> None:
        self._heard = time.monotonic()

    def _decoded(self, decode: Callable[[], Iterable[Any]]) -> list[Any]:
        try:
            frames = list(decode())
        except (av.error.InvalidDataError, av.error.EOFError):
            frames = []
            self._damage.add(self._number)
        for frame in frames:
            if frame.is_corrupt:
                self._damage.add(self._number)
        return frames

    @property
    def _silence(self) -> str:
        told = "nothing came for" if self._begun else "it has not begun within"
        return f"{told} {self._patience:g} s"

    def _reason(self, error: av.error.FFmpegError) -> str:
        # A server that says nothing is "Invalid data" to the RTSP of FFmpeg.
        silent = not self._pipe and time.monotonic() - self._heard >= self._patience
        if silent or isinstance(error, av.error.ExitError):
            return self._silence
        return f"{error.strerror}{self._advice(error)}"

    def _advice(self, error: av.error.FFmpegError) -> str:
        """Say what FFmpeg does not: what may be wrong with the URL, or that its own buffer ran over."""
        scheme, is_url, _ = self.name.partition("://")
        if isinstance(error, av.error.ProtocolNotFoundError) and scheme not in SCHEMES:
            return nearest(scheme.lower(), SCHEMES)
        if error.errno != errno.EIO or not is_url:
            return ""
        if not self._number:
            if scheme.lower() in ("http", "https") and _is_known_host(self.name):
                return "; if it is a file, it cannot be played while it comes: download it first"
            return "; is the name of the host right, and reachable?"
        return _SLOW if scheme in ("udp", "rtp") and not self._newest else ""

    def _broken(self, reason: str) -> TrackNetError:
        frames = plural(self._number, "frame")
        what = f"the stream broke off after {frames}" if self._number else "cannot be opened as a stream"
        return TrackNetError(f"{self._shown}: {what} ({reason})")

    def _tell(self, frame: Any, rate: float) -> None:
        fps = rate if 0 < rate <= 1000 else FALLBACK_FPS
        with self._changed:
            self.info = VideoInfo(frame.width, frame.height, fps, None)
            self._opened = True
            self._changed.notify_all()

    def _check_size(self, frame: Any, number: int) -> None:
        info = self.info
        if (frame.width, frame.height) != (info.width, info.height):
            raise TrackNetError(
                f"{self._shown}: the pictures change from {info.width}x{info.height} to "
                f"{frame.width}x{frame.height} after {plural(number, 'frame')}; track it anew from there"
            )

    def _put(self, item: tuple[int, np.ndarray]) -> bool:
        """Hand a frame over; False when nobody wants any more."""
        with self._changed:
            while self._newest is None and len(self._waiting) >= WAITING and not self._stopped:
                self._changed.wait()
            self._waiting.append(item)
            self._changed.notify_all()
            return not self._stopped

    @contextmanager
    def _container(self) -> Iterator[tuple[Any, Any]]:
        place, kind = self.name, None
        if match := re.match(f"({'|'.join(CAMERA_FORMATS)}):(.+)", self.name):
            kind, place = match[1], match[2]
        elif self.name == "-":
            place = "pipe:0"
        elif "://" not in self.name:
            kind = "v4l2" if Path(self.name).is_char_device() else None
            place = self.name if kind else f"file:{self.name}"
        timeout = None if self._pipe else self._patience
        with av.open(
            place, format=kind, options=_OPTIONS, timeout=timeout, metadata_errors="ignore"
        ) as container:
            stream = container.streams.best("video")
            if stream is None or container.format.name == "tty":
                raise TrackNetError(f"{self._shown}: holds no video stream")
            # Threads that decode several frames at once would hold each one back for some frames.
            stream.thread_type = "SLICE"
            yield container, stream


def _is_known_host(url: str) -> bool:
    """Say whether the host of a URL has an address."""
    try:
        socket.getaddrinfo(urlsplit(url).hostname, None)
    except (OSError, ValueError):  # also a name or a bracket that no host has
        return False
    return True


class _Heard:
    """A container whose packets of all streams are heard, before and after they are dealt with."""

    def __init__(self, container: Any, hear: Callable[[], None]) -> None:
        self._container = container
        self._hear = hear

    def demux(self, stream: Any) -> Iterator[Any]:
        """Give the packets of one stream."""
        for packet in self._container.demux():
            self._hear()
            if packet.stream.index == stream.index:
                yield packet
                self._hear()
