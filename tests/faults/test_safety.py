"""Files of strangers: what is in them is not run, and names of classes are followed as far as is told."""

from __future__ import annotations

import json
import pickle
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml

from tracknet import trust
from tracknet.cli.main import main
from tracknet.data.video import open_source
from tracknet.errors import TrackNetError
from tracknet.models import CompactTrackNet, ConvNeXtFPN
from tracknet.training.callbacks import PretrainedBackbone, PretrainedWeights
from tracknet.training.callbacks.monitoring.replay import replay
from tracknet.training.checkpoint_format import write_checkpoint
from tracknet.training.checkpoints import TrackNetCheckpointIO, load_tracker
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.rectifier import TrajectoryRectifier, load_rectifier

MARK = "mark"
EVIL = f"""
from pathlib import Path
from tracknet.models.compact import CompactTrackNet
from tracknet.models.inpaintnet import ResidualInpaintNet

Path({MARK!r}).write_text("imported")

class Net(CompactTrackNet):
    pass

class Fill(ResidualInpaintNet):
    pass
"""


class Touch:
    """Writes a file when it is unpickled."""

    def __reduce__(self):
        return (Path.write_text, (Path(MARK), "run"))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder of a stranger's, the current one, from which modules are found."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "evil_net.py").write_text(EVIL)
    yield tmp_path
    sys.modules.pop("evil_net", None)


@pytest.fixture(params=["torch", "pickle"])
def evil(here, request):
    """A file that writes another one when it is opened without care."""
    content = {
        "state_dict": {"network.weight": torch.ones(2)},
        "hyper_parameters": Touch(),
        "pytorch-lightning_version": "2.6",
        "optimizer_states": [],
    }
    if request.param == "torch":
        torch.save(content, "evil.ckpt")
        torch.load("evil.ckpt", weights_only=False)
    else:
        Path("evil.ckpt").write_bytes(pickle.dumps(content))
        pickle.loads(Path("evil.ckpt").read_bytes())
    Path(MARK).unlink()
    return "evil.ckpt"


def one_message(capsys) -> str:
    error = capsys.readouterr().err
    assert error.startswith("tracknet ")
    assert error.count("\n") == 1, error
    return error


@pytest.mark.parametrize(
    "words",
    [
        "track video.mp4 --ckpt FILE",
        "track video.mp4 --ckpt FILE --output a.csv",
        "export FILE",
        "checkpoint import FILE --output new.ckpt",
        "checkpoint inspect FILE",
        "checkpoint verify FILE",
        "checkpoint convert FILE",
        "checkpoint prune FILE",
        "checkpoint diff FILE FILE",
        "checkpoint average FILE FILE",
    ],
)
def test_a_pickle_is_opened_by_no_command(words, evil, tiny_rallies, capsys):
    Path("video.mp4").symlink_to(tiny_rallies / "a.mp4")
    assert main([evil if word == "FILE" else word for word in words.split()]) == 1
    assert "is not opened" in one_message(capsys)
    assert not Path(MARK).exists()


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_nor_by_the_training_commands(command, evil, tiny_rallies, capsys):
    words = ["+callbacks=minimal", f"--data.root={tiny_rallies}", "--ckpt_path", evil]
    assert main([command, *words]) == 1
    assert "is not opened" in one_message(capsys)
    assert not Path(MARK).exists()


def test_nor_by_what_python_code_loads(evil):
    module = HeatmapTracker(CompactTrackNet(3, "none", stem=4, widths=[8, 8, 8]))
    for load in (load_tracker, load_rectifier, lambda path: replay(path, module)):
        with pytest.raises(TrackNetError, match=r"evil\.ckpt: "):
            load(Path(evil))
        assert not Path(MARK).exists()


class Unstarted:
    """A trainer before a training that goes on from nothing."""

    ckpt_path = None
    callbacks = ()


def test_nor_by_pretrained_weights(evil):
    module = HeatmapTracker(CompactTrackNet(3, "none", stem=4, widths=[8, 8, 8]))
    with pytest.raises(TrackNetError, match=r"evil\.ckpt: .* is not opened"):
        PretrainedWeights(evil).setup(Unstarted(), module, "fit")
    assert not Path(MARK).exists()


