"""A sweep from its first trial to its report, and who works on it."""

from __future__ import annotations

import signal
import sys
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal

import optuna
from jsonargparse.typing import PositiveInt
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, BruteForceSampler
from optuna.trial import FrozenTrial, Trial, TrialState

from tracknet.cli.held_interrupt import INTERRUPTED, HeldInterrupt
from tracknet.cli.processes import DIED, Worker, take_share, that_speak
from tracknet.cli.sweep_report import one_line, write_report
from tracknet.cli.sweep_settings import Sweep
from tracknet.cli.sweep_space import Choices, Range, Space, combinations, distributions, first_of, fit_words
from tracknet.cli.sweep_study import (
    RETRIES,
    alone,
    begin_lock,
    elsewhere,
    finished,
    kept,
    open_study,
    put_back,
    refuse_changes,
    refuse_other_runs,
    some_have_gone,
)
from tracknet.data.faults import are, plural
from tracknet.data.whole_file import why_refused
from tracknet.errors import TrackNetError, UsageError
from tracknet.training.records.machine import this_process


def run_sweep(
    config: list[str],
    space: dict[str, Choices | Range],
    monitor: str = "val/f1",
    direction: Literal["maximize", "minimize"] = "maximize",
    trials: PositiveInt = 20,
    workers: PositiveInt = 1,
    sampler: BaseSampler | None = None,
    pruner: BasePruner | None = None,
    name: str | None = None,
    folder: Path | None = None,
    storage: str | None = None,
) -> int:
    """Train again and again, each time with settings that the sampler chooses by what came of the others.

    Each trial is a run as of `tracknet fit`, with its folder and its record, tagged sweep, NAME and trial-N.
    The same command goes on after Ctrl-C or a kill: what is finished counts, what was killed is begun anew.

    Args:
        config: Configurations, +GROUP=NAME words and flags that all trials share, as for `tracknet fit`.
        space: Settings that vary, such as optimizer.lr, each as {choices: [A, B]} or {low: A, high: B}, the
            latter with log: true or step: S where wanted; +GROUP varies by choices.
        monitor: Figure of the validation; the best of its values is what a trial is worth.
        direction: Which way is better.
        trials: How many trials the sweep has in all, those that are finished included.
        workers: Trials that are trained at once, each by a process.
        sampler: Chooses the settings; default TPESampler with the seed 42.
        pruner: Gives up a trial that is behind after a validation; default MedianPruner.
        name: Name of the sweep; default that of its file.
        folder: Where runs and report go; default sweeps/NAME.
        storage: What keeps the trials: a database of Optuna such as sqlite:///sweep.db, or a file in .log for
            Optuna's journal, which also goes with network file systems; default sweep.db in the folder.

    Returns:
        Exit code: 0, or 130 after a Ctrl-C.

    Raises:
        UsageError: A wrong setting, the study was begun with others, or the folder is that of another one.
        TrackNetError: No trial came to its end, or the storage cannot be used.
    """
    name = name or "sweep"
    folder = folder or Path("sweeps") / name
    varied = distributions(space)
    if isinstance(sampler, BruteForceSampler):  # tries each combination once, then would begin again
        trials = min(trials, combinations(varied))
    _check(config, space, monitor)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrackNetError(f"{folder}: the folder cannot be made: {why_refused(error)}") from error
    storage = storage or f"sqlite:///{folder / 'sweep.db'}"
    sweep = Sweep(config, varied, monitor, direction, name, folder, storage, sampler, pruner)
    with ExitStack() as opening:
        if begin_lock(sweep).parent.is_dir():  # Optuna says so where it is not
            alone(opening, sweep, None)
        study = open_study(sweep)
    refuse_changes(study, sweep, space)
    refuse_other_runs(study, sweep)
    put_back(study)
    before = finished(study)
    if len(before) > trials:
        print(f"{plural(len(before), 'trial')} are finished, more than the {trials} that are asked for")
    elif before:
        print(f"{len(before)} of {plural(trials, 'trial')} {are(len(before))} finished")
    stopped = False
    with kept(sweep):
        try:
            with HeldInterrupt() as interrupt:
                while True:
                    if workers == 1:
                        _work_here(study, sweep, trials, interrupt)
                    else:
                        _work_in_processes(study, sweep, trials, workers, interrupt)
                    if not some_have_gone(study, sweep, trials, interrupt):
                        break
        except KeyboardInterrupt:
            stopped = True
        finally:
            put_back(study)
        try:
            refuse_changes(study, sweep, space)
        except UsageError as error:  # a file was changed meanwhile
            raise UsageError(f"{error}; or put it back, and the same command writes the report") from error
        report = write_report(study, folder, config, monitor)
    print(f"report:     {report}", flush=True)
    if stopped:
        print("stopped; the same command goes on", file=sys.stderr)
        return INTERRUPTED
    done = finished(study)
    if others := elsewhere(study, sweep):
        print(
            f"{plural(others, 'trial')} {are(others)} still trained by other commands; the last of them "
            "writes the whole report"
        )
        return 0
    if not any(one.state == TrialState.COMPLETE for one in done):
        reasons = dict.fromkeys(one.user_attrs.get("failure") or "pruned" for one in done)
        raise TrackNetError("no trial came to its end" + "".join(f"\n  {reason}" for reason in reasons))
    return 0


