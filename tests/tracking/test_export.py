"""Exported graphs: what they hold, that they are the network, and that they track alike."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tracknet.cli.main import main as tracknet
from tracknet.errors import TrackNetError
from tracknet.evaluation.decoding import ComponentDecoder, PeakDecoder
from tracknet.models import CompactTrackNet
from tracknet.tracking.export import compare, export_tracker, peak_decoder
from tracknet.tracking.graph import GraphInfo, TrackerGraph, require
from tracknet.tracking.trajectory import read_trajectory
from tracknet.training.checkpoint_contents import PublicCheckpoint
from tracknet.training.hyperparameters import describe
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.public_checkpoints import save_tracker

SIZE = (64, 96)


def save(network, decoder, path):
    save_tracker(
        HeatmapTracker(network, decoder=decoder, input_size=SIZE), path, PublicCheckpoint("WASB", {}), "x"
    )
    return path


@pytest.fixture(scope="module")
def bright(bright_network, tmp_path_factory):
    """Checkpoint of a tracker that finds the dot."""
    return save(bright_network(3), ComponentDecoder(), tmp_path_factory.mktemp("bright") / "bright.ckpt")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_same_trajectory_from_checkpoint_and_graph(here, bright, tiny_rallies, capsys):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    video = str(tiny_rallies / "a.mp4")
    assert tracknet(["export", str(bright)]) == 0
    assert [path.name for path in here.iterdir()] == ["bright.onnx"]
    out = capsys.readouterr().out
    assert "takes:  frames uint8 [B, 3, 3, 64, 96]; gives heatmaps [B, 3]" in out
    assert "differs from the checkpoint by at most" in out
    assert tracknet(["track", video, "--ckpt", str(bright), "--output", "a.csv", "--device", "cpu"]) == 0
    for number, more in enumerate((["--batch_size", "2"], ["--engine", "onnxruntime"])):
        assert tracknet(["track", video, "--ckpt", "bright.onnx", "--output", f"{number}.csv", *more]) == 0
        assert (here / f"{number}.csv").read_bytes() == (here / "a.csv").read_bytes()
    rows = read_trajectory(here / "a.csv")
    assert sum(row.visible for row in rows) >= 15
    # Heatmaps are there, so ensembles work too; a threshold of one's own is the decoder's.
    words = ["track", video, "--ckpt", "bright.onnx", "--output", "b.csv", "--mode", "average"]
    assert tracknet([*words, "--threshold", "1"]) == 0
    assert not any(row.visible for row in read_trajectory(here / "b.csv"))
    capsys.readouterr()
    assert tracknet(["track", video, "--ckpt", "bright.onx.onnx"]) == 1
    assert "no such graph; did you mean 'bright.onnx'?" in capsys.readouterr().err
    assert tracknet(["track", video, "--ckpt", "bright.onnx", "--engine", "torch"]) == 2
    assert tracknet(["track", video, "--ckpt", str(bright), "--engine", "onnxruntime"]) == 2
    assert f"tracknet export {bright} --format onnx" in capsys.readouterr().err
    tracks_without_lightning(video, here)


def tracks_without_lightning(video, folder):
    code = (
        "import sys\nfrom tracknet.cli.main import main\n"
        f"main(['track', {video!r}, '--ckpt', 'bright.onnx', '--output', 'c.csv'])\n"
        "sys.exit(5 * ('lightning' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (folder / "c.csv").is_file()


def test_positions_from_an_onnx_graph(here, bright, tiny_rallies, capsys):
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    assert tracknet(["export", str(bright), "--positions", "--output", "p.onnx"]) == 0
    out = capsys.readouterr().out
    assert "the checkpoint decodes with ComponentDecoder, which no graph can hold" in out
    assert "gives xy and confidence [B, 3]" in out
    video = str(tiny_rallies / "a.mp4")
    assert tracknet(["track", video, "--ckpt", str(bright), "--output", "a.csv", "--device", "cpu"]) == 0
    assert tracknet(["track", video, "--ckpt", "p.onnx", "--output", "b.csv"]) == 0
    for ours, theirs in zip(read_trajectory(here / "a.csv"), read_trajectory(here / "b.csv"), strict=True):
        assert ours.visible == theirs.visible
        assert (theirs.x, theirs.y) == pytest.approx((ours.x, ours.y), abs=0.2)
    assert tracknet(["track", video, "--ckpt", "p.onnx", "--output", "c.csv", "--mode", "average"]) == 2
    assert "needs heatmaps" in capsys.readouterr().err
    # Without candidates the default is to judge frame by frame, and is known to be.
    many = ["track", video, str(tiny_rallies / "b.mp4"), "--ckpt", "p.onnx"]
    assert tracknet(many) == 0
    capsys.readouterr()
    assert tracknet([*many, "--tracker", "none"]) == 0
    assert "2 skipped" in capsys.readouterr().out
    assert (here / "tracked" / "a_ball.csv").read_bytes() == (here / "b.csv").read_bytes()


@pytest.mark.parametrize("positions", [False, True])
@pytest.mark.parametrize("format", ["torchscript", "torch_export"])
def test_the_other_formats_load_with_pytorch_alone(format, positions, tmp_path):
    torch.manual_seed(2)
    network = CompactTrackNet(2, "concat", stem=4, widths=(8, 8, 8)).eval()
    torch.nn.init.normal_(network.predictor.weight)
    path = tmp_path / "a.graph"
    found = export_tracker(
        network, PeakDecoder(0.3), SIZE, path, format, positions=positions, recipe=describe(PeakDecoder(0.3))
    )
    assert found.probability <= 1e-6
    assert (found.shift is None) == (not positions)
    extra = {"tracknet.json": ""}
    if format == "torchscript":
        module = torch.jit.load(str(path), _extra_files=extra)
    else:
        module = torch.export.load(path, extra_files=extra).module()
    info = GraphInfo.from_json(extra["tracknet.json"])
    assert info.network == "tracknet.models.compact.CompactTrackNet"
    assert (info.frames, info.outputs, info.input_size) == (2, 2, SIZE)
    assert (info.needs_background, info.positions, info.threshold) == (True, positions, 0.3)
    frames = torch.randint(0, 256, (5, 2, 3, *SIZE), dtype=torch.uint8)
    background = torch.randint(0, 256, (5, 3, *SIZE), dtype=torch.uint8)
    with torch.no_grad():
        given = module(frames, background)
    assert [list(one.shape) for one in given] == ([[5, 2, 2], [5, 2]] if positions else [[5, 2, 32, 48]])


def test_a_graph_that_differs_is_not_kept(tmp_path, bright_network, monkeypatch):
    network = bright_network(3).eval()

    def other(path):
        return lambda inputs: [one + 0.001 for one in TrackerGraph(network, SIZE)(*inputs)]

    monkeypatch.setitem(export_tracker.__globals__["_READERS"], "torchscript", other)
    with pytest.raises(TrackNetError, match=r"torchscript: the graph differs .* by 0.001 .*nothing was writ"):
        export_tracker(
            network, PeakDecoder(), SIZE, tmp_path / "a.ts", "torchscript", positions=False, recipe={}
        )
    assert list(tmp_path.iterdir()) == []


def test_the_comparison_sees_shifts_and_what_is_no_number(bright_network):
    graph = TrackerGraph(bright_network(3).eval(), SIZE, PeakDecoder())

    def moved(inputs):
        xy, confidence = graph(*inputs)
        return [xy + 0.5, confidence]

    found = compare(graph, moved)
    assert (found.probability, found.shift) == (0.0, pytest.approx(0.5))
    assert found.positions >= 4
    assert compare(graph, lambda inputs: [one * float("nan") for one in graph(*inputs)]).probability == float(
        "inf"
    )


def test_an_onnx_graph_holds_its_weights_as_they_are(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    network = CompactTrackNet(frames=2, stem=4, widths=(8, 8, 8)).eval()
    output = tmp_path / "small.onnx"
    export_tracker(network, PeakDecoder(), (32, 48), output, "onnx", positions=False, recipe={})
    graph = onnx.load(output).graph
    kept = {one.name for one in graph.initializer}
    assert [node.name for node in graph.node if node.op_type == "Conv" and node.input[1] not in kept] == []


@pytest.mark.parametrize("format", ["onnx", "torchscript", "torch_export"])
def test_what_cannot_be_a_graph_is_told(tmp_path, format):
    if format == "onnx":
        pytest.importorskip("onnxscript")
        pytest.importorskip("onnxruntime")

    class Loop(CompactTrackNet):
        def forward(self, x):
            raise RuntimeError("loops over\n what it sees")

    with pytest.raises(TrackNetError, match=r"cannot be made a graph: .*loops over what it sees"):
        export_tracker(
            Loop(2, "none").eval(),
            PeakDecoder(),
            SIZE,
            tmp_path / "a",
            format,
            positions=False,
            recipe={},
        )
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_not_the_fault_of_the_network(tmp_path, bright_network, monkeypatch):
    def full(graph, info, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setitem(export_tracker.__globals__["_WRITERS"], "torchscript", full)
    with pytest.raises(TrackNetError, match=r"a.ts: cannot be written: No space left on device; make room"):
        export_tracker(
            bright_network(3),
            PeakDecoder(),
            SIZE,
            tmp_path / "a.ts",
            "torchscript",
            positions=False,
            recipe={},
        )
    assert list(tmp_path.iterdir()) == []


def test_the_decoder_of_a_graph():
    own = PeakDecoder(0.3, window=7)
    assert peak_decoder(own) is own
    assert peak_decoder(ComponentDecoder(0.4)).threshold == 0.4


def test_metadata_come_back():
    info = GraphInfo("1", "a.B", 3, 1, (64, 96), True, False, 0.5, {"class_path": "x", "init_args": {}})
    assert GraphInfo.from_json(info.to_json()) == info
    told = json.loads(info.to_json())
    assert "in_32_bits" not in told  # a tracknet that does not know the key refuses it
    assert GraphInfo.from_json(json.dumps({**told, "of_later": [1]})) == info
    for wrong in ("null", "[]", "{}", json.dumps({"input_size": [1, 2], "more": 1}), "no json"):
        with pytest.raises(ValueError):  # noqa: PT011
            GraphInfo.from_json(wrong)


def test_a_missing_package_is_named():
    with pytest.raises(TrackNetError, match=r"needs the package no_such_package: pip install"):
        require("json", "no_such_package")


def test_other_graphs_are_refused(tmp_path):
    pytest.importorskip("onnxruntime")
    from tracknet.tracking.onnx_detector import load_onnx

    (tmp_path / "a.onnx").write_bytes(b"no graph")
    with pytest.raises(TrackNetError, match=r"a.onnx: not a readable ONNX graph"):
        load_onnx(tmp_path / "a.onnx")
    with pytest.raises(TrackNetError, match=r"no cuda device that ONNX Runtime .* found cpu"):
        load_onnx(tmp_path / "a.onnx", "cuda")
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    opset = [onnx.helper.make_opsetid("", 18)]
    model = onnx.helper.make_model(
        onnx.helper.make_graph([node], "g", [value], [out]), opset_imports=opset, ir_version=9
    )
    onnx.save(model, tmp_path / "b.onnx")
    with pytest.raises(TrackNetError, match=r"b.onnx: not a graph of `tracknet export`"):
        load_onnx(tmp_path / "b.onnx")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: ckpt"),
        (["a.ckpt", "--fromat", "onnx"], "unknown argument '--fromat'; did you mean '--format'?"),
        (["--ckpt", "a.ckpt"], "unknown argument '--ckpt'; ckpt is the first word, without a flag"),
        (["--ckpt_path=a.ckpt", "b"], "unknown argument '--ckpt_path=a.ckpt'; ckpt is the first word"),
        (["a.ckpt", "--format", "onxx"], "found 'onxx'; did you mean 'onnx'?"),
        (["a.ckpt", "--output", "a.pt"], "--output a.pt: expected a name in .onnx, or a folder that exists"),
    ],
)
def test_wrong_words(here, words, message, capsys):
    assert tracknet(["export", *words]) == 2
    assert message in capsys.readouterr().err


class TestGraphsOfStrangers:
    """Graphs whose metadata name a class of a module that lies beside them, or numbers that are none."""

    @staticmethod
    def graph(path, **told):
        onnx = pytest.importorskip("onnx")
        value = onnx.helper.make_tensor_value_info("frames", onnx.TensorProto.FLOAT, [1])
        out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
        node = onnx.helper.make_node("Identity", ["frames"], ["y"])
        opset = [onnx.helper.make_opsetid("", 18)]
        model = onnx.helper.make_model(
            onnx.helper.make_graph([node], "g", [value], [out]), opset_imports=opset, ir_version=9
        )
        decoder = {"class_path": "tracknet.evaluation.decoding.PeakDecoder", "init_args": {}}
        info = GraphInfo("1", "a.Net", 3, 3, (32, 64), False, False, 0.5, decoder)
        content = json.loads(info.to_json()) | told
        onnx.helper.set_model_props(model, {"tracknet": json.dumps(content)})
        onnx.save(model, path)
        return str(path)

    @pytest.fixture
    def evil(self, here, monkeypatch):
        pytest.importorskip("onnxruntime")
        monkeypatch.syspath_prepend(here)
        monkeypatch.setenv("XDG_STATE_HOME", str(here / "state"))
        code = "from pathlib import Path\nfrom tracknet.evaluation.decoding import PeakDecoder\n"
        (here / "evil_decoder.py").write_text(
            f"{code}Path('mark').write_text('run')\nclass Peak(PeakDecoder):\n    pass\n"
        )
        yield {"class_path": "evil_decoder.Peak", "init_args": {}}
        sys.modules.pop("evil_decoder", None)

    def test_the_module_is_not_imported(self, evil, here, tiny_rallies, capsys):
        words = ["track", str(tiny_rallies / "a.mp4"), "--ckpt", self.graph(here / "a.onnx", decoder=evil)]
        assert tracknet(words) == 1
        error = capsys.readouterr().err
        assert "a.onnx: not built: it names the class evil_decoder.Peak" in error
        assert error.count("\n") == 1
        assert not (here / "mark").exists()

    def test_on_request(self, evil, here, monkeypatch):
        from tracknet.tracking.onnx_detector import load_onnx

        monkeypatch.setenv("TRACKNET_TRUST", "1")
        assert type(load_onnx(Path(self.graph(here / "a.onnx", decoder=evil))).decoder).__name__ == "Peak"
        assert (here / "mark").exists()

    def test_nothing_of_the_standard_library_is_imported(self, here, monkeypatch):
        pytest.importorskip("onnxruntime")
        from tracknet.tracking.onnx_detector import load_onnx

        monkeypatch.delitem(sys.modules, "antigravity", raising=False)
        path = self.graph(here / "a.onnx", decoder={"class_path": "antigravity.Peak", "init_args": {}})
        with pytest.raises(TrackNetError, match=r"a\.onnx: its decoder antigravity\.Peak cannot be built"):
            load_onnx(Path(path))
        assert "antigravity" not in sys.modules

    @pytest.mark.parametrize(
        "told",
        [
            {"frames": 10**9},
            {"outputs": 0},
            {"input_size": [1 << 20, 64]},
            {"input_size": 5},
            {"frames": True},
            {"decoder": "text"},
            {"threshold": "0.5"},
            {"threshold": float("nan")},
        ],
    )
    def test_metadata_that_cannot_be_are_refused(self, told, here):
        pytest.importorskip("onnxruntime")
        from tracknet.tracking.onnx_detector import load_onnx

        with pytest.raises(TrackNetError, match=r"a\.onnx: not a graph of `tracknet export`"):
            load_onnx(Path(self.graph(here / "a.onnx", **told)))
