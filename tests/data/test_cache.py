"""The frame cache: right frames, whole or absent, never stale, built once by however many processes."""

from __future__ import annotations

import errno
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from tracknet.data import cache as cache_module
from tracknet.data import cached_clip as cached_clip_module
from tracknet.data import file_lock as lock_module
from tracknet.data.background import median_background
from tracknet.data.cache import FrameCache
from tracknet.data.video import VideoWriter, open_source
from tracknet.errors import TrackNetError

SIZE = (32, 48)

# Builds a cache of all clips of a folder, slowly, and notes each decoding in a log.
BUILDER = """
import os, signal, sys, time
from pathlib import Path
from tracknet.data.cache import FrameCache
from tracknet.data.video import VideoFile, open_source

signal.signal(signal.SIGINT, signal.default_int_handler)
folder, root, log = map(Path, sys.argv[1:4])
pause, party = map(float, sys.argv[4:])
decode = VideoFile.frames

def slow(self, size=None, threads=None):
    with log.open("a") as file:
        file.write(f"{self.path.name}\\n")
    for frame in decode(self, size, threads):
        time.sleep(pause)
        yield frame

VideoFile.frames = slow
sources = [open_source(path) for path in sorted(folder.glob("*.mp4"))]
(folder / f"{os.getpid()}.ready").touch()
while len(list(folder.glob("*.ready"))) < party:
    time.sleep(0.01)
FrameCache(root, (32, 48)).build(sources, workers=1, progress=True)
"""


