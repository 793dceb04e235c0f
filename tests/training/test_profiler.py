"""The callback Profile: verdicts, phases, operations, page and file, through the real Trainer."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.profilers import PassThroughProfiler, SimpleProfiler
from torch import nn
from torch.utils.data import DataLoader, Dataset, IterableDataset
from torch.utils.flop_counter import FlopCounterMode

from tracknet.data.datamodules import FlatVideoDataModule
from tracknet.errors import TrackNetError, UsageError
from tracknet.models import CompactTrackNet
from tracknet.training.callbacks import Profile, profiler
from tracknet.training.lightning_module import HeatmapTracker
from tracknet.training.profiling import measures, phases
from tracknet.training.profiling.comparison import compare
from tracknet.training.profiling.page import page_of
from tracknet.training.profiling.phases import PHASES, PhaseClock, phase_of
from tracknet.training.profiling.results import Operator, Profiled, read_profile, write_profile

SIZE = (64, 96)


@pytest.fixture(autouse=True)
def _short_peak(monkeypatch):
    """The machine's peak from one product of a size: it is no matter of these tests."""
    monkeypatch.setattr(
        profiler, "measure_peak", lambda device, dtype: measures.measure_peak(device, dtype, 0)
    )


class Sleeping(Dataset):
    """Pictures of noise, each after a while."""

    def __init__(self, seconds, size=8, length=400):
        self.seconds, self.size, self.length = seconds, size, length

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        time.sleep(self.seconds)
        return torch.full((2, self.size, self.size), float(index % 7))


class Data(LightningDataModule):
    """The pictures as a data module whose workers can be set."""

    def __init__(self, dataset, batch_size=2, num_workers=0):
        super().__init__()
        self.dataset, self.batch_size, self.num_workers = dataset, batch_size, num_workers

    def train_dataloader(self):
        return DataLoader(self.dataset, self.batch_size, num_workers=self.num_workers)


class Net(LightningModule):
    """A convolution 3x3 of some channels, and a linear layer over them; sleeps in its step if told to."""

    def __init__(self, channels=3, sleep=0.0):
        super().__init__()
        self.conv = nn.Conv2d(2, channels, 3, padding=1, bias=False)
        self.linear = nn.Linear(channels, 5, bias=False)
        self.sleep = sleep
        self.modes = []

    def training_step(self, batch, batch_idx):
        time.sleep(self.sleep)
        self.modes.append((torch.is_grad_enabled(), type(self.trainer.profiler).__name__))
        return self.linear(self.conv(batch).mean((2, 3))).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.001)


