"""The site: pages say what the code says, it builds without a warning, and its search finds pages."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("furo", reason="the site needs: pip install 'tracknet[docs]'")
pytest.importorskip("myst_nb", reason="the site needs: pip install 'tracknet[docs]'")
pytest.importorskip("sphinx_design", reason="the site needs: pip install 'tracknet[docs]'")

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
sys.path.insert(0, str(DOCS / "_ext"))

from site_pages import WRITERS, api, classes, commands, configs, rst, write_pages  # noqa: E402

from tracknet.cli.main import COMMANDS  # noqa: E402


def test_text_of_help_is_harmless():
    assert rst.plain("takes *all* of `tracknet fit`, a_b_") == r"takes \*all\* of ``tracknet fit``, a\_b\_"
    assert rst.plain("``--key``s") == r"``--key``\ s"
    assert rst.plain("(--a_b, rtsp://x)") == r"(``--a_b``, rtsp:\//x)"


def test_a_table_keeps_cells_of_several_lines_together():
    assert rst.table(("a", "b"), [("1", "2\n\n3")], "plain").splitlines()[5:] == [
        "   * - a",
        "     - b",
        "   * - 1",
        "     - 2",
        "",
        "       3",
    ]


@pytest.fixture(scope="module")
def pages():
    return {
        "commands": commands.command_pages(),
        "classes": classes.class_pages(),
        "configs": configs.config_pages(),
    }


def test_each_command_has_a_page_with_its_options(pages):
    texts = pages["commands"]
    assert set(texts) == {f"reference/commands/{name}.rst" for name in (*COMMANDS, "index")}
    track = texts["reference/commands/track.rst"]
    assert ".. program:: tracknet track" in track
    assert re.search(
        r"option:: --max_jump MAX_JUMP\n\n   .. rst-class:: facts\n\n   a number above 0, default ``300.0``",
        track,
    )
    assert re.search(
        r"option:: --ckpt CKPT\n\n   .. rst-class:: facts\n\n   a path, required\n\n   Checkpoint", track
    )
    assert ".. program:: tracknet data cache\n" in texts["reference/commands/data.rst"]
    assert "--cache_dir" in texts["reference/commands/data.rst"]
    assert ".. program:: tracknet config migrate\n" in texts["reference/commands/config.rst"]
    assert "--rectifier" in texts["reference/commands/test.rst"]
    assert "--rectifier" not in texts["reference/commands/fit.rst"]
    assert "compare prints the figures" in texts["reference/commands/profile.rst"]
    for name in ("track", "export", "checkpoint", "sweep", "fit", "test", "profile"):
        assert "--trust" in texts[f"reference/commands/{name}.rst"]
    assert (
        "option:: --trust\n\n   .. rst-class:: facts\n\n   off unless given"
        in texts["reference/commands/track.rst"]
    )


def test_each_class_that_can_be_chosen_is_there_with_what_it_takes(pages):
    networks = pages["classes"]["reference/classes/networks.rst"]
    assert "* - ``frames``\n     - a whole number above 0\n     - ``3``" in networks
    assert {f"reference/classes/{kind.name}.rst" for kind in classes.kinds()} < set(pages["classes"])
    optimizers = pages["classes"]["reference/classes/optimizers.rst"]
    assert "AdamW\n~~~~~" in optimizers
    assert "``params`` is not set by hand" in optimizers


def test_packaged_files_and_keys_are_there(pages):
    files, keys = pages["configs"].values()
    assert ".. dropdown:: +model=wasb" in files
    assert "      network:" in files
    assert "``trainer.max_epochs``" in keys
    assert ":doc:`networks" not in keys
    assert ":doc:`callbacks <classes/callbacks>`" in keys


def test_api_pages_list_what_a_module_defines_and_nothing_that_it_imports():
    assert api.public_names("tracknet.data.crops") == ["RandomCrop"]
    assert "FIGURES" in api.public_names("tracknet.evaluation.metrics")
    assert "Callback" not in api.public_names("tracknet.training.callbacks.experiment")


def test_pages_of_what_is_gone_go_too(tmp_path, monkeypatch):
    monkeypatch.setattr("site_pages.WRITERS", [lambda: {"some/a.md": "# A\n"}])
    (tmp_path / "some").mkdir()
    (tmp_path / "some" / "old.md").write_text("# Old\n")
    write_pages(tmp_path)
    assert [path.name for path in (tmp_path / "some").iterdir()] == ["a.md"]
    assert len(WRITERS) > 1


QUERIES = {
    "ensemble": "reference/api/tracknet.evaluation.ensemble.html",
    "frame cache": "reference/api/tracknet.data.cache.html",
    "RandomCrop": "reference/classes/augmentation.html",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site: the one that ``TRACKNET_SITE`` names, or built here; any warning fails it."""
    if built := os.environ.get("TRACKNET_SITE"):
        return Path(built).resolve()
    out = tmp_path_factory.mktemp("site")
    words = ["-W", "--keep-going", "-n", "-q", "-j", "auto", "-d", str(out / "doctrees")]
    words = [sys.executable, "-m", "sphinx", *words, str(DOCS), str(out / "html")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-5000:]
    return out / "html"


@pytest.mark.slow
def test_every_page_can_be_reached_and_says_where_to_go_next(site):
    indexes = ("genindex.html", "py-modindex.html", "search.html")
    pages = [path for path in site.rglob("*.html") if path.name not in indexes]
    texts = {path: path.read_text(encoding="utf-8") for path in pages}
    assert len(texts) > 150
    linked = {
        (path.parent / target).resolve()
        for path, text in texts.items()
        for target in re.findall(r'href="([^"#:]+\.html)', text)
    }
    assert not [path for path in pages if path.resolve() not in linked]
    own = [path for path in pages if path.parent.name != "notebooks"]
    assert not [path for path in own if "here to go next" not in texts[path]]


@pytest.mark.slow
@pytest.mark.parametrize(("query", "page"), QUERIES.items())
def test_the_search_of_a_browser_finds_pages_without_a_server(site, tmp_path, query, page):
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("no Chromium is installed to search with")
    address = f"{(site / 'search.html').as_uri()}?q={query.replace(' ', '+')}"
    words = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
    words += ["--virtual-time-budget=20000", "--dump-dom", address]
    told = subprocess.run([browser, *words], capture_output=True, text=True, check=True, timeout=120).stdout
    results = told.partition('id="search-results"')[2]
    found = [
        html.unescape(one).removeprefix("./").partition("?")[0].partition("#")[0]
        for one in re.findall(r'href="([^"]+)"', results)
    ]
    assert page in found
