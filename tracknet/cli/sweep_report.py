"""What a sweep has come to: Markdown, pictures, and the best configuration."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import optuna
import yaml
from optuna.distributions import CategoricalDistribution
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from tracknet.cli.sweep_space import fit_words, in_words
from tracknet.configs import compose
from tracknet.data.whole_file import whole_file
from tracknet.training.records.redaction import Redactor

BEST = "best.yaml"
REPORT = "report.md"
ENOUGH = 4
"""Completed trials from which the weight of each setting is estimated."""


def one_line(study: optuna.Study, trial: FrozenTrial, monitor: str) -> str:
    """Say in a line what became of a trial.

    Args:
        study: The study.
        trial: The trial, at its end.
        monitor: The figure.
    """
    settings = " ".join(f"{key}={_short(value)}" for key, value in trial.params.items())
    best = best_of(study)
    behind = "" if best is None else f"; best {best.value:.4f} of trial {best.number}"
    return f"trial {trial.number}: {_state(trial, monitor)} with {settings}{behind}"


def best_of(study: optuna.Study) -> FrozenTrial | None:
    """Give the best of the completed trials, None where there is none."""
    complete = _complete(study)
    return max(complete, key=lambda one: _order(study, one)) if complete else None


def write_report(study: optuna.Study, folder: Path, config: Sequence[str], monitor: str) -> Path:
    """Write ``report.md``, its pictures and ``best.yaml``, without secrets.

    Args:
        study: The study.
        folder: Where to.
        config: What all trials share, see `fit_words`.
        monitor: The figure.

    Returns:
        The report.

    Raises:
        TrackNetError: A file cannot be written.
    """
    best = best_of(study)
    lines = [
        f"# Sweep {study.study_name}",
        "",
        f"{monitor}, to {study.direction.name.lower()}; {_counts(study)}",
    ]
    lines += ["", f"All trials: `tracknet fit {shlex.join(Redactor().words(fit_words(config, {})))}`", ""]
    if best is not None:
        found = Redactor().tree(compose(fit_words(config, best.params), "fit").values)
        with whole_file(folder / BEST) as part:
            text = yaml.safe_dump(found, sort_keys=False, allow_unicode=True)
            part.write_text(f"# Trial {best.number}: {monitor} {best.value:.4f}\n{text}", encoding="utf-8")
        lines += [f"## Best: trial {best.number}, {monitor} {best.value:.4f}", ""]
        lines += [f"- `{key}`: {_short(value)}" for key, value in best.params.items()]
        lines += [f"- run: `{best.user_attrs['run']}`"]
        lines += [f"- again: `tracknet fit --config {shlex.quote(str(folder / BEST))}`", ""]
        lines += _pictures(study, folder, monitor)
    lines += _table(study, monitor)
    with whole_file(folder / REPORT) as part:
        part.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / REPORT


def _table(study: optuna.Study, monitor: str) -> list[str]:
    trials = [one for one in study.trials if one.state.is_finished()]
    keys = list(dict.fromkeys(key for one in trials for key in one.params))
    ranked = sorted(
        trials, key=lambda one: (one.state == TrialState.COMPLETE, _order(study, one)), reverse=True
    )
    rows = [["trial", monitor, "seconds", *keys]]
    rows += [["---"] * len(rows[0])]
    for one in ranked:
        seconds = "" if one.duration is None else f"{one.duration.total_seconds():.0f}"
        values = [_short(one.params.get(key, "")) for key in keys]
        rows.append([str(one.number), _state(one, ""), seconds, *values])
    return ["## Trials", "", *("| " + " | ".join(_cell(c) for c in row) + " |" for row in rows)]


def _pictures(study: optuna.Study, folder: Path, monitor: str) -> list[str]:
    matplotlib.use("agg")
    from optuna.visualization import matplotlib as plots

    drawn: dict[str, Callable[[], Any]] = {
        "history": lambda: _with_unfinished(
            plots.plot_optimization_history(study, target_name=monitor), study
        ),
        "slice": lambda: _with_pruned(plots.plot_slice(study, target_name=monitor), study),
    }
    lines = ["## Which settings matter", ""]
    if len(_complete(study)) >= ENOUGH and len({one.value for one in _complete(study)}) > 1:
        judge = PedAnovaImportanceEvaluator()
        weights = get_param_importances(study, evaluator=judge)
        lines += ["| setting | weight |", "| --- | --- |"]
        lines += [f"| {_cell(key)} | {weight:.2f} |" for key, weight in weights.items()]
        lines += ["", "(PED-ANOVA: how much the better trials differ from all in this setting; sums to 1.)"]
        drawn["importance"] = lambda: plots.plot_param_importances(study, evaluator=judge)
    else:
        lines += [f"Known from {ENOUGH} completed trials on."]
    lines += [""]
    for name, draw in drawn.items():
        with warnings.catch_warnings():
            # Where all completed trials have one value of a setting, as a single one has.
            warnings.filterwarnings("ignore", message="Attempting to set identical low and high")
            axes = draw()
        every = np.atleast_1d(axes).ravel()
        figure = every[0].figure
        figure.set_size_inches(max(6.4, 3.2 * len(every)), 4.8)
        for one in every:
            # Values in words are long, and so are those between the powers of ten.
            one.tick_params(axis="x", which="both", rotation=30)
        with whole_file(folder / f"{name}.png") as part:
            figure.savefig(part, dpi=100, bbox_inches="tight")
        matplotlib.pyplot.close(figure)
        lines += [f"![{name}]({name}.png)", ""]
    return lines


def _with_unfinished(drawn: Any, study: optuna.Study) -> Any:
    """Mark pruned and failed trials at the edge of a history plot, but none that was begun anew."""
    (axes,) = np.atleast_1d(drawn)
    for state, told, marker in ((TrialState.PRUNED, "pruned", "o"), (TrialState.FAIL, "failed", "x")):
        trials = study.get_trials(deepcopy=False, states=(state,))
        at = [one.number for one in trials if state == TrialState.PRUNED or one.user_attrs.get("failure")]
        if at:
            label = f"{told}: no final figure"
            axes.plot(
                at,
                [_edge(study)] * len(at),
                marker,
                mfc="none",
                c="dimgrey",
                ls="",
                label=label,
                transform=axes.get_xaxis_transform(),
            )
            axes.margins(y=0.1)
            axes.legend()
    return drawn


def _edge(study: optuna.Study) -> float:
    """Give the height of marks at the worse edge of a picture, as a share."""
    return 0.97 if study.direction == StudyDirection.MINIMIZE else 0.03


def _with_pruned(drawn: Any, study: optuna.Study) -> Any:
    """Mark pruned trials at the edge of a slice plot; they have no figure that compares with the others."""
    pruned = study.get_trials(deepcopy=False, states=(TrialState.PRUNED,))
    for axes in np.atleast_1d(drawn):
        key = axes.get_xlabel()
        at = [
            repr(one.params[key])
            if isinstance(one.distributions[key], CategoricalDistribution)
            else one.params[key]
            for one in pruned
            if key in one.params
        ]
        (marks,) = axes.plot(
            at, [_edge(study)] * len(at), "o", mfc="none", mec="dimgrey", transform=axes.get_xaxis_transform()
        )
        axes.autoscale(axis="x")
        axes.margins(y=0.1)
    if pruned:
        told = ["pruned: no final figure, so at the edge"]
        axes.figure.legend([marks], told, loc="lower center", bbox_to_anchor=(0.5, 1))
    return drawn


def _complete(study: optuna.Study) -> list[FrozenTrial]:
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))


def _order(study: optuna.Study, trial: FrozenTrial) -> float:
    """Give a number that is the higher the better a trial is."""
    value = trial.value if trial.value is not None else float("-inf")
    return -value if study.direction == StudyDirection.MINIMIZE and trial.value is not None else value


def _counts(study: optuna.Study) -> str:
    states = [one.state.name.lower() for one in study.trials]
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))


def _state(trial: FrozenTrial, monitor: str) -> str:
    if trial.state == TrialState.FAIL:
        failure = trial.user_attrs.get("failure")
        return f"failed ({failure})" if failure else "stopped or killed, begun anew"
    value = "" if trial.value is None else f"{trial.value:.4f}"
    if trial.state == TrialState.PRUNED:
        told = f"pruned after validation {len(trial.intermediate_values)}"
        return f"{told} at {value}" if value else told
    return f"{monitor} {value}".strip()


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else in_words(value)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
