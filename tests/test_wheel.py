"""The wheel: what is in it, and that it works where the checkout is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.slow


def run(*words, folder, **environment):
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**kept, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy, so that nothing left over from another build gets in."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("tracknet", "configs", "tests"):
        skipped = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=skipped)
    for name in ("pyproject.toml", "setup.cfg", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / "source")
    # The tools that build are taken from here where they are, so that no network is needed.
    words = ["-m", "pip", "wheel", ".", "--no-deps", "--quiet", "--wheel-dir", str(folder)]
    done = run(*words, "--no-build-isolation", folder=folder / "source")
    if done.returncode:
        done = run(*words, folder=folder / "source")
    assert done.returncode == 0, done.stderr
    (found,) = folder.glob("tracknet-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    words = ["-m", "pip", "install", "--no-deps", "--quiet", "--target", str(folder), str(wheel)]
    done = run(*words, folder=folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_what_is_in_it(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "tracknet").rglob("*.py")}
    configs = {path.relative_to(ROOT / "configs").as_posix() for path in (ROOT / "configs").rglob("*.yaml")}
    assert "base.yaml" in configs
    assert "tracknet/cli/main.py" in modules
    packaged = {f"tracknet/configs/yaml/{name}" for name in configs}
    packaged |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "tracknet").rglob("*.yaml")}
    assert {name for name in names if ".dist-info/" not in name} == {*modules, *packaged, "tracknet/py.typed"}


def test_what_it_says_of_itself(wheel):
    with zipfile.ZipFile(wheel) as content:
        (metadata,) = (name for name in content.namelist() if name.endswith(".dist-info/METADATA"))
        (entries,) = (name for name in content.namelist() if name.endswith(".dist-info/entry_points.txt"))
        assert "tracknet = tracknet.cli.main:run" in content.read(entries).decode()
        said = content.read(metadata).decode()
    assert "Requires-Python: >=3.10" in said
    assert "Requires-Dist: lightning" in said
    assert "\n# tracknet\n" in said


def test_it_works_without_the_checkout(installed, tmp_path):
    where = run("-c", "import tracknet; print(tracknet.__file__)", folder=tmp_path, PYTHONPATH=str(installed))
    assert where.stdout == f"{installed / 'tracknet' / '__init__.py'}\n"
    words = ["--config", "configs/base.yaml", "--config", "configs/env/cluster.yaml", "--print_config"]
    done = run("-m", "tracknet", "fit", *words, folder=tmp_path, PYTHONPATH=str(installed))
    assert done.returncode == 0, done.stderr
    config = yaml.safe_load(done.stdout)
    assert config["trainer"]["strategy"] == "ddp"
    assert config["model"]["class_path"] == "tracknet.training.lightning_module.HeatmapTracker"
    assert list(tmp_path.iterdir()) == []


def test_the_command_is_installed(installed, tmp_path):
    command = installed / "bin" / "tracknet"
    done = run(str(command), "--version", folder=tmp_path, PYTHONPATH=str(installed))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("tracknet ")
