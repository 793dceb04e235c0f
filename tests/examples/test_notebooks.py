"""The notebooks run as they are, here with smaller figures in their cell of parameters."""

from __future__ import annotations

from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "examples" / "notebooks").glob("*.ipynb"))
LARGEST = 400_000
"""Bytes of a notebook with its outputs."""

TINY = "SIZE, INPUT, CROP = (90, 160), [64, 96], [32, 48]"
SMALL = {
    "first_training": f"RALLIES, FRAMES, STEPS = 2, 12, 3\n{TINY}",
    "data_and_labels": "FRAMES, SIZE, SPORTS = 8, (108, 192), ('badminton', 'tennis')",
    "comparing_networks": f"RALLIES, FRAMES, STEPS = 1, 12, 3\n{TINY}",
    "reading_a_profile": f"FRAMES, STEPS = 24, 2\n{TINY}",
    "speeds_bounces_and_hits": "RALLIES, PAINTED = 2, 3",
    "writing_a_plugin": "FRAMES, SIZE, STEPS = 12, (90, 160), 2",
}
"""What takes the place of the parameters of each."""


def test_there_are_parameters_for_every_notebook():
    assert [path.stem for path in NOTEBOOKS] == sorted(SMALL)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stored_small_and_without_errors(path):
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert path.stat().st_size <= LARGEST
    outputs = [one for cell in notebook.cells if cell.cell_type == "code" for one in cell.outputs]
    assert not [one for one in outputs if one.output_type == "error"]
    assert any("image/jpeg" in one.get("data", {}) for one in outputs)
    assert "%pip install" in notebook.cells[1].source
    assert "if importlib.util.find_spec" in notebook.cells[1].source
    for one in outputs:
        text = one.get("text", "") + "".join(one.get("data", {}).get("text/plain", ""))
        assert "/tmp/" not in text, f"{path.name}: an output tells a folder of the machine it ran on"


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path, tmp_path):
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    notebook = nbformat.read(path, as_version=4)
    [parameters] = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    parameters.source += f"\n{SMALL[path.stem]}"
    place = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=place).execute()