@pytest.mark.backbones
class TestPretrainedBackbones:
    """Folders of weights for a backbone, in the format of Hugging Face."""

    @pytest.fixture
    def module(self, here):
        network = ConvNeXtFPN(1, widths=(4, 4, 4, 4), depths=(1, 1, 1, 1), lateral=4)
        network.backbone.save_pretrained("weights")
        return HeatmapTracker(network, input_size=(64, 64))

    @staticmethod
    def load(module):
        PretrainedBackbone("weights", download=False).setup(Unstarted(), module, "fit")

    @staticmethod
    def rewrite(**changes):
        config = Path("weights/config.json")
        config.write_text(json.dumps(json.loads(config.read_text()) | changes))

    def test_a_pickle_is_not_opened(self, module, evil):
        Path("weights/model.safetensors").unlink()
        Path(evil).rename("weights/pytorch_model.bin")
        with pytest.raises(TrackNetError, match=r"^weights: .* is not opened; .* model\.safetensors"):
            self.load(module)
        assert not Path(MARK).exists()

    def test_classes_that_they_name_are_not_imported(self, module, here):
        self.rewrite(auto_map={"AutoConfig": "evil_net.Config", "AutoBackbone": "evil_net.Net"})
        (here / "evil_net.py").rename("weights/evil_net.py")
        self.load(module)
        assert not Path(MARK).exists()

    def test_nor_is_an_attention_of_the_hub(self, module, monkeypatch):
        from transformers import PreTrainedModel

        asked = []
        monkeypatch.setattr(
            PreTrainedModel,
            "_check_and_adjust_attn_implementation",
            lambda self, attention, *_, **__: asked.append(attention) or "eager",
        )
        self.rewrite(attn_implementation="kernels-community/evil")
        self.load(module)
        assert set(asked) == {"eager"}

    @pytest.mark.parametrize("name", ["../weights.bin", "/etc/weights.bin", "more/weights.bin"])
    def test_they_name_no_other_files(self, name, module):
        Path("weights/model.safetensors").unlink()
        Path("weights/pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": {"a": name}}))
        with pytest.raises(TrackNetError, match=rf"index\.json: names the file '{name}'; expected files of"):
            self.load(module)

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("model.safetensors", b"12345"),
            ("config.json", b'{"model_type": "convnext", "depths": 7}'),
            ("pytorch_model.bin.index.json", b"[]"),
        ],
    )
    def test_what_is_damaged_is_told_in_a_line(self, name, content, module):
        Path("weights", name).write_bytes(content)
        with pytest.raises(TrackNetError, match=r"^weights: ") as told:
            self.load(module)
        assert "\n" not in str(told.value)


CONFIG = """
model:
  class_path: HeatmapTracker
  init_args:
    network: {network}
data:
  class_path: FlatVideoDataModule
  init_args: {{root: rallies}}
"""
STRANGER = "{class_path: evil_net.Net, init_args: {frames: 3}}"
REFUSED = r"evil_net is not a trusted package \(those are lightning, torch, torchmetrics, tracknet"


def check(text: str, *words: str) -> int:
    Path("run.yaml").write_text(text)
    return main(["config", "check", "run.yaml", *words])


