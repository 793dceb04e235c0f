"""Training from shards: which windows when, on which process, with how much disk, and again after a stop."""

from __future__ import annotations

import pickle
import threading
import time
from collections import Counter
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import chain, pairwise
from types import SimpleNamespace
from typing import ClassVar

import fsspec
import numpy as np
import pytest
import torch
from jsonargparse import dict_to_namespace
from lightning.pytorch import LightningModule, Trainer, seed_everything

from tracknet.data import shards
from tracknet.data.check import check_dataset
from tracknet.data.crops import RandomCrop
from tracknet.data.packed import Pack
from tracknet.data.packed_datamodule import PackedDataModule, ShardSampler
from tracknet.data.packing import Packing, PackSettings
from tracknet.data.shards import ShardError, chunks_at, patiently
from tracknet.data.splits import Split, choose_clips
from tracknet.errors import TrackNetError, UsageError
from tracknet.training.callbacks.mid_epoch import MidEpochCheckpoint

SIZE = (64, 96)


@pytest.fixture(scope="module")
def packed(tiny_rallies, tmp_path_factory):
    """The tiny rallies, most clips in several shards."""
    folder = tmp_path_factory.mktemp("packed")
    report = check_dataset(tiny_rallies)
    parts = choose_clips([one.clip for one in report.checked], Split(val=("c",)), 0.0)
    Packing(folder, report, parts, PackSettings(SIZE, 90, 14_000, 3)).write(progress=False)
    return folder


def sampler_of(shards, batch_size=2, processes=1, rank=0, mixed=2, epoch=0, ahead=None, taken=None):
    trainer = SimpleNamespace(world_size=processes, global_rank=rank, training=taken is not None)
    sampler = ShardSampler(range(len(shards)), batch_size, trainer, shards, mixed, ahead or (lambda _: None))
    trainer.train_dataloader = SimpleNamespace(sampler=sampler)
    trainer.fit_loop = SimpleNamespace(epoch_loop=SimpleNamespace(batch_idx=(taken or 0) - 1))
    sampler.set_epoch(epoch)
    return sampler


SHARDS = np.repeat(np.arange(7), [5, 9, 8, 3, 7, 6, 6])


# Order -----------------------------------------------------------------------------------------------


def test_windows_of_a_few_shards_are_mixed_and_each_comes_once():
    order = list(sampler_of(SHARDS))
    assert sorted(order) == list(range(len(SHARDS)))
    visits = [SHARDS[window] for window in order]
    runs = [set(visits[: visits.index(one)]) for one in dict.fromkeys(visits)]
    # When a shard begins, at most one that has begun goes on.
    for seen, one in zip(runs, dict.fromkeys(visits), strict=True):
        later = set(visits[visits.index(one) :])
        assert len(seen & later) <= 1
    assert any(a > b for a, b in pairwise(order))


def test_the_order_depends_on_seed_and_epoch_alone(monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "4")
    first = [list(sampler_of(SHARDS, epoch=epoch)) for epoch in range(3)]
    torch.manual_seed(1)
    assert first == [list(sampler_of(SHARDS, epoch=epoch)) for epoch in range(3)]
    assert len({tuple(one) for one in first}) == 3
    monkeypatch.setenv("PL_GLOBAL_SEED", "5")
    assert list(sampler_of(SHARDS)) != first[0]


def test_each_process_takes_a_run_of_shards(monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "4")
    runs = [list(sampler_of(SHARDS, processes=3, rank=rank, mixed=1)) for rank in range(3)]
    assert len({len(run) for run in runs}) == 1
    assert sorted(set(chain(*runs))) == list(range(len(SHARDS)))
    assert sum(map(len, runs)) - len(SHARDS) < 3
    read = [set(SHARDS[run].tolist()) for run in runs]
    # Two neighbours share the shard at their border at most, and the last one begins anew to be full.
    assert len(read[0] & read[1]) <= 1
    assert len(read[1] & read[2]) <= 1


@pytest.mark.parametrize("taken", [0, 1, 7, 21, 22])
def test_it_begins_where_the_trainer_is(monkeypatch, taken):
    monkeypatch.setenv("PL_GLOBAL_SEED", "4")
    whole = list(sampler_of(SHARDS))
    assert list(sampler_of(SHARDS, taken=taken)) == whole[2 * taken :]


