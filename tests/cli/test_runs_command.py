"""``tracknet runs`` over records written by hand: exact small cases, and what must never be deleted."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from tracknet.cli.main import main
from tracknet.errors import UsageError
from tracknet.training.records.machine import this_process
from tracknet.training.records.query import Condition, parse_condition
from tracknet.training.records.repeating import repeat_command
from tracknet.training.records.run import read_run
from tracknet.training.records.tested import write_test

NOW = datetime.now(timezone.utc)


def stamp(days=0.0):
    return (NOW - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")


def a_run(folder, reason="finished", f1=0.5, lr=0.01, days=1.0, checkpoint=True, process=None, **record):
    """A run's folder with a record, settings, curves and a checkpoint."""
    folder.mkdir(parents=True)
    session = {
        "start": stamp(days),
        "end": None if reason is None else stamp(days - 0.5),
        "heartbeat": stamp(days - 0.5),
        "exit": None if reason is None else {"reason": reason, "detail": None},
        "process": process or this_process(),
        "command": ["tracknet", "fit"],
        "folder": str(folder.parent),
        "seed": 42,
        "code": {"tracknet_version": "0.1.0"},
        "packages": {"torch": "2.13.0"},
    }
    told = {"step": 10, "epoch": 1, "figures": {"val/f1": f1, "val/loss": 1 - f1}}
    content = {
        "format": 1,
        "id": f"id-{folder.name}",
        "name": folder.name,
        "tags": [],
        "notes": "",
        "last": told,
        "best": {"monitor": "val/f1", "mode": "max", "value": f1, **told},
        "sessions": [session],
    } | record
    (folder / "run.json").write_text(json.dumps(content))
    (folder / "config.yaml").write_text(
        f"seed_everything: 42\noptimizer: {{class_path: torch.optim.AdamW, init_args: {{lr: {lr}}}}}\n"
        "trainer: {callbacks: [{class_path: a.Report}, {class_path: b.Stop, init_args: {patience: 3}}]}\n"
    )
    (folder / "metrics.csv").write_text(f"step,val/f1,train/loss_step\n0,,0.9\n5,0.1,0.5\n10,{f1},0.25\n")
    if checkpoint:
        (folder / "checkpoints").mkdir()
        (folder / "checkpoints" / "best.ckpt").write_bytes(b"x" * 100)
    return folder


def dead_process():
    """What a record holds of a process that has ended."""
    code = (
        "from tracknet.training.records.machine import this_process as p; import json; print(json.dumps(p()))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    return json.loads(told)


@pytest.fixture
def runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "runs"
    a_run(root / "x" / "good", f1=0.9, lr=0.001, days=3, tags=["paper", "v2"])
    a_run(root / "x" / "poor", f1=0.2, lr=0.1, days=2)
    a_run(root / "y" / "crashed", reason="failed", f1=0.5, days=1)
    return root


def names(capsys, *words):
    assert main(["runs", "list", *words, "--columns", "name", "--csv"]) == 0
    return capsys.readouterr().out.split()[1:]


class TestConditions:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("val/f1>0.8", Condition("val/f1", ">", 0.8)),
            ("val/f1 <= 1e-3", Condition("val/f1", "<=", 0.001)),
            ("model.init_args.lr<0.01", Condition("model.init_args.lr", "<", 0.01)),
            ("tag=paper", Condition("tag", "=", "paper")),
            ("notes~first try", Condition("notes", "~", "first try")),
            ("trainer.detect_anomaly!=true", Condition("trainer.detect_anomaly", "!=", True)),
            ("name==a=b", Condition("name", "==", "a=b")),
        ],
    )
    def test_are_read(self, text, expected):
        assert parse_condition(text) == expected

    @pytest.mark.parametrize("text", ["", "val/f1", "val/f1>", ">3", "a b>3"])
    def test_that_are_none_are_refused(self, text):
        with pytest.raises(UsageError, match="expected KEY"):
            parse_condition(text)

    @pytest.mark.parametrize(
        ("words", "expected"),
        [
            ([], ["crashed", "poor", "good"]),  # the newest first
            (["--filter", "val/f1>0.4"], ["crashed", "good"]),
            (["--filter", "val/f1>=0.5", "state=finished"], ["good"]),
            (["--filter", "val/f1>0.4", "--filter=state!=failed"], ["good"]),
            (["--filter", "tag=paper"], ["good"]),
            (["--filter", "tag!=paper"], ["crashed", "poor"]),
            (["--filter", "optimizer.init_args.lr<0.05"], ["crashed", "good"]),
            (["--filter", "optimizer=torch.optim.AdamW", "optimizer.lr=0.1"], ["poor"]),
            (["--filter", "trainer.callbacks.Stop.patience=3", "name~OO"], ["poor", "good"]),
            (["--filter", "last.val/loss<0.15"], ["good"]),
            (["--sort", "val/f1"], ["good", "crashed", "poor"]),  # figures: the best first
            (["--sort", "val/loss"], ["good", "crashed", "poor"]),
            (["--sort=-val/f1"], ["poor", "crashed", "good"]),
            (["--sort", "optimizer.lr"], ["good", "crashed", "poor"]),
            (["--sort", "name"], ["crashed", "good", "poor"]),
        ],
    )
    def test_choose_and_order_runs(self, runs, capsys, words, expected):
        assert names(capsys, *words) == expected

    def test_a_run_without_the_figure_fails_filters_and_comes_last(self, runs, capsys):
        a_run(runs / "y" / "begun", best=None, last=None, days=0.6)
        assert names(capsys, "--sort", "val/f1") == ["good", "crashed", "poor", "begun"]
        assert names(capsys, "--sort=-val/f1") == ["poor", "crashed", "good", "begun"]
        assert "begun" not in names(capsys, "--filter", "val/f1<2")

    def test_an_unknown_key_is_told_with_the_nearest(self, runs, capsys):
        assert main(["runs", "list", "--filter", "val/f2>1"]) == 2
        assert "no run has 'val/f2'; did you mean 'val/f1'?" in capsys.readouterr().err
        assert main(["runs", "list", "--sort", "optimizer.lrr"]) == 2
        assert "did you mean 'optimizer.lr'?" in capsys.readouterr().err


