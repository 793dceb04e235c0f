"""The pages that people follow: commands are understood as written, files and links that they name are there.

Each ``tracknet`` line goes through the parser of its command, or for the training commands through the judge
of ``tracknet config check``, in a folder that holds what pages take for granted (``RUN/``, ``my.yaml``) and
the YAML files that the page itself shows. Blocks after the comment ``<!-- run -->`` run from end to end, on
tiny settings, in the slow tests.
"""

from __future__ import annotations

import ast
import re
import shlex
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import pytest
import torch
import yaml
from jsonargparse import ArgumentParser

from tracknet.cli import main as command_line
from tracknet.cli.list import bases_of_kinds
from tracknet.cli.parsing import Parsing
from tracknet.cli.profile import config_of
from tracknet.cli.resuming import resolve
from tracknet.cli.words import config_of_run, refuse_linked
from tracknet.configs import compose
from tracknet.configs.check import find_faults, told
from tracknet.configs.flags import joined
from tracknet.configs.show import show
from tracknet.errors import TrackNetError
from tracknet.training.callbacks import Profile

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted(
        path
        for folder in ("start", "guides", "explanations", "cards")
        for path in (ROOT / "docs" / folder).glob("*.md")
    ),
]
TRAINING = ("fit", "validate", "test", "predict")
FENCE = re.compile(r"(<!-- run -->\n)?^```(\w+)\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)(?:#[^)]*)?\)")
FILE = re.compile(
    r"(?<![\w/.])(?:configs|examples|benchmarks|docs|tracknet|tests)/[\w./-]+\.(?:yaml|py|md|toml)\b"
)
FILES = re.compile(r"^```yaml\n# (\S+\.yaml)\n(.*?)^```", re.DOTALL | re.MULTILINE)
SETTING = re.compile(r"[A-Z]\w*=")
LAUNCHERS = ("srun", "torchrun")
PARTS = {"extends", "trainer", "model", "data", "optimizer", "lr_scheduler", "vars"}
"""Keys of a training configuration; other YAML, such as that of a sweep, is not for its parser."""
ELSEWHERE = {
    "configs/experiment/longer.yaml",
    "configs/env/bigbox.yaml",
    "configs/model/depthwise.yaml",
    "configs/data/tracknet.yaml",
    "configs/model/vit_heatmap.yaml",
    "configs/training/default.yaml",
}
"""Files of the reader's, of the example plugin and of the older tracknet."""
BUILT = tuple(
    f"{ROOT / 'docs'}{line.rstrip('/')}"
    for line in (ROOT / "docs" / ".gitignore").read_text(encoding="utf-8").splitlines()
    if line.startswith("/")
)
"""Pages that are written when the site is built, which refuses a link to one that it does not write."""


@dataclass(frozen=True)
class Block:
    """A code block of a page."""

    language: str
    text: str
    runs: bool


def blocks(page: Path, language: str) -> list[Block]:
    found = FENCE.findall(page.read_text(encoding="utf-8"))
    return [Block(name, text, bool(runs)) for runs, name, text in found if name == language]