@pytest.mark.parametrize("taken", [None, 5])
def test_shards_are_asked_for_before_their_windows(monkeypatch, taken):
    monkeypatch.setenv("PL_GLOBAL_SEED", "4")
    asked, late = set(), 0
    sampler = sampler_of(SHARDS, ahead=asked.update, taken=taken)
    seen = set()
    for window in sampler:
        assert SHARDS[window] in asked
        seen.add(SHARDS[window])
        late = max(late, len(asked - seen))
    assert 2 <= late <= 4


# Training --------------------------------------------------------------------------------------------


class Recorder(LightningModule):
    """Notes what it is given."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen = []

    def training_step(self, batch, batch_idx):
        self.seen.append({name: value.clone() for name, value in batch.items()})
        return self.weight.sum()

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def data_of(folder, **options):
    options = {"size": SIZE, "step": 2, "batch_size": 3, "mixed": 2, "background": True} | options
    return PackedDataModule(str(folder), **options)


def trained(data, folder, ckpt_path=None):
    """The batches of a run that saves its state after each step."""
    seed_everything(5, verbose=False)
    recorder = Recorder()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=2,
        logger=False,
        callbacks=[
            MidEpochCheckpoint(
                folder, "{step}", save_top_k=-1, every_n_train_steps=1, enable_version_counter=False
            )
        ],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        limit_val_batches=1,
    )
    trainer.fit(recorder, datamodule=data, ckpt_path=ckpt_path)
    return recorder.seen


@pytest.mark.parametrize(("workers", "stop", "copied"), [(0, 3, False), (2, 11, True)])
def test_a_run_stopped_inside_an_epoch_has_the_batches_that_were_due(
    packed, tmp_path, monkeypatch, workers, stop, copied
):
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    options = {"num_workers": workers, "crop": RandomCrop((48, 64))}
    if copied:
        options |= {"cache_dir": tmp_path / "copies", "disk": "100KB"}
    whole = trained(data_of(packed, **options), tmp_path)
    assert len(whole) == 18
    after = trained(data_of(packed, **options), tmp_path / "again", tmp_path / f"step={stop}.ckpt")
    for one, other in zip(after, whole[stop:], strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    if copied:
        assert sum(path.stat().st_size for path in (tmp_path / "copies").glob("*.tar")) <= 100_000


# Disk ------------------------------------------------------------------------------------------------


def copies_of(folder):
    return [path for path in folder.iterdir() if path.suffix in (".tar", ".part")]


def test_copies_keep_to_the_limit_and_the_least_used_goes(packed, tmp_path):
    exact = Pack(str(packed))
    largest = max(shard.bytes for shard in exact.shards)
    pack = Pack(str(packed), tmp_path, 3 * largest)
    assert len(pack.shards) > 5
    kept = pack.shards[0]
    for shard in pack.shards:
        rows = np.arange(shard.first, shard.stop)
        assert np.array_equal(pack.frames(rows), exact.frames(rows))
        pack.frames(np.array([kept.first]))
        assert sum(path.stat().st_size for path in copies_of(tmp_path)) <= 3 * largest
    assert pack.store.has(kept)
    assert pack.store.has(pack.shards[-1])
    assert not pack.store.has(pack.shards[1])


def test_readers_share_the_copies(packed, tmp_path):
    exact = Pack(str(packed))
    largest = max(shard.bytes for shard in exact.shards)
    expected = exact.frames(np.arange(len(exact.rows)))
    wrong, most = [], []

    def read(seed):
        pack = Pack(str(packed), tmp_path, 2 * largest)
        for row in np.random.default_rng(seed).integers(len(expected), size=40):
            if not np.array_equal(pack.frames(np.array([row]))[0], expected[row]):
                wrong.append(row)
            sizes = [0]
            for path in tmp_path.glob("*.tar"):
                try:
                    sizes.append(path.stat().st_size)
                except FileNotFoundError:
                    continue
            most.append(sum(sizes))

    readers = [threading.Thread(target=read, args=(seed,)) for seed in range(3)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    assert len(most) == 120
    assert not wrong
    assert sum(path.stat().st_size for path in copies_of(tmp_path)) <= 2 * largest
    assert not list(tmp_path.glob("*.part"))


def test_what_a_killed_copy_left_is_removed(packed, tmp_path):
    pack = Pack(str(packed), tmp_path, 10**6)
    left = tmp_path / "0123.tar.part"
    left.write_bytes(b"0" * 10**6)
    pack.frames(np.array([0]))
    assert not left.exists()


def test_a_limit_that_cannot_be_kept(packed, tmp_path):
    pack = Pack(str(packed), tmp_path, 1000)
    with pytest.raises(TrackNetError, match=r"a shard of 0.0 MB does not fit into 0.0 MB; raise the limit"):
        pack.frames(np.array([0]))
    with pytest.raises(UsageError, match=r"data.disk: 0.0 MB is too little: 1 x 2 shards of up to"):
        data_of(packed, cache_dir=tmp_path, disk="20KB").prepare_data()


def test_a_connection_that_fails_is_tried_again(packed, tmp_path, monkeypatch):
    monkeypatch.setattr("tracknet.data.shards._PAUSES", (0.0, 0.0))
    pack = Pack(str(packed), tmp_path, 10**6)
    opened, calls = fsspec.open, []

    def failing(*arguments):
        calls.append(arguments)
        if len(calls) < 3:
            raise ConnectionError("reset by peer")
        return opened(*arguments)

    monkeypatch.setattr(fsspec, "open", failing)
    assert pack.frames(np.array([0])).shape == (1, 3, *SIZE)
    assert len(calls) == 3
    calls.clear()
    failing_for_good = lambda *_: (_ for _ in ()).throw(ConnectionError("reset by peer"))  # noqa: E731
    monkeypatch.setattr(fsspec, "open", failing_for_good)
    with pytest.raises(TrackNetError, match=r"train-0\d*.tar: cannot be read: reset by peer"):
        pack.frames(np.array([len(pack.rows) // 2]))


# Addresses and settings ------------------------------------------------------------------------------


def test_data_at_an_address(packed, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKNET_CACHE", str(tmp_path))
    there = fsspec.filesystem("memory")
    for path in packed.rglob("*"):
        if path.is_file() and path.parent == packed:
            there.pipe(f"/packed/{path.name}", path.read_bytes())
    near, far = data_of(packed), data_of("memory://packed", disk="1MB")
    for data in (near, far):
        data.prepare_data()
        data.setup("validate")
    for one, other in zip(near.val_dataloader(), far.val_dataloader(), strict=True):
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert list((tmp_path / "shards").glob("*.tar"))


class Plain(SimpleHTTPRequestHandler):
    """A server as `python -m http.server` is: it gives whole files only."""

    def log_message(self, *words):
        pass


class Shaky(Plain):
    """A server that breaks off in the middle of each file, and says nothing the second time."""

    asked: ClassVar[Counter[str]] = Counter()

    def do_GET(self):
        self.asked[self.path] += 1
        if self.asked[self.path] > 2:
            super().do_GET()
        elif self.asked[self.path] == 1:
            self.send_response(200)
            self.send_header("Content-Length", "100000")
            self.end_headers()
            self.wfile.write(bytes(1000))


class Forbidding(Plain):
    """A server that lets nobody have a file."""

    def do_GET(self):
        self.send_error(403)


class Gone(Plain):
    """A server that had a file."""

    def do_GET(self):
        self.send_error(410)


class Silent(Plain):
    """A server that says nothing after the first half of a file."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2000")
        self.end_headers()
        self.wfile.write(bytes(1000))
        self.wfile.flush()
        time.sleep(1)


