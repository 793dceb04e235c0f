"""``tracknet track`` on streams, in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tracknet.cli.live import late_told
from tracknet.cli.track import main
from tracknet.data.stream import LiveStream
from tracknet.errors import UsageError

H, W = 32, 48
HEADER = b"Frame,Visibility,X,Y,Confidence\n"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    from tracknet.models import CompactTrackNet
    from tracknet.training.lightning_module import HeatmapTracker

    torch.manual_seed(0)
    network = CompactTrackNet(frames=3, background="concat", stem=2, widths=(4, 4, 4))
    tracker = HeatmapTracker(network, input_size=(H, W))
    path = tmp_path_factory.mktemp("ckpt") / "tiny.ckpt"
    torch.save({"state_dict": tracker.state_dict(), "hyper_parameters": dict(tracker.hparams)}, path)
    return path


HEAD = f"YUV4MPEG2 W{W} H{H} F25:1 Ip C420jpeg\n".encode()


def raw(number):
    """One frame of a raw film."""
    return b"FRAME\n" + bytes([16 + 2 * number]) * (H * W) + bytes([128]) * (H * W // 2)


def start(words, folder, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "tracknet", "track", *map(str, words)],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).resolve().parents[2])},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def test_each_row_is_there_before_the_next_frame_is_made(tmp_path, checkpoint):
    os.mkfifo(tmp_path / "court")
    process = start(["court", "--ckpt", checkpoint, "--output", "-"], tmp_path)
    with (tmp_path / "court").open("wb", buffering=0) as pipe:
        pipe.write(HEAD)
        # What FFmpeg looks at before it gives the first frame.
        pipe.write(raw(0) + raw(1))
        assert process.stdout.readline() == HEADER
        assert process.stdout.readline().startswith(b"0,")
        assert process.stdout.readline().startswith(b"1,")
        for number in range(2, 12):
            pipe.write(raw(number))
            assert process.stdout.readline().startswith(b"%d," % number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out == b""
    assert b"court: 48x32, 25 frames/s; Ctrl-C ends it" in err
    assert b"12 frames, " in err


def test_with_a_step_rows_come_together_and_the_last_at_the_end(tmp_path, checkpoint):
    process = start(["-", "--ckpt", checkpoint, "--step", "3"], tmp_path, stdin=subprocess.PIPE)
    out, _ = process.communicate(HEAD + b"".join(map(raw, range(8))), timeout=120)
    assert process.returncode == 0
    assert b"8 frames, " in out
    lines = (tmp_path / "stdin_ball.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines[1:]] == [str(number) for number in range(8)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--step", "4"], b"step is 4, but a window speaks of 3 frames: expected 1 to 3"),
        (["--step", "2", "--lookahead", "2"], b"lookahead is 2, but of the 3 frames"),
    ],
)
def test_more_than_a_window_reaches_is_refused(tmp_path, checkpoint, options, message):
    process = start(["-", "--ckpt", checkpoint, *options], tmp_path, stdin=subprocess.DEVNULL)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert message in err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGTERM])
def test_stopping_leaves_a_whole_csv(tmp_path, checkpoint, way):
    process = start(["-", "--ckpt", checkpoint], tmp_path, stdin=subprocess.PIPE, bufsize=0)
    process.stdin.write(HEAD + b"".join(map(raw, range(5))))
    # Rows can be read while the stream goes on.
    live = tmp_path / "stdin_ball.live.csv"
    while not (live.exists() and live.read_text().count("\n") == 6):
        assert process.poll() is None
    process.send_signal(way)
    assert process.wait(60) == 0
    assert b"trajectory: stdin_ball.csv" in process.stdout.read()
    assert [path.name for path in tmp_path.iterdir()] == ["stdin_ball.csv"]
    lines = (tmp_path / "stdin_ball.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["Frame", "0", "1", "2", "3", "4"]


def test_a_signal_beside_a_lock_is_an_ordinary_end(tmp_path, checkpoint, monkeypatch, capsys):
    live = tmp_path / "court_ball.live.csv"

    class Signalled(threading.Condition):
        def wait(self, timeout=None):
            if live.exists() and live.read_text().count("\n") == 6:
                self.release()
                signal.raise_signal(signal.SIGINT)
                self.acquire()
            return super().wait(timeout)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tracknet.data.stream.threading.Condition", Signalled)
    os.mkfifo("court")
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with open("court", "r+b", buffering=0) as pipe:
        pipe.write(HEAD + b"".join(map(raw, range(5))))
        assert main(["court", "--ckpt", str(checkpoint), "--device", "cpu"]) == 0
    assert "5 frames, " in capsys.readouterr().out
    assert len((tmp_path / "court_ball.csv").read_text().splitlines()) == 6
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


def test_a_stream_in_the_background_of_a_script_does_not_hear_ctrl_c(
    tmp_path, checkpoint, monkeypatch, capsys
):
    met = []

    class Watched(threading.Condition):
        def wait(self, timeout=None):
            for number in numbers:
                met.append(signal.getsignal(number))
                signal.raise_signal(number)
            return super().wait(timeout)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tracknet.data.stream.threading.Condition", Watched)
    film = tmp_path / "film.y4m"
    film.write_bytes(HEAD + b"".join(map(raw, range(5))))
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        assert main([film.as_uri(), "--ckpt", str(checkpoint), "--device", "cpu"]) == 0
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
    assert set(met) == {signal.SIG_IGN}
    assert "5 frames, " in capsys.readouterr().out


@pytest.mark.parametrize("options", [["--flip"], ["--step", "2", "--lookahead", "1"]])
def test_a_stream_of_a_file_gives_the_rows_of_the_causal_mode(
    tmp_path, checkpoint, monkeypatch, capsys, options
):
    from tracknet.tracking.trajectory import read_trajectory

    monkeypatch.chdir(tmp_path)
    (tmp_path / "film.y4m").write_bytes(HEAD + b"".join(map(raw, range(9))))
    with (tmp_path / "film.y4m").open("rb") as film:
        process = start(["-", "--ckpt", checkpoint, *options], tmp_path, stdin=film)
        process.communicate(timeout=60)
    assert process.returncode == 0
    words = ["film.y4m", "--ckpt", str(checkpoint), "--mode", "causal", *options, "--device", "cpu"]
    assert main(words) == 0
    assert len(read_trajectory(tmp_path / "film_ball.csv")) == 9
    assert (tmp_path / "film_ball.csv").read_text() == (tmp_path / "stdin_ball.csv").read_text()
    capsys.readouterr()
    assert main([*words, "--output", "-"]) == 0
    shown = capsys.readouterr()
    assert shown.out == (tmp_path / "film_ball.csv").read_text()
    assert "9 frames, " in shown.err


@pytest.mark.parametrize("size", [1, 2, 3])
@pytest.mark.parametrize(("step", "lookahead"), [(1, 0), (3, 0), (1, 2), (2, 1)])
def test_each_frame_has_a_row_or_is_counted_as_late(
    tmp_path, checkpoint, monkeypatch, capsys, step, lookahead, size
):
    """Frames come `size` at a time; of 0 to 39 every fourth is passed over for newer ones, too."""

    def arrivals(stream):
        numbers = [number for number in range(40) if number % 4]
        for start in range(0, len(numbers), size):
            stream.came = numbers[start : start + size][-1] + 1
            yield [(n, np.zeros((H, W, 3), np.uint8)) for n in numbers[start : start + size]]

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(LiveStream, "arrivals", arrivals)
    (tmp_path / "film.y4m").write_bytes(HEAD + raw(0))
    words = [(tmp_path / "film.y4m").as_uri(), "--ckpt", str(checkpoint), "--device", "cpu", "--drop_late"]
    assert main([*words, "--step", str(step), "--lookahead", str(lookahead)]) == 0
    rows = len((tmp_path / "film_ball.csv").read_text().splitlines()) - 1
    assert f"of 40 frames {40 - rows} came too late for a row" in capsys.readouterr().err


def test_frames_are_not_late_where_nobody_reads_their_rows(capsys):
    rows = late_told(iter("abc"), SimpleNamespace(came=9), "camera")
    assert next(rows) == "a"
    rows.close()
    assert capsys.readouterr().err == ""


@pytest.fixture
def served(tmp_path):
    """The address of a film on a real server."""
    (tmp_path / "film.y4m").write_bytes(HEAD + b"".join(map(raw, range(9))))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=tmp_path))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}/film.y4m"
    server.shutdown()
    server.server_close()


def test_passwords_and_tokens_are_not_shown(tmp_path, checkpoint, served, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda self, *words: None)
    assert main([f"http://me:S3cret@{served}?token=T0k", "--ckpt", str(checkpoint)]) == 0
    shown = capsys.readouterr()
    assert f"http://{served}?...: 48x32, " in shown.err
    assert "S3cret" not in shown.err + shown.out
    assert "T0k" not in shown.err + shown.out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["rtsp://x/y", "--mode", "average"],
            "--mode average is for files; a live stream has frames to come with --lookahead",
        ),
        (["-", "--batch_size", "8"], "--batch_size does something only for files"),
        (["-", "--rectifier", "linear"], "--rectifier is for files"),
        (["-", "--overlay"], "--overlay reads the video again; record the stream"),
        (["film.y4m", "--drop_late"], "--drop_late is for live streams"),
        (["film.y4m", "--output", "-", "--overlay", "a.mp4"], "give --output a name instead of -"),
        (["film.y4m", "--mode", "avrage"], "did you mean 'average'?"),
    ],
)
def test_what_does_not_go_together(tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "film.y4m").write_bytes(HEAD + raw(0))
    with pytest.raises(UsageError) as caught:
        main([*words, "--ckpt", "no.ckpt"])
    assert message in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["film.y4m"]
