"""The packaged YAML files: what finds them, and that every one of them can be used."""

from __future__ import annotations

import re

import pytest
import yaml

from tracknet.configs import find_config, library, packaged_configs
from tracknet.errors import UsageError

PIECES = [name for name in packaged_configs() if name.split("/")[1] not in ("base.yaml", "experiment")]
WHOLE = [name for name in packaged_configs() if name not in PIECES]


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def parsed():
    """Parses words as ``tracknet fit`` does, and builds nothing."""
    from tracknet.cli.train import TrackNetCLI

    class OnlyParsing(TrackNetCLI):
        def instantiate_classes(self):
            self.model = self.datamodule = self.trainer = None

        def _run_subcommand(self, subcommand):
            pass

    cli = OnlyParsing(["fit", "--config", str(library() / "base.yaml")])

    def parse(*words):
        cli.parse_arguments(cli.parser, ["fit", *words])
        return cli.config["fit"]

    return parse


def test_all_are_found():
    names = packaged_configs()
    assert names == sorted(names)
    assert {"configs/base.yaml", "configs/env/cluster.yaml", "configs/experiment/demo.yaml"} <= set(names)
    assert len(names) == len(list(library().rglob("*.yaml")))


@pytest.mark.parametrize("name", packaged_configs())
def test_the_first_line_says_what_it_is(name):
    first, *rest = find_config(name).read_text().splitlines()
    assert re.fullmatch(r"# [A-Z&].{15,}", first), first
    content = [line for line in rest if not line.startswith("#")]
    assert content[0].endswith(":") or ": " in content[0]
    assert max(map(len, [first, *rest])) <= 110


@pytest.mark.parametrize("name", PIECES)
def test_a_piece_fits_the_base(name, parsed, here):
    config = parsed("--config", "configs/base.yaml", "--config", name)
    given = yaml.safe_load(find_config(name).read_text())
    assert "extends" not in given
    for group, settings in given.items():
        for key, value in settings.items():
            if not isinstance(value, (dict, list)) and key != "class_path" and "${" not in str(value):
                assert config[group][key] == value
            if key == "class_path":
                assert config[group].class_path.rpartition(".")[2] == value


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_one_needs_no_other(name, parsed, here):
    config = parsed("--config", name)
    assert config.seed_everything == 42
    for group in ("model", "data", "optimizer", "lr_scheduler"):
        assert config[group].class_path
    best, newest = (c.init_args for c in config.trainer.callbacks if "ModelCheckpoint" in c.class_path)
    figure = ("val/error", "min") if name.endswith("rectifier.yaml") else ("val/f1", "max")
    assert (best.monitor, best.mode, best.filename, best.save_on_exception) == (*figure, "best", False)
    assert (newest.monitor, newest.filename, newest.save_on_exception) == (None, "last", True)


def test_every_piece_stands_in_its_group():
    groups = {name.split("/")[1] for name in PIECES}
    assert groups == {"callbacks", "data", "env", "logging", "model", "optimizer"}
    for name in PIECES:
        keys = set(yaml.safe_load(find_config(name).read_text()))
        kind = name.split("/")[1]
        own = {"callbacks": "trainer", "logging": "trainer", "env": "trainer"}.get(kind, kind)
        assert own in keys, name


def test_nodes_of_a_slurm_job(parsed, here, monkeypatch):
    assert parsed("+env=cluster").trainer.num_nodes == 1
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "4")
    assert parsed("+env=cluster").trainer.num_nodes == 4


def test_an_experiment_that_extends_gives_what_it_spelled_out_before(parsed, here):
    config = parsed("+experiment=badminton_cpu")
    trainer, model, data = config.trainer, config.model.init_args, config.data.init_args
    assert (trainer.accelerator, trainer.devices, trainer.precision) == ("cpu", 1, "32-true")
    assert (trainer.max_epochs, trainer.limit_train_batches, trainer.max_time) == (14, 640, "00:01:00:00")
    found = [one.class_path.rpartition(".")[2] for one in trainer.callbacks]
    base = [one.class_path.rpartition(".")[2] for one in parsed("+env=cpu").trainer.callbacks]
    assert found == [*base[:3], "EMAWeightAveraging", *base[3:]]
    assert trainer.callbacks[3].init_args["decay"] == 0.99
    assert trainer.logger.init_args.name == "badminton_cpu"
    assert (model.network.init_args.frames, model.network.init_args.background) == (8, "concat")
    assert (model.loss.init_args.reduction, model.decoder.init_args.threshold) == ("ball", 0.4)
    assert (list(data.crop.init_args["size"]), data.crop.init_args.on_ball) == ([160, 256], 0.7)
    assert (str(data.root), len(data.val), data.batch_size) == ("data/badminton", 6, 4)
    assert config.optimizer.init_args.weight_decay == 0.05
    assert (config.optimizer.init_args.lr, config.lr_scheduler.init_args.warmup) == (0.003, 0.05)


