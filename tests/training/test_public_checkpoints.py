"""Published checkpoints: recognised, imported exactly, and never run as code."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from torch.nn import functional as F

from tracknet.errors import TrackNetError, UsageError
from tracknet.evaluation.decoding import ComponentDecoder
from tracknet.models import stack_frames
from tracknet.models.monotrack import MonoTrack
from tracknet.models.restracknetv2 import ResTrackNetV2
from tracknet.training.checkpoint_contents import PublicCheckpoint, read_file, recognise, state_dict_of
from tracknet.training.checkpoint_report import count_parameters, report_checkpoint
from tracknet.training.checkpoints import load_tracker
from tracknet.training.public_checkpoints import build_tracker, import_checkpoint
from tracknet.training.rectifier import load_rectifier

SIZE = (16, 24)

BLOCKS = {  # of the published U-Net: channels in (of the skip too), channels out, layers
    "down_block_1": (None, 64, 2),
    "down_block_2": (64, 128, 2),
    "down_block_3": (128, 256, 3),
    "bottleneck": (256, 512, 3),
    "up_block_1": (768, 256, 3),
    "up_block_2": (384, 128, 2),
    "up_block_3": (192, 64, 2),
}


def random_unet(channels, frames, seed=0):
    """Random weights under the published names, with random statistics."""
    random = torch.Generator().manual_seed(seed)

    def normal(*shape, scale=1.0):
        return torch.randn(shape, generator=random) * scale

    weights = {}
    for block, (first, width, depth) in BLOCKS.items():
        inputs = first or channels
        for layer in range(1, depth + 1):
            name = f"{block}.conv_{layer}"
            weights[f"{name}.conv.weight"] = normal(width, inputs, 3, 3, scale=(2 / (9 * inputs)) ** 0.5)
            weights[f"{name}.bn.weight"] = 1 + normal(width, scale=0.3)
            weights[f"{name}.bn.bias"] = normal(width, scale=0.3)
            weights[f"{name}.bn.running_mean"] = normal(width, scale=0.3)
            weights[f"{name}.bn.running_var"] = 0.3 + torch.rand(width, generator=random)
            weights[f"{name}.bn.num_batches_tracked"] = torch.tensor(7)
            inputs = width
    weights["predictor.weight"] = normal(frames, 64, 1, 1, scale=0.2)
    weights["predictor.bias"] = normal(frames)
    return weights


def published_unet(weights, x):
    """The forward pass as published, from the bare weights."""

    def block(name, x):
        for layer in range(1, BLOCKS[name][2] + 1):
            w = {k: weights[f"{name}.conv_{layer}.{k}"] for k in ("conv.weight", "bn.weight", "bn.bias")}
            mean = weights[f"{name}.conv_{layer}.bn.running_mean"]
            variance = weights[f"{name}.conv_{layer}.bn.running_var"]
            x = F.conv2d(x, w["conv.weight"], padding=1)
            x = (x - mean[:, None, None]) / torch.sqrt(variance[:, None, None] + 1e-5)
            x = F.relu(x * w["bn.weight"][:, None, None] + w["bn.bias"][:, None, None])
        return x

    def twice(x):
        return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    x1 = block("down_block_1", x)
    x2 = block("down_block_2", F.max_pool2d(x1, 2))
    x3 = block("down_block_3", F.max_pool2d(x2, 2))
    y = block("bottleneck", F.max_pool2d(x3, 2))
    y = block("up_block_1", torch.cat([twice(y), x3], dim=1))
    y = block("up_block_2", torch.cat([twice(y), x2], dim=1))
    y = block("up_block_3", torch.cat([twice(y), x1], dim=1))
    return torch.sigmoid(F.conv2d(y, weights["predictor.weight"], weights["predictor.bias"]))


def published_input(frames, median, mode):
    """The channels as published: numbers of 0..255 in float64, stacked frame by frame, divided at the end."""
    windows = []
    for window, background in zip(frames.double().numpy(), median.double().numpy(), strict=True):
        parts = [background] if mode == "concat" else []
        for frame in window:
            difference = np.abs(frame - background).sum(axis=0, keepdims=True).clip(max=255)
            parts += {"": [frame], "concat": [frame], "subtract": [difference]}.get(mode, [frame, difference])
        windows.append(np.concatenate(parts) / 255)
    return torch.from_numpy(np.stack(windows))


def assert_same(network, weights, x):
    """Compare in float64: random statistics make large numbers, whose rounding in float32 shows."""
    with torch.no_grad():
        ours = network.double()(x).sigmoid()
        theirs = published_unet({name: tensor.double() for name, tensor in weights.items()}, x)
    assert theirs.std() > 0.1
    assert (ours - theirs).abs().max() <= 1e-9


def some_pictures(frames, batch=2):
    random = torch.Generator().manual_seed(5)
    window = torch.randint(0, 256, (batch, frames, 3, *SIZE), generator=random, dtype=torch.uint8)
    return window, torch.randint(0, 256, (batch, 3, *SIZE), generator=random, dtype=torch.uint8)


def published(mode="concat", frames=4, **changes):
    channels = {"": 3 * frames, "subtract": frames, "subtract_concat": 4 * frames, "concat": 3 * frames + 3}
    content = {
        "epoch": 29,
        "max_val_acc": np.float64(0.9751),
        "model": random_unet(channels[mode], frames),
        "optimizer": {"state": {}, "param_groups": []},
        "scheduler": {"step_size": 10},
        "param_dict": {"model_name": "TrackNet", "seq_len": frames, "bg_mode": mode, "alpha": 0.5},
    }
    return content | changes


@pytest.mark.parametrize("mode", ["", "subtract", "subtract_concat", "concat"])
def test_tracknetv3_gives_what_the_published_formula_gives(mode, tmp_path):
    content = published(mode)
    torch.save(content, tmp_path / "TrackNet_best.pt")
    import_checkpoint(tmp_path / "TrackNet_best.pt", tmp_path / "ours.ckpt")
    tracker = load_tracker(tmp_path / "ours.ckpt")
    frames, median = some_pictures(4)
    channels = published_input(frames, median, mode)
    stacked = stack_frames(frames, median, tracker.network.background)
    assert (stacked - channels).abs().max() <= 1e-6
    assert_same(tracker.network, content["model"], channels)
    assert tracker.network.background == (mode or "none")
    assert (tracker.frames, tracker.outputs, tracker.input_size) == (4, 4, (288, 512))


@settings(max_examples=4)
@given(frames=st.integers(1, 5), seed=st.integers(0, 2**31))
def test_any_weights_without_settings_give_the_published_outputs(frames, seed):
    weights = random_unet(3 * frames, frames, seed)
    found = recognise({f"module.{name}": tensor for name, tensor in weights.items()})
    window, _ = some_pictures(frames, batch=1)
    x = window.flatten(1, 2).double() / 255
    # Weights whose heatmaps are all but flat compare nothing: `assert_same` refuses them.
    assume(published_unet({name: tensor.double() for name, tensor in weights.items()}, x).std() > 0.1)
    assert_same(build_tracker(found).network, weights, x)


def test_settings_are_those_of_the_publication():
    tracker = build_tracker(recognise(published()))
    assert isinstance(tracker.decoder, ComponentDecoder)
    assert (tracker.decoder.threshold, tracker.decoder.select, tracker.decoder.centre) == (0.5, "box", "box")
    assert tracker.target.radius == 2.5
    assert tracker.val_metrics.preset == "tracknetv2"
    assert tracker.mixup == 0.5
    assert not tracker.training
    settings = published()["param_dict"]
    assert build_tracker(recognise(published(param_dict=settings | {"alpha": -1}))).mixup == 0.0


def test_what_is_written_says_where_it_comes_from(tmp_path):
    torch.save(published(), tmp_path / "TrackNet_best.pt")
    imported = import_checkpoint(tmp_path / "TrackNet_best.pt", tmp_path / "new" / "ours.ckpt")
    assert imported.told == "imported:   TrackNet: 4 frames of 288x512, background concat"
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["ours.ckpt", "ours.yaml"]
    model = yaml.safe_load((tmp_path / "new" / "ours.yaml").read_text())["model"]
    network = model["init_args"]["network"]["init_args"]
    assert (network["frames"], network["background"]) == (4, "concat")
    report = report_checkpoint(tmp_path / "new" / "ours.ckpt")
    assert "from TrackNet_best.pt: TrackNet, epoch 29, max_val_acc 0.9751" in report
    assert re.search(r"parameters: 11,33\d,\d{3}\n", report)
    assert "background: concat" in report
    with pytest.raises(TrackNetError, match=r"ours.ckpt: is a checkpoint of `tracknet fit` already"):
        import_checkpoint(tmp_path / "new" / "ours.ckpt", tmp_path / "other.ckpt")


def test_overflowing_differences_are_spoken_of(tmp_path):
    torch.save(published("subtract"), tmp_path / "a.pt")
    imported = import_checkpoint(tmp_path / "a.pt", tmp_path / "a.ckpt")
    assert "the published code lets them overflow" in imported.told


def test_the_report_of_a_published_file(tmp_path):
    torch.save(published(), tmp_path / "a.pt")
    lines = report_checkpoint(tmp_path / "a.pt").splitlines()
    assert lines[0] == (
        f"what:        published TrackNet; to make it ours: tracknet checkpoint import {tmp_path / 'a.pt'}"
    )
    assert "epoch:       29" in lines
    assert "max_val_acc: 0.9751" in lines
    assert "bg_mode:     'concat'" in lines


@pytest.mark.parametrize(
    ("channels", "frames", "mode"),
    [(9, 3, "none"), (3, 3, "subtract"), (27, 8, "concat"), (32, 8, "subtract_concat")],
)
def test_the_background_mode_is_told_by_the_channels(channels, frames, mode):
    assert build_tracker(recognise(random_unet(channels, frames))).network.background == mode


def test_twelve_channels_for_three_frames_need_a_word():
    found = recognise(random_unet(12, 3))
    with pytest.raises(
        UsageError, match=r"12 channels for 3 frames may be subtract_concat or concat; .*--background"
    ):
        build_tracker(found)
    assert build_tracker(found, "concat").network.background == "concat"
    with pytest.raises(UsageError, match=r"--background none: its weights are for subtract_concat or concat"):
        build_tracker(found, "none")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (published(param_dict={"seq_len": 8, "bg_mode": "concat"}), "says seq_len 8, its last layer gives 4"),
        (published(param_dict={"bg_mode": "subtract"}), "says bg_mode 'subtract', its first layer takes 15"),
        (published(param_dict={"bg_mode": "median"}), "says bg_mode 'median', its first layer takes 15"),
        ({"model": random_unet(9, 1)}, "takes 9 channels for 1 heatmaps; expected one heatmap a frame, 3 "),
        (
            {"model": random_unet(9, 3) | {"motion.weight": torch.ones(1)}},
            "looks like TrackNetV2 and is another network: motion.weight is unknown",
        ),
        (
            {"model": random_unet(9, 3) | {"up_block_1.conv_1.bn.bias": torch.ones(3)}},
            "up_block_1.conv_1.bn.bias is [3], expected [256]",
        ),
    ],
)
def test_contradictions_are_refused(content, message, tmp_path):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(TrackNetError) as caught:
        import_checkpoint(tmp_path / "a.pt", tmp_path / "a.ckpt")
    assert str(caught.value).startswith(f"{tmp_path / 'a.pt'}: ")
    assert message in str(caught.value)
    assert not (tmp_path / "a.ckpt").exists()


def test_a_missing_weight_is_named_and_a_missing_counter_is_none():
    weights = random_unet(9, 3)
    counters = [name for name in weights if name.endswith("num_batches_tracked")]
    build_tracker(recognise({name: w for name, w in weights.items() if name not in counters}))
    del weights["up_block_3.conv_2.bn.running_var"]
    with pytest.raises(TrackNetError, match=r"there is no up_block_3.conv_2.bn.running_var"):
        build_tracker(recognise(weights))


def test_tensors_of_another_kind_are_refused(tmp_path):
    torch.save(published(more=[torch.eye(3).to_sparse()]), tmp_path / "a.pt")
    with pytest.raises(TrackNetError, match=r"a\.pt: not opened: some of its tensors are sparse, quantised"):
        import_checkpoint(tmp_path / "a.pt", tmp_path / "a.ckpt")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"model_state_dict": {f"inc.{n}.weight": torch.ones(1) for n in range(7)}},
            "found weights named inc.0.weight, inc.1.weight, inc.2.weight, inc.3.weight, inc.4.weight and 2",
        ),
        ({"a": 1, "b": "x"}, "found no weights, but the keys a, b; expected "),
        ({}, "found no weights, but the keys nothing"),
        ([1, 2], "found a list; expected "),
    ],
)
@pytest.mark.parametrize("read", [report_checkpoint, lambda path: import_checkpoint(path, path.parent / "o")])
def test_what_is_not_recognised_is_described(content, message, read, tmp_path):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(TrackNetError) as caught:
        read(tmp_path / "a.pt")
    assert message in str(caught.value)
    assert "expected TrackNet and InpaintNet of TrackNetV3" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("whole", [True, False])
def test_pickled_code_is_never_run(whole, tmp_path):
    trap = Touch(tmp_path / "trap")
    content = published(max_val_acc=trap)
    if whole:
        torch.save(content, tmp_path / "a.pt")
    else:
        (tmp_path / "a.pt").write_bytes(pickle.dumps(content))
    with pytest.raises(TrackNetError, match=r"could .*code and is not opened"):
        import_checkpoint(tmp_path / "a.pt", tmp_path / "a.ckpt")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]
    pickle.loads(pickle.dumps(trap)).close()
    assert (tmp_path / "trap").exists(), "the trap itself would have worked"


def test_what_is_no_plain_value_is_named(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "a.pt")
    with pytest.raises(TrackNetError, match=r" values \(torch\.nn\.modules\.linear\.Linear\), which could "):
        import_checkpoint(tmp_path / "a.pt", tmp_path / "a.ckpt")


@pytest.mark.parametrize("module", [b"numpy.core.multiarray", b"numpy._core.multiarray"])
@pytest.mark.parametrize("value", [np.float64(0.25), np.float32(0.25), np.int64(7), np.bool_(True)])
def test_scalars_of_both_numpy_generations_are_read(module, value, tmp_path):
    torch.save({"value": value, "weight": torch.ones(1)}, tmp_path / "own.pt")
    rewritten = rewrite(tmp_path / "own.pt", tmp_path / "a.pt", module)
    found = read_file(rewritten)["value"]
    assert found == value
    assert type(found) is type(value)


def rewrite(path, target, module):
    """Copy a checkpoint, with NumPy's scalars pickled under another name of their module."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename.endswith("data.pkl"):
                assert data.count(b"cnumpy._core.multiarray\n") + data.count(b"cnumpy.core.multiarray\n") == 1
                data = re.sub(rb"cnumpy\._?core\.multiarray\n", b"c" + module + b"\n", data)
            new.writestr(entry.filename, data)
    return target