@contextmanager
def served(folder, handler):
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("handler", "workers"), [(Plain, 1), (Shaky, 0)])
def test_data_on_a_server(packed, tmp_path, handler, workers, monkeypatch):
    pytest.importorskip("aiohttp")
    monkeypatch.setattr("tracknet.data.shards._PAUSES", (0.0, 0.0))
    with served(packed, handler) as address:
        far = data_of(address, disk="1MB", cache_dir=tmp_path, num_workers=workers)
        near = data_of(packed)
        for data in (near, far):
            data.prepare_data()
            data.setup("fit")
        for one, other in zip(near.train_dataloader(), far.train_dataloader(), strict=True):
            assert all(torch.equal(one[name], other[name]) for name in one)
        missing = rf"{address}/none/index.json: cannot be read: (404 .*|No such file); expected packed data"
        with pytest.raises(TrackNetError, match=missing):
            data_of(f"{address}/none", cache_dir=tmp_path).prepare_data()
    with pytest.raises(TrackNetError, match=rf"{address}/index.json: cannot be read: Connect call failed"):
        data_of(address, cache_dir=tmp_path).prepare_data()


@pytest.mark.parametrize(
    ("handler", "pauses", "told"),
    [
        (Forbidding, ("never",), "403 Forbidden"),  # no sleep can be that long
        (Plain, ("never",), "404 File not found"),
        (Gone, ("never",), "410 Gone"),
        (Silent, ("never",), "the server was silent for 0.1 seconds"),
    ],
)
def test_a_server_that_refuses_or_falls_silent(tmp_path, handler, pauses, told, monkeypatch, capsys):
    pytest.importorskip("aiohttp")
    monkeypatch.setattr("tracknet.data.shards._PAUSES", pauses)
    monkeypatch.setattr("tracknet.data.shards._SILENCE", 0.1)
    with served(tmp_path, handler) as address, pytest.raises(ShardError) as caught:
        patiently(lambda: list(chunks_at(f"{address}/train-00000.tar")))
    message = f"{address}/train-00000.tar: cannot be read: {told}"
    assert str(caught.value) == message
    assert capsys.readouterr().err == ("" if handler is not Silent else f"note: {message}; trying again\n")


