"""Frames out of videos and image folders: all of them, once, in order, unshifted."""

from __future__ import annotations

import os
import pickle
import wave
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from tracknet.data import background as background_module
from tracknet.data import video as video_module
from tracknet.data.background import (
    background_and_frames,
    evenly_spaced,
    median_background,
    median_of,
)
from tracknet.data.geometry import resize_xy
from tracknet.data.video import ImageFolder, VideoFile, VideoWriter, count_frames, open_source
from tracknet.errors import TrackNetError

SIZE = (64, 96)


def numbered(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """A frame that shows its number in binary, as eight upright bars."""
    bits = np.array([number >> bit & 1 for bit in range(8)], np.uint8)
    row = bits[np.arange(size[1]) * 8 // size[1]] * 255
    return np.repeat(np.tile(row, (size[0], 1))[..., None], 3, axis=2)


def number_of(frame: np.ndarray) -> int:
    bars = np.array_split(frame.mean(axis=(0, 2)), 8)
    return sum(1 << bit for bit, bar in enumerate(bars) if bar.mean() > 128)


def numbers_of(frames) -> list[int]:
    return [number_of(frame) for frame in frames]


def write_numbered(path: Path, frames: int, size: tuple[int, int] = SIZE, fps: float = 30) -> Path:
    with VideoWriter(path, size, fps) as video:
        for number in range(frames):
            video.write(numbered(number, size))
    return path


def encode(path: Path, frames: int, codec: str = "libx264", start: int = 0, **options: str) -> Path:
    """A video with what VideoWriter does not offer: other codecs, a later start, a distance of keyframes."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(30), options=options)
        stream.height, stream.width = SIZE
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(numbered(number))
            frame.pts, frame.time_base = number + start, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def write_image(path: Path, image: np.ndarray, codec: str = "png", pix_fmt: str = "rgb24") -> Path:
    context = av.CodecContext.create(codec, "w")
    context.height, context.width = image.shape[:2]
    context.pix_fmt = pix_fmt
    context.time_base = Fraction(1, 30)
    frame = av.VideoFrame.from_ndarray(image).reformat(format=pix_fmt)
    frame.pts = 0
    path.write_bytes(b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)]))
    return path


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.mov", "clip.ts"])
@pytest.mark.parametrize("threads", [None, 1, 2])
def test_every_frame_is_delivered_once_and_in_order(tmp_path, name, threads):
    source = open_source(write_numbered(tmp_path / name, 41))
    assert numbers_of(source.frames(threads=threads)) == list(range(41))
    assert count_frames(source) == 41


@pytest.mark.parametrize(
    ("codec", "name"), [("mpeg4", "clip.avi"), ("mpeg4", "clip.mp4"), ("mjpeg", "clip.mkv")]
)
def test_other_codecs(tmp_path, codec, name):
    source = open_source(encode(tmp_path / name, 20, codec))
    assert numbers_of(source.frames()) == list(range(20))
    assert count_frames(source) == 20


def test_a_source_can_be_read_twice_and_in_part(tmp_path):
    source = open_source(write_numbered(tmp_path / "clip.mp4", 20))
    assert number_of(next(source.frames())) == 0
    assert numbers_of(source.frames()) == numbers_of(source.frames()) == list(range(20))


def test_info(tmp_path):
    source = open_source(str(write_numbered(tmp_path / "clip.mp4", 20, (50, 70), fps=29.97)))
    assert (source.info.height, source.info.width, source.info.frames) == (50, 70, 20)
    assert source.info.fps == pytest.approx(29.97)
    assert source.files() == [tmp_path / "clip.mp4"]
    stream = open_source(write_numbered(tmp_path / "clip.ts", 20))
    assert stream.info.frames is None
    assert abs(stream.estimate() - 20) <= 1


def test_resized_frames(tmp_path):
    source = open_source(write_numbered(tmp_path / "clip.mp4", 20))
    whole, half = list(source.frames()), list(source.frames((32, 48)))
    assert {(f.shape, f.dtype) for f in whole} == {((64, 96, 3), np.dtype(np.uint8))}
    assert {(f.shape, f.dtype) for f in half} == {((32, 48, 3), np.dtype(np.uint8))}
    assert numbers_of(half) == list(range(20))
    area = whole[5].reshape(32, 2, 48, 2, 3).mean(axis=(1, 3))
    assert np.abs(area - half[5]).max() < 8


@pytest.mark.parametrize("size", [(720, 1280), (360, 640), (300, 500), (200, 300)])
def test_resizing_does_not_shift(tmp_path, size):
    ball = np.array([size[1] * 0.4 + 0.3, size[0] * 0.6 + 0.7])
    y, x = np.mgrid[: size[0], : size[1]]
    blob = np.exp(-((x - ball[0]) ** 2 + (y - ball[1]) ** 2) / (2 * 6.0**2)) * 255
    with VideoWriter(tmp_path / "ball.mp4", size, 30, quality=0) as video:
        video.write(np.repeat(blob.round().astype(np.uint8)[..., None], 3, axis=2))
    light = next(open_source(tmp_path / "ball.mp4").frames((288, 512))).mean(axis=2)
    light[light < 20] = 0
    y, x = np.mgrid[:288, :512]
    found = np.array([(light * x).sum(), (light * y).sum()]) / light.sum()
    np.testing.assert_allclose(found, resize_xy(ball, size, (288, 512)), atol=0.1)


def test_colours_survive(tmp_path):
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (200, 30, 90), (255, 255, 255), (0, 0, 0)]
    with VideoWriter(tmp_path / "clip.mp4", SIZE, 30) as video:
        for colour in colours:
            video.write(np.full((*SIZE, 3), colour, np.uint8))
    source = open_source(tmp_path / "clip.mp4")
    found = np.array([frame[30, 40] for frame in source.frames()], int)
    assert np.abs(found - colours).max() <= 3
    found = np.array([frame[10, 20] for frame in source.frames((32, 48))], int)
    assert np.abs(found - colours).max() <= 5


def test_frames_before_the_start_are_neither_delivered_nor_counted(tmp_path):
    source = open_source(encode(tmp_path / "clip.mp4", 60, start=-10))
    assert source.info.frames == 60
    assert numbers_of(source.frames()) == list(range(10, 60))
    assert count_frames(source) == 50
    assert numbers_of(source.sample(None, 3)) == [10, 34, 59]


def test_sampling_resizes_only_what_it_keeps(tmp_path, monkeypatch):
    video = tmp_path / "a.mp4"
    with VideoWriter(video, (64, 96), fps=30) as writer:
        for n in range(9):
            writer.write(np.full((64, 96, 3), 20 * n, np.uint8))
    source = open_source(video)
    expected = [frame for n, frame in enumerate(source.frames((32, 48))) if n in (0, 4, 8)]
    resized = []
    resize = video_module.FrameResizer.__call__
    monkeypatch.setattr(
        video_module.FrameResizer, "__call__", lambda *given: resized.append(1) or resize(*given)
    )
    assert np.array_equal(source.sample((32, 48), 3), expected)
    assert len(resized) == 3


def test_sampling_mends_a_wrong_number_of_packets(tmp_path, monkeypatch):
    source = open_source(write_numbered(tmp_path / "clip.mp4", 20))
    monkeypatch.setattr(VideoFile, "_packets", lambda self: 40)
    assert count_frames(source) == 20
    assert numbers_of(source.sample(None, 3)) == [0, 10, 19]


def test_a_change_of_size_keeps_the_first(tmp_path, capsys):
    first = write_numbered(tmp_path / "a.h264", 5)
    second = write_numbered(tmp_path / "b.h264", 7, (32, 48))
    (tmp_path / "both.h264").write_bytes(first.read_bytes() + second.read_bytes())
    frames = list(open_source(tmp_path / "both.h264").frames())
    assert {frame.shape for frame in frames} == {(64, 96, 3)}
    assert numbers_of(frames) == [*range(5), *range(7)]
    said = capsys.readouterr().err
    assert "both.h264: from frame 5 on its pictures are 48x32; they are shrunk or stretched" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("cover", [False, True])
def test_which_of_several_streams_is_read_is_told(tmp_path, capsys, cover):
    """The picture of a cover is a stream too, and none that could have been meant."""
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        streams = [
            container.add_stream(codec, rate=30) for codec in ("libx264", "mjpeg" if cover else "libx264")
        ]
        for stream, (height, width) in zip(streams, (SIZE, (32, 48)), strict=True):
            stream.height, stream.width = height, width
            stream.pix_fmt = "yuvj420p" if stream.name == "mjpeg" else "yuv420p"
        if cover:
            streams[1].disposition = av.stream.Disposition.attached_pic
        for stream, frames in zip(streams, (9, 1 if cover else 5), strict=True):
            for number in range(frames):
                picture = numbered(number, (stream.height, stream.width))
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
            container.mux(stream.encode())
    source = open_source(tmp_path / "a.mp4")
    assert numbers_of(source.frames()) == numbers_of(source.frames()) == list(range(9))
    told = f"note: {source.path}: holds 2 video streams; the one of 96x64 is read\n"
    assert capsys.readouterr().err == ("" if cover else told)


def noisy_video(path: Path, gop: int = 250) -> Path:
    """A faststart video (its index comes first) with enough bytes a frame to be damaged in one place."""
    noise = np.random.default_rng(0).integers(0, 256, (40, *SIZE, 3), dtype=np.uint8)
    with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("libx264", rate=30, options={"g": str(gop)})
        stream.height, stream.width = SIZE
        stream.pix_fmt = "yuv420p"
        for picture in noise:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("threads", [None, 1])
@pytest.mark.parametrize("share", [0.5, 0.99])
def test_a_video_cut_short(tmp_path, share, threads):
    path = noisy_video(tmp_path / "clip.mp4")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    source = open_source(path)
    with pytest.raises(TrackNetError, match=r"clip\.mp4: .* frame") as fault:
        list(source.frames(threads=threads))
    number = int(next(word for word in str(fault.value).split() if word.isdigit()))
    assert 40 * share - 8 < number <= 40 * share


def test_a_video_damaged_in_the_middle(tmp_path):
    path = noisy_video(tmp_path / "clip.mp4")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 9000] = bytes(9000)
    path.write_bytes(content)
    with pytest.raises(TrackNetError, match=r"clip\.mp4: damaged behind frame 1\d"):
        list(open_source(path).frames())


def test_frames_that_are_lost_in_a_damaged_recording_are_told(tmp_path, capsys):
    path = noisy_video(tmp_path / "clip.ts", gop=10)
    packets = [path.read_bytes()[at : at + 188] for at in range(0, path.stat().st_size, 188)]
    middle = len(packets) // 2
    path.write_bytes(b"".join(packets[:middle] + packets[middle + len(packets) // 5 :]))
    kept = len(list(open_source(path).frames()))
    assert kept < 35
    told = capsys.readouterr().err
    assert f"about {40 - kept} frames are lost behind damage near frame " in told
    assert "the numbers behind are too low" in told


def test_what_is_no_video(tmp_path):
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "noise.mp4").write_bytes(bytes(range(256)) * 20)
    (tmp_path / "words.txt").write_text("Frame 1\n" * 100)
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(16000))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "labels.csv").touch()
    for name, message in {
        "empty.mp4": r"empty \(0 bytes\)",
        "noise.mp4": "not a readable video",
        "words.txt": "no video stream",
        "sound.wav": "no video stream",
        "folder": r"no images in this folder; expected .*\.jpg",
        "emty.mp4": r"no such video or image folder; did you mean 'empty\.mp4'",
        "words2.mkv": "no such video or image folder$",
        "words.tyt": r"did you mean 'words\.txt'",
        "foldr.mp4": "did you mean 'folder'",
        "soun": r"did you mean 'sound\.wav'",
        "nowhere/clip.mp4": "no such video or image folder$",
    }.items():
        with pytest.raises(TrackNetError, match=message) as fault:
            open_source(tmp_path / name)
        assert str(tmp_path / name) in str(fault.value)


def test_a_folder_that_may_not_be_read(tmp_path, monkeypatch):
    def refuse(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(TrackNetError, match="cannot be read: Permission denied"):
        open_source(tmp_path)


def test_a_video_without_frames(tmp_path):
    source = open_source(encode(tmp_path / "clip.mp4", 10, start=-100))
    with pytest.raises(TrackNetError, match=r"clip\.mp4: .* without a single frame"):
        list(source.frames())


def test_images_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 9, 2, 100, 1):
        write_image(tmp_path / f"{number}.png", numbered(number))
    write_image(tmp_path / ".3.png", numbered(3))
    (tmp_path / "Label.csv").touch()
    source = open_source(tmp_path)
    assert isinstance(source, ImageFolder)
    assert numbers_of(source.frames()) == [1, 2, 9, 10, 100]
    assert (source.info.frames, source.estimate(), count_frames(source)) == (5, 5, 5)
    assert (source.info.height, source.info.width, source.info.fps) == (*SIZE, 30)
    assert [file.name for file in source.files()] == ["1.png", "2.png", "9.png", "10.png", "100.png"]
    assert numbers_of(source.sample((32, 48), 3)) == [1, 9, 100]
    assert ImageFolder(tmp_path, fps=25).info.fps == 25


@pytest.mark.parametrize(
    ("suffix", "codec", "pix_fmt"),
    [
        ("jpg", "mjpeg", "yuvj444p"),
        ("JPEG", "mjpeg", "yuvj420p"),
        ("png", "png", "rgb24"),
        ("png", "png", "rgba"),
        ("png", "png", "gray"),
        ("bmp", "bmp", "bgr24"),
        ("jpg", "png", "rgb24"),
    ],
)
def test_image_formats(tmp_path, suffix, codec, pix_fmt):
    write_image(tmp_path / f"0.{suffix}", numbered(77), codec, pix_fmt)
    (frame,) = open_source(tmp_path).frames()
    assert frame.shape == (*SIZE, 3)
    assert np.abs(frame.astype(int) - numbered(77)).mean() < 6
    assert number_of(frame) == 77


def test_images_and_videos_are_resized_alike(tmp_path):
    smooth = np.zeros((*SIZE, 3), np.uint8)
    smooth[:] = np.linspace(0, 250, SIZE[1], dtype=np.uint8)[None, :, None]
    smooth[20:30, 40:60] = 255
    (tmp_path / "images").mkdir()
    write_image(tmp_path / "images" / "0.png", smooth)
    with VideoWriter(tmp_path / "clip.mp4", SIZE, 30, quality=0) as video:
        video.write(smooth)
    (image,) = open_source(tmp_path / "images").frames((24, 40))
    (frame,) = open_source(tmp_path / "clip.mp4").frames((24, 40))
    assert np.abs(image.astype(int) - frame).max() <= 4


def test_images_of_two_sizes(tmp_path):
    write_image(tmp_path / "0.png", numbered(0))
    write_image(tmp_path / "1.png", numbered(1, (32, 48)))
    with pytest.raises(TrackNetError, match=r"1\.png: is 48x32, but the first image of the folder is 96x64"):
        list(open_source(tmp_path).frames((32, 48)))


@pytest.mark.parametrize(
    ("suffix", "codec", "pix_fmt"), [("jpg", "mjpeg", "yuvj420p"), ("png", "png", "rgb24")]
)
def test_damaged_images(tmp_path, suffix, codec, pix_fmt):
    for number in range(3):
        write_image(tmp_path / f"{number}.{suffix}", numbered(number), codec, pix_fmt)
    source = open_source(tmp_path)
    whole = (tmp_path / f"1.{suffix}").read_bytes()
    for content in (b"", whole[: len(whole) // 2], whole[:-20], b"no image", whole[:2] + bytes(100)):
        (tmp_path / f"1.{suffix}").write_bytes(content)
        frames = source.frames()
        assert number_of(next(frames)) == 0
        with pytest.raises(TrackNetError, match=rf"1\.{suffix}: not a readable image"):
            next(frames)
    (tmp_path / f"1.{suffix}").unlink()
    with pytest.raises(TrackNetError, match=rf"1\.{suffix}: cannot be read"):
        list(source.frames())


def test_sources_travel_to_other_processes(tmp_path):
    write_numbered(tmp_path / "clip.mp4", 5)
    (tmp_path / "images").mkdir()
    write_image(tmp_path / "images" / "0.png", numbered(3))
    for name, numbers in {"clip.mp4": [0, 1, 2, 3, 4], "images": [3]}.items():
        assert numbers_of(pickle.loads(pickle.dumps(open_source(tmp_path / name))).frames()) == numbers


@pytest.mark.parametrize(
    ("frames", "samples", "expected"),
    [(1, 64, [0]), (3, 64, [0, 1, 2]), (9, 3, [0, 4, 8]), (100, 4, [0, 33, 66, 99]), (5, 1, [0])],
)
def test_evenly_spaced(frames, samples, expected):
    assert evenly_spaced(frames, samples) == expected


@given(st.integers(1, 5000), st.integers(1, 100))
def test_evenly_spaced_frames_are_distinct(frames, samples):
    chosen = evenly_spaced(frames, samples)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == min(frames, samples)
    assert chosen[0] == 0
    assert chosen[-1] == frames - 1 or samples == 1


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 3), st.integers(1, 3))))
def test_median_is_that_of_numpy(frames):
    np.testing.assert_array_equal(median_of(list(frames)), np.floor(np.median(frames, axis=0)))


def test_median_of_large_frames_is_that_of_their_parts():
    frames = np.random.default_rng(2).integers(0, 256, (5, 3, 211, 307), dtype=np.uint8)
    np.testing.assert_array_equal(median_of(list(frames)), np.median(frames, axis=0))
    across = [frame.transpose(1, 2, 0) for frame in frames]
    np.testing.assert_array_equal(median_of(across), np.median(across, axis=0))


def test_median_of_many_frames():
    frames = np.random.default_rng(0).integers(0, 256, (300, 4, 5), dtype=np.uint8)
    for some in (frames, frames[:255], frames[:256], frames // 100):
        np.testing.assert_array_equal(median_of(list(some)), np.floor(np.median(some, axis=0)))


def test_the_background_has_no_ball(tmp_path):
    with VideoWriter(tmp_path / "clip.mp4", SIZE, 30, quality=0) as video:
        for number in range(30):
            frame = np.full((*SIZE, 3), 60, np.uint8)
            frame[20:26, number * 3 : number * 3 + 6] = 255
            video.write(frame)
    background = median_background(open_source(tmp_path / "clip.mp4"), None)
    assert background.shape == (*SIZE, 3)
    assert np.abs(background.astype(int) - 60).max() <= 2


def test_a_long_video_is_sampled_at_its_keyframes(tmp_path, monkeypatch):
    source = open_source(encode(tmp_path / "clip.mp4", 120, g="5", sc_threshold="0"))
    assert numbers_of(source.sample(None, 4)) == [0, 40, 79, 119]
    monkeypatch.setattr(background_module, "LONG_VIDEO", 100)
    monkeypatch.setattr(VideoFile, "_decode_evenly", None)
    numbers = numbers_of(source.sample((32, 48), 12))
    assert all(number % 5 == 0 for number in numbers)
    assert numbers == sorted(set(numbers))
    assert len(numbers) == 12
    assert numbers[0] < 10
    assert numbers[-1] >= 100


def test_a_long_video_of_few_keyframes_is_decoded(tmp_path, monkeypatch):
    source = open_source(encode(tmp_path / "clip.mp4", 120, g="50", sc_threshold="0"))
    monkeypatch.setattr(background_module, "LONG_VIDEO", 100)
    assert numbers_of(source.sample(None, 8)) == evenly_spaced(120, 8)


def test_a_video_that_cannot_seek_is_decoded(tmp_path, monkeypatch):
    source = open_source(encode(tmp_path / "clip.h264", 30, g="2"))
    monkeypatch.setattr(background_module, "LONG_VIDEO", -1)
    assert numbers_of(source.sample(None, 8)) == evenly_spaced(30, 8)


def test_odd_sizes_are_padded_with_their_edge(tmp_path):
    frame = np.full((31, 45, 3), 200, np.uint8)
    frame[-1], frame[:, -1] = 40, 90
    with VideoWriter(tmp_path / "clip.mp4", (31, 45), 30, quality=0) as video:
        video.write(frame)
    source = open_source(tmp_path / "clip.mp4")
    assert (source.info.height, source.info.width) == (32, 46)
    written = next(source.frames()).astype(int)
    assert np.abs(written - np.pad(frame, ((0, 1), (0, 1), (0, 0)), mode="edge")).max() <= 3


def test_a_failed_video_leaves_the_old_one(tmp_path):
    path = write_numbered(tmp_path / "clip.mp4", 5)
    old = path.read_bytes()

    def fail():
        with VideoWriter(path, SIZE, 30) as video:
            for number in range(60):
                video.write(numbered(number))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with (
        pytest.raises(TrackNetError, match=r"clip\.mp4: not written.*single frame"),
        VideoWriter(path, SIZE, 30),
    ):
        pass
    assert path.read_bytes() == old
    assert list(tmp_path.iterdir()) == [path]


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(TrackNetError, match=r"clip\.xyz: cannot be written.*\.mp4"):
        write_numbered(tmp_path / "clip.xyz", 1)
    (tmp_path / "file").touch()
    with pytest.raises(TrackNetError, match=r"clip\.mp4: cannot be written: .*(exists|directory)"):
        write_numbered(tmp_path / "file" / "clip.mp4", 1)
    with VideoWriter(tmp_path / "new" / "clip.mp4", SIZE, 30) as video:
        video.write(numbered(1))
        with pytest.raises(ValueError, match="expected a uint8 frame"):
            video.write(numbered(1, (32, 48)))
        with pytest.raises(ValueError, match="expected a uint8 frame"):
            video.write(numbered(1).astype(float))
    assert numbers_of(open_source(tmp_path / "new" / "clip.mp4").frames()) == [1]


def test_real_rallies(real_data):
    rally = open_source(real_data / "badminton" / "00008.mp4")
    labels = (real_data / "badminton" / "00008.csv").read_text().strip().splitlines()
    assert (rally.info.height, rally.info.width, rally.info.fps) == (720, 1280, 30)
    assert count_frames(rally) == sum(1 for _ in rally.frames((36, 64))) == len(labels) - 1


@pytest.mark.parametrize("held", [0, 20, 29, 30, 31, 600])
def test_the_background_comes_with_all_frames(tmp_path, monkeypatch, held):
    source = open_source(encode(tmp_path / "clip.mp4", 30))
    monkeypatch.setattr(background_module, "HELD_BYTES", held * 3 * 32 * 48)
    opened = []
    decoded = VideoFile._decoded
    monkeypatch.setattr(VideoFile, "_decoded", lambda *given: opened.append(1) or decoded(*given))
    background, frames = background_and_frames(source, (32, 48))
    every = list(frames)
    # Those that fit are decoded once, of the others some a second time.
    assert len(opened) == (1 if held >= 30 else 2)
    np.testing.assert_array_equal(every, list(source.frames((32, 48))))
    np.testing.assert_array_equal(background, median_background(source, (32, 48)))


def test_of_a_long_video_no_frames_are_held(tmp_path, monkeypatch):
    source = open_source(encode(tmp_path / "clip.mp4", 120, g="5", sc_threshold="0"))
    monkeypatch.setattr(background_module, "LONG_VIDEO", 100)
    background, frames = background_and_frames(source, (32, 48))
    np.testing.assert_array_equal(background, median_background(source, (32, 48)))
    assert sum(1 for _ in frames) == 120


@pytest.mark.parametrize(
    ("clock", "shown"),
    [
        ([None] * 4, [0, 0.04, 0.08, 0.12]),
        ([7.5, 7.6, 7.9, 8.0], [0, 0.1, 0.4, 0.5]),
        ([0.0, 0.1, 0.1, 0.2], [0, 0.1, 0.14, 0.24]),  # stands
        ([5.0, 5.1, 0.0, 0.1], [0, 0.1, 0.14, 0.24]),  # goes back
        ([0.0, 0.1, 3600.0, 3600.1], [0, 0.1, 0.14, 0.24]),  # leaps
        ([0.0, None, 0.2, 0.3], [0, 0.04, 0.08, 0.18]),  # is not told
    ],
)
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_frames_are_written_for_moments(tmp_path, clock, shown, suffix):
    path = tmp_path / f"clip{suffix}"
    with VideoWriter(path, SIZE, 25) as video:
        for number, second in enumerate(clock):
            video.write(np.full((*SIZE, 3), 40 * number, np.uint8), second)
    timed = list(open_source(path).timed_frames())
    assert [second for second, _ in timed] == pytest.approx(shown)
    assert [frame.mean() for _, frame in timed] == pytest.approx([0, 40, 80, 120], abs=3)


def test_images_are_shown_at_the_rate_of_their_folder(tmp_path):
    for number in range(3):
        Image.new("RGB", (32, 16), (80 * number,) * 3).save(tmp_path / f"{number}.png")
    timed = list(open_source(tmp_path).timed_frames())
    assert [second for second, _ in timed] == pytest.approx([0, 1 / 30, 2 / 30])
    assert [int(frame.mean()) for _, frame in timed] == [0, 80, 160]


def test_what_is_no_file(tmp_path):
    (tmp_path / "link.mp4").symlink_to("away.mp4")
    with pytest.raises(TrackNetError, match=r"link\.mp4: is a link to away\.mp4, which is not there"):
        open_source(tmp_path / "link.mp4")
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(TrackNetError, match=r"pipe\.mp4: is neither a file nor a folder"):
        open_source(tmp_path / "pipe.mp4")
