"""Streams that are read once, as they come: over http, through named pipes, from what is not there."""

from __future__ import annotations

import errno
import io
import os
import re
import socket
import threading
import time
from fractions import Fraction
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice

import av
import av.error
import numpy as np
import pytest

from tracknet.data.damage import Damage
from tracknet.data.stream import WAITING, LiveStream
from tracknet.data.video import VideoWriter, open_source, packets_of
from tracknet.errors import TrackNetError

SIZE = (32, 48)


@pytest.fixture
def video(tmp_path):
    """A video of 12 frames, each brighter than the one before."""
    with VideoWriter(tmp_path / "rally.mkv", SIZE, fps=25) as writer:
        for number in range(12):
            writer.write(np.full((*SIZE, 3), 20 * number, np.uint8))
    return tmp_path / "rally.mkv"


@pytest.fixture
def served(video):
    """The video's address on a real server."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(video.parent)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/rally.mkv"
    server.shutdown()
    server.server_close()


def y4m(number):
    """One frame of a raw film, all of one grey."""
    luma, chroma = SIZE[0] * SIZE[1], SIZE[0] * SIZE[1] // 2
    return b"FRAME\n" + bytes([16 + 2 * number]) * luma + bytes([128]) * chroma


HEAD = f"YUV4MPEG2 W{SIZE[1]} H{SIZE[0]} F25:1 Ip C420jpeg\n".encode()


@pytest.fixture
def pipe(tmp_path):
    path = tmp_path / "court"
    os.mkfifo(path)
    return path


def feed(path, parts):
    """Write to a pipe from a thread of its own, as another program would."""

    def write():
        try:
            with path.open("wb", buffering=0) as file:
                for part in parts:
                    file.write(part)
        except BrokenPipeError:
            pass

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    return thread


def test_over_http_it_gives_what_the_file_gives(video, served):
    with LiveStream(served, (16, 24)) as stream:
        assert (stream.info.width, stream.info.height, stream.info.fps, stream.info.frames) == (
            48,
            32,
            25,
            None,
        )
        found = [pair for arrived in stream.arrivals() for pair in arrived]
    expected = list(open_source(video).frames((16, 24)))
    assert [number for number, _ in found] == list(range(12))
    assert all((frame == other).all() for (_, frame), other in zip(found, expected, strict=True))


def test_frames_come_out_of_a_pipe_while_it_is_open(pipe):
    go_on = threading.Event()

    def parts():
        yield HEAD
        for number in range(6):
            yield y4m(number)
        assert go_on.wait(30)
        yield y4m(6)

    feed(pipe, parts())
    with LiveStream(str(pipe), SIZE) as stream:
        arrivals = stream.arrivals()
        first = [arrived[0][0] for arrived in islice(arrivals, 6)]
        go_on.set()
        assert first == list(range(6))
        assert [arrived[0][0] for arrived in arrivals] == [6]


def test_a_stream_waits_for_who_is_slow(pipe):
    feed(pipe, [HEAD, *map(y4m, range(40))])
    with LiveStream(str(pipe), SIZE) as stream:
        numbers = []
        for arrived in stream.arrivals():
            assert len(arrived) == 1
            assert len(stream._waiting) <= WAITING
            numbers.append(arrived[0][0])
    assert numbers == list(range(40))


def test_with_newest_the_late_ones_are_dropped_and_the_last_ones_come_together(pipe):
    feed(pipe, [HEAD, *map(y4m, range(40))])
    with LiveStream(str(pipe), SIZE, newest=3) as stream:
        with stream._changed:
            stream._wait(lambda: stream._ended)
        arrivals = list(stream.arrivals())
    assert [[number for number, _ in arrived] for arrived in arrivals] == [[37, 38, 39]]
    assert stream.came == 40


def test_who_waits_for_frames_is_interrupted_and_who_waits_for_the_first_one(pipe):
    with pipe.open("r+b", buffering=0) as opened:
        opened.write(HEAD + b"".join(map(y4m, range(3))))
        with LiveStream(str(pipe), SIZE) as stream:
            arrivals = stream.arrivals()
            assert [next(arrivals)[0][0] for _ in range(3)] == [0, 1, 2]
            threading.Timer(0.2, stream.interrupt).start()
            with pytest.raises(KeyboardInterrupt):
                next(arrivals)
    unheard = LiveStream(str(pipe), SIZE)
    threading.Timer(0.2, unheard.interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        unheard.__enter__()


def test_leaving_stops_the_thread(pipe):
    writer = feed(pipe, [HEAD, *map(y4m, range(100))])
    with LiveStream(str(pipe), SIZE) as stream:
        next(stream.arrivals())
    writer.join(30)
    assert not writer.is_alive()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([b"no video, whatever it may be"] * 400, "court: cannot be opened as a stream"),
        ([], "court: cannot be opened as a stream|ended without a single frame"),
        ([HEAD], "court: .*(without a single frame|cannot be opened)"),
    ],
)
def test_what_is_no_stream(pipe, content, message):
    feed(pipe, content)
    with pytest.raises(TrackNetError, match=message), LiveStream(str(pipe), SIZE):
        raise AssertionError


def test_nobody_is_there():
    with (
        pytest.raises(TrackNetError, match=r"http://127.0.0.1:9/a.mp4: cannot be opened as a stream \("),
        LiveStream("http://127.0.0.1:9/a.mp4", SIZE, patience=5),
    ):
        raise AssertionError


def test_a_password_and_a_token_are_sent_and_never_shown(served, capsys):
    address = served.replace("://", "://user:S3cret@") + "?token=T0k"
    stream = LiveStream(address, SIZE)
    stream._notes.append("a note")
    with stream:
        assert numbers_of(stream) == list(range(12))
        assert capsys.readouterr().err == f"note: {served}?...: a note\n"
        assert str(stream._broken("a reason")).startswith(f"{served}?...: ")
        with pytest.raises(TrackNetError) as resized:
            stream._check_size(av.VideoFrame(64, 64), 3)
        assert str(resized.value).startswith(f"{served}?...: ")
    gone = address.replace("rally", "nothing")
    with pytest.raises(TrackNetError, match=r"^http://127[^@]*/nothing.mkv\?\.{3}: "), LiveStream(gone, SIZE):
        raise AssertionError


def broadcast(codec="mpeg2video", size=SIZE, frames=8, **options):
    """A film of rising grey as a transport stream, with B-frames where the codec has them."""
    file = io.BytesIO()
    with av.open(file, "w", format="mpegts", options=options) as container:
        stream = container.add_stream(codec, rate=25, width=size[1], height=size[0], pix_fmt="yuv420p")
        for number in range(frames):
            picture = np.full((*size, 3), 20 * number % 256, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def numbers_of(stream):
    return [number for arrived in stream.arrivals() for number, _ in arrived]


def test_a_change_of_size_is_told_after_the_frames_before(pipe):
    feed(pipe, [broadcast(), broadcast(size=(64, 48))])
    numbers = []
    with LiveStream(str(pipe), SIZE) as stream, pytest.raises(TrackNetError, match="48x32 to 48x64 after"):
        numbers.extend(arrived[0][0] for arrived in stream.arrivals())
    assert len(numbers) >= 7


def test_a_stream_that_goes_on_as_another_one(tmp_path, pipe):
    data = broadcast() + broadcast(mpegts_start_pid="0x150")
    feed(pipe, [data])
    with LiveStream(str(pipe), SIZE) as stream:
        assert numbers_of(stream) == list(range(8))
    path = tmp_path / "recorded.ts"
    path.write_bytes(data)
    assert len(list(open_source(path).frames())) == open_source(path).count() == 8


def test_packets_go_on_behind_a_new_stream():
    """Whether PyAV ends in an error there, and before or behind the last packet, is up to its memory."""

    class Packet:
        def __init__(self, size):
            self.size = size

    class Container:
        def __init__(self, *parts):
            self.parts = iter(parts)

        def demux(self, stream):
            for size in next(self.parts):
                if size is None:
                    raise IndexError
                yield Packet(size)

    def sizes(*parts):
        notes = []
        return [packet.size for packet in packets_of(Container(*parts), None, notes.append)], notes

    told = ["from packet 2 on at the latest it has another stream, which is not read"]
    assert sizes([5, 6, 0]) == ([5, 6, 0], [])
    assert sizes([5, 6, None], [7, 0]) == ([5, 6, 7, 0], told)
    assert sizes([5, 6, 0, None], [0]) == ([5, 6, 0], told)


def test_what_cannot_be_decoded_is_counted(pipe, capsys):
    feed(pipe, [broadcast(), broadcast("libx264", frames=6)])
    with LiveStream(str(pipe), SIZE) as stream:
        found = numbers_of(stream)
    assert found == list(range(len(found)))
    assert "what came could not be decoded, or not whole, first before frame" in capsys.readouterr().err


def test_what_is_lost_is_told_also_where_an_interrupt_ends_the_stream(pipe, capsys):
    def interrupted(stream):
        for _ in stream.arrivals():
            if stream._damage.packets:
                stream.interrupt()

    feed(pipe, [broadcast(), broadcast("libx264", frames=6)])
    with LiveStream(str(pipe), SIZE) as stream, pytest.raises(KeyboardInterrupt):
        interrupted(stream)
    assert "what came could not be decoded, or not whole, first before frame" in capsys.readouterr().err


def test_how_many_frames_are_lost_is_told(pipe, capsys):
    data = broadcast(size=(96, 128), frames=96)
    gone = len(data) * 3 // 8 // 188 * 188
    feed(pipe, [data[:gone], data[gone + 40 * 188 :]])
    with LiveStream(str(pipe), SIZE) as stream:
        lost = 96 - len(numbers_of(stream))
    assert lost > 0
    assert f"by the times of the rest about {lost} frames are lost, and have" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "missing"),
    [
        ([0, 1, 2, 3, None, 4, 5, 6], 0),
        ([0, 1, 2, 3, None, 6, 7, 8], 2),
        ([0, 2, 4, 6, None, 12, 14, 8, 16], 1),
        ([*np.arange(20) / 4, None, 5, 10, 5.25, 10.25], 18),
        ([None, 3, 4, 5], 0),
        ([0, 1, None, 2, None, 5, *range(6, 50), 60], 2),
        ([0, 1, 2, None, 1000, 1001, 1002], 0),
        ([1000, 1001, 1002, None, 0, 1, 2], 0),
        ([1000, 1001, 1002, 0, 1, 2, None, 5, 6], 2),
    ],
)
def test_missing_frames_by_their_times(seconds, missing):
    """None stands for what could not be decoded."""
    damage = Damage()
    for second in seconds:
        damage.add(0) if second is None else damage.see(second)
    assert damage.missing == missing


def test_a_stream_of_nothing_that_can_be_decoded_ends(pipe, monkeypatch):
    plain = LiveStream._decoded

    def failing(self, decode):
        frames = plain(self, decode)
        return frames if self._number < 5 else []

    monkeypatch.setattr(LiveStream, "_decoded", failing)
    feed(pipe, [broadcast(frames=40)])
    with LiveStream(str(pipe), SIZE) as stream:
        stream._patience = 1e-9
        with pytest.raises(TrackNetError, match=r"broke off after 5 frames \(no frame could be decoded for"):
            numbers_of(stream)


def test_a_stream_of_which_nothing_was_ever_decoded_ends(pipe, monkeypatch):
    monkeypatch.setattr(LiveStream, "_decoded", lambda self, decode: [])
    feed(pipe, [broadcast(frames=40)])
    told = r"cannot be opened as a stream \(no frame could be decoded for"
    with pytest.raises(TrackNetError, match=told), LiveStream(str(pipe), SIZE, patience=1e-9):
        raise AssertionError


@pytest.mark.parametrize("sent", [0, 6])
def test_a_pipe_that_goes_silent_is_waited_for_and_that_is_told(pipe, capsys, sent):
    go_on = threading.Event()

    def parts():
        yield b"" if not sent else HEAD + b"".join(map(y4m, range(sent)))
        assert go_on.wait(60)
        yield (b"" if sent else HEAD) + b"".join(map(y4m, range(sent, 12)))

    feed(pipe, parts())
    threading.Timer(3, go_on.set).start()
    with LiveStream(str(pipe), SIZE, patience=1) as stream:
        assert numbers_of(stream) == list(range(12))
    told = f"note: {pipe}: no frame has come for 1 s; still waiting, Ctrl-C ends it\n"
    assert capsys.readouterr().err == told


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (0, r"cannot be opened as a stream \(it has not begun within 1 s\)"),
        (6, r"broke off after 6 frames \(nothing came for 1 s\)"),
    ],
)
def test_what_is_no_pipe_and_goes_silent_ends_and_its_frames_are_given(pipe, sent, told):
    over = threading.Event()

    def parts():
        yield b"" if not sent else HEAD + b"".join(map(y4m, range(sent)))
        over.wait(60)
        yield from map(y4m, range(sent, 10_000))

    writer = feed(pipe, parts())
    found = []
    stream = LiveStream(str(pipe), SIZE, patience=1)
    stream._pipe = False  # as a camera, for which FFmpeg waits for ever, too
    with pytest.raises(TrackNetError, match=rf"court: .*{told}"), stream:
        found.extend(arrived[0][0] for arrived in stream.arrivals())
    assert stream._stopped
    over.set()
    writer.join(30)
    assert not writer.is_alive()
    assert found == list(range(sent))


def test_the_opening_may_take_longer_than_a_silence():
    stream = LiveStream("rtsp://cam/a", SIZE, patience=1)

    def wait(seconds):
        stream._ended, until = False, time.monotonic() + seconds
        with stream._changed:
            stream._wait(lambda: stream._ended or time.monotonic() >= until)
        return stream._ended

    assert not wait(1.4)
    stream._begun = True
    assert wait(60)


def with_sound(frames, pause):
    """A transport stream whose sound goes on while there is no picture, in seconds."""
    file = io.BytesIO()
    with av.open(file, "w", format="mpegts", options={"flush_packets": "1"}) as container:
        size = {"width": SIZE[1], "height": SIZE[0], "pix_fmt": "yuv420p"}
        pictures = container.add_stream("mpeg2video", rate=25, **size)
        sound = container.add_stream("mp2", rate=48000, layout="stereo")
        for number in range(frames):
            if number not in pause:
                picture = av.VideoFrame.from_ndarray(np.full((*SIZE, 3), number, np.uint8), "rgb24")
                picture.pts, picture.time_base = number, Fraction(1, 25)
                container.mux(pictures.encode(picture))
            noise = np.random.default_rng(number).integers(-9999, 9999, (1, 2 * 1920), np.int16)
            heard = av.AudioFrame.from_ndarray(noise, "s16", "stereo")
            heard.sample_rate, heard.pts, heard.time_base = 48000, 1920 * number, Fraction(1, 48000)
            container.mux(sound.encode(heard))
        container.mux(pictures.encode())
        container.mux(sound.encode())
    return file.getvalue()


def test_sound_without_pictures_is_no_silence(pipe):
    data = with_sound(150, range(50, 125))

    def parts():
        yield data[: len(data) * 7 // 20]
        for start in range(len(data) * 7 // 20, len(data) * 15 // 20, len(data) // 100):
            time.sleep(0.075)
            yield data[start : start + len(data) // 100]
        yield data[start + len(data) // 100 :]

    feed(pipe, parts())
    stream = LiveStream(str(pipe), SIZE, patience=1.5)
    stream._pipe = False
    with stream:
        assert len(numbers_of(stream)) == 75


def test_who_is_slow_does_not_make_a_stream_silent(pipe):
    go_on = threading.Event()

    def parts():
        yield HEAD + b"".join(map(y4m, range(6)))
        assert go_on.wait(60)
        yield y4m(6)

    feed(pipe, parts())
    stream = LiveStream(str(pipe), SIZE, patience=1.5)
    stream._pipe = False
    with stream:
        arrivals = stream.arrivals()
        found = [arrived[0][0] for arrived in islice(arrivals, 6)]
        time.sleep(2)
        threading.Timer(0.5, go_on.set).start()
        found.extend(arrived[0][0] for arrived in arrivals)
    assert found == list(range(7))


def test_a_fault_of_any_kind_is_no_ordinary_end(pipe, monkeypatch):
    def faulty(self, frame, number):
        raise MemoryError("no room")

    monkeypatch.setattr(LiveStream, "_check_size", faulty)
    feed(pipe, [broadcast()])
    with LiveStream(str(pipe), SIZE) as stream, pytest.raises(TrackNetError, match="MemoryError: no room"):
        numbers_of(stream)


def test_the_last_frames_before_a_stream_breaks_off_are_given():
    class Breaks(BaseHTTPRequestHandler):
        """Says that there is more to come, and closes."""

        def do_GET(self):
            data = broadcast("libx264")
            self.send_response(200)
            self.send_header("Content-Length", str(len(data) + 1000))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Breaks)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    numbers = []
    try:
        with (
            LiveStream(f"http://127.0.0.1:{server.server_port}/a.ts", SIZE) as stream,
            pytest.raises(TrackNetError, match=r"the stream broke off after 8 frames \("),
        ):
            numbers.extend(arrived[0][0] for arrived in stream.arrivals())
    finally:
        server.shutdown()
        server.server_close()
    assert numbers == list(range(8))


def test_that_the_other_side_ends_a_stream_is_told_and_that_a_file_ends_is_not(served, capsys):
    def send():
        connection, _ = server.accept()
        with connection:
            connection.sendall(broadcast())

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=send, daemon=True).start()
        name = f"tcp://127.0.0.1:{server.getsockname()[1]}"
        with LiveStream(name, SIZE) as stream:
            assert numbers_of(stream) == list(range(8))
    told = "the other side ended the stream, or the connection was lost"
    assert capsys.readouterr().err == f"note: {name}: {told}\n"
    with LiveStream(served, SIZE) as stream:
        assert len(numbers_of(stream)) == 12
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "newest", "advised"),
    [("udp://@:5000", None, True), ("udp://@:5000", 3, False), ("http://cam/a.ts", None, False)],
)
def test_a_stream_that_cannot_wait_is_told_apart(name, newest, advised):
    stream = LiveStream(name, SIZE, newest)
    stream._number = 1
    reason = stream._reason(av.error.OSError(errno.EIO, "Input/output error"))
    assert reason.startswith("Input/output error")
    assert ("take --drop_late" in reason) is advised


def test_a_server_that_says_nothing_sends_no_invalid_data():
    stream = LiveStream("rtsp://cam/a", SIZE, patience=5)
    error = av.error.InvalidDataError(errno.EINVAL, "Invalid data found when processing input")
    assert stream._reason(error).startswith("Invalid data")
    stream._heard -= 5
    assert stream._reason(error) == "it has not begun within 5 s"
    stream._begun = True
    assert stream._reason(error) == "nothing came for 5 s"
    stream._pipe = True
    assert stream._reason(error).startswith("Invalid data")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("rtsp://nohost.invalid/x", "error; is the name of the host right, and reachable?"),
        ("udp://nohost.invalid:500", "error; is the name of the host right, and reachable?"),
        ("rstp://cam/x", "Protocol not found; did you mean 'rtsp'?"),
        ("htpp://cam/x", "Protocol not found; did you mean 'http'?"),
        ("RTSP://cam/x", "Protocol not found; did you mean 'rtsp'?"),
        ("some://cam/x", "Protocol not found"),
    ],
)
def test_what_may_be_wrong_with_a_url_is_told(name, told):
    with (
        pytest.raises(TrackNetError, match=rf"cannot be opened as a stream \(.*{re.escape(told)}\)$"),
        LiveStream(name, SIZE, patience=5),
    ):
        raise AssertionError


def test_a_file_whose_index_is_at_its_end_is_not_blamed_on_the_host(tmp_path, served):
    with VideoWriter(tmp_path / "rally.mp4", (96, 128), fps=25) as writer:
        for number in range(60):
            writer.write(np.random.default_rng(number).integers(0, 255, (96, 128, 3), np.uint8))
    url = served.replace(".mkv", ".mp4")
    with (
        pytest.raises(TrackNetError, match=r"error; if it is a file, it cannot be played while it comes"),
        LiveStream(url, SIZE, patience=5),
    ):
        raise AssertionError
