"""Networks through torch.compile: the same results, compiled when it is worth it, and breaks are told."""

from __future__ import annotations

import copy
import shutil

import pytest
import torch
from torch import nn
from torch._inductor.exc import InvalidCxxCompiler

from tracknet.errors import TrackNetError
from tracknet.models import CompactTrackNet
from tracknet.models.compiling import compile_network, compile_windows, run_as_written

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler here"),
]


@pytest.fixture(autouse=True)
def _from_the_start():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def test_the_same_heatmaps_from_one_graph():
    torch.manual_seed(0)
    network = CompactTrackNet(frames=2, stem=4, widths=(8, 8, 8)).eval()
    x = network.stack(torch.rand(1, 2, 3, 32, 48), torch.rand(1, 3, 32, 48))
    told = []
    with torch.inference_mode():
        expected = network(x)
        compile_network(network, told.append, after=3)
        assert [torch.equal(network(x), expected) for _ in range(2)] == [True, True]
        assert told == []
        for _ in range(2):
            torch.testing.assert_close(network(x), expected)
        assert len(told) == 1
        assert told[0].startswith("compiled for ")
        assert told[0].endswith(" s: 1 graph, 0 breaks")
        for _ in range(4):  # the end of each of several videos
            network(x[..., :16, :])
            network(x)
        assert len(told) == 1
        assert copy.deepcopy(network)._compiled_call_impl is None
        run_as_written(network)
        assert torch.equal(network(x), expected)


def test_windows_that_share_frames():
    torch.manual_seed(0)
    network = CompactTrackNet(frames=2, stem=4, widths=(8, 8, 8)).eval()
    told = []
    with torch.inference_mode():
        seen = network.frame_features(torch.rand(3, 3, 32, 48), torch.rand(3, 32, 48))
        windows = tuple(torch.stack([one[:2], one[1:]]) for one in seen)
        expected = network.window_logits(windows, 1)
        compile_windows(network, told.append, after=2)
        for _ in range(3):
            torch.testing.assert_close(network.window_logits(windows, 1), expected)
    assert len(told) == 1
    assert told[0].endswith(" s: 1 graph, 0 breaks")


def test_other_numbers_of_newest_frames_are_not_compiled_before_they_come_in_a_row():
    network = CompactTrackNet(frames=3, background="none", stem=4, widths=(8, 8, 8)).eval()
    told = []
    with torch.inference_mode():
        windows = tuple(one[None] for one in network.frame_features(torch.rand(3, 3, 32, 48)))
        compile_windows(network, told.append, after=2)
        graphs = []
        for newest in (1, 1, 2, 1, 3):
            network.window_logits(windows, newest)
            graphs.append(torch._dynamo.utils.counters["stats"]["unique_graphs"])
    assert len(told) == len(set(graphs[1:])) == 1


class Halting(nn.Module):
    def forward(self, x):
        if x.sum() > 0:
            return x * 2
        return x


def test_breaks_are_told():
    network, told = Halting(), []
    compile_network(network, told.append, after=1)
    assert network(torch.ones(2)).tolist() == [2, 2]
    assert ": 2 graphs, 1 break: " in told[0]
    assert "data-dependent" in told[0].lower()


def test_without_a_compiler(monkeypatch):
    def none(search):
        raise InvalidCxxCompiler

    monkeypatch.setattr(torch._inductor.cpp_builder, "cpp_compiler_search", none)
    network = CompactTrackNet(frames=2, stem=4, widths=(8, 8, 8))
    compile_network(network, print, after=1)
    patched = torch._inductor.config.patch(force_disable_caches=True, compile_threads=1)
    wrong = r"cannot compile this network here .*InvalidCxxCompiler.* C\+\+ compiler such as g\+\+"
    with patched, pytest.raises(TrackNetError, match=wrong):
        network(network.stack(torch.rand(1, 2, 3, 32, 48), torch.rand(1, 3, 32, 48)))
