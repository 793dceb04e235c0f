from __future__ import annotations

import os

import pytest

from tracknet.data.stream_names import is_live, stream_title, without_secrets
from tracknet.data.video import open_source
from tracknet.errors import TrackNetError


def test_names(tmp_path):
    os.mkfifo(tmp_path / "court")
    live = [
        "-",
        "rtsp://10.0.0.5/court1",
        "http://host/a.mp4",
        "avfoundation:0",
        "dshow:video=Cam",
        str(tmp_path / "court"),
    ]
    assert all(map(is_live, live))
    assert is_live("/dev/null")
    (tmp_path / "a.mp4").touch()
    assert not any(map(is_live, [str(tmp_path / "a.mp4"), str(tmp_path), "missing.mp4", "C:\\a.mp4"]))


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("-", "stdin"),
        ("rtsp://user@10.0.0.5:554/live/court1?x=1/2#a", "court1"),
        ("http://host/rally.mkv", "rally"),
        ("rtsp://10.0.0.5/", "10.0.0.5"),
        ("/dev/video0", "video0"),
        ("dshow:video=My Cam", "video_My_Cam"),
        ("udp://@:1234", "1234"),
        ("rtsp://user:pass?word@10.0.0.5/", "10.0.0.5"),
        ("rtsp://10.0.0.1:554/user=admin&password=s3cret&channel=1", "channel_1"),
        ("rtsp://10.0.0.1:554/user=admin_password=s3_cret_channel=1_stream=0.sdp", "channel_1_stream_0"),
        ("rtsp://10.0.0.1:554/user=admin&password=s3cret", "10.0.0.1"),
        ("rtsp://user:12/3@10.0.0.5/court1", "court1"),
    ],
)
def test_titles(name, title):
    assert stream_title(name) == title


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("rtsp://user:pass@10.0.0.5:554/court1", "rtsp://10.0.0.5:554/court1"),
        ("rtsp://key@10.0.0.5/court1", "rtsp://10.0.0.5/court1"),
        ("http://host/a.ts?token=abc&user=me@x", "http://host/a.ts?..."),
        ("http://host/a.ts#token=abc", "http://host/a.ts#..."),
        ("http://user:p@ss@host/a.ts", "http://host/a.ts"),
        ("http://user:pa/ss?w#rd@host:80/a.ts?x=1", "http://host:80/a.ts?..."),
        ("http://host:80/a@2.ts", "http://host:80/a@2.ts"),
        ("http://[fe80::1]:80/a@2.ts", "http://[fe80::1]:80/a@2.ts"),
        ("http:/user:pass@host/a.ts", "http:/host/a.ts"),
        ("rtsp://u:12/3@h/x", "rtsp://h/x"),
        ("rtsp://u:/3@h/x", "rtsp://h/x"),
        ("rtsp://u:12?3@h/x", "rtsp://h/x"),
        ("rtsp://admin:12#34@h/s", "rtsp://h/s"),
        ("rtsp://cam.lan:5000/a@2", "rtsp://cam.lan:5000/a@2"),
        ("srt://host:9000?passphrase=a@b", "srt://host:9000?..."),
        (
            "rtsp://10.0.0.1:554/user=admin&password=s3@cret&channel=1",
            "rtsp://10.0.0.1:554/user=...&password=...&channel=1",
        ),
        (
            "rtsp://10.0.0.1/user=admin_password=s3_cret_channel=1.sdp",
            "rtsp://10.0.0.1/user=..._password=..._channel=1.sdp",
        ),
        ("http://host/Token=abc/a.ts", "http://host/Token=.../a.ts"),
        ("/games/user=me/key=3.mp4", "/games/user=me/key=3.mp4"),
        ("async:http://user:pass@host/a.ts", "async:http://host/a.ts"),
        ("udp://@:1234", "udp://@:1234"),
        ("dshow:video=Cam", "dshow:video=Cam"),
        ("C:/me@home/is it?.mp4", "C:/me@home/is it?.mp4"),
        ("-", "-"),
    ],
)
def test_what_is_secret_is_not_shown(name, shown):
    assert without_secrets(name) == shown


def test_a_stream_where_a_file_is_expected():
    with pytest.raises(TrackNetError) as caught:
        open_source("http://user:S3cret@host/a.ts?token=T0k")
    assert str(caught.value) == "http:/host/a.ts?...: no such video or image folder"
