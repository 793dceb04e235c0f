"""Worker processes: what each takes of the machine."""

from __future__ import annotations

import os

import pytest

from tracknet.cli import processes


@pytest.mark.parametrize(
    ("cards", "named", "taken"),
    [
        (3, None, ["0", "1", "2", "0"]),
        (2, "5,7", ["5", "7", "5", "7"]),
        (1, "4", ["4"] * 4),
        (0, None, [None] * 4),
    ],
)
def test_workers_share_the_gpus_in_turn(monkeypatch, cards, named, taken):
    threads = []
    monkeypatch.setattr("torch.cuda.device_count", lambda: cards)
    monkeypatch.setattr("torch.set_num_threads", threads.append)
    monkeypatch.setattr(processes, "usable_cores", lambda: 10)
    for place, card in enumerate(taken):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if named:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
        processes.take_share(place, 4)
        assert os.environ.get("CUDA_VISIBLE_DEVICES") == card
    assert threads == [2] * 4
    processes.take_share(0, 16)
    assert threads[-1] == 1
