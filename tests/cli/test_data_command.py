"""``tracknet data``: what it prints, its exit codes, and that it starts quickly."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Literal

import av
import numpy as np
import pytest

from tracknet.cli.data import main
from tracknet.data.cache import FrameCache
from tracknet.data.video import open_source
from tracknet.errors import TrackNetError, UsageError


@pytest.fixture
def rallies(tmp_path):
    """Two sound clips of three frames."""
    root = tmp_path / "rallies"
    root.mkdir()
    for name in ("a", "b"):
        with av.open(str(root / f"{name}.mp4"), "w") as container:
            stream = container.add_stream("mpeg4", rate=25)
            stream.height, stream.width = 48, 64
            for value in (0, ord(name), 200):
                image = np.full((48, 64, 3), value, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
            container.mux(stream.encode())
        (root / f"{name}.csv").write_text("Frame,Visibility,X,Y\n0,1,5,6\n1,0,0,0\n2,1,7,8\n")
    return root


def test_check_of_a_sound_data_set(rallies, capsys):
    assert main(["check", str(rallies)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith(f"{rallies}: layout flat")
    assert out.endswith("no faults\n")
    assert err == ""


def test_check_of_a_faulty_data_set(rallies, capsys):
    (rallies / "b.csv").write_text("Frame,Visibility,X,Y\n0,1,0,0\n1,1,0,0\n2,1,7,8\n")
    assert main(["check", str(rallies), "--layout", "flat"]) == 1
    out, err = capsys.readouterr()
    assert f"{rallies}/b.csv:2: a visible ball at 0,0 (and 1 more: 3)" in out
    assert err == ""


def test_check_decodes_on_request(rallies, capsys):
    assert main(["check", str(rallies), "--decode"]) == 0
    assert capsys.readouterr().err.startswith("decoding: 6 frames in ")


def test_check_shows_all_places_on_request(rallies, capsys):
    for name in "cdefghi":
        (rallies / f"{name}.csv").touch()
    main(["check", str(rallies)])
    assert "  and 2 more files\n" in capsys.readouterr().out
    main(["check", str(rallies), "--shown", "0"])
    out = capsys.readouterr().out
    assert "more" not in out
    assert f"{rallies}/i.csv: has no video" in out


def test_check_of_another_layout_names_the_right_one(rallies):
    with pytest.raises(TrackNetError, match="looks like the layout flat") as caught:
        main(["check", str(rallies), "--layout", "tennis"])
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "expected one of check, generate, cache"),
        (["chek"], "there is no 'chek'; did you mean 'check'?; expected one of check, generate, cache"),
        (["check"], "check: the following arguments are required: root (see tracknet data check --help)"),
        (["check", "x", "--layot", "y"], "unknown argument '--layot'; did you mean '--layout'?"),
        (["check", "x", "--layout", "tenis"], "check: --layout: expected one of auto, flat, tennis,"),
        (["check", "x", "--layout", "tenis"], "found 'tenis'; did you mean 'tennis'?"),
        (["check", "x", "--shown=-1"], "check: --shown: expected a whole number from 0, found '-1'"),
        (["cache"], "cache: the following arguments are required: roots"),
        (["cache", "x", "--size", "0", "9"], "cache: --size: expected a whole number above 0, found '0'"),
    ],
)
def test_wrong_words_are_usage_errors(words, says, capsys):
    with pytest.raises(UsageError) as caught:
        main(words)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""


def test_cache_holds_what_a_training_asks_for(rallies, tmp_path, capsys):
    (rallies / "b.csv").unlink()
    words = ["cache", str(rallies), "--size", "24", "32", "--cache_dir", str(tmp_path / "cache")]
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert out == f"1 clip at 24x32 (height x width) in the frame cache {tmp_path / 'cache'}\n"
    assert f"{rallies}: training without 1 clip (b)" in err
    frames = FrameCache(tmp_path / "cache", (24, 32))
    assert frames.open(open_source(rallies / "a.mp4")).frames.shape == (3, 3, 24, 32)
    assert frames.missing([open_source(rallies / "b.mp4")])


def test_generate_takes_its_options_from_the_generator(monkeypatch, tmp_path, capsys):
    calls = []

    def generate_rallies(
        root: Path,
        sport: Literal["badminton", "tennis"] = "badminton",
        seed: int = 0,
        size: tuple[int, int] = (9, 9),
    ) -> None:
        calls.append((root, sport, seed, size))

    monkeypatch.setattr("tracknet.data.generate.generate_rallies", generate_rallies, raising=False)
    assert main(["generate", str(tmp_path), "--sport", "tennis", "--seed", "7", "--size", "72", "128"]) == 0
    assert calls == [(tmp_path, "tennis", 7, (72, 128))]
    assert str(tmp_path) in capsys.readouterr().out


@pytest.mark.parametrize("command", ["", "check", "cache", "generate"])
def test_help(command, monkeypatch, capsys):
    monkeypatch.setattr("tracknet.data.generate.generate_rallies", lambda: None, raising=False)
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"] if command else ["--help"])
    assert caught.value.code == 0
    assert f"usage: tracknet data {'[options] ' * bool(command)}{command}" in capsys.readouterr().out


def test_check_starts_without_torch(rallies):
    code = (
        "import sys; from tracknet.cli.data import main; "
        f"sys.exit(main(['check', {str(rallies)!r}]) or 5 * ('torch' in sys.modules))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.DEVNULL).returncode == 0
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--val", "nothing"], "--val: expected a list such as '[A,B]' or null, found 'nothing'"),
        (
            ["--quality=200"],
            "--quality: expected one of lossless or a whole number from 1 to 100, found '200'",
        ),
    ],
)
def test_values_of_several_kinds_are_told_in_one_line(words, said):
    with pytest.raises(UsageError) as error:
        main(["pack", "rallies", "--output", "packed", *words])
    assert said in str(error.value)
    assert "\n" not in str(error.value)
