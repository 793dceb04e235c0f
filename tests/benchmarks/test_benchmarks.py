from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from copy import deepcopy
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module", autouse=True)
def _importable():
    """The benchmarks lie beside the package, not in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT))
        yield
        for name in [name for name in sys.modules if name.split(".")[0] == "benchmarks"]:
            del sys.modules[name]


# Measuring -------------------------------------------------------------------------------------------


def test_a_row_holds_medians_and_the_median_of_the_ratios():
    from benchmarks.measuring import Target, row

    found = row("a / b", "s", [(1.0, 2.0), (6.0, 4.0), (3.0, 3.0)], Target("at most", 1.0))
    assert (found.ours, found.reference, found.ratio, found.spread) == (3.0, 3.0, 1.0, (0.5, 1.5))
    assert found.verdict == "hit"
    assert row("a / b", "s", [(3.0, 2.0)], Target("at most", 1.0)).verdict == "MISS"
    assert row("a / b", "s", [(3.0, 2.0)], Target("at least", 1.5)).verdict == "hit"
    assert row("a / b", "s", [(3.0, 2.0)]).verdict == ""
    assert found.cpu is None


def test_clock_and_cpu_time_may_differ_about_a_target():
    from benchmarks.measuring import Target, Took, row

    found = row("a / b", "s", [(Took(3.0, 1.0), Took(2.0, 2.0))], Target("at most", 1.0))
    assert (found.ours, found.ratio, found.cpu) == (3.0, 1.5, 0.5)
    assert found.verdict == "MISS by the clock, hit in CPU time"


def test_ours_and_the_reference_take_turns_and_the_first_round_does_not_count():
    from benchmarks.measuring import in_turns, paired

    order: list[str] = []

    def one(name: str) -> float:
        order.append(name)
        return float(len(order))

    pairs = paired(lambda: one("a"), lambda: one("b"), rounds=2)
    assert "".join(order) == "abbaab"
    assert pairs == [(4.0, 3.0), (5.0, 6.0)]
    order.clear()
    assert in_turns([lambda: one("a"), lambda: one("b"), lambda: one("c")], rounds=2, warm=0)[1] == [6, 5, 4]
    assert "".join(order) == "abccba"


def test_a_rate_is_the_amount_over_the_seconds(monkeypatch):
    from benchmarks import measuring

    clock, cpu = iter([10.0, 14.0, 20.0, 24.0]), iter([1.0, 3.0, 5.0, 7.0])
    monkeypatch.setattr(measuring.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(measuring, "_cpu", lambda: next(cpu))
    done = []
    assert measuring.rate(lambda: None, 100)() == (25.0, 50.0)
    assert measuring.seconds(lambda: done.append(1), times=2)() == (2.0, 1.0)
    assert len(done) == 2


def test_cpu_time_counts_processes_that_have_ended():
    from benchmarks.measuring import seconds

    code = "import time\nwhile time.process_time() < 0.3: pass"
    took = seconds(lambda: subprocess.run([sys.executable, "-c", code], check=True))()
    assert took.cpu >= 0.3
    assert seconds(lambda: time.sleep(0.2))().cpu < 0.2


# The record ------------------------------------------------------------------------------------------


def a_record(ratio: float, name: str = "tracking", quick: bool = False, threads: int = 2):
    from benchmarks.measuring import Target, row
    from benchmarks.record import Part, Record, this_machine

    rows = [row("track / forward", "frames/s", [(ratio * 10, 10.0)], Target("at least", 0.9))]
    return Record(this_machine(threads), {name: Part("Tracking", "2026-01-02 03:04", 1.5, quick, rows)})


def test_a_record_is_read_back_as_it_was_and_compared(tmp_path):
    from benchmarks.record import kind, load, markdown, save

    now, then = a_record(0.96), a_record(0.8)
    save(now, tmp_path / "a.json")
    assert load(tmp_path / "a.json") == now
    assert kind({"cores_allowed": 2, "cpu": "AMD EPYC (tm)", "gpus": []}) == "2x-amd-epyc-tm"
    alone, beside = markdown(now), markdown(now, then)
    assert "1 of 1 targets are hit by the clock and in CPU time." in alone
    assert "2 threads of PyTorch" in alone
    assert "load 1.5" in alone
    assert "other work ran beside it" in alone
    assert "| track / forward | 9.6 | 10 | frames/s | 1 | 0.960 |  | at least 0.9 | hit |" in alone
    assert beside.splitlines()[-1].endswith("| 0.800 | 1.200 |")
    assert " Then: 2026-01-02 03:04 UTC, load 1.5." in beside
    tried_out = markdown(now, a_record(0.8, quick=True))
    assert "Not compared with that of 2026-01-02 03:04 UTC, which is tried out with --quick." in tried_out
    assert tried_out.splitlines()[-1] == alone.splitlines()[-1]
    assert (
        "0 of 1 targets are hit by the clock and in CPU time. track / forward: 0.8, at least 0.9, MISS."
        in markdown(then)
    )


def test_what_is_no_record_is_refused(tmp_path):
    from benchmarks.record import load
    from tracknet.errors import UsageError

    (tmp_path / "a.json").write_text('{"format": 99}')
    for path in (tmp_path / "a.json", tmp_path / "none.json"):
        with pytest.raises(UsageError, match=path.name):
            load(path)


def test_what_could_not_be_measured_is_told_and_not_compared():
    from benchmarks.measuring import unmeasured
    from benchmarks.record import markdown

    now, then = a_record(0.96), a_record(0.8)
    for record in (now, then):
        record.parts["tracking"].rows.append(unmeasured("half / whole", "MB", "no GPU"))
    told = "| half / whole |  |  | MB | 0 |  |  |  |  | not measured: no GPU |"
    assert markdown(now).splitlines()[-1] == told
    assert markdown(now, then).splitlines()[-1] == f"{told}  |  |"
    assert "1 of 1 targets are hit" in markdown(now)


def test_every_command_has_its_start_measured():
    from benchmarks.startup import LIGHT, TYPED
    from tracknet.cli.main import COMMANDS

    assert set(COMMANDS) <= {words[0] for words in (*LIGHT.values(), *TYPED.values())}


# The command -----------------------------------------------------------------------------------------


def test_a_part_is_measured_on_ones_own_clips_and_joins_the_record(tiny_rallies, tmp_path, capsys):
    from benchmarks.__main__ import main
    from benchmarks.record import load, save

    save(a_record(0.5, "cache", True, torch.get_num_threads()), tmp_path / "table.json")
    words = ["cache", "--data", str(tiny_rallies), "--clips", "2", "--out", str(tmp_path / "table.md")]
    assert main([*words, "--quick", "--compare", str(tmp_path / "table.json")]) == 0
    parts = load(tmp_path / "table.json").parts
    assert list(parts) == ["cache"], "what is tried out does not join a record"
    rows = parts["cache"].rows
    assert all(one.ours > 0 and one.reference > 0 for one in rows)
    assert "2 clips of 40 frames, 96x64 to 96x64" in rows[0].note
    text = (tmp_path / "table.md").read_text()
    assert text == capsys.readouterr().out[:-1]
    assert "tried out only" in text
    assert "Then: 2026-01-02 03:04 UTC" in text


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ({"threads": 99}, r"with 99 threads, and this is .* ratios of unlike machines say nothing"),
        ({}, r"it holds tracking \(in full\), wanted is cache \(tried out with --quick\)"),
        ({"name": "cache"}, r"it holds cache \(in full\), wanted is cache \(tried out with --quick\)"),
    ],
)
def test_a_record_that_cannot_be_compared_is_refused_before_anything_is_measured(
    tmp_path, capsys, record, told
):
    from benchmarks.__main__ import main
    from benchmarks.record import save

    save(a_record(0.5, **{"threads": torch.get_num_threads()} | record), tmp_path / "then.json")
    assert main(["cache", "--quick", "--compare", str(tmp_path / "then.json")]) == 2
    assert re.search(rf"then\.json: .*{told}", capsys.readouterr().err)


def test_a_part_that_fails_is_told_and_the_others_are_measured(tmp_path, monkeypatch, capsys):
    from benchmarks import startup, targets
    from benchmarks.__main__ import main
    from benchmarks.measuring import row

    def fails(bench):
        yield row("first", "s", [(1.0, 1.0)])
        raise RuntimeError("no command")

    monkeypatch.setattr(startup, "measure", fails)
    monkeypatch.setattr(targets, "measure", lambda bench: [row("other", "s", [(1.0, 2.0)])])
    out = tmp_path / "table.md"
    assert main(["startup", "targets", "--out", str(out)]) == 1
    assert "Not all of it: no command" in out.read_text()
    monkeypatch.setattr(startup, "measure", lambda bench: [row("again", "s", [(1.0, 1.0)])])
    assert main(["startup", "--out", str(out)]) == 0
    found = {name: [one["name"] for one in part["rows"]] for name, part in _json(out)["parts"].items()}
    assert found == {"targets": ["other"], "startup": ["again"]}, "a later run replaces its own parts only"


def test_a_part_that_there_is_not_is_named(capsys):
    from benchmarks.__main__ import main

    assert main(["traking"]) == 2
    assert "did you mean 'tracking'" in capsys.readouterr().err


@pytest.mark.parametrize("part", ["targets", "tracking"])
def test_a_folder_that_there_is_not_is_told_before_anything_is_measured(part, tmp_path, capsys):
    from benchmarks.__main__ import main

    assert main([part, "--data", str(tmp_path / "nope"), "--out", str(tmp_path / "table.md")]) == 2
    assert f"--data {tmp_path / 'nope'}: no such folder" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--clips", "--rounds", "--threads"])
@pytest.mark.parametrize("count", ["0", "-1", "many"])
def test_counts_are_above_0(option, count, capsys):
    from benchmarks.__main__ import main

    with pytest.raises(SystemExit, match="2"):
        main(["startup", option, count])
    assert f"argument {option}: expected a whole number above 0, found {count}" in capsys.readouterr().err


@pytest.mark.slow
def test_every_part_can_be_measured(tmp_path):
    from benchmarks.__main__ import PARTS

    # In a process of its own, one part behind the other, as people run it; the site takes too long.
    parts = sorted(set(PARTS) - {"docs"})
    command = [sys.executable, "-m", "benchmarks", *parts, "--quick", "--rounds", "1"]
    done = subprocess.run(
        [*command, "--out", str(tmp_path / "table.md")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    record = _json(tmp_path / "table.md")["parts"]
    assert sorted(record) == parts
    assert all(part["rows"] and not part["failure"] for part in record.values())


def _json(table: Path) -> dict:
    return json.loads(table.with_suffix(".json").read_text())


# Steps in turns --------------------------------------------------------------------------------------


def test_loops_of_the_trainer_and_by_hand_take_the_same_steps_in_turns(tmp_path):
    from benchmarks.material import Steps, a_batch, a_tracker, standard_callbacks
    from benchmarks.step import by_trainer, plain

    first = a_tracker((32, 64))
    batch = a_batch(first, 2, (32, 64))
    hand, trained = deepcopy(first), deepcopy(first)
    loops = [Steps(plain(hand), batch), Steps(by_trainer(trained, standard_callbacks(), tmp_path, 1), batch)]
    for _ in range(2):
        for loop in loops:
            loop.step()
    for loop in loops:
        loop.close()
    for name, weight in hand.network.state_dict().items():
        found = trained.network.state_dict()[name].cpu()
        torch.testing.assert_close(found, weight.cpu(), rtol=0, atol=1e-6, msg=name)
    assert not torch.equal(hand.network.stem[0][0].weight.cpu(), first.network.stem[0][0].weight)
    assert list(tmp_path.rglob("metrics.csv")), "the standard callbacks and the logger were there"


def test_a_loop_takes_one_step_at_a_time_and_its_failure_is_told():
    from benchmarks.material import Steps

    taken = []

    def loop(batches):
        for batch in batches:
            taken.append(batch["number"])
            if len(taken) == 2:
                raise ValueError("no more")

    steps = Steps(loop, {"number": torch.tensor(7)})
    assert taken == []
    steps.step()
    assert taken == [7]
    with pytest.raises(RuntimeError, match="no more"):
        steps.step()