def test_a_large_file_on_a_server_without_parts(tmp_path):
    pytest.importorskip("aiohttp")
    content = bytes(range(256)) * 30_000  # more than the blocks that fsspec would ask for
    (tmp_path / "large").write_bytes(content)
    with served(tmp_path, Plain) as address:
        assert b"".join(chunks_at(f"{address}/large")) == content


def test_only_the_address_travels_to_another_process(packed):
    data = data_of(packed)
    data.setup("fit")
    dataset = data.train_dataloader().dataset
    content = pickle.dumps(dataset.clips)
    assert len(content) < 20_000
    again = pickle.loads(content)
    assert np.array_equal(again[0].cached.frames[3], dataset.clips[0].cached.frames[3])
    assert np.array_equal(np.array(again[0].cached.background), np.array(dataset.clips[0].cached.background))


def test_settings_that_do_not_fit(packed, tmp_path):
    with pytest.raises(
        UsageError,
        match=r"packed at 64x96 .* takes 32x48; take .*'\[64,96\]', or pack .* --size 32 48",
    ):
        data_of(packed, size=(32, 48)).prepare_data()
    with pytest.raises(UsageError, match=r"data\.disk lots: expected a size"):
        data_of(packed, disk="lots")
    with pytest.raises(TrackNetError, match=r"index.json: cannot be read: No such file.*tracknet data pack"):
        data_of(tmp_path).prepare_data()
    with pytest.raises(TrackNetError, match=r"memory://nowhere/index.json: cannot be read"):
        data_of("memory://nowhere").prepare_data()


def test_settings_are_compared_with_clips_before_anything_is_built(packed, tmp_path):
    def faults(root, frames):
        network = {"init_args": {"network": {"init_args": {"frames": frames}}}}
        data = {"init_args": {"root": str(root), "step": 1, "batch_size": 4}}
        return list(
            PackedDataModule.check_config("data", dict_to_namespace({"model": network, "data": data}))
        )

    assert faults(packed, 3) == []
    assert faults(packed, 50)[0] == (
        "model.init_args.network.init_args.frames",
        "windows of 50 frames, and the longest of 4 clips has 21",
    )
    assert faults(tmp_path, 50) == []


def test_a_part_that_was_not_packed(tiny_rallies, tmp_path):
    report = check_dataset(tiny_rallies)
    parts = {"train": [one.clip for one in report.checked], "val": [], "test": []}
    Packing(tmp_path, report, parts, PackSettings(SIZE, 90, 10**9, 3)).write(progress=False)
    data = data_of(tmp_path)
    with pytest.raises(TrackNetError, match="packed without clips for val; pack again with --val, or"):
        data.setup("fit")


@pytest.mark.parametrize("name", ["shard", "frames.npy"])
def test_a_file_that_is_longer_than_told_is_not_copied_to_its_end(packed, tmp_path, name, monkeypatch):
    pack = Pack(str(packed))
    name = pack.shards[0].name if name == "shard" else name
    longer = tmp_path / "longer"
    longer.mkdir()
    for path in packed.iterdir():
        (longer / path.name).symlink_to(path)
    (longer / name).unlink()
    with (longer / name).open("wb") as file:
        file.write((packed / name).read_bytes())
        file.truncate(1 << 26)
    read = []
    plain = shards.chunks_at

    def counted(address):
        for chunk in plain(address):
            read.append(len(chunk) if address.endswith(name) else 0)
            yield chunk

    monkeypatch.setattr(shards, "chunks_at", counted)
    monkeypatch.setattr(shards, "_PAUSES", ())
    with pytest.raises(TrackNetError, match=rf"{name}: damaged: it is longer than"):
        Pack(str(longer), tmp_path / "copies", 1 << 20).clips("train")[0].cached.frames[0]
    assert sum(read) <= 1 << 21
    left = [path for path in (tmp_path / "copies").iterdir() if path.suffix in (".part", ".tar")]
    assert left == []
    assert len(list((tmp_path / "copies").glob("*.npy"))) == (name != "frames.npy")