def write_clip(path: Path, frames: int = 20, shade: int = 0, size: tuple[int, int] = (64, 96)) -> Path:
    """A clip whose frames tell their number by their grey, on a pattern that makes no two clips equal."""
    with VideoWriter(path, size, 30) as video:
        for number in range(frames):
            frame = np.full((*size, 3), 5 + 230 * number // frames, np.uint8)
            frame[: size[0] // 2, : size[1] // 2] = shade
            video.write(frame)
    return path


@pytest.fixture
def cache(tmp_path) -> FrameCache:
    return FrameCache(tmp_path / "cache", SIZE)


@pytest.fixture
def clips(tmp_path) -> Path:
    (tmp_path / "clips").mkdir()
    for number in range(4):
        write_clip(tmp_path / "clips" / f"{number}.mp4", shade=60 * number)
    return tmp_path / "clips"


def sources_of(folder: Path):
    return [open_source(path) for path in sorted(folder.glob("*.mp4"))]


def leftovers(cache: FrameCache) -> list[Path]:
    return [*cache.root.glob("**/*.part"), *cache.root.glob("**/*.lock")]


def start_builder(clips: Path, cache: FrameCache, pause: float, party: int = 1) -> subprocess.Popen:
    arguments = [str(clips), str(cache.root), str(clips / "log"), str(pause), str(party)]
    return subprocess.Popen(
        [sys.executable, "-c", BUILDER, *arguments], stderr=subprocess.PIPE, text=True, cwd=Path.cwd()
    )


def wait_for(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


@pytest.mark.parametrize("frames", [1, 20, 70])
def test_the_cache_holds_the_frames_of_the_source(tmp_path, cache, frames):
    source = open_source(write_clip(tmp_path / "clip.mp4", frames))
    assert cache.missing([source]) == [source]
    cache.build([source], progress=False)
    assert cache.missing([source]) == []
    clip = cache.open(source)
    expected = np.stack(list(source.frames(SIZE))).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(clip.frames, expected)
    assert isinstance(clip.frames, np.memmap)
    assert clip.frames.flags.c_contiguous
    assert not clip.frames.flags.writeable
    assert clip.frames.dtype == clip.background.dtype == np.uint8
    np.testing.assert_array_equal(clip.background.transpose(1, 2, 0), median_background(source, SIZE))
    shades = clip.frames[:, 0, 20, 40].astype(int)
    assert (np.diff(shades) > 0).all()


def test_an_entry_is_a_folder_of_plain_files(tmp_path, cache):
    source = open_source(write_clip(tmp_path / "clip.mp4"))
    cache.build([source], progress=False)
    key = cache.key(source)
    assert re.fullmatch("[0-9a-f]{40}", key)
    folder = cache.root / key[:2] / key
    assert sorted(file.name for file in folder.iterdir()) == ["background.npy", "frames.npy", "meta.json"]
    assert np.load(folder / "frames.npy").shape == (20, 3, *SIZE)
    meta = json.loads((folder / "meta.json").read_text())
    assert re.fullmatch("[0-9a-f]{8}", meta.pop("checksum"))
    assert meta == {"version": 1, "source": "clip.mp4", "size": [32, 48], "frames": 20}
    assert leftovers(cache) == []


def test_frames_count_and_not_the_claim(tmp_path, cache):
    """An edit list cuts ten frames off that the container still claims."""
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        for number in range(30):
            frame = av.VideoFrame.from_ndarray(np.full((64, 96, 3), number * 8, np.uint8))
            frame.pts, frame.time_base = number - 10, Fraction(1, 30)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    source = open_source(path)
    assert source.info.frames == 30
    cache.build([source], progress=False)
    clip = cache.open(source)
    assert clip.frames.shape[0] == 20
    assert abs(int(clip.frames[0].mean()) - 80) <= 4
    np.testing.assert_array_equal(clip.background.transpose(1, 2, 0), median_background(source, SIZE))


def test_image_folders(tmp_path, cache):
    folders = [tmp_path / "a", tmp_path / "b", tmp_path / "c"]
    for folder, names in zip(folders, (["1", "2"], ["1", "2"], ["1", "3"]), strict=True):
        folder.mkdir()
        for shade, name in enumerate(names):
            context = av.CodecContext.create("png", "w")
            context.height, context.width, context.pix_fmt, context.time_base = 64, 96, "rgb24", Fraction(1)
            image = av.VideoFrame.from_ndarray(np.full((64, 96, 3), 50 + 50 * shade, np.uint8))
            (folder / f"{name}.png").write_bytes(bytes(context.encode(image)[0]))
    one, same, other = (open_source(folder) for folder in folders)
    assert cache.key(one) == cache.key(same) != cache.key(other)
    cache.build([one, same, other], progress=False)
    assert len(list(cache.root.glob("??/*"))) == 2
    frames = cache.open(same).frames
    assert frames[:, 0, 5, 5] == pytest.approx([50, 100], abs=3)
    (tmp_path / "b" / "2.png").unlink()
    with pytest.raises(TrackNetError, match=r"2\.png: cannot be read"):
        cache.missing([same])


def test_a_clip_is_known_by_its_content(tmp_path, cache):
    path = write_clip(tmp_path / "clip.mp4")
    key = cache.key(open_source(path))
    os.utime(path, (1, 1))
    assert cache.key(open_source(path)) == key
    (tmp_path / "elsewhere").mkdir()
    moved = path.rename(tmp_path / "elsewhere" / "other.mp4")
    assert cache.key(open_source(moved)) == key
    assert FrameCache(cache.root, (32, 50)).key(open_source(moved)) != key
    assert FrameCache(cache.root, [32, 48]).key(open_source(moved)) == key


def test_a_new_version_of_the_format_has_new_keys(tmp_path, cache, monkeypatch):
    source = open_source(write_clip(tmp_path / "clip.mp4"))
    key = cache.key(source)
    monkeypatch.setattr(cache_module, "CACHE_VERSION", 2)
    assert FrameCache(cache.root, SIZE).key(source) != key


def test_a_source_is_hashed_once(tmp_path, cache, monkeypatch):
    source = open_source(write_clip(tmp_path / "clip.mp4"))
    key = cache.key(source)
    monkeypatch.setattr(cache_module.hashlib, "blake2b", None)
    assert cache.key(source) == key


@pytest.mark.parametrize("same_process", [True, False])
def test_a_changed_video_is_not_served_stale(tmp_path, cache, same_process):
    path = write_clip(tmp_path / "clip.mp4")
    other = write_clip(tmp_path / "other.mp4", shade=200)
    size = 100 + max(path.stat().st_size, other.stat().st_size)
    for file in (path, other):
        with file.open("ab") as end:
            room = size - end.tell()
            end.write(room.to_bytes(4, "big") + b"free" + bytes(room - 8))
    before = path.stat()
    cache.build([open_source(path)], progress=False)
    # In place, with the size and the date of the old one.
    path.write_bytes(other.read_bytes())
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    unchanged = ("st_size", "st_mtime_ns", "st_ino")
    assert [getattr(after, name) for name in unchanged] == [getattr(before, name) for name in unchanged]
    again = cache if same_process else FrameCache(cache.root, SIZE)
    changed = open_source(path)
    assert again.missing([changed]) == [changed]
    with pytest.raises(TrackNetError, match=r"clip\.mp4: not in the frame cache"):
        again.open(changed)
    again.build([changed], progress=False)
    assert again.open(changed).frames[0, 0, 5, 5] == pytest.approx(200, abs=5)


def test_a_video_that_changes_while_it_is_read(tmp_path, cache, monkeypatch):
    source = open_source(write_clip(tmp_path / "clip.mp4"))
    other = write_clip(tmp_path / "other.mp4", shade=200).read_bytes()
    decode = type(source).frames

    def change(self, size, threads):
        yield from decode(self, size, threads)
        source.path.write_bytes(other)

    monkeypatch.setattr(type(source), "frames", change)
    with pytest.raises(TrackNetError, match=r"clip\.mp4: changed while it was read"):
        cache.build([source], progress=False)
    assert not list(cache.root.glob("??/*"))


def cut(name: str, keep: int):
    return lambda folder: os.truncate(folder / name, keep)


@pytest.mark.parametrize(
    "harm",
    [
        cut("frames.npy", 5000),
        cut("frames.npy", 128),
        cut("frames.npy", 0),
        cut("background.npy", 0),
        cut("background.npy", 500),
        cut("meta.json", 10),
        lambda folder: (folder / "meta.json").write_text("[]"),
        lambda folder: (folder / "meta.json").write_text('{"version": 0, "frames": 20}'),
        lambda folder: (folder / "meta.json").write_text('{"version": 1, "frames": 19}'),
        lambda folder: (folder / "meta.json").unlink(),
        lambda folder: (folder / "background.npy").unlink(),
        lambda folder: np.save(folder / "background.npy", np.zeros((3, 2, 2), np.uint8)),
        lambda folder: (folder / "frames.npy").open("ab").write(b"more"),
        lambda folder: (folder / "frames.npy").write_bytes(b"PK\3\4" + bytes(1000)),
    ],
)
def test_a_damaged_entry_is_missing_and_built_again(tmp_path, cache, harm):
    source = open_source(write_clip(tmp_path / "clip.mp4"))
    cache.build([source], progress=False)
    key = cache.key(source)
    harm(cache.root / key[:2] / key)
    assert cache.missing([source]) == [source]
    with pytest.raises(TrackNetError, match=r"clip\.mp4: damaged in the frame cache .*build it again"):
        cache.open(source)
    cache.build([source], progress=False)
    assert cache.open(source).frames.shape == (20, 3, *SIZE)


def test_a_bad_video_does_not_hold_up_the_others(clips, cache):
    sources = sources_of(clips)
    for number in (1, 2):
        content = (clips / f"{number}.mp4").read_bytes()
        start = content.index(b"mdat") + 4
        (clips / f"{number}.mp4").write_bytes(content[:start] + bytes(100) + content[start + 100 :])
    with pytest.raises(TrackNetError, match=r"1\.mp4: damaged .*\n.*2\.mp4: damaged ") as fault:
        cache.build(sources, progress=False)
    _, _, remedy = str(fault.value).splitlines()
    assert "not masked; to go on without it, take its video and its labels out of the data set" in remedy
    assert cache.missing(sources) == sources[1:3]
    assert leftovers(cache) == []


def test_the_same_content_is_decoded_once(tmp_path, cache):
    path = write_clip(tmp_path / "a.mp4")
    copy = Path(shutil.copy(path, tmp_path / "b.mp4"))
    sources = [open_source(path), open_source(copy)]
    assert len(cache.missing(sources)) == 1
    cache.build(sources, progress=False)
    assert cache.missing(sources) == []
    assert len(list(cache.root.glob("??/*"))) == 1


def test_what_is_told(clips, cache, capsys):
    sources = sources_of(clips)
    assert 4 * 20 * 3 * 32 * 48 < cache.bytes_needed(sources) < 1.1 * 4 * 20 * 3 * 32 * 48
    cache.build(sources[:3])
    captured = capsys.readouterr()
    assert captured.out == ""
    first, last = captured.err.splitlines()
    assert re.fullmatch(
        rf"frame cache: 3 clips, 0\.3 MB to write under {re.escape(str(cache.root))} \(free: [\d.]+ GB\)",
        first,
    )
    assert re.fullmatch(r"frame cache: 60 frames in 0:\d\d \(\d+ frames/s\)", last)
    cache.build(sources, progress=False)
    cache.build(sources)
    assert capsys.readouterr() == ("", "")


def test_too_little_room(clips, cache, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=100_000)
    monkeypatch.setattr(cache_module.shutil, "disk_usage", lambda path: usage)
    message = r"too little room for the frame cache: 4 clips need 0\.4 MB, 0\.1 MB are free.*TRACKNET_CACHE"
    with pytest.raises(TrackNetError, match=message):
        cache.build(sources_of(clips), progress=False)
    assert not list(cache.root.glob("??"))


def test_a_disk_that_fills_up(clips, cache, monkeypatch):
    sync = cache_module._sync
    calls = []

    def full(file):
        calls.append(file)
        if len(calls) > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(file)

    monkeypatch.setattr(cache_module, "_sync", full)
    sources = sources_of(clips)
    full_disk = (
        r"cannot write the frame cache: No space left on device; make room on that disk, or choose ano"
    )
    with pytest.raises(TrackNetError, match=full_disk):
        cache.build(sources, workers=1, progress=False)
    assert cache.missing(sources) == sources[1:]
    assert leftovers(cache) == []


def test_a_root_that_cannot_be_made(clips, tmp_path):
    (tmp_path / "file").touch()
    told = "cannot write the frame cache: Not a directory; choose another folder with TRACKNET_CACHE"
    with pytest.raises(TrackNetError, match=told):
        FrameCache(tmp_path / "file" / "cache", SIZE).build(sources_of(clips), progress=False)


def test_a_root_that_must_not_be_written_to(clips, tmp_path, monkeypatch):
    def refuse(folder):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(cache_module.shutil, "disk_usage", refuse)
    told = (
        "Permission denied; change the permissions of that one, or choose another folder with TRACKNET_CACHE"
    )
    with pytest.raises(TrackNetError, match=f"cannot write the frame cache: {told}"):
        FrameCache(tmp_path / "cache", SIZE).build(sources_of(clips), progress=False)


def test_the_default_root(monkeypatch, tmp_path):
    monkeypatch.setenv("TRACKNET_CACHE", str(tmp_path / "there"))
    assert FrameCache().root == tmp_path / "there"
    monkeypatch.delenv("TRACKNET_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert FrameCache().root == tmp_path / ".cache" / "tracknet" / "frames"
    assert FrameCache().size == (288, 512)


def test_a_clip_travels_as_its_place(tmp_path, cache):
    source = open_source(write_clip(tmp_path / "clip.mp4"))
    cache.build([source], progress=False)
    clip = cache.open(source)
    sent = pickle.dumps(clip)
    assert len(sent) < 1000
    np.testing.assert_array_equal(pickle.loads(sent).frames, clip.frames)
    plain = cache_module.CachedClip(np.asarray(clip.frames).copy(), clip.background)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(plain)).frames, clip.frames)


def test_memory_does_not_grow_with_the_clip(tmp_path, cache):
    source = open_source(write_clip(tmp_path / "clip.mp4", 600))
    cache.key(source)
    tracemalloc.start()
    cache.build([source], progress=False)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert cache.open(source).frames.nbytes > 2_700_000
    assert peak < 1_000_000


@pytest.mark.parametrize("number", [1, 4])
def test_two_processes_decode_each_clip_once(clips, cache, number):
    for path in sorted(clips.glob("*.mp4"))[number:]:
        path.unlink()
    builders = [start_builder(clips, cache, 0.01, party=2) for _ in range(2)]
    told = [builder.communicate(timeout=60)[1] for builder in builders]
    assert [builder.returncode for builder in builders] == [0, 0], told
    assert sorted((clips / "log").read_text().split()) == [f"{n}.mp4" for n in range(number)]
    assert any("waiting for another process" in text for text in told) or number > 1
    sources = sources_of(clips)
    assert cache.missing(sources) == []
    assert leftovers(cache) == []
    for source in sources:
        expected = np.stack(list(source.frames(SIZE))).transpose(0, 3, 1, 2)
        np.testing.assert_array_equal(cache.open(source).frames, expected)


def test_a_killed_build_leaves_nothing_half(clips, cache):
    builder = start_builder(clips, cache, 0.1)
    # The first clip is done, the second has begun.
    wait_for(lambda: (clips / "log").exists() and (clips / "log").read_text() == "0.mp4\n1.mp4\n")
    wait_for(lambda: list(cache.root.glob("??/*.part")))
    time.sleep(0.2)
    os.kill(builder.pid, signal.SIGKILL)
    builder.communicate(timeout=60)
    sources = sources_of(clips)
    key = cache.key(sources[1])
    assert (cache.root / key[:2] / f"{key}.part").is_dir()
    assert cache.missing(sources) == sources[1:]
    with pytest.raises(TrackNetError, match=r"1\.mp4: not in the frame cache"):
        cache.open(sources[1])
    # Another clip is built next: the leftovers of this one go all the same.
    cache.build(sources[3:], progress=False)
    assert leftovers(cache) == []
    cache.build(sources, progress=False)
    assert cache.missing(sources) == []
    assert len(cache.open(sources[1]).frames) == 20


def test_an_interrupted_build_keeps_what_is_finished(clips, cache):
    builder = start_builder(clips, cache, 0.1)
    wait_for(lambda: (clips / "log").exists() and (clips / "log").read_text() == "0.mp4\n1.mp4\n")
    builder.send_signal(signal.SIGINT)
    _, told = builder.communicate(timeout=60)
    assert builder.returncode != 0
    assert "KeyboardInterrupt" in told
    sources = sources_of(clips)
    assert cache.missing(sources) == sources[1:]
    assert leftovers(cache) == []
    assert (clips / "log").read_text() == "0.mp4\n1.mp4\n"


def test_leftovers_of_a_live_build_stay(clips, cache):
    source, other = sources_of(clips)[:2]
    key = cache.key(source)
    with cache._locked(key, False, threading.Event()) as mine:
        assert mine
        part = cache.root / key[:2] / f"{key}.part"
        part.mkdir()
        cache.build([other], progress=False)
        assert part.is_dir()
        builder = threading.Thread(target=cache.build, args=([source],), kwargs={"progress": False})
        builder.start()
        builder.join(0.3)
        assert builder.is_alive()
        assert cache.missing([source]) == [source]
    builder.join(60)
    assert cache.missing([source]) == []
    assert leftovers(cache) == []


def test_a_lock_removed_by_its_holder_is_not_taken(tmp_path, monkeypatch):
    path = tmp_path / "key.lock"
    flock = lock_module.fcntl.flock

    def remove_first(lock, how):
        path.unlink()
        flock(lock, how)

    monkeypatch.setattr(lock_module.fcntl, "flock", remove_first)
    assert lock_module._try_lock(path) is None

    def refuse(lock, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock_module.fcntl, "flock", refuse)
    source = open_source(write_clip(tmp_path / "clip.mp4"))
    with pytest.raises(TrackNetError, match="cannot write the frame cache: No locks available"):
        FrameCache(tmp_path / "cache", SIZE).build([source], progress=False)


def test_real_rallies(real_data, cache):
    source = open_source(real_data / "badminton" / "00008.mp4")
    cache.build([source], progress=False)
    clip = cache.open(source)
    assert clip.frames.shape == (150, 3, *SIZE)
    np.testing.assert_array_equal(clip.background.transpose(1, 2, 0), median_background(source, SIZE))


def test_too_many_open_files_are_no_damage(tmp_path, cache, monkeypatch):
    source = open_source(write_clip(tmp_path / "clip.mp4"))
    cache.build([source], progress=False)

    def full(folder):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(cache_module, "load_clip", full)
    with pytest.raises(TrackNetError, match=r"clip\.mp4: .*Too many open files.*: each clip stays open"):
        cache.open(source)


def test_a_whole_cache_on_a_disk_that_is_only_read_is_used(tmp_path, cache, monkeypatch):
    source = open_source(write_clip(tmp_path / "clip.mp4"))
    cache.build([source], progress=False)
    (cache.root / "aa").mkdir(exist_ok=True)
    (cache.root / "aa" / "aabb.lock").touch()

    def read_only(*arguments):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(lock_module, "_try_lock", read_only)
    cache.build([source], progress=False)
    assert len(cache.open(source).frames)


@pytest.mark.skipif(sys.platform == "darwin", reason="its file names are UTF-8")
def test_names_that_are_not_utf8(tmp_path, cache):
    name = os.fsdecode(b"caf\xe9")
    clip = write_clip(tmp_path / "clip.mp4")
    other = tmp_path / f"{name}.mp4"
    shutil.copyfile(clip, other)
    images = tmp_path / "images"
    images.mkdir()
    with av.open(str(clip)) as container:
        frame = next(container.decode(video=0))
    with av.open(str(images / "0.png"), "w", format="image2") as image:
        stream = image.add_stream("png")
        stream.height, stream.width, stream.pix_fmt = frame.height, frame.width, "rgb24"
        image.mux(stream.encode(frame.reformat(format="rgb24")))
    (images / "0.png").rename(images / f"{name}.png")
    sources = [open_source(clip), open_source(other), open_source(images)]
    cache.build(sources, progress=False)
    assert cache.key(sources[0]) == cache.key(sources[1])
    assert len(cache.open(sources[2]).frames) == 1


def test_headers_are_parsed_by_one_thread_at_a_time(tmp_path, monkeypatch):
    np.save(tmp_path / "a.npy", np.arange(6, dtype=np.uint8).reshape(2, 3))
    inside, most = [], []
    plain = cached_clip_module.open_memmap

    def watched(*arguments, **options):
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.01)
        array = plain(*arguments, **options)
        inside.pop()
        return array

    monkeypatch.setattr(cached_clip_module, "open_memmap", watched)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: cached_clip_module.open_array(tmp_path / "a.npy").sum(), range(12)))
    assert found == [15] * 12
    assert max(most) == 1
