"""``tracknet track``: what it writes and where, what it says, and its exit codes."""

from __future__ import annotations

import signal
import subprocess
import sys
from types import SimpleNamespace

import av
import numpy as np
import pytest
import torch

from tracknet.cli.engines import choose_device
from tracknet.cli.main import main as tracknet
from tracknet.cli.track import main
from tracknet.data.video import VideoWriter
from tracknet.errors import TrackNetError, UsageError
from tracknet.evaluation.decoding import Detections, PeakDecoder
from tracknet.tracking.trajectory import TrajectoryRow, read_trajectory

HEADER = "Frame,Visibility,X,Y,Confidence\n"


class FakeTracker:
    """Finds in every frame a ball at (10, 5) of the input, with the confidence given."""

    frames = outputs = 2
    needs_background = True
    input_size = (24, 32)

    def __init__(self):
        self.decoder = SimpleNamespace(threshold=0.5)
        self.confidence = 0.8
        self.calls = 0
        self.at_call = {}

    @property
    def threshold(self):
        return self.decoder.threshold

    def detect(self, frames, background=None):
        self.calls += 1
        self.at_call.get(self.calls, lambda: None)()
        count = len(frames)
        return Detections(
            torch.tensor([10.0, 5.0]).expand(count, 2, 2), torch.full((count, 2), self.confidence)
        )