class TestConfigs:
    """Configurations that name a class whose module does something when it is imported."""

    def test_the_danger_is_real(self, here):
        assert check(CONFIG.format(network=STRANGER)) == 0
        assert Path(MARK).exists()

    @pytest.mark.parametrize(
        ("text", "words", "place"),
        [
            (CONFIG.format(network=STRANGER), ["--trusted-only"], "run.yaml:5:27: "),
            ("shared: true" + CONFIG.format(network="evil_net.Net"), [], "run.yaml:5:14: "),
            (
                CONFIG.format(network="CompactTrackNet"),
                ["--trusted-only", "--model.network=evil_net.Net"],
                "",
            ),
        ],
    )
    def test_it_is_refused_with_its_place_and_not_imported(self, text, words, place, here, capsys):
        assert check(text, *words) == 2
        (line,) = capsys.readouterr().out.splitlines()
        assert re.match(rf"{re.escape(place)}model\.network: no class 'evil_net.Net': {REFUSED}", line), line
        assert "evil_net" not in sys.modules
        assert not Path(MARK).exists()

    @pytest.mark.parametrize(
        "text",
        [
            CONFIG.format(network=f"'{STRANGER}'"),
            CONFIG.format(network="CompactTrackNet") + "trainer: {callbacks: [evil_net.Net]}\n",
            "model: other.yaml\ndata: FlatVideoDataModule\n",
        ],
    )
    def test_nor_where_it_is_hidden(self, text, here, monkeypatch):
        monkeypatch.setenv("TRACKNET_TRUSTED_ONLY", "1")
        Path("other.yaml").write_text(
            yaml.safe_dump(yaml.safe_load(CONFIG.format(network=STRANGER))["model"])
        )
        assert check(text) == 2
        assert "evil_net" not in sys.modules
        assert not Path(MARK).exists()

    def test_who_has_read_the_file_may_say_so_and_plugins_are_trusted(self, here, monkeypatch, capsys):
        shared = "shared: true" + CONFIG.format(network=STRANGER)
        monkeypatch.setattr(trust, "trusted_packages", lambda: (*trust.PACKAGES, "evil_net"))
        assert check(shared) == 0
        monkeypatch.undo()
        monkeypatch.chdir(here)
        assert check(shared, "--trusted-only=false") == 0
        assert check(shared) == 2
        assert check(shared, "--trusted-only=perhaps") == 2
        assert "--trusted-only: expected true or false, found 'perhaps'" in capsys.readouterr().out

    def test_what_could_do_anything_is_never_named(self, here, capsys):
        assert check(CONFIG.format(network="{class_path: subprocess.Popen, init_args: {args: [ls]}}")) == 2
        assert "subprocess.Popen" in capsys.readouterr().out

    @pytest.mark.parametrize(
        "tag",
        ["!!python/object/apply:os.system ['touch mark']", "!!python/name:os.system", "!!js/function x"],
    )
    def test_tags_are_not_followed(self, tag, here, capsys):
        assert check(CONFIG.format(network=tag)) == 2
        assert "run.yaml" in capsys.readouterr().out
        assert not Path(MARK).exists()


@pytest.fixture
def named(here):
    """Checkpoints of a tracker and of a rectifier whose networks are of that module."""
    tracker = HeatmapTracker(CompactTrackNet(3, "none", stem=4, widths=[8, 8, 8]), input_size=(32, 64))
    recipe = dict(tracker.hparams)
    recipe["network"] = {**recipe["network"], "class_path": "evil_net.Net"}
    content = {"state_dict": tracker.state_dict(), "pytorch-lightning_version": "2.6"}
    write_checkpoint(content | {"hyper_parameters": recipe}, here / "a.ckpt")
    rectifier = TrajectoryRectifier()
    content = {"state_dict": rectifier.state_dict(), "pytorch-lightning_version": "2.6"}
    rectifier.on_save_checkpoint(content)
    content["rectifier"]["class_path"] = "evil_net.Fill"
    write_checkpoint(content, here / "b.ckpt")
    return recipe


class TestCheckpoints:
    """Checkpoints that name a class whose module does something when it is imported."""

    @pytest.mark.parametrize(
        "words", ["track video.mp4 --ckpt a.ckpt", "export a.ckpt", "checkpoint verify a.ckpt"]
    )
    def test_it_is_not_imported(self, words, named, tiny_rallies, capsys):
        Path("video.mp4").symlink_to(tiny_rallies / "a.mp4")
        assert main(["checkpoint", "inspect", "a.ckpt"]) == 0
        assert "evil_net.Net" in capsys.readouterr().out
        assert main(words.split()) == 1
        error = one_message(capsys)
        assert "a.ckpt: not built: it names the class evil_net.Net, and " in error
        assert "evil_net.py is neither an installed package nor code that a training of yours" in error
        with pytest.raises(TrackNetError, match=r"b\.ckpt: not built: it names the class evil_net\.Fill"):
            load_rectifier(Path("b.ckpt"))
        assert "evil_net" not in sys.modules
        assert not Path(MARK).exists()

    def test_on_request(self, named, capsys):
        assert main(["checkpoint", "verify", "a.ckpt", "--trust"]) == 0
        assert "network:  Net, all names and shapes fit" in capsys.readouterr().out
        assert trust.TRUST_VARIABLE not in trust.os.environ
        assert type(load_rectifier(Path("b.ckpt"), trust=True)).__name__ == "Fill"

    def test_where_a_training_here_has_used_it(self, named, here):
        content = {"state_dict": {}, "hyper_parameters": named}
        for name in ("c.ckpt", "d.ckpt"):
            TrackNetCheckpointIO().save_checkpoint(content, here / name)
        register = here / "state" / "tracknet" / "own_modules"
        assert register.read_text() == f"{here / 'evil_net.py'}\n"
        assert type(load_tracker(here / "a.ckpt").network).__name__ == "Net"

    def test_the_standard_library_is_not_imported_at_all(self, named, here):
        recipe = named | {"network": {"class_path": "antigravity.Net", "init_args": {}}}
        content = {"state_dict": {}, "pytorch-lightning_version": "2.6", "hyper_parameters": recipe}
        write_checkpoint(content, here / "c.ckpt")
        with pytest.raises(TrackNetError, match=r"c\.ckpt: the tracker cannot be built from it"):
            load_tracker(here / "c.ckpt")
        assert "antigravity" not in sys.modules

    def test_a_configuration_inside_is_plain_yaml_or_refused(self, named, here, capsys):
        content = {"state_dict": {"w": torch.ones(1)}, "hyper_parameters": {"network": {}}}
        write_checkpoint(content, here / "d.ckpt", "a: !!python/object/apply:os.system ['touch mark']")
        assert main(["checkpoint", "diff", "d.ckpt", "d.ckpt"]) == 1
        assert "d.ckpt: its configuration is not plain YAML: " in one_message(capsys)
        assert not Path(MARK).exists()