def test_the_longer_training_changes_what_it_extends_and_adds_nothing(parsed, here):
    short, long = parsed("+experiment=badminton_cpu"), parsed("+experiment=badminton_cpu_long")
    assert (long.trainer.max_epochs, long.trainer.max_time) == (26, "00:03:00:00")
    names = [[one.class_path for one in config.trainer.callbacks] for config in (short, long)]
    assert names[0] == names[1]
    assert long.trainer.callbacks[3].init_args["decay"] == 0.995
    augmentation = long.data.init_args.augmentation.init_args
    assert (list(augmentation["scale"]), augmentation["colour"]) == ([0.8, 1.25], 0.1)
    assert long.optimizer == short.optimizer
    assert long.model == short.model


def test_tennis_is_trained_as_badminton_and_decoded_at_a_lower_threshold(parsed, here):
    badminton, tennis = parsed("+experiment=badminton_cpu_long"), parsed("+experiment=tennis_cpu")
    assert (tennis.trainer.max_epochs, tennis.trainer.max_time) == (15, "00:02:00:00")
    data = tennis.data.init_args
    assert (str(data.root), list(data.val), data.faults) == ("data/tennis", ["game4"], "mask")
    assert data.augmentation == badminton.data.init_args.augmentation
    assert tennis.model.init_args.decoder.init_args.threshold == 0.25
    assert tennis.model.init_args.network == badminton.model.init_args.network
    published = parsed("+experiment=tennis_cpu", "+data=tennis")
    assert published.data.class_path.endswith("TennisDataModule")
    assert published.data.init_args.split == "wasb"


@pytest.mark.parametrize(
    ("name", "optimizer", "lr", "batch", "epochs", "falls", "loss", "preset"),
    [
        ("tracknetv1", "Adadelta", 1.0, 2, 500, None, "GreyLevelLoss", "tracknetv1"),
        ("tracknetv2", "Adadelta", 1.0, 3, 30, None, "WBCELoss", "tracknetv2"),
        ("tracknetv3", "Adam", 0.001, 10, 30, None, "WBCELoss", "tracknetv2"),
        ("tracknetv4", "Adadelta", 1.0, 3, 30, None, "WBCELoss", "tracknetv2"),
        ("tracknetv5", "AdamW", 0.0001, 2, 30, [20, 25], "WBCELoss", "v5"),
        ("monotrack", "Adadelta", 1.0, 32, 100, None, "WBCELoss", "tracknetv2"),
        ("wasb", "Adam", 0.001, 8, 30, [10, 20], "QualityFocalLoss", "wasb"),
    ],
)
def test_trainings_as_published(name, optimizer, lr, batch, epochs, falls, loss, preset, parsed, here):
    config = parsed(f"+experiment={name}", "--data.root=elsewhere")
    model, data = config.model.init_args, config.data.init_args
    assert model.network.class_path.rpartition(".")[2].lower() == name
    assert (config.optimizer.class_path.rpartition(".")[2], config.optimizer.init_args.lr) == (optimizer, lr)
    assert (data.batch_size, data.step, str(data.root)) == (batch, 1, "elsewhere")
    assert (config.trainer.max_epochs, config.trainer.gradient_clip_val) == (epochs, None)
    assert model.loss.class_path.rpartition(".")[2] == loss
    assert model.metrics.init_args.preset == preset
    assert model.mixup == (0.5 if name == "tracknetv3" else 0.0)
    assert list(model.input_size) == ([360, 640] if name == "tracknetv1" else [288, 512])
    schedule = config.lr_scheduler.init_args
    assert schedule.get("milestones") == falls
    assert schedule.get("gamma" if falls else "factor") == (0.1 if falls else 1.0)


