"""Names in data sets of a stranger: whatever they say, files are read and written where they should be."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from lightning.pytorch import Trainer

from tracknet.data.check import check_dataset
from tracknet.data.layouts import LAYOUTS as KNOWN
from tracknet.data.packed import Pack
from tracknet.data.packed_datamodule import PackedDataModule
from tracknet.data.packed_index import INDEX
from tracknet.data.packing import Packing, PackSettings
from tracknet.data.public_datamodules import module_of
from tracknet.data.splits import Split, choose_clips
from tracknet.data.trajectory_labels import read_trajectories
from tracknet.errors import TrackNetError
from tracknet.tracking.error_analysis import ErrorAnalysis
from tracknet.tracking.writer import TrajectoryWriter
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.loggers import RunLogger

from .fuzz_packed import sealed, write_packed
from .hostile_data import LAYOUTS, LEADING_OUT, SIZE, STRANGE, write_stranger
from .inputs import say, write_tracker
from .watch import snapshot, watched


def layout_named(name):
    return next(one for one in KNOWN if one.name == name)


@pytest.fixture(scope="module")
def strangers(tmp_path_factory):
    """Gives the data set of a stranger in a layout, written once."""
    made = {}

    def give(layout):
        if layout not in made:
            made[layout] = write_stranger(tmp_path_factory.mktemp(layout), layout)
        return made[layout]

    return give


def into_check(data, layout, out, tracker):
    report = check_dataset(data.root, layout)
    (out / "report.txt").write_text(report.render(0))
    assert len(report.clips) == len(STRANGE) + 1
    assert not report.unusable


def module(data, layout, out, tracker):
    strange = [one.name for name in STRANGE for one in layout.find(data.root)[0] if name in one.name]
    (linked,) = {one.name for one in layout.find(data.root)[0]} - {*strange}
    parts = {"train": [linked], "val": strange[1:2], "test": [strange[0], strange[2]]}
    sizes = {"frames": tracker.frames, "outputs": tracker.outputs, "size": SIZE}
    return module_of(layout)(data.root, faults="mask", cache_dir=out / "cache", **parts, **sizes)


def trainer(out, callback):
    return Trainer(
        default_root_dir=out,
        accelerator="cpu",
        logger=RunLogger(out, name="", version="run"),
        callbacks=[callback],
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def into_cache(data, layout, out, tracker):
    module(data, layout, out, tracker).prepare_data()
    assert len(list(out.glob("cache/*/*/frames.npy"))) == len(STRANGE) + 1


def into_trajectories(data, layout, out, tracker):
    writer = TrajectoryWriter(out / "found")
    trainer(out, writer).predict(tracker, module(data, layout, out, tracker), return_predictions=False)
    assert len(list((out / "found").rglob("*.csv"))) == 2


def into_errors(data, layout, out, tracker):
    analysis = ErrorAnalysis(worst=2, frames=3)
    tracker.network.right = 30  # so that every frame is wrong, and there is something to show
    trainer(out, analysis).test(tracker, module(data, layout, out, tracker), verbose=False)
    assert (out / "run" / "test_frames.csv").stat().st_size > 100
    assert len(list((out / "run" / "worst").glob("*.mp4"))) == 2


def into_pack(data, layout, out, tracker):
    report = check_dataset(data.root, layout)
    chosen = [one.clip for one in report.checked]
    parts = choose_clips(chosen, Split(val=(chosen[0].name,), test=(chosen[1].name,)), 0.0)
    Packing(out / "packed", report, parts, PackSettings(SIZE, 90, 50_000, 3)).write(progress=False)
    pack = Pack(str(out / "packed"), out / "copies", 1 << 24)
    found = [clip for part in ("train", "val", "test") for clip in pack.clips(part)]
    assert {clip.name for clip in found} == {clip.name for clip in chosen}
    assert all(len(clip.cached.frames[[0]]) == 1 for clip in found)


def into_overlay(data, layout, out, tracker):
    ckpt = write_tracker(out / "bright.ckpt")
    clip = max(layout.find(data.root)[0], key=lambda one: len(one.name))
    words = ["--ckpt", ckpt, "--output", out, "--overlay", out, "--device", "cpu"]
    said = say("track", clip.video, *words)
    assert said.code == 0, said.err
    assert len(list(out.glob("*_ball.csv"))) == len(list(out.glob("*_overlay.mp4"))) == 1


def into_tables(data, layout, out, tracker):
    ckpt = write_tracker(out / "bright.ckpt")
    said = say("track", data.root, "--ckpt", ckpt, "--output", out / "many", "--device", "cpu")
    assert said.code == 0, said.err
    assert len(list((out / "many").rglob("*_ball.csv"))) >= len(STRANGE)


PLACES = [
    into_check,
    into_cache,
    into_trajectories,
    into_errors,
    into_pack,
    into_overlay,
    into_tables,
]


@pytest.mark.parametrize("place", PLACES, ids=lambda one: one.__name__)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_nothing_is_touched_but_the_data_set_and_the_folder_named(
    layout, place, strangers, bright_network, monkeypatch
):
    data = strangers(layout)
    out = data.base / "out"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    monkeypatch.chdir(out)
    before = snapshot(data.base, out)
    tracker = HeatmapTracker(bright_network(3), input_size=SIZE)
    with watched() as heard:
        place(data, layout_named(layout), out, tracker)
    assert [one for one in heard if one[1].is_relative_to(data.outside)] == []
    assert any(path.is_relative_to(data.root) for _, path in heard)
    assert snapshot(data.base, out) == before
    assert not (out / "mark").exists()
    assert not [path for path in out.rglob("*") if path.is_symlink()]


@pytest.mark.parametrize("name", LEADING_OUT)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_names_that_lead_out_on_any_system_are_refused_by_name(layout, name, tmp_path):
    data = write_stranger(tmp_path, layout, [name])
    before = snapshot(tmp_path, tmp_path / "out")
    with watched() as heard, pytest.raises(TrackNetError) as refused:
        check_dataset(data.root, layout_named(layout))
    assert name in str(refused.value)
    assert "after which files are named" in str(refused.value)
    assert [one for one in heard if one[1].is_relative_to(data.outside)] == []
    assert snapshot(tmp_path, tmp_path / "out") == before


def test_trajectories_of_a_stranger(strangers):
    data = strangers("flat")
    with watched() as heard:
        found = read_trajectories(data.root)
    assert len(found) == len(STRANGE) + 1
    assert [one for one in heard if one[1].is_relative_to(data.outside)] == []


class TestPackedData:
    """Packed data of a stranger, who can compute the digest of the index anew."""

    @pytest.fixture
    def packed(self, tmp_path):
        (tmp_path / "outside").mkdir()
        for name in ("thesis.tar", "notes.tar", "thesis.npy"):
            (tmp_path / "outside" / name).write_bytes(b"years" * 1000)
        return write_packed(tmp_path)

    @staticmethod
    def changed(packed, change):
        index = json.loads((packed / INDEX).read_bytes())
        change(index)
        (packed / INDEX).write_bytes(sealed(index))

    @pytest.mark.parametrize("copied", [False, True])
    @pytest.mark.parametrize(
        "change",
        [
            lambda index, to: index["shards"][0].update(name=f"../outside/{to}.tar"),
            lambda index, to: index["shards"][0].update(name="train-00000.tar/../../outside/thesis.tar"),
            lambda index, to: index["shards"][0].update(name="a::file:///etc/passwd"),
            lambda index, to: index["shards"][0].update(digest=f"../outside/{to}"),
            lambda index, to: index["shards"][0].update(digest=f"../outside/{to}", bytes=1 << 23),
            lambda index, to: index.update(table=f"../outside/{to}"),
            lambda index, to: index.update(table="../outside/new"),
            lambda index, to: index["clips"][0].update(name=f"../../outside/{to}"),
            lambda index, to: index["clips"][0].update(name="/outside"),
            lambda index, to: index["clips"][0].update(name="a\0b"),
            lambda index, to: index["clips"][0].update(name="x" * 300),
            lambda index, to: index["clips"][0].update(name="\ud800"),
        ],
    )
    def test_an_index_that_leads_out_is_not_opened(self, change, copied, packed, tmp_path):
        self.changed(packed, lambda index: change(index, "thesis"))
        copies = tmp_path / "copies" if copied else None
        before = snapshot(tmp_path, tmp_path / "copies")
        with watched() as heard:
            with pytest.raises(TrackNetError, match=r"index\.json: not opened: "):
                Pack(str(packed), copies, 1 << 24)
            data = PackedDataModule(str(packed), frames=3, size=(32, 48), cache_dir=copies)
            with pytest.raises(TrackNetError, match=r"index\.json: not opened: "):
                data.prepare_data()
        assert [one for one in heard if one[1].is_relative_to(tmp_path / "outside")] == []
        assert snapshot(tmp_path, tmp_path / "copies") == before

    @pytest.mark.parametrize(
        "change",
        [
            lambda index: index["clips"][0].update(frames=10**12),
            lambda index: index["clips"][0].update(rows=[0, 10**9]),
            lambda index: index["clips"][0].update(stretches=[[0, 10**12]]),
            lambda index: index["clips"][0]["background"].update({"0": [0, 1 << 40, 0]}),
            lambda index: index["clips"][0]["background"].update({"7": [0, 10, 0]}),
            lambda index: index["shards"][-1].update(stop=10**15),
            lambda index: index["settings"].update(size=[1 << 20, 1 << 20]),
            lambda index: index.update(shards=[]),
            lambda index: index.update(clips={"a": 1}),
        ],
    )
    def test_numbers_that_do_not_fit_are_told(self, change, packed):
        self.changed(packed, change)
        with pytest.raises(TrackNetError, match=r"(index\.json: not opened|frames\.npy: its rows are not)"):
            Pack(str(packed))

    def test_a_table_that_leads_beyond_the_shards(self, packed):
        from tracknet.data.shards import digest_of_file

        rows = np.load(packed / "frames.npy")
        rows["offset"][0] = 2**63
        np.save(packed / "frames.npy", rows)
        digest = digest_of_file(str(packed / "frames.npy"))
        self.changed(packed, lambda index: index.update(table=digest))
        with pytest.raises(TrackNetError, match=r"frames\.npy: its rows are not places in the shards"):
            Pack(str(packed))