def train_one(
    study: optuna.Study, sweep: Sweep, trials: int, interrupt: HeldInterrupt | None = None
) -> FrozenTrial | None:
    """Train one trial, if one is left.

    Args:
        study: The study.
        sweep: The sweep.
        trials: How many trials the sweep has in all.
        interrupt: Ctrl-C, which is looked for while waiting and not held while training.

    Returns:
        The trial, completed, pruned or failed; None if none was left.

    Raises:
        StoppedError: Ctrl-C or SIGTERM; the trial waits to be begun anew.
        KeyboardInterrupt: So.
    """
    from tracknet.cli.sweep_trial import TrialFailedError, objective
    from tracknet.cli.training_failures import StoppedError

    begun: list[Trial] = []
    with ExitStack() as counting:

        def train(trial: Trial) -> float:
            begun.append(trial)
            trial.set_user_attr("process", this_process())
            counting.close()  # from here on it counts as running
            return objective(trial, sweep, None if interrupt is None else interrupt.let_through())

        alone(counting, sweep, interrupt)
        if len(finished(study)) + elsewhere(study, sweep) >= trials:
            return None
        try:
            study.optimize(train, n_trials=1, catch=(TrialFailedError,))
        except (StoppedError, KeyboardInterrupt):
            for trial in begun:
                study.enqueue_trial(trial.params)
            raise
    return study.get_trials(deepcopy=False)[begun[-1].number]


def _work_here(study: optuna.Study, sweep: Sweep, trials: int, interrupt: HeldInterrupt) -> None:
    from tracknet.cli.training_failures import StoppedError

    try:
        while (trained := train_one(study, sweep, trials, interrupt)) is not None:
            print(one_line(study, trained, sweep.monitor), flush=True)
    except StoppedError as stop:
        raise KeyboardInterrupt from stop


def _work_in_processes(
    study: optuna.Study, sweep: Sweep, trials: int, workers: int, interrupt: HeldInterrupt
) -> None:
    places: dict[Worker, int] = {}
    idle = 0  # workers that have died since a trial began

    def begin(place: int, worker: Worker | None = None) -> None:
        own = [one.process.pid for one in places]
        if len(finished(study)) + len(places) + elsewhere(study, sweep, own) < trials:
            worker = worker or Worker(_serve, sweep, trials, place, workers)
            worker.send("go on")
            places[worker] = place
        elif worker is not None:
            worker.end()

    try:
        for place in range(workers):
            begin(place)
        while places:
            with interrupt.let_through():
                speaking = that_speak(list(places))
            for worker in speaking:
                said = worker.hear()
                place = places.pop(worker)
                if isinstance(said, TrackNetError):
                    raise said
                if said is None:  # another command has begun the last one
                    worker.end()
                    continue
                if said is not DIED:
                    idle = 0
                    print(one_line(study, said, sweep.monitor), flush=True)
                    begin(place, worker)
                    continue
                print(f"a worker ended with {worker.end_in_words()}", file=sys.stderr)
                idle = 0 if put_back(study) else idle + 1
                if idle > RETRIES * workers:
                    raise TrackNetError(f"{idle} workers one after the other ended before their trial began")
                begin(place)
    finally:
        for worker in places:
            worker.stop()
        for worker in places:
            worker.end()


def _serve(calls: Connection, sweep: Sweep, trials: int, place: int, workers: int) -> None:
    """Train a trial whenever asked to; runs in a process of its own."""
    # Ctrl-C reaches all processes of a terminal; the first one decides, and then says SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from tracknet.cli.training_failures import StoppedError

    take_share(place, workers)
    try:
        study = open_study(sweep)
        # All workers have the sampler with the same seed.
        study.sampler.reseed_rng()
        while True:
            calls.recv()
            with kept(sweep):
                trained = train_one(study, sweep, trials)
            calls.send(trained)
    except (StoppedError, KeyboardInterrupt, EOFError, BrokenPipeError):
        return
    except TrackNetError as error:
        calls.send(error)


def _check(config: list[str], space: Space, monitor: str) -> None:
    """Parse the configuration with one value of each setting, and with each choice; look for the figure.

    Raises:
        UsageError: One cannot be; all that is wrong is told.
    """
    from tracknet.cli.parsing import Parsing

    parsing = Parsing("fit")
    first = first_of(space)
    points = [first]
    for key, one in space.items():
        values = one["choices"][1:] if "choices" in one else [one["high"]]
        points += [{**first, key: value} for value in values]
    faults = dict.fromkeys(
        fault for point in points for fault in parsing.faults([], fit_words(config, point))
    )
    if not faults:
        composed, parsed = parsing.parse_to_build(fit_words(config, first))
        parsed.monitor = monitor
        faults = dict.fromkeys(parsing.crossing(composed, parsed))
    if faults:
        raise UsageError("\n  ".join(faults))