@pytest.fixture
def fake(monkeypatch):
    """A tracker in place of what a checkpoint holds; loading Lightning takes seconds."""
    tracker = FakeTracker()
    loads = []

    def load_tracker(path, device="cpu"):
        loads.append((path, device))
        return tracker

    module = SimpleNamespace(load_tracker=load_tracker)
    monkeypatch.setitem(sys.modules, "tracknet.training.checkpoints", module)
    tracker.loads = loads
    return tracker


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty current folder beside `videos/rally.mp4` of 7 frames, 48x64, and `best.ckpt`."""
    (tmp_path / "work").mkdir()
    with VideoWriter(tmp_path / "videos" / "rally.mp4", (48, 64), fps=25) as video:
        for number in range(7):
            video.write(np.full((48, 64, 3), 20 * number, np.uint8))
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_csv_lies_in_the_current_folder(here, fake, capsys):
    assert main(["../videos/rally.mp4", "--ckpt", "best.ckpt"]) == 0
    assert names(here) == ["rally_ball.csv"]
    assert names(here.parent / "videos") == ["rally.mp4"]
    # x = (10 + 0.5) * 2 - 0.5
    assert read_trajectory(here / "rally_ball.csv") == [
        TrajectoryRow(k, True, 20.5, 10.5, 0.8) for k in range(7)
    ]
    out = capsys.readouterr().out
    assert "7 frames" in out
    assert "ball in 7 (100.0%)" in out
    assert "trajectory: rally_ball.csv\n" in out
    assert out.endswith("to see it:  the same command with --overlay\n")


@pytest.mark.parametrize("output", ["out", "new/deep/a.csv"])
def test_overlay_without_a_value_lies_beside_the_trajectory(output, here, fake):
    (here / "out").mkdir()
    assert main(["../videos/rally.mp4", "--ckpt", "best.ckpt", "--output", output, "--overlay"]) == 0
    folder = here / "out" if output == "out" else here / "new" / "deep"
    assert names(folder) == ["rally_ball.csv" if output == "out" else "a.csv", "rally_overlay.mp4"]


def test_overlay_without_a_value_lies_in_the_current_folder(here, fake, capsys):
    assert main(["../videos/rally.mp4", "--ckpt", "best.ckpt", "--overlay"]) == 0
    assert names(here) == ["rally_ball.csv", "rally_overlay.mp4"]
    assert capsys.readouterr().out.endswith("trajectory: rally_ball.csv\noverlay:    rally_overlay.mp4\n")
    with av.open("rally_overlay.mp4") as container:
        assert sum(1 for _ in container.decode(video=0)) == 7


def test_a_single_frame_is_told_in_the_singular(here, fake, capsys):
    with VideoWriter(here / "one.mp4", (48, 64), fps=25) as video:
        video.write(np.zeros((48, 64, 3), np.uint8))
    assert main(["one.mp4", "--ckpt=best.ckpt"]) == 0
    assert capsys.readouterr().out.startswith("1 frame, ")


def test_a_file_whose_name_begins_with_a_dash_is_named_as_it_can_be_given(here, fake):
    (here / "../videos/rally.mp4").rename("-dash.mp4")
    with pytest.raises(UsageError, match=r"unknown argument '-dash.mp4'; for the file .* write \./-dash.mp4"):
        main(["-dash.mp4", "--ckpt=best.ckpt"])
    assert main(["./-dash.mp4", "--ckpt=best.ckpt"]) == 0


def test_a_word_too_many_is_not_helped_by_another_way_to_write_it(here, fake):
    (here / "runs").mkdir()
    with pytest.raises(UsageError, match="unknown argument 'runs'") as told:
        main(["../videos/rally.mp4", "--ckpt=best.ckpt", "runs"])
    assert "./runs" not in str(told.value)


def test_outputs_go_where_they_are_told(here, fake):
    words = ["../videos/rally.mp4", "--ckpt=best.ckpt", "--output", "new/deep/a.csv", "--overlay", "b.mkv"]
    assert main([*words, "--trail", "0", "--batch_size", "1", "--device", "cpu"]) == 0
    assert (here / "new/deep/a.csv").is_file()
    assert (here / "b.mkv").is_file()
    assert fake.calls == 4
    assert [(str(path), device) for path, device in fake.loads] == [("best.ckpt", "cpu")]


def test_outputs_go_into_folders(here, fake):
    (here / "out").mkdir()
    assert main(["../videos/rally.mp4", "--ckpt=best.ckpt", "--output", "out", "--overlay", "out"]) == 0
    assert names(here / "out") == ["rally_ball.csv", "rally_overlay.mp4"]


def test_a_folder_of_images(here, fake, monkeypatch):
    folder = here / "Clip1.v2"
    folder.mkdir()
    with av.open("../videos/rally.mp4") as container:
        for number, frame in enumerate(container.decode(video=0)):
            frame.to_image().save(folder / f"{number}.png")
    assert main(["Clip1.v2", "--ckpt", "best.ckpt"]) == 0
    assert len(read_trajectory(here / "Clip1.v2_ball.csv")) == 7
    monkeypatch.chdir(folder)
    assert main([".", "--ckpt", "best.ckpt", "--output", ".."]) == 0
    assert names(here) == ["Clip1.v2", "Clip1.v2_ball.csv"]


def test_an_older_trajectory_is_replaced(here, fake):
    (here / "rally_ball.csv").write_text(HEADER + "0,0,0.00,0.00,0.1000\n")
    assert main(["../videos/rally.mp4", "--ckpt", "best.ckpt"]) == 0
    assert len(read_trajectory(here / "rally_ball.csv")) == 7


def test_labels_of_the_same_name_are_left_alone(here, fake):
    (here / "rally_ball.csv").write_text("Frame,Visibility,X,Y\n0,1,5,6\n")
    with pytest.raises(TrackNetError, match=r"rally_ball.csv: exists and was not written by .*--output"):
        main(["../videos/rally.mp4", "--ckpt", "best.ckpt"])
    assert (here / "rally_ball.csv").read_text() == "Frame,Visibility,X,Y\n0,1,5,6\n"


def test_only_overlays_are_written_over(here, fake):
    words = ["../videos/rally.mp4", "--ckpt", "best.ckpt", "--overlay", "court.mp4"]
    with VideoWriter(here / "court.mp4", (48, 64), fps=25) as video:
        video.write(np.zeros((48, 64, 3), np.uint8))
    recording = (here / "court.mp4").read_bytes()
    with pytest.raises(TrackNetError, match=r"court\.mp4: exists and is no overlay .*; it is left alone"):
        main(words)
    assert fake.loads == []
    assert (here / "court.mp4").read_bytes() == recording
    for name in ("a.mp4", "a.mkv", "a.mov", "a.avi"):
        for trail in ("0", "5"):
            assert main([*words[:-1], name, "--trail", trail]) == 0


def test_what_an_earlier_command_left_of_the_same_trajectory_goes(here, fake):
    (here / "rally_ball.partial.csv").write_text(HEADER + "0,0,0.00,0.00,0.1000\n")
    assert main(["../videos/rally.mp4", "--ckpt", "best.ckpt"]) == 0
    assert names(here) == ["rally_ball.csv"]


def test_a_video_cut_short_leaves_its_rows(here, fake):
    with (
        av.open("../videos/rally.mp4") as old,
        av.open("front.mp4", "w", options={"movflags": "faststart"}) as new,  # what is cut are frames
    ):
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    (here / "front.mp4").write_bytes((here / "front.mp4").read_bytes()[:-30])
    with pytest.raises(TrackNetError, match=r"front\.mp4: .*frames before are in front_ball\.partial\.csv"):
        main(["front.mp4", "--ckpt", "best.ckpt", "--batch_size", "1"])
    assert 0 < len(read_trajectory(here / "front_ball.partial.csv")) < 7


def test_the_threshold_is_the_decoders(here, fake, capsys):
    assert main(["../videos/rally.mp4", "--ckpt", "best.ckpt", "--threshold", "0.9"]) == 0
    assert fake.decoder.threshold == 0.9
    assert not any(row.visible for row in read_trajectory(here / "rally_ball.csv"))
    out = capsys.readouterr().out
    assert "ball in 0 (0.0%)" in out
    assert "no ball found: the highest confidence is 0.80, the threshold 0.90" in out


def test_what_lies_on_no_flight_is_no_ball(here, fake, capsys):
    def heatmaps(frames, background=None):
        seen = torch.zeros(len(frames), 2, 24, 32)
        seen[:, :, 12, 16] = 0.8 * ((frames[:, :, 0, 0, 0] * 255 - 60).abs() < 8)  # in frame 3
        return seen

    fake.heatmaps, fake.decoder = heatmaps, PeakDecoder(threshold=0.5)
    assert main(["../videos/rally.mp4", "--ckpt", "best.ckpt", "--tracker", "flight"]) == 0
    rows = read_trajectory(here / "rally_ball.csv")
    assert [row[:4] for row in rows] == [(n, False, 0.0, 0.0) for n in range(7)]
    assert [row.confidence for row in rows] == pytest.approx([0.0] * 3 + [0.8] + [0.0] * 3)
    out = capsys.readouterr().out
    assert "no ball found: what reaches the threshold, 0.50, up to 0.80, lies on no flight. See" in out
    assert main(["../videos/rally.mp4", "--ckpt", "best.ckpt", "--tracker", "online"]) == 0
    assert [row.visible for row in read_trajectory(here / "rally_ball.csv")] == [n == 3 for n in range(7)]


def test_ctrl_c_keeps_the_rows_that_a_flight_has_not_judged(here, fake):
    def heatmaps(frames, background=None):
        fake.calls += 1
        if fake.calls == 3:
            signal.raise_signal(signal.SIGINT)
        seen = torch.zeros(len(frames), 2, 24, 32)
        seen[:, :, 12, 16] = 0.8
        return seen

    fake.heatmaps, fake.decoder = heatmaps, PeakDecoder(threshold=0.5)
    assert main(["../videos/rally.mp4", "--ckpt", "b", "--tracker", "flight", "--batch_size", "1"]) == 130
    assert [row.visible for row in read_trajectory(here / "rally_ball.partial.csv")] == [True] * 4


def test_a_flight_needs_heatmaps(here, fake):
    with pytest.raises(UsageError, match="the flight tracker needs heatmaps, and this detector gives"):
        main(["../videos/rally.mp4", "--ckpt", "best.ckpt", "--tracker", "flight"])
    assert names(here) == []


def test_ctrl_c_keeps_the_rows_so_far(here, fake, capsys):
    fake.at_call[3] = lambda: signal.raise_signal(signal.SIGINT)
    assert tracknet(["track", "../videos/rally.mp4", "--ckpt", "best.ckpt", "--batch_size", "1"]) == 130
    assert names(here) == ["rally_ball.partial.csv"]
    assert len(read_trajectory(here / "rally_ball.partial.csv")) == 4
    assert "stopped; the 4 frames before are in rally_ball.partial.csv" in capsys.readouterr().err


def test_ctrl_c_before_the_first_row(here, fake, capsys):
    fake.at_call[1] = lambda: signal.raise_signal(signal.SIGINT)
    assert tracknet(["track", "../videos/rally.mp4", "--ckpt", "best.ckpt"]) == 130
    assert names(here) == []


def test_ctrl_c_in_the_overlay_keeps_the_trajectory(here, fake, monkeypatch, capsys):
    monkeypatch.setattr(
        "tracknet.tracking.overlay.BallPen.draw", lambda *_: signal.raise_signal(signal.SIGINT)
    )
    assert tracknet(["track", "../videos/rally.mp4", "--ckpt", "best.ckpt", "--overlay"]) == 130
    assert names(here) == ["rally_ball.csv"]
    assert "there is no overlay, the trajectory is whole: rally_ball.csv" in capsys.readouterr().err


def test_no_memory_names_the_batch_size(here, fake):
    def fail():
        raise torch.OutOfMemoryError("CUDA out of memory")

    fake.at_call[2] = fail
    with pytest.raises(TrackNetError, match="no memory left on cpu with --batch_size 1: use a smaller one"):
        main(["../videos/rally.mp4", "--ckpt=best.ckpt", "--batch_size=1", "--device=cpu"])
    assert names(here) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--ckpt", "b.ckpt"], "the following arguments are required: video"),
        (["rally.mp4"], "the following arguments are required: ckpt"),
        (["--overlay", "rally.mp4", "--ckpt", "b.ckpt"], "no VIDEO; write it before --overlay"),
        (["rally.mp4", "--ckpt", "b", "--trial", "3"], "unknown argument '--trial'; did you mean '--trail'?"),
        (["rally.mp4", "--ckpt", "b", "--workers", "2"], "--workers is for many videos"),
        (["rally.mp4", "--ckpt", "b", "--device", "cudda"], "found 'cudda'; did you mean 'cuda'?"),
        (["rally.mp4", "--ckpt", "b", "--batch_size", "0"], "--batch_size: expected a whole number above 0"),
        (["rally.mp4", "--ckpt", "b", "--threshold", "1.5"], "--threshold: expected a number from 0 to 1"),
        (["rally.mp4", "--ckpt", "b", "--trail", "-1"], "--trail: expected a whole number from 0"),
        (["rally.mp4", "--ckpt", "b", "--trail=3"], "--trail does something only with --overlay"),
        (["rally.mp4", "--ckpt", "b", "--max_gap", "3"], "--max_gap does something only with --rectifier"),
        (["rally.mp4", "--ckpt", "b", "--max_jump", "3"], "--max_jump does something only with --tracker"),
        (["a.mp4", "--ckpt", "b", "--tracker", "flight", "--mode", "causal"], "use --tracker online"),
        (["rtsp://a/b", "--ckpt", "b", "--tracker", "flight"], "which live streams and --mode causal do not"),
        (["a.mp4", "--ckpt", "b", "--lookahead", "3"], "only with --mode causal, and for live streams"),
        (["a.mp4", "--ckpt", "b", "--background_seconds", "3"], "only with --mode causal, and for live"),
    ],
)
def test_wrong_words(words, message, capsys):
    with pytest.raises(UsageError) as caught:
        main(words)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert tracknet(["track", *words]) == 2
    assert capsys.readouterr().err == f"tracknet track: {caught.value}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--output", "rally.txt"], "--output rally.txt: expected a name in .csv, or a folder that exists"),
        (["--overlay", "rally.csv"], "--overlay rally.csv: expected a name in .mp4, .mkv"),
        (["--overlay", "../videos/rally.mp4"], "--overlay ../videos/rally.mp4: is the video itself"),
    ],
)
def test_wrong_targets_are_told_before_the_work(here, fake, words, message):
    with pytest.raises(UsageError) as caught:
        main(["../videos/rally.mp4", "--ckpt", "best.ckpt", *words])
    assert message in str(caught.value)
    assert fake.loads == []


def test_a_missing_video_names_the_nearest(here, fake):
    with pytest.raises(TrackNetError, match=r"raly.mp4: no such video .*did you mean 'rally.mp4'"):
        main(["../videos/raly.mp4", "--ckpt", "best.ckpt"])


def test_a_folder_that_cannot_be_made(here, fake):
    (here / "file").touch()
    with pytest.raises(TrackNetError, match=r"file/deep: the folder cannot be made: Not a directory"):
        main(["../videos/rally.mp4", "--ckpt", "best.ckpt", "--output", "file/deep/a.csv"])


@pytest.mark.parametrize(
    ("cuda", "mps", "chosen"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_auto_takes_the_fastest_device_there_is(monkeypatch, cuda, mps, chosen):
    monkeypatch.setattr("torch.cuda.is_available", lambda: cuda)
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: mps)
    assert choose_device("auto") == chosen
    assert choose_device("cpu") == "cpu"
    for name, there in (("cuda", cuda), ("mps", mps)):
        if there:
            assert choose_device(name) == name
        else:
            with pytest.raises(TrackNetError, match=f"no {name} device .* use --device auto"):
                choose_device(name)


def test_help_needs_no_torch():
    code = (
        "import sys\nfrom tracknet.cli.track import main\ntry: main(['--help'])\n"
        "except SystemExit: sys.exit(5 * any(m in sys.modules for m in ('torch', 'av', 'matplotlib')))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0
    assert "--ckpt CKPT" in done.stdout
