"""Fixtures shared by all rooms of the tests."""

from __future__ import annotations

import importlib.util
import logging
import os
import signal
import sys

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before PyTorch is there: processes beside each other would fight for the cores.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from tracknet.data.labels import Labels, write_labels
from tracknet.data.video import VideoWriter

# How long an example takes says how busy the machine is, and nothing else.
settings.register_profile("tracknet", deadline=None)
settings.load_profile("tracknet")

SIZE = (64, 96)
"""Height and width of the tiny rallies."""


@pytest.fixture
def grey_video(tmp_path: Path) -> Callable[[int, tuple[int, int]], Path]:
    """Give what writes a video of so many frames of one grey each, at a height and width."""

    def write(count: int, size: tuple[int, int]) -> Path:
        path = tmp_path / f"{count}.mp4"
        with VideoWriter(path, size, fps=30) as video:
            for number in range(count):
                video.write(np.full((*size, 3), number % 200, np.uint8))
        return path

    return write


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Say what ``-n auto`` means: a process may need two gigabytes."""
    return min(os.cpu_count() or 1, 4)


EXTRAS = {"backbones": ["transformers"], "lora": ["transformers", "peft"]}
"""What a test with a mark needs: the packages of the extra of this name."""


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests that are marked with an extra whose packages are missing."""
    for extra, packages in EXTRAS.items():
        for package in packages if item.get_closest_marker(extra) else []:
            pytest.importorskip(package)


@pytest.fixture(autouse=True)
def _ctrl_c_is_heard() -> None:
    """Let processes that the tests stop with Ctrl-C hear it, also where the tests run in the background.

    And after a test that has stopped a training: Lightning ignores Ctrl-C from the first one on.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _lightning_is_not_mute() -> None:
    """Give Lightning a standard error that is open: it keeps that of the test in which it was imported first.

    Python tells of each line to a closed one, with a traceback and the lines around it.
    """
    for handler in logging.getLogger("lightning").handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream.closed:
            handler.stream = sys.stderr  # `setStream` writes to the closed one before


@pytest.fixture
def plain_sigterm() -> Iterator[None]:
    """Let SIGTERM mean what it means without a measurement of coverage, whose handler ends the process."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real labelled rallies; tests that need it are skipped where it is missing."""
    root = Path(
        os.environ.get("TRACKNET_TEST_DATA", Path(__file__).resolve().parents[1].parent / "shared" / "data")
    )
    if not (root / "badminton").is_dir():
        pytest.skip(f"no real rallies under {root} (set TRACKNET_TEST_DATA)")
    return root


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep every test's frame cache out of the home folder; clips are found in it by their content alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRACKNET_CACHE", str(tmp_path_factory.mktemp("frame-cache")))
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


def draw_dot(xy: tuple[float, float], size: tuple[int, int] = SIZE, sigma: float = 1.6) -> np.ndarray:
    """A dark grey picture with a bright dot whose middle is exactly at a place; uint8 ``[h, w, 3]``."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    light = np.exp(-((columns - xy[0]) ** 2 + (rows - xy[1]) ** 2) / (2 * sigma**2))
    return np.repeat((30 + 210 * light).round().astype(np.uint8)[..., None], 3, axis=2)


def make_rally(
    folder: Path,
    name: str,
    frames: int,
    size: tuple[int, int] = SIZE,
    hidden: tuple[int, ...] = (),
    unlabelled: tuple[int, ...] = (),
    phase: float = 0.0,
    sigma: float = 1.6,
) -> Labels:
    """Write a clip ``NAME.mp4`` of a dot on a curve, and ``NAME.csv`` with exactly where it is."""
    t = np.arange(frames) / max(frames - 1, 1)
    x = size[1] * (0.12 + 0.75 * t)
    y = size[0] * (0.5 + 0.33 * np.sin(6 * t + phase))
    seen = np.ones(frames, bool)
    seen[list(hidden)] = False
    labelled = np.ones(frames, bool)
    labelled[list(unlabelled)] = False
    with VideoWriter(folder / f"{name}.mp4", size, fps=30, quality=4) as video:
        for n in range(frames):
            video.write(draw_dot((x[n], y[n]), size, sigma) if seen[n] else np.full((*size, 3), 30, np.uint8))
    labels = Labels(np.stack([x, y], axis=1).astype(np.float32), seen & labelled, labelled)
    write_labels(folder / f"{name}.csv", labels, "trajectory", size)
    return labels


@pytest.fixture(scope="session")
def tiny_rallies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four flat clips, 64x96, of 21, 19, 20 and 17 frames; some frames without a ball or without a label."""
    root = tmp_path_factory.mktemp("tiny")
    make_rally(root, "a", 21, phase=0.0, hidden=(4, 5))
    make_rally(root, "b", 19, phase=1.0)
    make_rally(root, "c", 20, phase=2.0, hidden=(0, 9), unlabelled=(12, 13))
    make_rally(root, "d", 17, phase=3.0, hidden=(16,))
    return root


@pytest.fixture(scope="session")
def write_rally() -> Callable[..., Labels]:
    """The function that writes a clip of a dot, for rallies of a test's own; see `make_rally`."""
    return make_rally


@pytest.fixture(scope="session")
def dot() -> Callable[..., np.ndarray]:
    """The function that draws one picture of a dot; see `draw_dot`."""
    return draw_dot


@pytest.fixture(scope="session")
def bright_network() -> type[Any]:
    """The class `BrightNetwork`, which finds the dot without training; importable as ``bright_network``."""
    if "bright_network" not in sys.modules:
        path = Path(__file__).with_name("bright_network.py")
        spec = importlib.util.spec_from_file_location("bright_network", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules["bright_network"] = module
        spec.loader.exec_module(module)
    found: type[Any] = sys.modules["bright_network"].BrightNetwork
    return found