def test_ones_own_file_comes_before_the_packaged_one(here):
    packaged = library() / "base.yaml"
    assert find_config("configs/base.yaml") == packaged
    assert find_config("base.yaml") == packaged
    own = here / "configs" / "base.yaml"
    own.parent.mkdir()
    own.write_text("seed_everything: 7\n")
    assert find_config("configs/base.yaml").resolve() == own
    assert find_config("base.yaml") == packaged
    assert find_config(str(own)) == own


def test_the_home_folder(here, monkeypatch):
    monkeypatch.setenv("HOME", str(here))
    (here / "mine.yaml").write_text("trainer: {}\n")
    assert find_config("~/mine.yaml") == here / "mine.yaml"


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("configs/bse.yaml", "; did you mean 'configs/base.yaml'?"),
        ("configs/env/clusters.yaml", "; did you mean 'configs/env/cluster.yaml'?"),
        ("/configs/base.yaml", "; did you mean 'configs/base.yaml'?"),
    ],
)
def test_a_missing_file_and_the_nearest_name(name, hint, here):
    with pytest.raises(UsageError) as wrong:
        find_config(name)
    assert str(wrong.value) == f"--config: no file {name!r} here or among the packaged ones{hint}"


def test_a_missing_file_like_no_other(here):
    with pytest.raises(UsageError, match=r"among the packaged ones \(`tracknet config list` shows those\)"):
        find_config("x")


def test_endings_and_folders_do_not_make_names_alike(here):
    with pytest.raises(UsageError, match="config list"):
        find_config("configs/qqq.yaml")
    with pytest.raises(UsageError, match=r"did you mean 'configs/env/cluster\.yaml'"):
        find_config("clutser.yaml")


def test_a_folder_is_no_file(here):
    (here / "configs").mkdir()
    with pytest.raises(UsageError, match=r"no file 'configs' here"):
        find_config("configs")


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("trainer:\n  a: 1\n   b: 2\n", "my.yaml:3:5: not valid YAML: mapping values are not allowed here"),
        ("trainer: [1, 2\n", "my.yaml:2:1: not valid YAML: expected ',' or ']', but got '<stream end>'"),
        (
            "trainer:\n\tmax_epochs: 3\n",
            "my.yaml:2:1: not valid YAML: found character '\\t' that cannot start any token",
        ),
        ("a: 1\n---\nb: 2\n", "my.yaml:2:1: not valid YAML: but found another document"),
        ("", "my.yaml: expected keys such as trainer and model, found nothing"),
        ("# all of it is a comment\n", "my.yaml: expected keys such as trainer and model, found nothing"),
        ("- trainer\n", "my.yaml: expected keys such as trainer and model, found a list"),
        ("trainer\n", "my.yaml: expected keys such as trainer and model, found text"),
        ("data:\n  a: 1\nmodel: {}\ndata: {}\n", "my.yaml:4:1: 'data' is in line 1 already"),
        ("a:\n  - b: 1\n    c: 2\n    b: 3\n", "my.yaml:4:5: 'b' is in line 2 already"),
    ],
)
def test_a_file_that_cannot_be_used(text, wrong, here):
    (here / "my.yaml").write_text(text)
    with pytest.raises(UsageError) as error:
        find_config("my.yaml")
    assert str(error.value) == wrong


def test_bytes_that_are_no_text(here):
    (here / "my.yaml").write_bytes(b"trainer: \xff\xfe\n")
    with pytest.raises(UsageError, match=r"^my\.yaml: not valid YAML: "):
        find_config("my.yaml")


def test_a_file_that_may_not_be_read(here, monkeypatch):
    (here / "my.yaml").write_text("trainer: {}\n")

    def denied(self, **_):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.read_text", denied)
    with pytest.raises(UsageError, match=r"^my\.yaml: cannot be read: Permission denied$"):
        find_config("my.yaml")


def test_anchors_may_be_merged(here):
    (here / "my.yaml").write_text("a: &x {b: 1}\nb: &y {c: 1}\nc:\n  <<: *x\n  d: 3\n")
    assert find_config("my.yaml").name == "my.yaml"


def test_what_is_no_regular_file():
    with pytest.raises(UsageError, match=r"--config: /dev/null is no regular file; write what comes out"):
        find_config("/dev/null", "--config")