@pytest.mark.parametrize("kind", ["f2", "f4", "f8", "i4", "i8", "?", ">f8", ">i4"])
@pytest.mark.parametrize("module", ["numpy.core.multiarray", "numpy._core.multiarray"])
def test_numbers_of_each_kind_and_order_are_read_as_numpy_reads_them(kind, module, tmp_path):
    for value in (np.array(0), np.array(1), np.array(0.4375 if "f" in kind else 100)):
        data = value.astype(kind).tobytes()
        name, order = np.dtype(kind).str[1:], np.dtype(kind).str[0]
        found = read_file(crafted(tmp_path / "a.pt", scalar_of(dtype(name, order), data, module)))["x"]
        expected = np.frombuffer(data, kind)[0]
        assert found == expected
        assert type(found) is type(expected)


def test_what_the_process_allows_beside_stays_so_and_takes_no_place_of_ours(tmp_path):
    scalar = np.float64(0).__reduce__()[0]
    with torch.serialization.safe_globals([scalar, np.dtype, np.dtypes.Float64DType, Touch]):
        before = set(torch.serialization.get_safe_globals())
        torch.save({"x": np.float64(0.25), "own": Touch}, tmp_path / "a.pt")
        assert read_file(tmp_path / "a.pt") == {"x": 0.25, "own": Touch}
        with pytest.raises(TrackNetError):
            read_file(crafted(tmp_path / "b.pt", scalar_of(dtype("O"), b"A" * 8)))
        assert set(torch.serialization.get_safe_globals()) == before