class Calls(HTMLParser):
    """Tags, text of the page, and whatever would fetch something."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.fetches, self.open = [], "", [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag != "meta":
            self.open.append(tag)
        self.fetches += [
            value for name, value in attributes if name in ("src", "href", "xlink:href", "action")
        ]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


def fit(folder, module, data, *callbacks, **options):
    trainer = Trainer(
        **{
            "default_root_dir": folder,
            "accelerator": "cpu",
            "devices": 1,
            "max_epochs": 1,
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "enable_checkpointing": False,
            "callbacks": list(callbacks),
        }
        | options
    )
    trainer.fit(module, datamodule=data)
    return trainer


def short(**options):
    return Profile(**{"start_step": 1, "steps": 3, "trace_steps": 1, "stop": True} | options)


def made(**changes):
    """A profile of round figures: 4 windows in 100 ms, 20 of which wait for data."""
    times = dict.fromkeys(PHASES, 0.0) | {"data_wait": 0.02, "forward": 0.02, "backward": 0.05, "loop": 0.01}
    return replace(
        Profiled(
            run="runs/a",
            device="a machine",
            accelerator="cpu",
            cores=4,
            threads=4,
            torch="2",
            precision="32-true",
            network="Net",
            parameters=12,
            windows=4,
            num_workers=0,
            workers_key="data.init_args.num_workers",
            first_step=10,
            step_seconds=[0.1, 0.1],
            phases=times,
            loader_rate=200.0,
            forward_flops=1_000_000,
            backward_flops=2_500_000,
            peak_flops=100e6,
        ),
        **changes,
    )


def test_a_loader_that_sleeps_bounds_the_training(tmp_path, capsys):
    profile = short()
    trainer = fit(tmp_path, Net(), Data(Sleeping(0.1)), profile)
    found = read_profile(tmp_path)
    assert found == profile.profiled
    assert found.bound == "data-bound"
    # 100 ms a window, one after the other.
    assert found.loader_rate <= 10
    assert found.phases["data_wait"] >= 0.2
    assert "data-bound: the loader delivers " in found.verdict
    assert "; try data.init_args.num_workers " in found.verdict
    assert trainer.global_step == profile.needed_steps
    printed = capsys.readouterr().out
    assert found.verdict in printed
    assert f"profile: {tmp_path / 'profile' / 'profile.html'}" in printed


def test_a_network_that_takes_its_time_bounds_the_training(tmp_path):
    fit(tmp_path, Net(sleep=0.15), Data(Sleeping(0.0)), short())
    found = read_profile(tmp_path / "profile" / "profile.json")
    assert found.bound == "compute-bound"
    assert found.phases["forward"] >= 0.15
    assert found.verdict.startswith("compute-bound: the network takes ")
    assert "of the peak measured on this machine" in found.verdict


def test_a_callback_that_takes_its_time_bounds_the_training(tmp_path):
    class Slow(Callback):
        def on_train_batch_end(self, *args):
            time.sleep(0.15)

    fit(tmp_path, Net(), Data(Sleeping(0.0)), short(), Slow())
    found = read_profile(tmp_path)
    assert found.bound == "callback-bound"
    assert found.phases["callbacks"] >= 0.15
    assert "of each step goes into callbacks and hooks; look at trainer.callbacks" in found.verdict


def test_operations_are_those_counted_by_hand(tmp_path):
    fit(tmp_path, Net(channels=3), Data(Sleeping(0.0), batch_size=2), short())
    found = read_profile(tmp_path)
    conv = 2 * (2 * 8 * 8) * 3 * (2 * 3 * 3)
    linear = 2 * 2 * 3 * 5
    assert found.forward_flops == conv + linear
    # The gradients of the weights, and that of the linear layer's input; none for the pictures.
    assert found.backward_flops == conv + 2 * linear
    assert found.peak_flops > 0
    assert (found.windows, found.parameters, found.epoch_steps) == (2, 3 * 18 + 15, 200)


def test_before_and_after_nothing_watches(tmp_path):
    net, profile = Net(), short(stop=False)
    trainer = fit(tmp_path, net, Data(Sleeping(0.0)), profile, limit_train_batches=profile.needed_steps + 3)
    watched = [name for _, name in net.modes]
    assert watched == ["PassThroughProfiler"] * 4 + ["PhaseClock"] * 3 + ["PassThroughProfiler"] * 6
    assert isinstance(trainer.profiler, PassThroughProfiler)
    assert profile._recording is None
    assert not torch.utils._python_dispatch._get_current_dispatch_mode_stack()


def test_the_random_state_is_that_of_a_training_without(tmp_path):
    def drawn(*callbacks):
        class Drawing(Net):
            def training_step(self, batch, batch_idx):
                draws.append(float(torch.rand(())))
                return super().training_step(batch, batch_idx)

        draws = []
        torch.manual_seed(3)
        fit(tmp_path, Drawing(), Data(Sleeping(0.0)), *callbacks, limit_train_batches=15)
        return draws

    assert drawn(short(stop=False)) == drawn()


def test_steps_about_epochs_and_validations_do_not_count(tmp_path):
    class Validated(Data):
        def val_dataloader(self):
            return DataLoader(Sleeping(0.05, length=6), 2)

    class Both(Net):
        def validation_step(self, batch, batch_idx):
            pass

    trainer = fit(tmp_path, Both(), Validated(Sleeping(0.0)), short(), max_epochs=6, limit_train_batches=3)
    found = read_profile(tmp_path)
    # 1 to wait; of 2 in 3 that count: 4 as they are, 4 by phases (one passed over in each), 2 for operations;
    # then 2 traced.
    assert trainer.global_step == 13
    assert (len(found.step_seconds), found.traced_steps) == (3, 1)
    assert found.validation_seconds >= 0.3
    assert 0 < found.validation_share < 1
    assert "A validation took" in (tmp_path / "profile" / "profile.html").read_text()


def test_a_validation_after_the_profile_is_added_to_it(tmp_path):
    class Validated(Data):
        def val_dataloader(self):
            return DataLoader(Sleeping(0.05, length=4), 2)

    class Both(Net):
        def validation_step(self, batch, batch_idx):
            pass

    fit(tmp_path, Both(), Validated(Sleeping(0.0)), short(stop=False), limit_train_batches=14)
    assert read_profile(tmp_path).validation_seconds >= 0.2


def test_too_short_a_training_says_so(tmp_path):
    with pytest.warns(UserWarning, match="nothing measured.*takes 28 steps"):
        fit(tmp_path, Net(), Data(Sleeping(0.0)), Profile(steps=5, start_step=10, trace_steps=6), max_steps=4)
    assert not (tmp_path / "profile").exists()


def test_what_was_measured_before_the_end_is_written(tmp_path):
    fit(tmp_path, Net(), Data(Sleeping(0.0)), short(), max_steps=6)
    found = read_profile(tmp_path)
    assert (len(found.step_seconds), found.flops, found.utilisation, found.operators) == (3, None, None, [])
    page = (tmp_path / "profile" / "profile.html").read_text()
    assert "The training ended before a step was traced." in page


@pytest.mark.parametrize("at", [5, 7, 9])
def test_a_failure_leaves_nothing_that_watches(tmp_path, at):
    class Failing(Net):
        def training_step(self, batch, batch_idx):
            if batch_idx == at:
                raise RuntimeError("broken")
            return super().training_step(batch, batch_idx)

    net, profile = Failing(), short()
    with pytest.raises(RuntimeError, match="broken"):
        fit(tmp_path, net, Data(Sleeping(0.0)), profile)
    assert not torch.utils._python_dispatch._get_current_dispatch_mode_stack()
    assert isinstance(net.trainer.profiler, PassThroughProfiler)
    assert not torch.autograd.profiler._is_profiler_enabled
    assert not (tmp_path / "profile").exists()


def test_two_users_of_torchs_profiler_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"trainer\.profiler"):
        fit(tmp_path, Net(), Data(Sleeping(0.0)), short(), profiler="pytorch")


def test_one_of_several_processes_is_not_stopped():
    trainer = SimpleNamespace(world_size=2, profiler=PassThroughProfiler())
    with pytest.raises(UsageError, match=r"trainer\.devices to 1"):
        Profile(stop=True).setup(trainer, Net(), "fit")
    Profile().setup(trainer, Net(), "fit")


def test_epochs_too_short_to_be_measured_are_given_up(tmp_path):
    with pytest.warns(UserWarning, match="nothing measured"):
        trainer = fit(tmp_path, Net(), Data(Sleeping(0.0, length=2)), short(), max_epochs=50)
    assert trainer.current_epoch == 1


def test_lightnings_simple_profiler_goes_on_counting(tmp_path):
    counts = SimpleProfiler(dirpath=tmp_path, filename="simple")
    fit(tmp_path, Net(), Data(Sleeping(0.0)), short(stop=False), profiler=counts, limit_train_batches=14)
    times = counts.recorded_durations
    assert len(times["[Strategy]SingleDeviceStrategy.backward"]) == 14
    assert len(times["[_TrainingEpochLoop].train_dataloader_next"]) == 14


def test_a_tracker_is_told_apart_by_phases_and_its_page_stands_alone(tiny_rallies, tmp_path):
    network = CompactTrackNet(frames=4, background="none", stem=4, widths=[8, 8, 8])

    class Trained(HeatmapTracker):
        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.01)

    tracker = Trained(network, input_size=SIZE)
    data = FlatVideoDataModule(tiny_rallies, val=["c"], batch_size=2, frames=4, outputs=4, size=SIZE)
    folder = tmp_path / "<script>alert(1)</script>&"
    fit(tmp_path, tracker, data, short(folder=folder), limit_val_batches=0)
    found = read_profile(folder)
    assert found.network == "CompactTrackNet"
    assert found.phases["targets"] > 0
    with FlopCounterMode(display=False) as counter:
        network(torch.zeros(2, 12, *SIZE))
    assert found.forward_flops == counter.get_total_flops()
    assert {"aten::convolution_backward"} <= {one.name for one in found.operators}
    assert found.memory["host resident"] > 2**20
    times = [t for t, _ in found.timeline["host"]]
    assert times == sorted(times)
    assert max(size for _, size in found.timeline["host"]) > 2 * 4 * 3 * SIZE[0] * SIZE[1]
    events = json.loads((folder / "trace.json").read_text())["traceEvents"]
    assert any(event.get("name") == "aten::convolution_backward" for event in events)
    page = (folder / "profile.html").read_text()
    shown = Calls(page)
    assert shown.open == []
    assert shown.fetches == []
    assert "http" not in page
    assert "url(" not in page
    assert not {"script", "link", "img", "iframe"} & set(shown.tags)
    assert "<script>alert(1)</script>&" in shown.text
    assert found.verdict in shown.text
    assert all(told in shown.text for told in PHASES.values())
    assert shown.tags.count("svg") == 4


# What a profile says -----------------------------------------------------------------------------------


def test_figures_by_hand():
    profile = made(validation_seconds=1.0, epoch_steps=10)
    assert profile.step == pytest.approx(0.1)
    assert profile.training_rate == pytest.approx(40)
    assert profile.network_rate == pytest.approx(50)
    assert profile.utilisation == pytest.approx(3.5e6 / 0.07 / 100e6)
    assert profile.validation_share == pytest.approx(0.5)
    assert profile.share("data_wait", "forward") == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {},
            "compute-bound: the network takes 50 windows/s, the loader delivers 200; forward and backward "
            "reach 50 % of the peak measured on this machine; a smaller network or input_size is faster",
        ),
        (
            {"loader_rate": 40.0},
            "data-bound: the loader delivers 40 windows/s, the network takes 50; "
            "try data.init_args.num_workers 2",
        ),
        (
            {"loader_rate": 41.0, "num_workers": 2, "accelerator": "cuda"},
            "data-bound: the loader delivers 41 windows/s, the network takes 50; "
            "try data.init_args.num_workers 3",
        ),
        (
            {"loader_rate": 5.1},
            "data-bound: the loader delivers 5.1 windows/s, the network takes 50; try "
            "data.init_args.num_workers 3 (it takes some 12, for which this machine has too few cores)",
        ),
        (
            {"loader_rate": 5.0, "num_workers": 3},
            "data-bound: the loader delivers 5 windows/s, the network takes 50; 3 processes load on 4 cores "
            "already: make a window cheaper to read",
        ),
        (
            {"loader_rate": 5.0, "num_workers": None},
            "data-bound: the loader delivers 5 windows/s, the network takes 50; 20 % of each "
            "step waits for data",
        ),
        (
            {"loader_rate": None, "phases": made().phases | {"data_wait": 0.12}},
            "data-bound: 60 % of each step waits for data; the network would take 50 windows/s",
        ),
        (
            {"phases": made().phases | {"data_wait": 0.12}, "loader_rate": 60.0},
            "data-bound: the loader delivers 60 windows/s, the network takes 50, but 60 % of each step waits "
            "for data; try data.init_args.num_workers 1",
        ),
        (
            {"phases": made().phases | {"augmentation": 0.3}},
            "preparation-bound: the network takes 11 windows/s, the loader delivers 200, but 75 % of each "
            "step goes into crops and augmentation; look at data.init_args.augmentation and "
            "data.init_args.crop",
        ),
        (
            {"accelerator": "cuda"},
            "compute-bound: the network takes 50 windows/s, the loader delivers 200; forward and backward "
            "reach 50 % of the peak measured on this machine; try trainer.precision bf16-mixed",
        ),
        (
            {"peak_flops": 1e9, "loader_rate": None},
            "compute-bound: the network takes 50 windows/s; forward and backward reach 5 % of the peak "
            "measured on this machine; a larger data.init_args.batch_size may help; the operators on the "
            "page say what takes the time",
        ),
        ({"peak_flops": None}, "compute-bound: the network takes 50 windows/s, the loader delivers 200"),
    ],
)
def test_verdicts(changes, expected):
    assert made(**changes).verdict == expected


def test_the_comparison_by_hand():
    a = made(memory={"host resident": 2**30})
    b = made(
        run="runs/b",
        phases=a.phases | {"data_wait": 0.0, "loop": 0.03},
        loader_rate=None,
        num_workers=4,
        memory={"host resident": 3 * 2**30},
    )
    lines = [" ".join(line.split()) for line in compare(a, b).splitlines()]
    assert "A B B to A" in lines
    assert "loader alone, windows/s 200 -" in lines
    assert "step 100.0 ms 100.0 ms +0 %" in lines
    assert "network alone, windows/s 50 40 -20 %" in lines
    assert "waiting for the loader 20.0 ms 0.00 ms x0.00" in lines
    assert "loggers and Lightning's loop 10.0 ms 30.0 ms x3.00" in lines
    assert "host resident, peak 1.00 GiB 3.00 GiB x3.00" in lines
    assert "num_workers 0 4" in lines
    assert not any(line.startswith(("precision", "validation")) for line in lines)
    assert lines[-2] == f"A: runs/a: {a.verdict}"
    assert lines[-1] == f"B: runs/b: {b.verdict}"


def test_hostile_names_are_shown_as_they_are():
    name = "<img src=x onerror=alert(1)>\"'&"
    profile = made(
        run=name,
        device=name,
        network=name,
        precision=name,
        torch=name,
        workers_key=name,
        loader_rate=1.0,
        memory={name: 1},
        timeline={name: [(0.0, 1)]},
        operators=[Operator(name, 1, 0.1, 0.2, 3)],
    )
    shown = Calls(page_of(profile))
    assert "img" not in shown.tags
    assert shown.text.count(name) == 10
    assert "device" in shown.text


def test_a_file_is_read_back_and_others_are_refused(tmp_path):
    profile = made(timeline={"host": [(0.0, 1), (0.5, 2)]}, operators=[Operator("a", 1, 0.1, 0.2, 3)])
    path = tmp_path / "run" / "profile" / "profile.json"
    write_profile(profile, path)
    assert read_profile(tmp_path / "run") == read_profile(path.parent) == read_profile(path) == profile
    values = json.loads(path.read_text())
    assert (values["bound"], values["verdict"]) == ("compute-bound", profile.verdict)
    with pytest.raises(UsageError, match=r"no profile\.json there"):
        read_profile(tmp_path)
    path.write_text(json.dumps(values | {"format": 2}))
    with pytest.raises(TrackNetError, match="format 2, expected 1"):
        read_profile(path)
    for wrong in ("{", "[]", '{"format": 1}', json.dumps(values | {"phases": {"a": 1}})):
        path.write_text(wrong)
        with pytest.raises(TrackNetError, match="no profile"):
            read_profile(path)


# What it measures with ---------------------------------------------------------------------------------


def test_each_second_is_in_one_phase_only(monkeypatch):
    now = iter([0.0, 1.0, 3.0, 6.0, 10.0, 15.0, 21.0])
    monkeypatch.setattr(phases.time, "perf_counter", lambda: next(now))
    clock = PhaseClock(PassThroughProfiler(), torch.device("cpu"))
    clock.begin()
    clock.start("[LightningModule]A.optimizer_step")  # 0 to 1: the loop
    clock.start("[Strategy]S.training_step")  # 1 to 3: the optimizer
    clock.start("an action of one's own")  # 3 to 6: the forward
    clock.stop("an action of one's own")  # 6 to 10: the forward, in which it lies
    clock.stop("[Strategy]S.training_step")  # 10 to 15: the forward
    clock.stop("what began before the clock")
    lap = clock.lap()  # 15 to 21: the optimizer
    assert {name: seconds for name, seconds in lap.items() if seconds} == {
        "loop": 1.0,
        "optimizer": 8.0,
        "forward": 12.0,
    }


def test_phases_of_lightnings_actions():
    named = {
        "[_TrainingEpochLoop].train_dataloader_next": "data_wait",
        "[Strategy]SingleDeviceStrategy.batch_to_device": "transfer",
        "[LightningModule]HeatmapTracker.transfer_batch_to_device": "transfer",
        "[LightningModule]HeatmapTracker.on_before_batch_transfer": "augmentation",
        "[LightningModule]HeatmapTracker.optimizer_zero_grad": "optimizer",
        "[LightningModule]HeatmapTracker.configure_gradient_clipping": "optimizer",
        "[Callback]ModelCheckpoint{'monitor': 'x'}.on_train_batch_end": "callbacks",
        "[LightningModule]HeatmapTracker.on_train_batch_start": "callbacks",
        "run_training_batch": "loop",
        "save_checkpoint": None,
    }
    assert {action: phase_of(action) for action in named} == named


class Endless(IterableDataset):
    def __iter__(self):
        while True:
            yield torch.zeros(3)


@pytest.mark.parametrize(
    "loader",
    [
        DataLoader(Sleeping(0.0, length=3), 2, drop_last=True),
        DataLoader(Endless(), 2),
        DataLoader(Sleeping(0.0), batch_sampler=[[0, 1], [2, 3], [4, 5]]),
        DataLoader(Sleeping(0.0, length=8), 2, num_workers=1),
    ],
)
def test_loaders_that_can_be_measured(loader):
    assert measures.loader_rate(loader, 2) > 0


def test_loaders_that_cannot():
    assert measures.loader_rate([torch.zeros(2, 3)], 2) is None
    assert measures.loader_rate(DataLoader(Sleeping(0.0), batch_sampler=[]), 2) is None


def test_the_measured_loader_is_not_the_one_in_use():
    loader = DataLoader(Sleeping(0.0, length=6), 2)
    half = iter(loader)
    next(half)
    measures.loader_rate(loader, 2)
    assert len(list(half)) == 2


def test_a_slow_loader_is_given_up_in_time(monkeypatch):
    monkeypatch.setattr(measures, "LOADER_SECONDS", 0.0)
    taken = []

    class Counted(Sleeping):
        def __getitem__(self, index):
            taken.append(index)
            return super().__getitem__(index)

    assert measures.loader_rate(DataLoader(Counted(0.001), 2), 50) > 0
    assert len(taken) == 4


def test_precisions():
    assert [measures.dtype_of(name) for name in ("16-mixed", "bf16-true", "32-true", "64-true")] == [
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.float64,
    ]
