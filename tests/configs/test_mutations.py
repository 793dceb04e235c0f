"""Random single faults in the packaged experiments are told with file, line and how to mend them."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections import Counter
from pathlib import Path

import pytest

from tracknet.configs import compose, packaged_configs
from tracknet.errors import UsageError

EXPERIMENTS = [name for name in packaged_configs() if name.startswith("configs/experiment/")]


def _mutations():
    path = Path(__file__).with_name("mutations.py")
    spec = importlib.util.spec_from_file_location("config_mutations", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["config_mutations"] = module
    spec.loader.exec_module(module)
    return module.mutations


mutations = _mutations()


@pytest.fixture(scope="module")
def complaint():
    """Gives what fit says of a configuration before it builds anything; None where it says nothing."""
    from tracknet.cli.parsing import Parsing

    parsing = Parsing("fit")

    def tell(path):
        try:
            composed, config = parsing.parse_to_build([f"--config={path}"])
        except UsageError as error:
            return str(error)
        faults = parsing.crossing(composed, config)
        return "\n".join(faults) or None

    return tell


def judge(mutation, said, path):
    """Say whether a message is there and names file, line and the mend."""
    if said is None:
        return "not caught"
    places = {int(line) for line in re.findall(rf"{re.escape(str(path))}:(\d+)", said)}
    if not places and mutation.kind != "missing":
        return "without a line"
    if mutation.line is not None and not places & {mutation.line, mutation.line + 1}:
        return "another line"
    return "told" if any(mend in said for mend in mutation.mend) else "no mend"


def run(count, seed, folder, complaint):
    """Judge mutations of all experiments; give (kind, verdict, mutation, message) of each."""
    found = []
    for number, name in enumerate(EXPERIMENTS):
        config = compose([f"--config={name}"], "fit").values
        share = count // len(EXPERIMENTS) + (number < count % len(EXPERIMENTS))
        for place, mutation in enumerate(mutations(config, share, seed + number)):
            path = folder / f"{number}_{place}.yaml"
            path.write_text(mutation.text)
            said = complaint(path)
            found.append((mutation.kind, judge(mutation, said, path), mutation, said))
    return found


def table(found):
    """Write the verdicts by kind as a Markdown table."""
    verdicts = ("told", "another line", "no mend", "without a line", "not caught")
    counts = Counter((kind, verdict) for kind, verdict, *_ in found)
    kinds = dict.fromkeys(kind for kind, *_ in found)
    rows = [[kind, *(counts[kind, verdict] for verdict in verdicts)] for kind in kinds]
    rows.append(["all", *(sum(row[n] for row in rows) for n in range(1, 6))])
    head = ["fault", *verdicts]
    lines = [head, ["---", *["---:"] * 5], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def test_some(tmp_path, complaint):
    found = run(40, 1, tmp_path, complaint)
    wrong = [f"{m.kind}: {m.what}: {verdict}: {said}" for _, verdict, m, said in found if verdict != "told"]
    assert not wrong, "\n".join(wrong)


@pytest.mark.slow
def test_many(tmp_path, complaint):
    found = run(400, 2, tmp_path, complaint)
    print("\n" + table(found))
    wrong = [f"{m.kind}: {m.what}: {verdict}: {said}" for _, verdict, m, said in found if verdict != "told"]
    print("\n".join(wrong))
    assert len(wrong) <= 0.01 * len(found)
