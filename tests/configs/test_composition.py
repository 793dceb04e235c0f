"""The rules by which files, environment variables and flags become one configuration."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonargparse import ArgumentParser

import tracknet.training.lightning_module
import tracknet.training.loggers  # noqa: F401
from tracknet.configs import Start, compose, library
from tracknet.configs.tree import Node, Origin, plant, read_tree, write_yaml
from tracknet.errors import UsageError


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty folder, and no environment named."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TRACKNET_ENV", raising=False)
    return tmp_path


@pytest.fixture
def write(here):
    """Writes a file below the current folder."""

    def to(name, text):
        path = here / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return name

    return to


@pytest.fixture
def merged(write):
    """Composes texts as files of a command, then words."""

    def parse(*texts, words=()):
        named = [f"--config={write(f'{n}.yaml', text)}" for n, text in enumerate(texts)]
        return compose([*named, *words], "fit")

    return parse


def callbacks(composed):
    """The callbacks as (class, init_args)."""
    return [(one["class_path"], one.get("init_args", {})) for one in composed.values["trainer"]["callbacks"]]


class TestMappingsListsAndValues:
    def test_mappings_merge_deeply_and_lists_replace(self, merged):
        composed = merged("a: {b: {c: 1, d: [1, 2]}, e: x}", "a: {b: {d: [3]}, e: null}")
        assert composed.values == {"a": {"b": {"c": 1, "d": [3]}, "e": None}}

    def test_a_key_with_a_plus_appends(self, merged):
        assert merged("a: [1, 2]", "a+: [3]", "a+: 4").values == {"a": [1, 2, 3, 4]}
        assert merged("a+: [3]").values == {"a": [3]}
        assert merged("a: [{b: 1}]", "a+: {b: 2}").values == {"a": [{"b": 1}, {"b": 2}]}

    def test_nothing_to_append_to(self, merged):
        with pytest.raises(UsageError, match=r"^1\.yaml:1: a\+: 0\.yaml:1 has no list to append to$"):
            merged("a: 5", "a+: [3]")

    def test_an_exclamation_mark_replaces_all(self, merged):
        assert merged("a: {b: 1}", "a!: {c: 2}").values == {"a": {"c": 2}}

    def test_only_callbacks_can_be_removed(self, merged):
        with pytest.raises(UsageError, match=r"^0\.yaml:1: a-: only trainer\.callbacks can be removed"):
            merged("a-: [x]")

    def test_numbers_and_text_stay_what_they_are(self, merged):
        text = 'a: 1e-3\nb: "1e-3"\nc: 1.5\nd: "true"\ne: 2020-01-01\nf: .inf\ng: 007\nh: {1: x}\n'
        composed = merged(text)
        assert composed.values["a"] == 0.001
        assert [composed.values[k] for k in "bde"] == ["1e-3", "true", "2020-01-01"]
        from jsonargparse import get_loader

        assert get_loader("yaml")(composed.parser_words()[1]) == get_loader("yaml")(text)

    def test_anchors_are_merged(self, merged):
        composed = merged("x: &x\n  a: 1\n  b: 2\ny:\n  <<: *x\n  b: 3\n")
        assert composed.values["y"] == {"a": 1, "b": 3}
        assert str(composed.place("y.a")) == "0.yaml:2"
        assert str(composed.place("y.b")) == "0.yaml:6"

    def test_a_lone_key_is_no_text(self, merged):
        assert merged("trainer:\n").values == {"trainer": None}


def test_a_file_for_one_command_serves_the_others(write):
    file = write("x.yaml", "trainer: {max_epochs: 1}\nverbose: false\nmax_gap: 3\n")
    words = [f"--config={file}"]
    assert compose(words, "test").values.keys() == {"trainer", "verbose", "max_gap"}
    told = compose(words, "predict")
    assert told.values == told.merged == {"trainer": {"max_epochs": 1}, "max_gap": 3}
    assert told.notes == ["x.yaml:2: verbose is for validate and test; predict does without"]
    assert compose([*words, "--verbose=true"], "fit").values["verbose"] is True  # a flag is for the command
    file = write("y.yaml", "trainer: {max_epochs: 1}\nrectifier: null\n")
    told = compose([f"--config={file}"], "fit")
    assert (told.values, told.notes) == ({"trainer": {"max_epochs": 1}}, [])


def test_what_a_command_does_without_can_still_be_referred_to(write):
    file = write(
        "x.yaml", "trainer: {max_epochs: '${max_gap}'}\nmax_gap: 3\nrectifier: ${oc.env:NONE_SUCH}\n"
    )
    told = compose([f"--config={file}", "--trainer.min_epochs=${max_gap}"], "fit")
    assert told.values == {"trainer": {"max_epochs": 3, "min_epochs": 3}}
    assert told.merged == {"trainer": {"max_epochs": 3}}
    assert compose([f"--config={file}", "--max_gap=4"], "fit").values["trainer"] == {"max_epochs": 4}


def test_a_class_that_comes_back_has_what_the_run_set_of_it(write):
    first, other = (
        {"class_path": one, "init_args": given}
        for one, given in (("Adam", {"lr": 0.1, "amsgrad": True, "eps": 0.5}), ("SGD", {"momentum": 0.9}))
    )
    run, changes, back, replaces, empties = (
        write(f"{name}.yaml", yaml.safe_dump({"optimizer": given}))
        for name, given in (
            ("run", first),
            ("changes", other),
            ("back", {"class_path": "torch.optim.Adam", "init_args": {"eps": 0.25}}),
            ("replaces", {"class_path": "Adam", "init_args!": {"lr": 0.5}}),
            ("empties", {"class_path": "Adam", "init_args": None}),
        )
    )
    words = [f"--config={changes}", f"--config={back}"]
    again = compose(words, "fit", Start(Path(run)))
    given = {"lr": 0.1, "amsgrad": True, "eps": 0.25}
    assert again.values["optimizer"] == {"class_path": "torch.optim.Adam", "init_args": given}
    assert again.place("optimizer.amsgrad").source == str(run)
    assert ["amsgrad" in note for note in again.notes] == [False]
    # Another file is not the run, and what is written anew as a whole is what is wanted.
    assert "amsgrad" not in compose([f"--config={run}", *words], "fit").values["optimizer"]["init_args"]
    for between in ([], words[:1]):
        for file, expected in ((replaces, {"lr": 0.5}), (empties, None)):
            anew = compose([*between, f"--config={file}"], "fit", Start(Path(run)))
            assert anew.values["optimizer"]["init_args"] == expected


def test_names_of_digits_with_zeros_before_them_are_text(merged):
    names = ["00017", "00049", "0_1", "-017", "+017"]
    text = f"[{', '.join(names)}]"
    composed = merged(f"a: {text}", words=[f"--b={text}", "--c=0", "--d=0.5", "--e=-0.5", "--f=-7"])
    assert composed.values == {"a": names, "b": names, "c": 0, "d": 0.5, "e": -0.5, "f": -7}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--b", type=list[str])
    parser.add_argument("--c", type=int)
    parsed = parser.parse_args([f"--b={text}", "--c=0"])
    assert (parsed.b, parsed.c) == (names, 0)
    assert yaml.safe_load(parser.dump(parsed))["b"] == names


def test_without_the_loader_of_jsonargparse_nothing_but_this_is_lost():
    code = (
        "from jsonargparse import _loaders_dumpers as one; del one.get_yaml_default_loader\n"
        "import tracknet.configs.tree"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.from_regex(r"\A[a-z]{1,4}\Z"), inner, max_size=3)
        ),
        max_leaves=8,
    ).map(lambda value: {"top": value})
)
def test_what_is_written_is_read_again(values):
    from jsonargparse import get_loader

    assert get_loader("yaml")(write_yaml(values)) == values
    assert plant(values, Origin("x")).plain() == values


class TestOrigins:
    def test_every_value_knows_all_its_places(self, merged):
        words = ["--trainer.max_epochs=7"]
        composed = merged("trainer:\n  max_epochs: 3\n", "trainer: {max_epochs: 4}\n", words=words)
        assert composed.origins["trainer.max_epochs"] == [
            Origin("0.yaml", 2, 15),
            Origin("1.yaml", 1, 23),
            Origin("command line"),
        ]
        assert composed.values == {"trainer": {"max_epochs": 7}}
        assert composed.merged == {"trainer": {"max_epochs": 4}}

    def test_environment_variables_have_names(self, merged, monkeypatch):
        monkeypatch.setenv("TRACKNET_FIT__TRAINER__MAX_EPOCHS", "9")
        monkeypatch.setenv("TRACKNET_TEST__TRAINER__MAX_EPOCHS", "8")
        composed = merged("trainer: {max_epochs: 4}\n")
        assert composed.values == {"trainer": {"max_epochs": 9}}
        assert composed.origins["trainer.max_epochs"][-1] == Origin("TRACKNET_FIT__TRAINER__MAX_EPOCHS")
        assert composed.words == ["--trainer.max_epochs=9"]

    def test_flags_reach_into_classes_and_lists(self, merged):
        text = "model: {class_path: A, init_args: {loss: B}}\ntrainer: {callbacks: [{class_path: C}]}\n"
        words = [
            "--model.loss.gamma",
            "2",
            "--trainer.callbacks.x=3",
            "--trainer.callbacks+=D",
            "--data.y=[1]",
        ]
        assert merged(text, words=words).values == {
            "model": {
                "class_path": "A",
                "init_args": {"loss": {"class_path": "B", "init_args": {"gamma": 2}}},
            },
            "trainer": {"callbacks": [{"class_path": "C", "init_args": {"x": 3}}, {"class_path": "D"}]},
            "data": {"y": [1]},
        }

    def test_words_that_set_nothing(self, merged):
        words = ["--print_config", "--model.help", "X", "--flag", "extra", "--a='b"]
        composed = merged("a: 1", words=words)
        assert composed.values == {"a": "'b", "flag": "extra"}
        assert composed.words == ["--print_config", "--model.help=X", "--flag=extra", "--a='b"]

    def test_a_node_has_no_child_below_a_value(self):
        assert Node({"a": Node(1)}).child("a", "b") is None


BASE = """
trainer:
  callbacks:
    - class_path: ModelCheckpoint
      init_args: {monitor: val/f1, filename: best}
    - class_path: ModelCheckpoint
      init_args: {filename: last}
    - Report