# Files that are made to harm, by hand: opcodes of pickle, of which NumPy's own classes would make objects at
# addresses that the file says.


def text(value):
    return b"X" + len(value.encode()).to_bytes(4, "little") + value.encode()


def named(module, name):
    return f"c{module}\n{name}\n".encode()


def called(function, *arguments):
    return function + b"(" + b"".join(arguments) + b"tR"


def raw(data):
    return called(named("_codecs", "encode"), text(data.decode("latin1")), text("latin1"))


def dtype(kind, order=None, subtype=b"N", names=b"N", fields=b"N", size=b"J\xff\xff\xff\xff", flags=b"K\0"):
    """Pickle a dtype, with the state that NumPy's would take."""
    told = kind if isinstance(kind, bytes) else text(kind)
    made = called(named("numpy", "dtype"), told, b"\x89", b"\x88")
    if order is None:
        return made
    return made + b"(K\3" + text(order) + subtype + names + fields + size + size + flags + b"tb"


def scalar_of(kind, data=None, module="numpy._core.multiarray"):
    return called(named(module, "scalar"), kind, *([] if data is None else [raw(data)]))


def crafted(path, value):
    """Write a checkpoint with a value, as opcodes, at x."""
    torch.save({"weight": torch.ones(1)}, path.parent / "whole.pt")
    with zipfile.ZipFile(path.parent / "whole.pt") as old, zipfile.ZipFile(path, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename.endswith("data.pkl"):
                data = b"\x80\2}" + text("x") + value + b"s."
            new.writestr(entry.filename, data)
    return path


ADDRESS = b"A" * 8
OF_OBJECTS = dtype("O") + b"K\1\x85\x86"
STRUCT = b"]" + text("x") + dtype("f8", "<", subtype=OF_OBJECTS) + b"\x86a"
OWN = scalar_of(dtype(STRUCT), ADDRESS)
AS_SET = called(
    named("torch._tensor", "_rebuild_from_type_v2"), *[named("__builtin__", "set")] * 2, OWN + b"N"
)
FIELDS = b"}" + text("a") + dtype("O") + b"K\0\x86s"
HARMFUL = {
    "a float with a field of objects": scalar_of(
        dtype("f8", "<", names=text("a") + b"\x85", fields=FIELDS, flags=b"K\x3f"), ADDRESS
    ),
    "an object at an address": scalar_of(dtype("O"), ADDRESS),
    "an object of nothing": scalar_of(dtype("O")),
    "a structure of objects": scalar_of(dtype(b"]" + text("a") + text("O") + b"\x86a"), ADDRESS),
    "a structure whose float is said to be of objects": OWN,
    "such a structure, unpacked and hashed": AS_SET,
    "a text of NumPy at an address": scalar_of(dtype("T"), b"\xff" * 16),
    "3 GB of nothing": scalar_of(dtype("V3000000000")),
    "1.5 GB of text": scalar_of(dtype("V1500000000")),
    "many floats": scalar_of(dtype("(100000000,)f8")),
    "too few bytes": scalar_of(dtype("f8", "<"), b"A" * 4),
    "too many bytes": scalar_of(dtype("f8", "<"), b"A" * 16),
    "no bytes": scalar_of(dtype("f8", "<")),
    "a number as bytes": called(named("numpy._core.multiarray", "scalar"), dtype("f8", "<"), b"K\1"),
    "another order": scalar_of(dtype("f8", "!"), ADDRESS),
    "no order": scalar_of(dtype("f8") + b"Nb", ADDRESS),
    "a kind by its class": called(
        named("numpy._core.multiarray", "scalar"), named("numpy", "dtype"), raw(ADDRESS)
    ),
    "no kind": scalar_of(named("numpy", "dtype") + b")\x81", ADDRESS),
    "the class of a kind": called(named("numpy.dtypes", "Float64DType")),
    "an array": called(
        named("numpy._core.multiarray", "_reconstruct"), named("numpy", "ndarray"), b"K\0\x85"
    ),
}
READ = """
import resource, sys
from pathlib import Path
from tracknet.errors import TrackNetError
from tracknet.training.checkpoint_contents import read_file

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in sys.argv[1:]:
    print(path, flush=True)
    try:
        value = read_file(Path(path))["x"]
        print("read", type(value), value, hash(value))
    except TrackNetError:
        print("refused")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, "MB")
"""


def test_what_numpy_would_make_of_an_address_or_a_size_is_refused(tmp_path):
    paths = [str(crafted(tmp_path / f"{name}.pt", value)) for name, value in HARMFUL.items()]
    done = subprocess.run([sys.executable, "-c", READ, *paths], check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    *lines, grown = done.stdout.splitlines()
    assert lines == [line for path in paths for line in (path, "refused")]
    assert int(grown.split()[0]) < 200


def test_fields_that_a_file_adds_to_a_float_change_nothing(tmp_path):
    fields = b"}" + text("a") + dtype("f4", "<") + b"K\x04\x86s"
    kind = dtype("f8", "<", names=text("a") + b"\x85", fields=fields, flags=b"K\x3f")
    path = crafted(tmp_path / "a.pt", scalar_of(kind, np.float64(0.25).tobytes()))
    done = subprocess.run(
        [sys.executable, "-c", READ, str(path)], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "read <class 'numpy.float64'> 0.25" in done.stdout


def test_a_dictionary_that_hides_its_values_is_measured(tmp_path):
    content = OrderedDict(weight=torch.ones(1).expand(10**9))
    content.values = set
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(TrackNetError, match="its tensors would be 4000 MB"):
        read_file(tmp_path / "a.pt")


def test_other_names_of_numpy_stay_shut(tmp_path):
    torch.save({"value": np.ones(3)}, tmp_path / "a.pt")
    with pytest.raises(TrackNetError, match="could be code"):
        read_file(tmp_path / "a.pt")
    with pytest.raises(TrackNetError, match="could be code"):
        load_tracker(tmp_path / "a.pt")


def test_of_a_long_name_that_was_found_no_more_than_its_beginning_is_told(tmp_path):
    torch.save({"value": Touch(tmp_path / "trap")}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as old, zipfile.ZipFile(tmp_path / "b.pt", "w") as new:
        for entry in old.infolist():
            data = old.read(entry).replace(b"cio\nopen\n", b"cio\n" + b"o" * 9999 + b"\n")
            new.writestr(entry.filename, data)
    with pytest.raises(TrackNetError, match=r"values \(io\.o{97}\), which could be code"):
        read_file(tmp_path / "b.pt")


@pytest.mark.parametrize("opened", ["numpy", "omegaconf", "pathlib"])
def test_what_is_left_out_is_neither_imported_nor_called(opened, tmp_path):
    torch.save({"value": Touch(tmp_path / "trap"), "folder": Path("a")}, tmp_path / "a.pt")
    with zipfile.ZipFile(tmp_path / "a.pt") as old, zipfile.ZipFile(tmp_path / "b.pt", "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            assert entry.filename[-8:] != "data.pkl" or b"cio\nopen\n" in data
            new.writestr(entry.filename, data.replace(b"cio\nopen\n", f"c{opened}\nopen\n".encode()))
    with pytest.raises(TrackNetError, match="not a readable checkpoint: it holds "):
        read_file(tmp_path / "b.pt")
    torch.save({"folder": Path("a"), "settings": OmegaConf.create({"a": [1, None, "b"]})}, tmp_path / "c.pt")
    assert read_file(tmp_path / "c.pt") == {"folder": {}, "settings": {}}
    assert not (tmp_path / "trap").exists()


def test_weights_are_found_wherever_they_lie():
    weights = {"a": torch.ones(2)}
    for key in ("model", "model_state_dict", "model_state", "state_dict"):
        assert state_dict_of({key: weights}) == weights
    for name in ("a", "model.a", "model._orig_mod.a", "module.model.a"):
        assert state_dict_of({name: weights["a"]}) == weights
    assert state_dict_of({"module.a": weights["a"], "b": weights["a"]}).keys() == {"module.a", "b"}
    assert state_dict_of(None) == {}


def test_statistics_are_no_parameters():
    assert count_parameters(random_unet(9, 3)) == 11_330_307


def test_fields():
    found = recognise(published())
    assert isinstance(found, PublicCheckpoint)
    assert (found.family, found.epoch, found.figures) == ("TrackNet", 29, {"max_val_acc": 0.9751})


def random_hrnet(frames=3, seed=3):
    """Random weights of WASB's HRNet under the published names."""
    random = torch.Generator().manual_seed(seed)
    weights = {}

    def conv(name, channels_in, channels_out, kernel, bn):
        scale = (1 / (kernel * kernel * channels_in)) ** 0.5
        shape = (channels_out, channels_in, kernel, kernel)
        weights[f"{name}.weight"] = torch.randn(shape, generator=random) * scale
        weights[f"{bn}.weight"] = 1 + torch.randn(channels_out, generator=random) * 0.2
        weights[f"{bn}.bias"] = torch.randn(channels_out, generator=random) * 0.2
        weights[f"{bn}.running_mean"] = torch.randn(channels_out, generator=random) * 0.2
        weights[f"{bn}.running_var"] = 0.5 + torch.rand(channels_out, generator=random)
        weights[f"{bn}.num_batches_tracked"] = torch.tensor(3)

    conv("conv1", 3 * frames, 64, 3, "bn1")
    conv("conv2", 64, 64, 3, "bn2")
    conv("layer1.0.conv1", 64, 32, 1, "layer1.0.bn1")
    conv("layer1.0.conv2", 32, 32, 3, "layer1.0.bn2")
    conv("layer1.0.conv3", 32, 128, 1, "layer1.0.bn3")
    conv("layer1.0.downsample.0", 64, 128, 1, "layer1.0.downsample.1")
    width = [16, 32, 64, 128]
    conv("transition1.0.0", 128, 16, 3, "transition1.0.1")
    conv("transition1.1.0.0", 128, 32, 3, "transition1.1.0.1")
    conv("transition2.2.0.0", 32, 64, 3, "transition2.2.0.1")
    conv("transition3.3.0.0", 64, 128, 3, "transition3.3.0.1")
    for stage in (2, 3, 4):
        for i in range(stage):
            for block in range(2):
                for layer in (1, 2):
                    name = f"stage{stage}.0.branches.{i}.{block}"
                    conv(f"{name}.conv{layer}", width[i], width[i], 3, f"{name}.bn{layer}")
            for j in range(stage):
                name = f"stage{stage}.0.fuse_layers.{i}.{j}"
                if j > i:
                    conv(f"{name}.0", width[j], width[i], 1, f"{name}.1")
                for k in range(i - j):
                    last = k == i - j - 1
                    conv(f"{name}.{k}.0", width[j], width[i] if last else width[j], 3, f"{name}.{k}.1")
    weights["final_layers.0.weight"] = torch.randn((frames, 16, 1, 1), generator=random) * 0.5
    weights["final_layers.0.bias"] = torch.randn(frames, generator=random)
    return weights


def published_hrnet(w, x):
    """The forward pass of WASB as published, from the bare weights."""

    def norm(x, bn):
        mean, variance = w[f"{bn}.running_mean"], w[f"{bn}.running_var"]
        x = (x - mean[:, None, None]) / torch.sqrt(variance[:, None, None] + 1e-5)
        return x * w[f"{bn}.weight"][:, None, None] + w[f"{bn}.bias"][:, None, None]

    def conv(x, name, bn, stride=1):
        kernel = w[f"{name}.weight"]
        return norm(F.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2), bn)

    def basic(x, name):
        y = F.relu(conv(x, f"{name}.conv1", f"{name}.bn1"))
        return F.relu(conv(y, f"{name}.conv2", f"{name}.bn2") + x)

    def larger(x, times):
        return x.repeat_interleave(times, dim=2).repeat_interleave(times, dim=3)

    def stage(number, xs):
        root = f"stage{number}.0"
        xs = [basic(basic(x, f"{root}.branches.{i}.0"), f"{root}.branches.{i}.1") for i, x in enumerate(xs)]
        fused = []
        for i in range(number):
            total = 0
            for j in range(number):
                name, y = f"{root}.fuse_layers.{i}.{j}", xs[j]
                if j > i:
                    y = larger(conv(y, f"{name}.0", f"{name}.1"), 2 ** (j - i))
                for k in range(i - j):
                    y = conv(y, f"{name}.{k}.0", f"{name}.{k}.1", stride=2)
                    y = y if k == i - j - 1 else F.relu(y)
                total = total + y
            fused.append(F.relu(total))
        return fused

    x = F.relu(conv(x, "conv1", "bn1"))
    x = F.relu(conv(x, "conv2", "bn2"))
    y = F.relu(conv(x, "layer1.0.conv1", "layer1.0.bn1"))
    y = F.relu(conv(y, "layer1.0.conv2", "layer1.0.bn2"))
    y = conv(y, "layer1.0.conv3", "layer1.0.bn3")
    x = F.relu(y + conv(x, "layer1.0.downsample.0", "layer1.0.downsample.1"))
    xs = [
        F.relu(conv(x, "transition1.0.0", "transition1.0.1")),
        F.relu(conv(x, "transition1.1.0.0", "transition1.1.0.1", stride=2)),
    ]
    xs = stage(2, xs)
    xs = stage(3, [*xs, F.relu(conv(xs[-1], "transition2.2.0.0", "transition2.2.0.1", stride=2))])
    xs = stage(4, [*xs, F.relu(conv(xs[-1], "transition3.3.0.0", "transition3.3.0.1", stride=2))])
    return torch.sigmoid(F.conv2d(xs[0], w["final_layers.0.weight"], w["final_layers.0.bias"]))


def test_wasb_gives_what_the_published_formula_gives(tmp_path):
    weights = random_hrnet()
    torch.save({"model_state_dict": weights, "epoch": 30, "test_f1": None}, tmp_path / "wasb.pth.tar")
    imported = import_checkpoint(tmp_path / "wasb.pth.tar", tmp_path / "ours.ckpt")
    assert imported.told == "imported:   WASB: 3 frames of 288x512"
    tracker = load_tracker(tmp_path / "ours.ckpt")
    frames, _ = some_pictures(3)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    pictures = (frames.double() / 255 - mean[:, None, None]) / std[:, None, None]
    with torch.no_grad():
        expected = published_hrnet({k: v.double() for k, v in weights.items()}, pictures.flatten(1, 2))
        ours = tracker.network.double()(stack_frames(frames, None, "none").double()).sigmoid()
    assert expected.std() > 0.05
    assert (ours - expected).abs().max() <= 1e-5
    assert (tracker.decoder.select, tracker.decoder.centre, tracker.threshold) == ("score", "weighted", 0.5)
    assert tracker.val_metrics.preset == "wasb"
    assert type(tracker.target).__name__ == "PeakTarget"


def random_inpaintnet(seed=2):
    random = torch.Generator().manual_seed(seed)
    layers = {
        "down_1.conv": (3, 32),
        "down_2.conv": (32, 64),
        "down_3.conv": (64, 128),
        "buttleneck.conv_1.conv": (128, 256),
        "buttleneck.conv_2.conv": (256, 256),
        "up_1.conv": (384, 128),
        "up_2.conv": (192, 64),
        "up_3.conv": (96, 32),
        "predictor": (32, 2),
    }
    weights = {}
    for name, (inputs, outputs) in layers.items():
        scale = (2 / (3 * inputs)) ** 0.5
        weights[f"{name}.weight"] = torch.randn((outputs, inputs, 3), generator=random) * scale
        weights[f"{name}.bias"] = torch.randn(outputs, generator=random) * 0.3
    return weights


def published_inpaintnet(w, xy, mask):
    def layer(name, x):
        return F.leaky_relu(F.conv1d(x, w[f"{name}.weight"], w[f"{name}.bias"], padding=1), 0.01)

    x1 = layer("down_1.conv", torch.cat([xy, mask], dim=2).permute(0, 2, 1))
    x2 = layer("down_2.conv", x1)
    x3 = layer("down_3.conv", x2)
    y = layer("buttleneck.conv_2.conv", layer("buttleneck.conv_1.conv", x3))
    y = layer("up_1.conv", torch.cat([y, x3], dim=1))
    y = layer("up_2.conv", torch.cat([y, x2], dim=1))
    y = layer("up_3.conv", torch.cat([y, x1], dim=1))
    y = F.conv1d(y, w["predictor.weight"], w["predictor.bias"], padding=1)
    return torch.sigmoid(y).permute(0, 2, 1)


def test_inpaintnet_gives_what_the_published_formula_gives(tmp_path):
    weights = random_inpaintnet()
    content = {"epoch": 99, "max_val_acc": np.float64(0.9), "model": weights, "param_dict": {"seq_len": 16}}
    torch.save(content, tmp_path / "InpaintNet_best.pt")
    imported = import_checkpoint(tmp_path / "InpaintNet_best.pt", tmp_path / "ours.ckpt")
    assert imported == ("imported:   InpaintNet, which fills gaps of a trajectory", True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "InpaintNet_best.pt",
        "ours.ckpt",
        "ours.yaml",
    ]
    written = yaml.safe_load((tmp_path / "ours.yaml").read_text())
    assert written.pop("shared") is True
    network = {"class_path": "tracknet.models.inpaintnet.InpaintNet", "init_args": {}}
    settings = {"network": network, "loss": "mse"}
    assert written == {"model": {"class_path": "TrajectoryRectifier", "init_args": settings}}
    network = load_rectifier(tmp_path / "ours.ckpt")
    xy = torch.rand(2, 16, 2, generator=torch.Generator().manual_seed(1))
    mask = torch.zeros(2, 16, dtype=torch.bool)
    mask[:, 5:9] = True
    seen = ~mask
    seen[1, 12] = False
    shown = xy * seen[..., None]
    with torch.no_grad():
        expected = published_inpaintnet(weights, shown, mask[..., None].float())
        assert (network(xy, seen, mask) - expected).abs().max() <= 1e-5
    assert expected.std() > 0.05
    report = report_checkpoint(tmp_path / "ours.ckpt")
    assert "tracknet.models.inpaintnet.InpaintNet" in report
    assert "520,610" in report
    assert "tracker:" not in report
    with pytest.raises(TrackNetError, match="already; nothing to import"):
        import_checkpoint(tmp_path / "ours.ckpt", tmp_path / "again.ckpt")


@pytest.mark.parametrize("network", [MonoTrack, ResTrackNetV2])
def test_the_others_of_the_collection_are_recognised(network):
    weights = network().state_dict()
    found = recognise({"model_state_dict": weights})
    assert found.family == network.__name__
    tracker = build_tracker(found)
    assert type(tracker.network) is network
    assert all(torch.equal(tracker.network.state_dict()[name], weights[name]) for name in weights)