class TestPathsInCheckpoints:
    """Checkpoints whose callbacks claim that files of others are older checkpoints of the run."""

    @pytest.fixture
    def precious(self, here):
        folder = here / "precious"
        folder.mkdir()
        (folder / "thesis.txt").write_text("years")
        return folder

    @pytest.mark.parametrize("form", ["local://{}", "runs/a/checkpoints/../../../precious"])
    def test_what_they_name_is_not_removed(self, form, precious, tiny_rallies):
        words = [
            "fit",
            "+callbacks=minimal",
            f"--data.root={tiny_rallies}",
            "--model.network=CompactTrackNet",
            "--model.network.init_args.widths=[8,8,8]",
            "--model.input_size=[32,48]",
            "--trainer.accelerator=cpu",
            "--trainer.limit_train_batches=1",
            "--trainer.limit_val_batches=1",
            "--trainer.logger.init_args.save_dir=runs",
            "--trainer.logger.init_args.name=",
            "--trainer.logger.init_args.version=a",
        ]
        assert main([*words, "--trainer.max_epochs=1"]) == 0
        content = torch.load("runs/a/checkpoints/last.ckpt", weights_only=True)
        states = [one for name, one in content["callbacks"].items() if "best_model_path" in one]
        assert len(states) > 1
        for state in states:
            name = form.format(precious)
            state |= {"best_model_path": name, "last_model_path": name, "kth_best_model_path": name}
            state["best_k_models"] = {name: torch.tensor(-1.0)}
        write_checkpoint(content, Path("evil.ckpt"))
        assert main([*words, "--trainer.max_epochs=2", "--ckpt_path=evil.ckpt"]) == 0
        assert torch.load("runs/a/checkpoints/last.ckpt", weights_only=True)["epoch"] == 1
        assert (precious / "thesis.txt").read_text() == "years"


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile '{}'\n",
        "ffconcat version 1.0\nfile '../outside/a.mp4'\n",
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{}\n#EXT-X-ENDLIST\n",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=a\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
        "a=rtpmap:96 H264/90000\n",
    ],
    ids=["list", "list of neighbours", "playlist", "session"],
)
def test_a_list_of_videos_that_is_named_like_a_video_leads_nowhere(text, here, tiny_rallies):
    outside = here / "outside"
    outside.mkdir()
    shutil.copy(tiny_rallies / "a.mp4", outside)
    (here / "rallies").mkdir()
    (here / "rallies" / "a.mp4").write_text(text.format(outside / "a.mp4"))
    with pytest.raises(TrackNetError, match=r"a\.mp4: "):
        next(open_source(here / "rallies" / "a.mp4").frames())


def test_settings_of_the_parser_are_put_back():
    from jsonargparse._common import parsing_settings

    before = dict(parsing_settings)
    with trust.limited(more=["numpy"]):
        assert trust.refusal_of("numpy.random.Generator") == ""
        assert trust.refusal_of("json.JSONDecoder").startswith("json is not a trusted package")
        with trust.limited(on=False):
            assert trust.refusal_of("json.JSONDecoder")
    assert trust.refusal_of("json.JSONDecoder") == ""
    assert parsing_settings == before