"""


def listed(*lines):
    return "trainer:\n  callbacks:\n" + "".join(f"    - {line}\n" for line in lines)


class TestCallbacks:
    def test_a_new_one_is_added(self, merged):
        composed = merged(BASE, listed("EarlyStopping"))
        assert [name for name, _ in callbacks(composed)] == [
            *("ModelCheckpoint", "ModelCheckpoint", "Report", "EarlyStopping")
        ]

    def test_one_of_the_same_class_changes_in_its_place(self, merged):
        composed = merged(
            BASE,
            listed("{class_path: tracknet.training.callbacks.Report, init_args: {x: 1}}"),
            listed("Report"),
        )
        assert callbacks(composed)[2:] == [("tracknet.training.callbacks.Report", {"x": 1})]

    @pytest.mark.parametrize(
        ("named", "expected"),
        [
            (
                "filename: best, save_top_k: 3",
                [{"monitor": "val/f1", "filename": "best", "save_top_k": 3}, {"filename": "last"}],
            ),
            (
                "filename: last, save_top_k: 3",
                [{"monitor": "val/f1", "filename": "best"}, {"filename": "last", "save_top_k": 3}],
            ),
            (
                "monitor: val/f1, mode: max",
                [{"monitor": "val/f1", "filename": "best", "mode": "max"}, {"filename": "last"}],
            ),
            (
                "filename: every",
                [{"monitor": "val/f1", "filename": "best"}, {"filename": "last"}, {"filename": "every"}],
            ),
        ],
    )
    def test_two_of_a_class_are_told_apart_by_filename_then_monitor(self, named, expected, merged):
        later = listed(f"{{class_path: ModelCheckpoint, init_args: {{{named}}}}}")
        found = [args for name, args in callbacks(merged(BASE, later)) if name == "ModelCheckpoint"]
        assert found == expected

    def test_which_of_two_is_meant_must_be_clear(self, merged):
        with pytest.raises(UsageError) as wrong:
            merged(BASE, listed("{class_path: ModelCheckpoint, init_args: {save_top_k: 3}}"))
        assert str(wrong.value) == (
            "1.yaml:3: trainer.callbacks: which one is meant, ModelCheckpoint(filename=best) and "
            "ModelCheckpoint(filename=last)? Name its filename, or add one more under the key callbacks+"
        )

    def test_two_of_one_file_do_not_change_each_other(self, merged):
        stops = [f"{{class_path: EarlyStopping, init_args: {{monitor: {name}}}}}" for name in "ab"]
        assert callbacks(merged(listed(*stops))) == [
            ("EarlyStopping", {"monitor": "a"}),
            ("EarlyStopping", {"monitor": "b"}),
        ]
        assert len(callbacks(merged(listed(*stops), listed(*reversed(stops))))) == 2

    def test_the_same_configuration_twice_is_the_same(self, merged):
        assert callbacks(merged(BASE, BASE)) == callbacks(merged(BASE))

    def test_a_plus_adds_one_more(self, merged):
        composed = merged(BASE, "trainer: {callbacks+: [Report]}")
        assert [name for name, _ in callbacks(composed)][2:] == ["Report", "Report"]

    def test_a_minus_removes(self, merged):
        composed = merged(BASE, "trainer:\n  callbacks-: [Report, ModelSummary]\n")
        assert [name for name, _ in callbacks(composed)] == ["ModelCheckpoint", "ModelCheckpoint"]
        assert composed.notes == ["1.yaml:2: there is no ModelSummary to remove"]

    def test_a_minus_removes_the_one_described(self, merged):
        last = "trainer: {callbacks-: [{class_path: ModelCheckpoint, init_args: {filename: last}}]}"
        assert [args.get("filename") for _, args in callbacks(merged(BASE, last))] == ["best", None]

    def test_an_exclamation_mark_leaves_none_of_the_others(self, merged):
        assert callbacks(merged(BASE, "trainer: {callbacks!: [Report]}")) == [("Report", {})]
        assert merged(BASE, "trainer: {callbacks: null}").values == {"trainer": {"callbacks": None}}

    def test_one_alone_is_a_list_of_one(self, merged):
        assert [name for name, _ in callbacks(merged("trainer: {callbacks: Report}", listed("Timer")))] == [
            *("Report", "Timer")
        ]


NETWORK = "model:\n  class_path: HeatmapTracker\n  init_args:\n    network:\n"


class TestAChangedClass:
    def test_arguments_that_still_fit_are_kept_and_others_named(self, merged):
        first = "optimizer:\n  class_path: SGD\n  init_args:\n    lr: 0.1\n    momentum: 0.9\n"
        composed = merged(first, "optimizer: {class_path: AdamW}")
        assert composed.values == {"optimizer": {"class_path": "AdamW", "init_args": {"lr": 0.1}}}
        assert composed.notes == [
            "1.yaml:1: optimizer is now AdamW, which does not take momentum (from 0.yaml:5): dropped"
        ]

    def test_settings_without_a_value_are_not_told(self, merged):
        first = "optimizer:\n  class_path: SGD\n  init_args:\n    lr: 0.1\n    dampening: null\n"
        composed = merged(first, "optimizer: {class_path: AdamW}")
        assert composed.values == {"optimizer": {"class_path": "AdamW", "init_args": {"lr": 0.1}}}
        assert composed.notes == []

    def test_values_must_fit_too(self, merged):
        target = "{class_path: X, init_args: {radius: a}}"
        first = f"model:\n  class_path: HeatmapTracker\n  init_args: {{target: {target}}}"
        composed = merged(first, "model: {init_args: {target: {class_path: DiscTarget}}}")
        assert composed.values["model"]["init_args"]["target"]["init_args"] == {}
        assert "does not take radius (from 0.yaml:3): dropped" in composed.notes[0]

    def test_by_its_name_alone_as_well(self, merged):
        first = f"{NETWORK}      class_path: CompactTrackNet\n      init_args: {{frames: 8, stem: 4}}\n"
        composed = merged(first, f"{NETWORK}      TrackNetV2\n")
        assert composed.values["model"]["init_args"]["network"] == {
            "class_path": "TrackNetV2",
            "init_args": {"frames": 8},
        }
        assert "TrackNetV2, which does not take stem (from 0.yaml:6): dropped" in composed.notes[0]

    def test_by_a_flag(self, merged):
        first = "trainer: {logger: {class_path: CSVLogger, init_args: {save_dir: x, prefix: p, flush: 3}}}"
        composed = merged(first, words=["--trainer.logger=RunLogger"])
        assert composed.values["trainer"]["logger"]["init_args"]["save_dir"] == "x"

    def test_arguments_of_a_name_alone(self, merged):
        composed = merged("model: {loss: WBCELoss}", "model: {loss: {init_args: {reduction: ball}}}")
        assert composed.values["model"]["loss"] == {
            "class_path": "WBCELoss",
            "init_args": {"reduction": "ball"},
        }

    def test_short_and_full_names_are_one_class(self, merged):
        first = "optimizer: {class_path: torch.optim.AdamW, init_args: {lr: 1, odd: 2}}"
        composed = merged(
            first, "optimizer: {class_path: AdamW}", "optimizer: {class_path: torch.optim.adamw.AdamW}"
        )
        assert composed.values["optimizer"]["init_args"] == {"lr": 1, "odd": 2}
        assert composed.notes == []

    def test_a_class_that_nobody_knows_is_left_to_the_parser(self, merged):
        composed = merged(
            "optimizer: {class_path: SGD, init_args: {lr: 1}}", "optimizer: {class_path: nowhere.X}"
        )
        assert composed.values["optimizer"] == {"class_path": "nowhere.X", "init_args": {"lr": 1}}


class TestVariables:
    def test_values_are_shared_between_sections(self, merged):
        composed = merged("vars: {lr: 0.1}\na: {b: '${vars.lr}'}\nc: '${a.b}'\nd: ['x-${a.b}']")
        assert composed.values == {"a": {"b": 0.1}, "c": 0.1, "d": ["x-0.1"]}
        assert composed.merged == composed.values
        assert "vars" not in composed.origins

    def test_they_follow_the_command_line(self, merged):
        composed = merged("a: 1\nb: ${a}\nvars: {x: 2}\nc: ${vars.x}", words=["--a=5", "--vars.x=6"])
        assert composed.values == {"a": 5, "b": 5, "c": 6}
        assert composed.merged == {"a": 1, "b": 5, "c": 6}
        assert composed.words == ["--a=5"]

    def test_of_the_environment(self, merged, monkeypatch):
        monkeypatch.setenv("RALLIES", "/data")
        composed = merged("a: ${oc.env:RALLIES}/x\nb: ${oc.env:NOT_SET,3}", words=["--c=${oc.env:RALLIES}"])
        assert composed.values == {"a": "/data/x", "b": "3", "c": "/data"}
        assert composed.words == ["--c=/data"]

    @pytest.mark.parametrize(
        ("text", "wrong"),
        [
            ("a:\n  b: ${oc.env:NOT_SET}\n", "0.yaml:2: a.b: Environment variable 'NOT_SET' not found"),
            ("a:\n  b: ${c.d}\n", "0.yaml:2: a.b: Interpolation key 'c.d' not found"),
            ("a: [1, '${b}']\n", "0.yaml:1: a[1]: Interpolation key 'b' not found"),
        ],
    )
    def test_what_is_not_there(self, text, wrong, merged):
        with pytest.raises(UsageError) as error:
            merged(text)
        assert str(error.value) == wrong

    def test_what_a_flag_sets_need_not_be_there(self, merged):
        composed = merged("a: ${oc.env:NOT_SET}\nb: [{c: '${nothing}'}, {d: 1}]", words=["--a=1", "--b=[2]"])
        assert composed.values == {"a": 1, "b": [2]}
        assert composed.merged == {"a": 1, "b": [{}, {"d": 1}]}


class TestExtends:
    def test_a_file_starts_from_others(self, write):
        write("a.yaml", "x: 1\ny: 1\nz: 1\n")
        write("b.yaml", "y: 2\nz: 2\n")
        write("c.yaml", "extends: [a, b.yaml]\nz: 3\n")
        composed = compose(["--config=c.yaml"], "fit")
        assert composed.values == {"x": 1, "y": 2, "z": 3}
        assert [path.name for path in composed.files] == ["a.yaml", "b.yaml", "c.yaml"]

    def test_each_is_taken_once(self, write):
        write("a.yaml", "x: 1\n")
        write("b.yaml", "extends: a\nx: 2\n")
        write("c.yaml", "extends: [b, a]\n")
        assert compose(["--config=a.yaml", "--config=c.yaml"], "fit").values == {"x": 2}

    def test_ones_own_extends_packaged_ones(self, write):
        write("configs/experiment/mine.yaml", "extends: [base, model/compact]\n")
        composed = compose(["+experiment=mine"], "fit")
        assert composed.values["model"]["init_args"]["network"]["class_path"] == "CompactTrackNet"
        assert composed.files[0] == library() / "base.yaml"

    def test_neighbours_come_first(self, write):
        write("configs/experiment/mine.yaml", "extends: [../other, start]\n")
        write("configs/other.yaml", "x: 1\n")
        write("configs/start.yaml", "y: 1\n")
        assert compose(["--config=configs/experiment/mine.yaml"], "fit").values == {"x": 1, "y": 1}

    def test_in_a_circle(self, write):
        write("a.yaml", "extends: b\n")
        write("b.yaml", "extends: a\n")
        with pytest.raises(UsageError, match=r"^a\.yaml: extends itself: a\.yaml -> b\.yaml -> a\.yaml$"):
            compose(["--config=a.yaml"], "fit")

    @pytest.mark.parametrize(
        ("text", "wrong"),
        [
            ("extends: bse\n", "a.yaml:1: extends: no file 'bse.yaml' here or among the packaged ones"),
            ("x: 1\nextends: [3]\n", "a.yaml:2: extends: expected names of files, found 3"),
        ],
    )
    def test_what_cannot_be_extended(self, text, wrong, write):
        write("a.yaml", text)
        with pytest.raises(UsageError) as error:
            compose(["--config=a.yaml"], "fit")
        assert str(error.value).startswith(wrong)


class TestPieces:
    def test_base_is_the_start_of_the_short_form(self):
        composed = compose(["+model=compact", "+data=tennis"], "fit")
        names = [path.relative_to(library()).as_posix() for path in composed.files]
        assert names == ["base.yaml", "model/compact.yaml", "data/tennis.yaml"]

    def test_but_not_after_a_whole_file(self, write):
        write("mine.yaml", "seed_everything: 3\n")
        assert "model" not in compose(["--config=mine.yaml", "+optimizer=sgd"], "fit").values
        assert "model" in compose(["+optimizer=sgd", "--config=mine.yaml"], "fit").values

    def test_ones_own_come_first(self, write):
        write("configs/model/compact.yaml", "model: {mine: 1}\n")
        write("data/tennis.yaml", "data: {mine: 2}\n")
        composed = compose(["+model=compact", "+data=tennis.yaml", "+data=data/tennis.yaml"], "fit")
        assert composed.values["model"]["mine"] == 1
        assert composed.values["data"]["mine"] == 2

    @pytest.mark.parametrize(
        ("word", "wrong"),
        [
            (
                "+modl=compact",
                "+modl=compact: no group 'modl'; did you mean 'model'? (those are callbacks, data",
            ),
            (
                "+env=clstr",
                "+env=clstr: no env 'clstr'; did you mean 'cluster'? (those are ci, cluster, cpu, gpu",
            ),
            ("--env=clstr", "--env clstr: no env 'clstr'; did you mean 'cluster'?"),
        ],
    )
    def test_what_is_nowhere(self, word, wrong):
        with pytest.raises(UsageError) as error:
            compose([word], "fit")
        assert str(error.value).startswith(wrong)


class TestPrecedence:
    """Packaged defaults < base < env < experiment < own file < environment variable < command line."""

    @pytest.fixture
    def stack(self, write, monkeypatch):
        write("configs/base.yaml", "a: base\nb: base\nc: base\nd: base\ne: base\nf: base\n")
        write("configs/env/mine.yaml", "b: env\nc: env\nd: env\ne: env\nf: env\n")
        write(
            "configs/experiment/mine.yaml",
            "extends: base\nc: experiment\nd: experiment\ne: experiment\nf: x\n",
        )
        write("own.yaml", "d: own\ne: own\nf: own\n")
        monkeypatch.setenv("TRACKNET_FIT__E", "variable")
        monkeypatch.setenv("TRACKNET_FIT__F", "variable")

    @pytest.mark.parametrize(
        "words",
        [
            ["+experiment=mine", "--env=mine"],
            ["--env", "mine", "+experiment=mine"],
            ["+env=mine", "+experiment=mine"],
            ["+experiment=mine"],
            ["+experiment=mine", "+env=mine", "--env=mine"],
        ],
    )
    def test_from_base_to_the_command_line(self, words, stack, monkeypatch):
        monkeypatch.setenv("TRACKNET_ENV", "cluster" if "mine" in words[-1] and len(words) > 1 else "mine")
        composed = compose(["--f=flag", *words, "--config=own.yaml"], "fit")
        expected = {"a": "base", "b": "env", "c": "experiment", "d": "own", "e": "variable", "f": "flag"}
        assert composed.values == expected

    def test_defaults_of_the_classes_are_the_weakest(self):
        composed = compose(["--config=configs/base.yaml"], "fit")
        assert composed.values["data"]["init_args"]["batch_size"] == 4
        assert "num_workers" not in composed.values["data"]["init_args"]

    def test_the_configuration_of_a_run_stands_for_base(self, stack, write, here):
        write("run.yaml", "a: run\nb: run\n")
        composed = compose(["--env=mine"], "test", Start(here / "run.yaml"))
        assert (composed.values["a"], composed.values["b"]) == ("run", "env")
        assert composed.files == [here / "run.yaml", composed.files[1]]
        assert not composed.trusted_only

    def test_a_configuration_in_a_checkpoint_is_limited_to_trusted_packages(self, stack, here, monkeypatch):
        start = Start(here / "best.ckpt", "a: run\nb: run\n")
        composed = compose(["--env=mine"], "test", start)
        assert (composed.values["a"], composed.values["b"]) == ("run", "env")
        assert composed.files == [here / "best.ckpt", composed.files[1]]
        assert str(composed.place("a")) == f"{here / 'best.ckpt'}:1"
        assert composed.trusted_only
        monkeypatch.setenv("TRACKNET_TRUST", "1")
        assert not compose([], "test", start).trusted_only

    def test_an_environment_alone_names_no_base(self, monkeypatch):
        monkeypatch.setenv("TRACKNET_ENV", "cpu")
        assert set(compose([], "fit").values) == {"trainer"}
        assert "model" in compose(["--env=gpu"], "fit").values

    def test_an_environment_that_is_not_there(self, monkeypatch):
        monkeypatch.setenv("TRACKNET_ENV", "cput")
        with pytest.raises(UsageError, match=r"^TRACKNET_ENV=cput: no env 'cput'; did you mean 'cpu'\?"):
            compose([], "fit")

    def test_files_have_no_variables_of_their_own(self, monkeypatch):
        monkeypatch.setenv("TRACKNET_FIT__CONFIG", "x.yaml")
        with pytest.raises(UsageError, match=r"^TRACKNET_FIT__CONFIG: files are named with --config"):
            compose([], "fit")

    def test_names_that_are_not_lower_case(self, monkeypatch):
        monkeypatch.setenv("TRACKNET_FIT__LR_SCHEDULER__T_max", "3")
        assert compose([], "fit").words == ["--lr_scheduler.T_max=3"]


def test_a_file_is_read_as_it_is_written(write):
    write("a.yaml", "a:\n- b: [1, 2]\n- 3\n")
    tree = read_tree(Path("a.yaml"))
    assert tree.plain() == yaml.safe_load("a:\n- b: [1, 2]\n- 3\n")
