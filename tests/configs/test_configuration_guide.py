"""The guide to configuration: its files and commands do what it says."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path

import pytest

from tracknet.cli.train import TrackNetCLI
from tracknet.configs import compose, library, packaged_configs

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guides" / "configuration.md"
TEXT = GUIDE.read_text(encoding="utf-8") if GUIDE.is_file() else ""
FILES = dict(re.findall(r"```yaml\n# (\S+\.yaml)\n(.*?)```", TEXT, re.DOTALL))
COMMANDS = [
    line for block in re.findall(r"```bash\n(.*?)```", TEXT, re.DOTALL) for line in block.splitlines()
]
EXAMPLE = [line for line in COMMANDS if "--print_config" in line]


class OnlyParsing(TrackNetCLI):
    """Builds and runs nothing."""

    def instantiate_classes(self):
        self.model = self.datamodule = self.trainer = None

    def _run_subcommand(self, subcommand):
        pass


@pytest.fixture(scope="module")
def cli():
    return OnlyParsing(["fit", "--config", str(library() / "base.yaml")])


@pytest.fixture
def run(cli, tmp_path, monkeypatch):
    """Parses a line of the guide in a folder that holds its files."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRACKNET_ENV", raising=False)
    for name, text in {**FILES, "mine.yaml": "seed_everything: 3\n"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    def parse(line):
        words = shlex.split(line)
        while "=" in words[0]:
            monkeypatch.setenv(*words.pop(0).split("=", 1))
        assert words.pop(0) == "tracknet"
        cli.parse_arguments(cli.parser, [word for word in words if word != "--print_config"])
        return cli.config["fit"]

    return parse


def test_the_guide_has_its_parts():
    assert len(EXAMPLE) == 4
    assert set(FILES) == {"checkpoints.yaml", "configs/experiment/longer.yaml", "shared.yaml"}


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_is_understood(line, run):
    assert run(line).model.class_path


def test_the_callbacks_of_the_example(run):
    config = run(EXAMPLE[0])
    found = [
        (one.class_path.rpartition(".")[2], dict(one.get("init_args", {}).items()))
        for one in config.trainer.callbacks
    ]
    base = [one["class_path"] for one in compose(["+env=cpu"], "fit").values["trainer"]["callbacks"]]
    base.remove("HeatmapImages")
    assert [name for name, _ in found] == [*base, "ModelCheckpoint", "EarlyStopping"]
    best, last, every = (arguments for name, arguments in found if name == "ModelCheckpoint")
    assert (best["filename"], best["monitor"], best["save_top_k"]) == ("best", "val/f1", 3)
    assert last["filename"] == "last"
    assert (every["filename"], every["every_n_epochs"]) == ("{epoch}", 5)
    assert config.optimizer.class_path == "torch.optim.SGD"
    assert config.trainer.accelerator == "cpu"
    assert compose(shlex.split(EXAMPLE[0])[2:], "fit").notes == []


def test_inheritance_and_variables_of_the_example(run):
    second, third = (run(line) for line in EXAMPLE[1:3])
    assert (second.trainer.max_epochs, second.trainer.max_time, second.optimizer.init_args.lr) == (
        20,
        None,
        0.002,
    )
    assert second.trainer.logger.init_args.name == "unnamed-20"
    assert (third.trainer.max_epochs, third.optimizer.init_args.lr) == (3, 0.1)
    assert third.trainer.logger.init_args.name == "unnamed-3"


def test_the_environment_of_the_example(run):
    config = run(EXAMPLE[3])
    assert (config.trainer.strategy, config.data.init_args.batch_size) == ("ddp", 16)
    assert os.environ["TRACKNET_ENV"] == "gpus"


@pytest.mark.parametrize("group", ["optimizer", "logging", "callbacks", "env"])
def test_the_table_names_every_piece(group):
    (row,) = (line for line in TEXT.splitlines() if line.startswith(f"| `{group}`"))
    pieces = {Path(name).stem for name in packaged_configs() if f"/{group}/" in name}
    assert pieces <= set(re.findall(r"`(\w+)`", row))
