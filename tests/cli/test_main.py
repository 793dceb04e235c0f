"""The entry point: what it lists, what it loads, and how failures end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest

import tracknet
import tracknet.cli.main
from tracknet.cli.main import COMMANDS, main
from tracknet.cli.trusting import TRUST_HELP, TRUSTING
from tracknet.errors import TrackNetError, UsageError

QUICK = (
    "import sys; from tracknet.cli.main import main; code = main(sys.argv[1:]); "
    "heavy = [m for m in ('torch', 'lightning', 'numpy', 'jsonargparse', 'av') if m in sys.modules]; "
    "print('loaded:', *heavy); sys.exit(code)"
)


def run(*words, stdout=subprocess.PIPE, code=QUICK):
    return subprocess.run(
        [sys.executable, "-c", code, *words], stdout=stdout, stderr=subprocess.PIPE, text=True, check=False
    )


@pytest.fixture
def command(monkeypatch):
    """Puts a function in the place of every command's module."""

    def put(does):
        monkeypatch.setattr(tracknet.cli.main, "import_module", lambda name: SimpleNamespace(main=does))

    return put


def raising(error):
    def does(words):
        raise error

    return does


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",), ("help",)])
def test_help_lists_every_command_on_a_line(words, capsys):
    assert main(words) == 0
    out, err = capsys.readouterr()
    lines = out.splitlines()
    for name, (_, explained) in COMMANDS.items():
        assert len([line for line in lines if line.split() == [name, *explained.split()]]) == 1
    assert lines[0].startswith(f"tracknet {tracknet.__version__}: ")
    assert max(map(len, lines)) < 100
    assert err == ""


@pytest.mark.parametrize("word", ["--help", "--version", "fti"])
def test_what_needs_nothing_heavy_loads_nothing_heavy(word):
    done = run(word)
    assert done.returncode == (2 if word == "fti" else 0)
    assert done.stdout.splitlines()[-1] == "loaded:"


@pytest.mark.parametrize("words", TRUSTING)
def test_trust_is_in_the_help_of_the_commands_that_take_it(words, capsys):
    assert main([*words, "--help"]) == 0
    assert TRUST_HELP in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "words",
    [
        ["checkpoint", "inspect", "a.ckpt"],
        ["config", "check", "configs/base.yaml"],
        ["data", "check", "rallies"],
        ["demo"],
        ["list"],
        ["runs", "list"],
    ],
)
def test_and_an_unknown_word_to_the_others(words, capsys):
    assert main([*words, "--trust"]) == 2
    told = "".join(capsys.readouterr())
    assert re.search(r"(unknown argument|no option) '(--)?trust'", told), told


def test_no_sweep_file_may_set_it(tmp_path, capsys):
    pytest.importorskip("optuna")
    (tmp_path / "a.yaml").write_text("trust: true\nconfig: []\nspace: {optimizer.lr: {low: 0, high: 1}}\n")
    assert main(["sweep", str(tmp_path / "a.yaml")]) == 2
    assert "--trust is given after the command, and no file may set it" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["--version", "-V"])
def test_version(word, capsys):
    assert main([word]) == 0
    assert capsys.readouterr().out == f"tracknet {tracknet.__version__}\n"


@pytest.mark.parametrize(
    ("word", "hint"), [("fti", "; did you mean 'fit'?"), ("--fit", "; did you mean 'fit'?"), ("xyzzy", "")]
)
def test_an_unknown_command(word, hint, capsys):
    assert main([word]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == f"tracknet: no command {word!r}{hint}; `tracknet --help` lists them\n"


def test_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "tracknet", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"tracknet {tracknet.__version__}\n", "")


@pytest.mark.parametrize("last", [True, False], ids=["after all else", "before"])
def test_sigterm_while_python_ends_leaves_the_exit_code(last):
    told = "atexit.register(os.kill, os.getpid(), signal.SIGTERM)"
    before, within = (told, "None") if last else ("None", told)
    code = (
        "import atexit, os, signal, tracknet.cli.main as main; "
        f"{before}; main.main = lambda: ({within}, 3)[1]; main.run()"
    )
    assert run(code=code).returncode == 3


@pytest.mark.usefixtures("plain_sigterm")
def test_as_the_process(monkeypatch, capsys):
    monkeypatch.setattr(tracknet.cli.main.atexit, "register", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["tracknet", "flt"])
    with pytest.raises(SystemExit) as stop:
        tracknet.cli.main.run()
    assert stop.value.code == 2
    assert "did you mean 'fit'?" in capsys.readouterr().err


def test_training_commands_are_told_which_of_them(command):
    told = []
    command(lambda words: told.append(words) or 0)
    assert main(["fit", "--config", "a.yaml"]) == 0
    assert main(["track", "a.mp4"]) == 0
    assert told == [["fit", "--config", "a.yaml"], ["a.mp4"]]


def test_the_exit_code_is_the_commands(command):
    command(lambda words: 3)
    assert main(["data", "check"]) == 3


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (TrackNetError("a.csv:3: no number"), 1, "tracknet data: a.csv:3: no number\n"),
        (UsageError("no option 'x'"), 2, "tracknet data: no option 'x'\n"),
        (KeyboardInterrupt(), 130, "tracknet data: interrupted\n"),
        (SystemExit(0), 0, ""),
        (SystemExit(None), 0, ""),
        (SystemExit(4), 4, ""),
    ],
)
def test_failures_end_in_a_message_and_a_code(command, capsys, error, code, said):
    command(raising(error))
    assert main(["data", "check"]) == code
    assert capsys.readouterr() == ("", said)


def test_ctrl_c_while_a_command_is_loading(monkeypatch, capsys):
    monkeypatch.setattr(tracknet.cli.main, "import_module", raising(KeyboardInterrupt()))
    assert main(["fit"]) == 130
    assert capsys.readouterr().err == "tracknet fit: interrupted\n"


@pytest.mark.parametrize("error", [ZeroDivisionError(), SystemExit("what Python prints at its end")])
def test_a_mistake_of_ours_keeps_its_traceback(command, error):
    command(raising(error))
    with pytest.raises(type(error)):
        main(["data"])


def test_a_reader_that_goes_away():
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as gone:
        done = run("--help", stdout=gone, code="import tracknet.cli.main as main; main.run()")
    assert done.returncode == 1
    assert done.stderr == ""
