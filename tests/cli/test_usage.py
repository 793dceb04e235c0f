"""What a wrong option, key, class or value comes to: one message, exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracknet.cli.explaining import explain
from tracknet.cli.main import main
from tracknet.cli.train import TrackNetCLI
from tracknet.cli.usage import SettingError
from tracknet.cli.words import config_of_run, refuse_linked
from tracknet.configs import Start, compose, library
from tracknet.errors import UsageError

CASES = sorted((Path(__file__).parent / "conf").glob("*.yaml"))
PLACES = {
    "class_not_installed": "5:14",
    "class_of_another_kind": "5:11",
    "group_as_before": "4:1",
    "linked_background": "5:17",
    "linked_frames": "6:13",
    "linked_size": "5:5",
    "missing_parameter": "2:1",
    "not_a_choice": "8:21",
    "numbers_for_text": "5:5",
    "older_section": "2:1",
    "older_training": "2:1",
    "out_of_range": "5:17",
    "repeated": "4:1",
    "syntax": "4:15",
    "unknown_callback": "5:7",
    "unknown_class": "5:14",
    "unknown_group": "4:1",
    "of_the_older_tracknet": "2:1",
    "unknown_option": "4:3",
    "unknown_parameter": "8:9",
    "unknown_parameter_in_a_list": "7:9",
    "wrong_type": "3:15",
}


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
def wrong(cli, tmp_path, monkeypatch):
    """Parses words after ``fit --config configs/base.yaml`` in an empty folder and gives the complaint."""
    monkeypatch.chdir(tmp_path)

    def parse(*words):
        with pytest.raises(UsageError) as error:
            cli.parse_arguments(cli.parser, ["fit", "--config", "configs/base.yaml", *words])
        return str(error.value)

    return parse


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_a_wrong_file(case, wrong):
    complaint = case.read_text().splitlines()[0].removeprefix("# ")
    assert wrong("--config", str(case)) == f"{case}:{PLACES[case.stem]}: {complaint}"


def test_what_anybody_would_write_is_not_of_the_older_tracknet(wrong):
    Path("own.yaml").write_text("epochs: 3\nscheduler:\n  kind: cosine\nreference: 3\n")
    told = wrong("--config", "own.yaml")
    assert "older" not in told
    keys = "seed_everything, trainer, model, data, optimizer, lr_scheduler, ckpt_path, weights_only"
    assert f"own.yaml:4:1: no option 'reference' (those are {keys})" in told


def test_every_case_has_its_place():
    assert {case.stem for case in CASES} == set(PLACES)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--trainer.max_epoch 3", "no option 'trainer.max_epoch'; did you mean 'trainer.max_epochs'?"),
        ("--trainer.max_epochz=3", "no option 'trainer.max_epochz'; did you mean 'trainer.max_epochs'?"),
        ("--ckpt_pat x", "no option 'ckpt_pat'; did you mean 'ckpt_path'?"),
        ("extra", "unexpected 'extra'; options begin with --"),
        ("my.yaml", "unexpected 'my.yaml'; expected --config my.yaml"),
        ("last.ckpt", "unexpected 'last.ckpt'; expected --ckpt_path last.ckpt"),
        ("--trainer.max_epochs three", "trainer.max_epochs: expected a whole number or null, found 'three'"),
        ("--seed_everything x", "seed_everything: expected true or false or a whole number, found 'x'"),
        ("--data.holdout 1.5", "data.holdout: expected a number from 0 to 1, found '1.5'"),
        ("--data.batch_size 1.5", "data.batch_size: expected a whole number above 0, found '1.5'"),
        ("--data.num_workers=-1", "data.num_workers: expected a whole number from 0, found '-1'"),
        (
            "--data.faults maks",
            "data.faults: expected one of refuse, mask, found 'maks'; did you mean 'mask'?",
        ),
        ("--data.val 0003", "data.val: expected a list or null, found '0003'"),
        ("--data.augmentation.flip 2", "data.augmentation.flip: expected a number from 0 to 1, found '2'"),
        ("--model.mixup=-1", "model.mixup: expected a number from 0, found '-1'"),
        ("--model.input_size 64", "model.input_size: expected a list of 2, found '64'"),
        ("--model.input_size [64,96,3]", "model.input_size: expected a list of 2, found '[64, 96, 3]'"),
        ("--model.input_size [64,wide]", "model.input_size: expected a whole number above 0, found 'wide'"),
        ("--model.loss Fcal", "model.loss: no class 'Fcal'; did you mean 'FocalLoss'?"),
        ("--model HeatmapTrackr", "model: no class 'HeatmapTrackr'; did you mean 'HeatmapTracker'?"),
        ("--model.help HeatmapTrackr", "no class 'HeatmapTrackr'; did you mean 'HeatmapTracker'?"),
        ("--data FlatVideo", "data: no class 'FlatVideo'; did you mean 'FlatVideoDataModule'?"),
        (
            "--data.augmentation Augment",
            "data.augmentation: no class 'Augment'; did you mean 'Augmentation'?",
        ),
        ("--trainer.callbacks+=Reprot", "trainer.callbacks: no class 'Reprot'; did you mean 'Report'?"),
        ("--trainer.logger RunLoger", "trainer.logger: no class 'RunLoger'; did you mean 'RunLogger'?"),
        ("--optimizer AdmaW", "optimizer: no class 'AdmaW'; did you mean 'AdamW'?"),
        ("--optimizer.lr abc", "optimizer.lr: expected a number, found 'abc'"),
        ("--lr_scheduler WarmupCosin", "lr_scheduler: no class 'WarmupCosin'; did you mean 'WarmupCosine'?"),
        ("--lr_scheduler.warmup 7", "lr_scheduler.warmup: expected a number from 0 to 1, found '7'"),
        ("--lr_scheduler ReduceLROnPlateau", "lr_scheduler: ReduceLROnPlateau needs monitor"),
        ("--data.frames 5", "--data.frames: it follows the model; set model.network.frames instead"),
        ("--data.size=[64,96]", "--data.size: it follows the model; set model.input_size instead"),
        (
            "--data.init_args.outputs=1",
            "--data.init_args.outputs: it follows the model; set model.network.frames instead",
        ),
        ("--data.root", "argument --data: expected one argument"),
        ("--trainer nothing.yaml", "trainer: expected keys such as accelerator, found 'nothing.yaml'"),
    ],
)
def test_a_wrong_word(words, complaint, wrong):
    assert wrong(*words.split()) == complaint


def test_a_class_of_another_kind_and_those_to_choose_from(wrong):
    said = wrong("--data", "HeatmapTracker")
    assert said.startswith("data: 'HeatmapTracker' is not a LightningDataModule (those are ")
    assert "FlatVideoDataModule" in said


def test_what_a_class_takes_leaves_out_what_cannot_be_set(wrong):
    assert wrong("--data.bach_size", "3") == (
        "data: FlatVideoDataModule has no option 'bach_size'; did you mean 'batch_size'? "
        "(it takes root, split, train, val, test, holdout, step, batch_size, num_workers, cache_dir, crop, "
        "augmentation, faults)"
    )
    assert "(it takes lr, betas," in wrong("--optimizer.lrr", "3")


def test_a_callback_cannot_be_changed_by_its_name_on_the_command_line(wrong):
    assert wrong("--trainer.callbacks.ModelCheckpoint.monitor", "val/recall") == (
        "trainer.callbacks: TrajectoryWriter has no option 'ModelCheckpoint'; that is one of "
        "trainer.callbacks, of which flags set the last: set it in a file (it takes folder)"
    )


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            ["fit"],
            "nothing says which data and model to take; start from --config configs/base.yaml, or from "
            "+experiment=compact_cpu --data.root FOLDER",
        ),
        (["test"], "test needs --ckpt_path FILE, such as RUN/checkpoints/best.ckpt"),
        (["sweep"], "needs config and space (see tracknet sweep --help)"),
        (
            ["fit", "--config=base.yaml", "+model"],
            "unexpected '+model'; expected +GROUP=NAME, such as +model=wasb",
        ),
        (
            ["fit", "+experiment=compact_cpu", "--model.netwrok.frames=3"],
            "model: HeatmapTracker has no option 'netwrok'; did you mean 'network'? (it takes network, loss, "
            "target, decoder, metrics, input_size, mixup, eval_mode, eval_step)",
        ),
        (
            ["test", "--config=base.yaml"],
            "test needs --ckpt_path FILE, such as RUN/checkpoints/best.ckpt",
        ),
        (
            ["validate", "--config", "base.yaml", "--ckpt_path=last"],
            "--ckpt_path last: no checkpoint under runs/tracknet",
        ),
        (
            ["fit", "--config", "configs/bse.yaml"],
            "--config: no file 'configs/bse.yaml' here or among the packaged ones; "
            "did you mean 'configs/base.yaml'?",
        ),
    ],
)
def test_through_the_entry_point(words, complaint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["tracknet"])
    assert main(words) == 2
    assert capsys.readouterr() == ("", f"tracknet {words[0]}: {complaint}\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--fodler x", "no option 'fodler'; did you mean 'folder'?"),
        ("--fold x", "no option 'fold'; did you mean 'folder'?"),
        ("x", "unexpected 'x'; options begin with --"),
        ("x.ckpt", "unexpected 'x.ckpt'; options begin with --"),
        ("--config", "argument --config: expected one argument"),
    ],
)
def test_words_of_the_demo(words, complaint, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["demo", *words.split()]) == 2
    assert capsys.readouterr() == ("", f"tracknet demo: {complaint} (see tracknet demo --help)\n")
    assert list(tmp_path.iterdir()) == []


def test_a_report_of_another_form_is_passed_on():
    assert explain("something new", ["a"], ["B"]) == ("", "something new")


def test_a_class_whose_module_does_not_have_it():
    report = "\n".join(
        [
            'Parser key "model":',
            "  Problem with given class_path 'tracknet.models.Net':",
            "    module 'tracknet.models' has no attribute 'Net'",
        ]
    )
    said = "model: no class 'tracknet.models.Net': module 'tracknet.models' has no attribute 'Net'"
    assert explain(report, [], []) == ("model", said)


def test_a_parser_inside_another_leaves_the_report_to_it(cli):
    from jsonargparse import Namespace

    with pytest.raises(SettingError) as error:
        cli.parser.parse_object({"fit": {"model": {"class_path": "Nothing"}}}, Namespace(cli.config))
    assert str(error.value) == "model: no class 'Nothing'"
    assert error.value.key == "model"


class TestWords:
    @pytest.fixture
    def run_folder(self, tmp_path):
        run = tmp_path / "run"
        (run / "checkpoints").mkdir(parents=True)
        (run / "config.yaml").write_text("model: {init_args: {mixup: 0.5}}\n")
        (run / "checkpoints" / "best.ckpt").write_text("")
        return run

    @pytest.mark.parametrize("joined", [False, True])
    def test_the_run_of_a_checkpoint_gives_the_config(self, run_folder, joined):
        best = str(run_folder / "checkpoints" / "best.ckpt")
        words = [f"--ckpt_path={best}"] if joined else ["--ckpt_path", best]
        assert config_of_run([*words, "--data.root=x"]) == Start(run_folder / "config.yaml")
        assert config_of_run([*words, "+data=tennis"]) == Start(run_folder / "config.yaml")

    @pytest.mark.parametrize("named", [["--config", "a.yaml"], ["--config=a.yaml"], ["-c", "a.yaml"]])
    def test_but_not_where_one_is_named(self, run_folder, named):
        words = [*named, "--ckpt_path", str(run_folder / "checkpoints" / "best.ckpt")]
        assert config_of_run(words) is None

    def test_a_checkpoint_that_lies_elsewhere_gives_none(self, run_folder):
        (run_folder / "config.yaml").unlink()
        assert config_of_run(["--ckpt_path", str(run_folder / "checkpoints" / "best.ckpt")]) is None

    @pytest.mark.parametrize("value", ["last", "hpc", "registry:tracker:version:2", "s3://bucket/best.ckpt"])
    def test_what_lightning_finds_is_left_to_it(self, value):
        assert config_of_run(["--ckpt_path", value]) is None

    def test_a_configuration_is_no_checkpoint(self, run_folder):
        with pytest.raises(UsageError, match=r"config.yaml is a configuration; expected a checkpoint"):
            config_of_run(["--ckpt_path", str(run_folder / "config.yaml")])

    def test_a_missing_checkpoint(self, run_folder):
        bets = str(run_folder / "checkpoints" / "bets.ckpt")
        with pytest.raises(UsageError) as error:
            config_of_run(["--ckpt_path", bets])
        assert str(error.value) == (
            f"--ckpt_path: no file {bets!r}; did you mean {str(run_folder / 'checkpoints' / 'best.ckpt')!r}?"
        )
        with pytest.raises(UsageError, match=r"--ckpt_path: no file 'best'$"):
            config_of_run(["--ckpt_path=best"])

    def test_a_flag_without_its_value_is_left_to_the_parser(self):
        assert config_of_run(["--ckpt_path"]) is None
        assert compose(["--config"], "fit").words == ["--config"]

    def test_configs_are_found_however_they_are_named(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        words = ["--config", "configs/base.yaml", "--config=base.yaml", "-c", "base.yaml", "--x", "base.yaml"]
        composed = compose(words, "fit")
        assert composed.files == [library() / "base.yaml"] * 3
        assert composed.words == ["--x=base.yaml"]

    def test_the_last_file_that_sets_a_key_is_named(self, tmp_path):
        first, second = tmp_path / "1.yaml", tmp_path / "2.yaml"
        first.write_text("trainer:\n  max_epochs: 3\n  callbacks:\n  - init_args:\n      windows: 3\n")
        second.write_text("\ntrainer: {max_epochs: 4}\n")
        words = ["--config", str(first), f"--config={second}"]
        place = compose(words, "fit").place
        assert str(place("trainer.max_epochs")) == f"{second}:2"
        assert str(place("trainer.callbacks.windows")) == f"{first}:5"
        assert str(place("trainer.init_args.callbacks")) == f"{first}:3"
        assert place("trainer.devices") is None
        assert place("trainer.max_epochs.deeper") is None
        place = compose([*words, "--trainer.max_epochs=5"], "fit").place
        assert str(place("trainer.max_epochs")) == "command line"
        place = compose([*words, "--trainer.callbacks+=Report"], "fit").place
        assert str(place("trainer.callbacks")) == "command line"

    def test_linked_values_may_be_set_at_the_model(self, tmp_path):
        config = tmp_path / "a.yaml"
        config.write_text("data: {init_args: {root: frames}}\nmodel: {init_args: {network: {frames: 3}}}\n")
        refuse_linked(compose(["--config", str(config), "--model.network.frames=5", "--data.root=x"], "fit"))