class TestList:
    def test_tables_json_and_csv_tell_the_same(self, runs, capsys):
        columns = ["name", "val/f1", "optimizer.lr", "tags"]
        words = ["runs", "list", str(runs), "--sort", "name", "--columns", *columns]
        assert main([*words, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told[1] == {"name": "good", "val/f1": 0.9, "optimizer.lr": 0.001, "tags": ["paper", "v2"]}
        assert main([*words, "--csv"]) == 0
        rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
        assert rows[1] == {"name": "good", "val/f1": "0.9", "optimizer.lr": "0.001", "tags": "paper v2"}
        assert main(words) == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].split() == columns
        assert lines[3].split() == ["good", "0.9", "0.001", "paper", "v2"]
        assert lines[-1] == "3 of 3 runs"

    def test_damaged_and_old_runs_are_told_of_and_do_not_stop_it(self, runs, capsys):
        (runs / "x" / "good" / "run.json").write_text('{"format": 1, "sess')
        (runs / "x" / "poor" / "run.json").write_text('{"format": 1, "sessions": [7]}')
        (runs / "y" / "crashed" / "run.json").unlink()
        assert main(["runs", "list", "--columns", "folder", "state", "--csv", "--sort", "folder"]) == 0
        out, err = capsys.readouterr()
        assert [line.split(",")[1] for line in out.splitlines()[1:]] == ["damaged", "damaged", "no record"]
        assert f"damaged record: {Path('runs/x/good/run.json')}: " in err
        assert "sessions: expected a list of mappings" in err
        assert main(["runs", "show", "runs/x/good"]) == 0
        assert "state: damaged" in capsys.readouterr().out
        assert main(["runs", "show", "runs/y/crashed"]) == 0
        assert "val/f1:" in capsys.readouterr().out
        assert main(["runs", "compare", "runs/x/good", "runs/y/crashed"]) == 0
        assert main(["runs", "repeat", "runs/x/good"]) == 1

    def test_no_folder_and_no_runs(self, tmp_path, capsys):
        assert main(["runs", "list", str(tmp_path / "none")]) == 2
        assert "no such folder" in capsys.readouterr().err
        assert main(["runs", "list", str(tmp_path)]) == 0
        assert "no runs" in capsys.readouterr().out

    def test_needs_neither_torch_nor_lightning(self, runs):
        code = (
            "import sys; from tracknet.cli.main import main\n"
            "codes = [main(['runs', *words]) for words in (['list'], ['show', 'good'], ['clean'],"
            " ['compare', 'good', 'poor', '--plot', 'c.png'])]\n"
            "assert codes == [0] * 4, codes\n"
            "assert not {'torch', 'lightning'} & sys.modules.keys()"
        )
        subprocess.run([sys.executable, "-c", code], check=True, cwd=runs.parent, capture_output=True)
        assert (runs.parent / "c.png").read_bytes()[:4] == b"\x89PNG"


class TestState:
    def test_of_a_process_that_lives_is_dead_or_is_elsewhere(self, tmp_path):
        def state(name, **options):
            return read_run(a_run(tmp_path / name, reason=None, **options)).state

        here, dead = this_process(), dead_process()
        assert state("lives") == "running"
        assert state("dead", process=dead) == "killed"
        assert state("reused", process=here | {"started": 1}) == "killed"
        assert state("booted", process=here | {"boot": "before"}) == "killed"
        assert state("elsewhere", process=here | {"host": "another"}) == "unknown"
        assert state("container", process=here | {"namespace": "pid:[1]"}) == "unknown"
        assert state("silent", process=here | {"host": "another"}, days=9) == "killed"

    def test_of_the_newest_session_counts(self, tmp_path):
        folder = a_run(tmp_path / "a", reason="interrupted")
        record = json.loads((folder / "run.json").read_text())
        record["sessions"].append(record["sessions"][0] | {"exit": {"reason": "finished"}})
        (folder / "run.json").write_text(json.dumps(record))
        run = read_run(folder)
        assert (run.state, run.seconds) == ("finished", 86400.0)


class TestShow:
    def test_finds_runs_by_folder_file_name_and_id(self, runs, capsys):
        for word in ("runs/x/good", "runs/x/good/config.yaml", "good", "id-good"):
            assert main(["runs", "show", word]) == 0
            assert "id:    id-good" in capsys.readouterr().out
        assert main(["runs", "show", "goood"]) == 2
        assert "no run 'goood' below runs; did you mean 'good'?" in capsys.readouterr().err
        assert main(["runs", "show", "runs"]) == 2
        assert "3 runs are below it" in capsys.readouterr().err

    def test_json_holds_record_and_settings(self, runs, capsys):
        assert main(["runs", "show", "good", "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["record"]["best"]["value"] == 0.9
        assert told["settings"]["optimizer.lr"] == 0.001

    def test_control_characters_do_not_reach_the_terminal(self, runs, capsys):
        a_run(runs / "z", notes="a\x1b[31mb", tags=["\x1b]0;x"])
        assert main(["runs", "show", "z"]) == 0
        assert main(["runs", "list"]) == 0
        out = capsys.readouterr().out
        assert "\x1b" not in out
        assert "a\\x1b[31mb" in out


class TestCompare:
    def test_shows_what_differs_beside_each_other(self, runs, capsys):
        assert main(["runs", "compare", "good", "poor", "crashed"]) == 0
        lines = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert ["settings", "good", "poor", "crashed"] in lines
        assert ["optimizer.lr", "0.001", "0.1", "0.01"] in lines
        assert ["state", "finished", "finished", "failed"] in lines
        assert ["val/f1", "0.9", "0.2", "0.5"] in lines
        assert not any(line[:1] in (["seed"], ["package"], ["seed_everything"]) for line in lines)

    def test_needs_two_runs_and_known_figures(self, runs, capsys):
        assert main(["runs", "compare", "good"]) == 2
        assert "expected two runs or more, found 1" in capsys.readouterr().err
        assert main(["runs", "compare", "good", "poor", "--plot", "p.png", "--metrics", "val/f9"]) == 2
        assert "no run has logged 'val/f9'; did you mean 'val/f1'?" in capsys.readouterr().err
        assert main(["runs", "compare", "good", "poor", "--plot", "p.nosuch"]) == 2
        assert not list(runs.parent.glob("*p.*"))

    def test_curves_are_those_of_the_tables(self, runs):
        from tracknet.training.records.figures import draw

        figure = draw(
            [read_run(runs / "x" / "good"), read_run(runs / "x" / "poor")], ["val/f1", "train/loss"]
        )
        score, loss = figure.axes
        assert [line.get_xydata().tolist() for line in score.lines] == [
            [[5, 0.1], [10, 0.9]],
            [[5, 0.1], [10, 0.2]],
        ]
        assert loss.lines[0].get_ydata().tolist() == [0.9, 0.5, 0.25]
        assert [line.get_label() for line in loss.lines] == ["good", "poor"]

    def test_curves_come_from_event_files_where_there_is_no_table(self, tmp_path):
        from torch.utils.tensorboard import SummaryWriter

        from tracknet.training.records.figures import read_curves

        with SummaryWriter(str(tmp_path)) as writer:
            writer.add_scalar("val/f1", 0.5, 3)
            writer.add_scalar("val/f1", 0.75, 6)
        assert read_curves(tmp_path) == {"val/f1": [(3.0, 0.5), (6.0, 0.75)]}


def a_test(run, f1, **told):
    """What a test of the best checkpoint leaves in a run's folder."""
    figures = {"test/f1": f1, "test/rmse": None}
    best = str(run / "checkpoints/best.ckpt")
    command = ["tracknet", "test", "--ckpt_path", best, "--data.root", "x y"]
    known = {"time": stamp(), "checkpoint": best, "figures": figures, "command": command}
    return write_test(run, known | told)


class TestFiguresOfTests:
    """What ``tracknet test`` has left in the folders of the runs."""

    def test_choose_order_and_show_runs_the_newest_test_counting(self, runs, capsys):
        a_test(runs / "x" / "good", 0.3)
        a_test(runs / "x" / "good", 0.6)
        a_test(runs / "x" / "poor", 0.7)
        assert names(capsys, "--sort", "test/f1") == ["poor", "good", "crashed"]
        assert names(capsys, "--filter", "test/f1<0.65") == ["good"]
        assert main(["runs", "list", "--columns", "name", "test/f1", "--csv", "--filter", "name=good"]) == 0
        assert capsys.readouterr().out.split() == ["name,test/f1", "good,0.6"]

    def test_stand_beside_each_other_with_what_makes_them_unlike(self, runs, capsys):
        data = {"fingerprint": "abc", "root": "/data"}
        a_test(runs / "x" / "good", 0.6, data=data, metric="tracknetv2: d <= 4 px at 288x512")
        a_test(
            runs / "x" / "poor", 0.7, data=data | {"fingerprint": "def"}, metric="tennis: d <= 5 px", step=8
        )
        assert main(["runs", "compare", "good", "poor", "crashed"]) == 0
        out = capsys.readouterr().out
        lines = [line.split() for line in out.splitlines()]
        assert ["test/f1", "0.6", "0.7", "-"] in lines
        assert ["test", "data", "abc", "def", "-"] in lines
        assert ["tested", "by", *["--data.root", "'x", "y'"] * 2, "-"] in lines
        assert ["tested", "checkpoint", "best.ckpt", "best.ckpt,", "step", "8", "-"] in lines
        assert "test metric" in out
        assert "test/rmse" not in out

    def test_of_which_there_are_none_are_told_of(self, runs, capsys):
        assert main(["runs", "list", "--sort", "test/f1"]) == 2
        told = "--sort: no run has 'test/f1': `tracknet test` has tested none of their checkpoints"
        assert told in capsys.readouterr().err
        a_test(runs / "x" / "good", 0.3)
        assert main(["runs", "list", "--sort", "test/f2"]) == 2
        assert "no run has 'test/f2'; did you mean 'test/f1'?" in capsys.readouterr().err

    def test_are_all_shown_of_one_run_and_damaged_ones_left_out(self, runs, capsys):
        run = runs / "x" / "good"
        a_test(run, 0.3)
        a_test(run, 0.6, data={"fingerprint": "abc", "root": "/data"}, folder="/tests/here")
        path = a_test(run, 0.9)
        for damaged in ("{", "[]", "{}", '{"figures": 1}', '{"figures": {}, "data": []}', "[" * 100_000):
            path.write_text(damaged)
            assert main(["runs", "show", "good"]) == 0
            out = capsys.readouterr().out
            assert out.count("\ntested ") == 2
        assert "/tests/here" in out
        assert "abc of /data" in out
        assert out.index("0.3") < out.index("0.6")
        assert main(["runs", "show", "good", "--json"]) == 0
        told = json.loads(capsys.readouterr().out)["tests"]
        assert [test["figures"]["test/f1"] for test in told] == [0.3, 0.6]

    @pytest.mark.parametrize("figure", ["NaN", "1e999", "1" + "0" * 400, "true", "[1]"])
    def test_are_numbers_or_left_out(self, runs, capsys, figure):
        path = a_test(runs / "x" / "good", 0.3, time="\x1b[31m")
        path.write_text(path.read_text().replace("0.3", f'{figure}, "\\u001b[31m": 0.25'))
        a_test(runs / "x" / "poor", 0.7, command=["tracknet", "test", "--ckpt_path="])
        assert main(["runs", "show", "good"]) == 0
        assert main(["runs", "compare", "good", "poor"]) == 0
        out = capsys.readouterr().out
        assert "0.25" in out
        assert "\x1b" not in out
        assert main(["runs", "list", "--sort", "test/f1", "--columns", "test/f1", "--csv"]) == 0
        assert capsys.readouterr().out.splitlines() == ["test/f1", "0.7", '""', '""']


class TestClean:
    def cleaned(self, capsys, *words, code=0):
        assert main(["runs", "clean", *words]) == code
        return capsys.readouterr()

    @pytest.fixture
    def many(self, runs):
        a_run(runs / "y" / "empty", checkpoint=False)
        a_run(runs / "y" / "killed", reason=None, process=dead_process())
        a_run(runs / "y" / "running", reason=None, checkpoint=False)
        a_run(runs / "y" / "unknown", reason=None, checkpoint=False, process={"host": "another"})
        broken = a_run(runs / "y" / "broken", reason="failed", checkpoint=False)
        (broken / "run.json").write_text("{")
        old = a_run(runs / "y" / "old", reason="failed", checkpoint=False)
        (old / "run.json").unlink()
        return runs

    def test_lists_and_removes_nothing_unless_told_to(self, many, capsys):
        before = sorted(many.rglob("*"))
        out = self.cleaned(capsys, "runs").out
        assert sorted(many.rglob("*")) == before
        assert [line.split(" (")[0] for line in out.splitlines()[:-1]] == [
            "runs/y/crashed: failed; 1 checkpoint",
            "runs/y/empty: no checkpoint; 0 checkpoints",
            "runs/y/killed: killed; 1 checkpoint",
        ]
        command = "tracknet runs clean runs --kinds no-checkpoint failed killed --yes"
        assert out.splitlines()[-1].endswith(f"nothing is removed yet: {command}")

    def test_removes_those_and_no_others(self, many, capsys):
        assert "3 runs removed" in self.cleaned(capsys, "--yes").out
        left = {path.name for path in many.glob("*/*")}
        assert left == {"good", "poor", "running", "unknown", "broken", "old"}
        assert "nothing to remove" in self.cleaned(capsys, "--yes").out

    def test_kinds_and_ages_choose(self, many, capsys):
        assert self.cleaned(capsys, "--kinds", "failed").out.splitlines()[0].startswith("runs/y/crashed")
        out = self.cleaned(capsys, "--kinds", "any", "--older_than", "1.2").out
        # Ends are half a day after starts, which are three and two days ago.
        assert [line.split(":")[0] for line in out.splitlines()[:-1]] == ["runs/x/good", "runs/x/poor"]
        assert "--older_than" in self.cleaned(capsys, "--kinds", "any", code=2).err
        assert "did you mean 'killed'" in self.cleaned(capsys, "--kinds", "kiled", code=2).err

    def test_links_lead_nowhere(self, runs, tmp_path, capsys):
        outside = a_run(tmp_path / "outside" / "run", reason="failed")
        (runs / "link").symlink_to(outside)
        (runs / "y" / "crashed" / "data").symlink_to(outside)
        linked = a_run(runs / "y" / "linked", reason="failed")
        (linked / "run.json").unlink()
        (linked / "run.json").symlink_to(outside / "run.json")
        assert "1 run removed" in self.cleaned(capsys, "--yes").out
        assert {path.name for path in (runs / "y").iterdir()} == {"linked"}
        assert (outside / "checkpoints" / "best.ckpt").is_file()

    def test_the_folder_itself_stays(self, tmp_path, capsys):
        folder = a_run(tmp_path / "run", reason="failed")
        assert "nothing to remove" in self.cleaned(capsys, str(folder), "--yes").out
        assert (folder / "run.json").is_file()

    def test_a_run_that_goes_on_meanwhile_stays(self, runs, capsys, monkeypatch):
        from tracknet.cli import runs as command

        def listed(*given):
            found = removable(*given)
            assert [one.run.state for one in found] == ["failed"]
            path = found[0].run.folder / "run.json"
            record = json.loads(path.read_text())
            record["sessions"][0]["exit"] = None
            path.write_text(json.dumps(record))
            return found

        removable = command.removable_runs
        monkeypatch.setattr(command, "removable_runs", listed)
        told = self.cleaned(capsys, "--yes", code=1)
        assert "kept: it was failed and is running now" in told.err
        assert (runs / "y" / "crashed" / "run.json").is_file()

    def test_what_cannot_be_removed_is_told(self, runs, capsys, monkeypatch):
        def refuse(folder):
            raise PermissionError(13, "Permission denied", str(folder))

        monkeypatch.setattr(shutil, "rmtree", refuse)
        told = self.cleaned(capsys, "--yes", code=1)
        assert "runs/y/crashed: cannot be removed: Permission denied" in told.err
        assert "0 runs removed" in told.out


class TestRepeat:
    def git(self, folder, *words):
        who = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)

    def test_goes_back_to_commit_and_changes(self, tmp_path):
        from tracknet.training.records.code import code_version
        from tracknet.training.records.redaction import Redactor

        work = tmp_path / "my work"
        work.mkdir()
        self.git(work, "init", "-q")
        (work / "a.py").write_text("lr = 1\n")
        self.git(work, "add", "a.py")
        self.git(work, "commit", "-q", "-m", "first")
        (work / "a.py").write_text("lr = 2\n")
        (work / "new.py").write_text("class New: ...\n")
        (work / "secrets.txt").write_text("not a program: stays out\n")
        told, diff = code_version(work, Redactor({}))
        assert told["dirty"]
        assert told["untracked"] == ["new.py", "secrets.txt"]
        assert "class New" in diff
        assert "stays out" not in diff
        run = a_run(work / "runs" / "one")
        record = json.loads((run / "run.json").read_text())
        record["sessions"][0] |= {
            "folder": str(work),
            "seed": 7,
            "code": {"tracknet_version": "9.8.7", "folder": {**told, "diff": "code.diff"}},
        }
        (run / "run.json").write_text(json.dumps(record))
        (run / "code.diff").write_text(diff)
        (run / "config.yaml").write_text("seed_everything: true\n")
        (work / ".git" / "info" / "exclude").write_text("runs/\n")
        last = [
            "# with tracknet 9.8.7",
            f"cd '{work}'",
            f"tracknet fit --config '{run}/config.yaml' --seed_everything 7",
        ]
        assert repeat_command(read_run(run)) == last
        # Everything is committed, and more: the commands lead back to what it was.
        self.git(work, "add", ".")
        self.git(work, "commit", "-q", "-m", "second")
        (work / "a.py").write_text("lr = 3\n")
        lines = repeat_command(read_run(run))
        assert lines[0] == f"# {work} has other changes now: commit them, or put them away with git stash -u"
        assert lines[3:] == last
        self.git(work, "stash", "-u")
        script = "\n".join(lines[:3])
        subprocess.run(["bash", "-ec", script], check=True, capture_output=True)
        assert (work / "a.py").read_text() == "lr = 2\n"
        assert (work / "new.py").read_text() == "class New: ...\n"
        assert repeat_command(read_run(run)) == last

    def test_says_what_is_lost(self, runs, tmp_path):
        run = runs / "x" / "good"
        record = json.loads((run / "run.json").read_text())
        code = {"root": str(tmp_path), "commit": "abc", "diff": "../../outside.diff"}
        record["sessions"][0]["code"] = {"folder": code}
        (run / "run.json").write_text(json.dumps(record))
        (run / "config.yaml").write_text("seed_everything: 1\nlogger: {api_key: <redacted>}\n")
        told = "\n".join(repeat_command(read_run(run)))
        assert "are lost" in told
        assert "git apply" not in told
        assert "secrets are not kept" in told
        (run / "config.yaml").unlink()
        assert repeat_command(read_run(run))[-1] == "tracknet fit"