def commands(text: str) -> list[tuple[dict[str, str], list[str]]]:
    """Give the environment and the words after ``tracknet`` of each command of a shell block."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.whitespace_split = True
        simple: list[list[str]] = [[]]
        into_file = False
        for token in lexer:
            if set(token) <= set("|&;"):
                simple.append([])
            elif set(token) <= set("<>"):
                into_file = True
            elif into_file:
                into_file = False
            else:
                simple[-1].append(token)
        for words in simple:
            settings = dict(word.split("=", 1) for word in takewhile(SETTING.match, words))
            launched = words[len(settings) :]
            names = [place for place, word in enumerate(launched) if word.rpartition("/")[2] == "tracknet"]
            if names and (names[0] == 0 or launched[0] in LAUNCHERS):
                found.append((settings, launched[names[0] + 1 :]))
    return found


class ParsedError(Exception):
    """The words are those of a command."""


@pytest.fixture(scope="module")
def options():
    """What each training command takes."""
    return {name: Parsing(name).options for name in TRAINING}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with what pages take for granted, as the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRACKNET_ENV", raising=False)
    for run in (
        "RUN",
        "OTHER",
        *(f"runs/{name}/version_0" for name in ("rallies", "my_rallies", "my_camera")),
    ):
        (tmp_path / run / "checkpoints").mkdir(parents=True)
        for name in ("best", "last", "recent"):
            torch.save({"state_dict": {}}, tmp_path / run / "checkpoints" / f"{name}.ckpt")
        (tmp_path / run / "config.yaml").write_text("extends: configs/experiment/compact_cpu\n")
    (tmp_path / "my.yaml").write_text("extends: configs/experiment/compact_cpu\n")
    (tmp_path / "mine.yaml").write_text("seed_everything: 3\n")
    return tmp_path


def understand(words, options):
    """Bring the words of a command as far as its parser does; raises where they are wrong."""
    command, *rest = words
    if command in TRAINING:
        rest = [word for word in rest if word not in ("--print_config", "--help", "--trust", "--dry_run")]
        if rest[:1] == ["--model.help"]:
            assert show(options[command], rest[1])
            return
        rest = resolve(rest, command).words
        composed = compose(rest, command, start=config_of_run(rest))
        refuse_linked(composed)
        faults = find_faults(options[command], composed.values)
        assert not faults, "; ".join(told(fault, composed.origins) for fault in faults)
    elif words[:2] in (["config", "explain"], ["config", "check"]):
        rest = rest[1:]
        chosen = rest.pop(0) if rest and rest[0] in TRAINING else "fit"
        named = list(takewhile(lambda word: not word.startswith(("-", "+")), rest))
        files = [f"--config={name}" for name in named]
        understand([chosen, "--config=configs/base.yaml", *files, *rest[len(named) :]], options)
    elif words[:2] == ["config", "show"]:
        assert show(options["fit"], words[2])
    elif words[:2] == ["config", "migrate"]:
        assert {word for word in rest if re.match("--(?!model_name)[of]", word)} <= {"--out", "--from"}
    elif command == "profile" and rest[0] != "compare":
        sources = list(takewhile(lambda word: not word.startswith(("-", "+")), rest))
        files = [f"--config={config_of(Path(source))}" for source in sources]
        others = []
        for word in joined(rest[len(sources) :]):
            name = word.partition("=")[0]
            if name.startswith("--profile."):
                assert hasattr(Profile(), name.removeprefix("--profile.")), word
            elif name != "--output":
                others.append(word)
        understand(["fit", *files, *others], options)
    elif command == "profile":
        assert len(rest) == 3
    elif command.startswith("-") or "--help" in rest:
        assert command_line.main(words) == 0
    else:
        if command == "list" and rest:
            assert rest[0] in bases_of_kinds()
        with stopped_after_parsing(), pytest.raises(ParsedError):
            command_line._run(words)


@contextmanager
def stopped_after_parsing():
    """Let a command end where its words have been parsed."""
    parse = ArgumentParser.parse_args

    def parse_and_stop(self, *args, **kwargs):
        parse(self, *args, **kwargs)
        raise ParsedError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ArgumentParser, "parse_args", parse_and_stop)
        yield


@pytest.fixture
def understood(options, folder):
    """Says what is wrong with a command; nothing where it is right."""

    def look(settings, words):
        with pytest.MonkeyPatch.context() as patch:
            for name, value in settings.items():
                patch.setenv(name, value)
            try:
                understand(words, options)
            except (TrackNetError, AssertionError) as error:
                return str(error) or "not understood"
        return ""

    return look


@pytest.mark.parametrize(
    "page",
    # The guide to configuration has a test of its own, beside what it explains.
    [page for page in PAGES if page.name != "configuration.md"],
    ids=lambda page: str(page.relative_to(ROOT)),
)
def test_every_command_of_a_page_is_understood(page, understood, folder):
    for name, text in FILES.findall(page.read_text(encoding="utf-8")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    faults = []
    for block in blocks(page, "bash"):
        for settings, words in commands(block.text):
            if wrong := understood(settings, words):
                faults.append(f"tracknet {shlex.join(words)}: {wrong}")
    for number, block in enumerate(blocks(page, "yaml")):
        named = re.match(r"# (\S+\.yaml)\n", block.text)
        name = named[1] if named else f"block{number}.yaml"
        (folder / name).write_text(block.text)
        is_training = yaml.safe_load(block.text).keys() & PARTS
        if is_training and (wrong := understood({}, ["config", "check", name])):
            faults.append(f"{block.text}: {wrong}")
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_and_name_of_a_page_is_there(page):
    text = page.read_text(encoding="utf-8")
    targets = {link: (page.parent / link).resolve() for link in LINK.findall(text)}
    missing = [link for link, at in targets.items() if not (at.exists() or str(at).startswith(BUILT))]
    named = set(FILE.findall(text)) - ELSEWHERE
    missing += [name for name in sorted(named) if "NAME" not in name and not (ROOT / name).exists()]
    assert not missing
    for block in blocks(page, "python"):
        tree = ast.parse(block.text)
        imports = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
        exec(compile(ast.Module(imports, []), page.name, "exec"), {})


def test_the_table_of_the_guides_names_each():
    folder = ROOT / "docs" / "guides"
    named = LINK.findall((folder / "index.md").read_text(encoding="utf-8"))
    assert {path.name for path in folder.glob("*.md")} <= {"index.md", *named}


def test_a_wrong_option_a_wrong_file_and_a_wrong_key_are_found(understood):
    assert "unknown" in understood({}, ["track", "match.mp4", "--ckpt", "F", "--overlaid"])
    assert "learning_rate" in understood(
        {}, ["fit", "+experiment=compact_cpu", "--optimizer.learning_rate", "1"]
    )
    assert "wasp" in understood({}, ["fit", "+model=wasp"])
    assert "batch" in understood({"TRACKNET_FIT__DATA__BATCHES": "3"}, ["fit", "+data=flat"])
    assert understood({}, ["list", "nets"])
    assert not understood({"TRACKNET_ENV": "cpu"}, ["fit", "+model=wasb", "--data.root", "rallies"])


def test_messages_of_the_troubleshooting_page_are_those_of_the_program():
    said = set()
    for path in (ROOT / "tracknet").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                said.add(
                    "".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                said.add(node.value)
    everything = "\n".join(said)
    page = (ROOT / "docs" / "guides" / "troubleshooting.md").read_text(encoding="utf-8")
    firsts = [line.split("|")[1] for line in page.splitlines() if line.startswith("|")]
    messages = [
        one for first in firsts for one in re.findall("`([^`]+)`", first) if re.match("[a-z]+ [a-z]", one)
    ]
    parts = [
        part.strip()
        for message in messages
        for part in re.split(r"\.\.\.|\bN\b|'\w+'", message)
        if len(part.strip()) > 5
    ]
    assert len(parts) > 20
    assert not [part for part in parts if part not in everything]


def test_commands_are_found_in_shell_lines():
    text = "pip install tracknet\nA=1 srun tracknet fit \\\n  +env=ci # why\n"
    text += "tracknet list > x && tracknet demo | cat\n"
    assert commands(text) == [({"A": "1"}, ["fit", "+env=ci"]), ({}, ["list"]), ({}, ["demo"])]


TINY = {
    "TRAINER__MAX_EPOCHS": "1",
    "TRAINER__LIMIT_TRAIN_BATCHES": "2",
    "TRAINER__LIMIT_VAL_BATCHES": "2",
    "TRAINER__ENABLE_PROGRESS_BAR": "false",
    "TRAINER__ENABLE_MODEL_SUMMARY": "false",
    "MODEL__INPUT_SIZE": "[64, 96]",
    "MODEL__NETWORK__STEM": "4",
    "MODEL__NETWORK__WIDTHS": "[8, 8, 8]",
    "DATA__CROP__SIZE": "[48, 64]",
}
"""Settings that make any training with the compact network one of seconds; weaker than what a page says."""


@pytest.mark.slow
def test_marked_blocks_run_as_a_reader_runs_them(tmp_path, tiny_rallies, monkeypatch, capsys):
    """One page after the other, in one folder: later pages track with what the first one has trained."""
    monkeypatch.chdir(tmp_path)
    for name in ("rallies", "my_rallies"):
        shutil.copytree(tiny_rallies, tmp_path / name)
    shutil.copy(tiny_rallies / "a.mp4", tmp_path / "match.mp4")
    for name, value in TINY.items():
        monkeypatch.setenv(f"TRACKNET_FIT__{name}", value)
    ran = 0
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for name, content in FILES.findall(text) if "<!-- run -->" in text else ():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content)
        for block in [one for one in blocks(page, "bash") if one.runs]:
            for _, words in commands(block.text):
                code = command_line.main(words)
                assert code == 0, f"{page.name}: tracknet {shlex.join(words)}: {capsys.readouterr().err}"
                ran += 1
        for block in [one for one in blocks(page, "python") if one.runs]:
            exec(compile(block.text, page.name, "exec"), {"__name__": "page"})
    assert ran >= 8
    assert (tmp_path / "runs" / "rallies" / "version_0" / "checkpoints" / "best.ckpt").is_file()
    assert (tmp_path / "match_ball.csv").read_text().startswith("Frame,Visibility,X,Y,Confidence")
