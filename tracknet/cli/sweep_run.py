"""A sweep from its first trial to its report: the study, who works on it, and what a kill leaves."""

from __future__ import annotations

import json
import re
import signal
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from copy import deepcopy
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import optuna
from jsonargparse.typing import PositiveInt
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, BruteForceSampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.event import listen

from tracknet.cli.held_interrupt import INTERRUPTED, HeldInterrupt
from tracknet.cli.processes import DIED, Worker, take_share, that_speak
from tracknet.cli.sweep_report import one_line, write_report
from tracknet.cli.sweep_settings import Sweep
from tracknet.cli.sweep_space import Choices, Range, Space, combinations, distributions, first_of, fit_words
from tracknet.configs import compose
from tracknet.data.faults import plural
from tracknet.data.file_lock import locked
from tracknet.data.whole_file import why_refused
from tracknet.errors import TrackNetError, UsageError, first_few
from tracknet.training.records.machine import lives, this_process
from tracknet.training.records.redaction import Redactor

HEARTBEAT_SECONDS = 60
RETRIES = 2
"""How often a trial that was killed is begun anew."""

_SQLITE_PATIENCE = 60  # seconds to wait for another process that writes
warnings.filterwarnings("ignore", category=ExperimentalWarning)
_again = RetryHeartbeatStaleTrialCallback(max_retry=RETRIES)


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
        if _begin_lock(sweep).parent.is_dir():  # Optuna says so where it is not
            _alone(opening, sweep, None)
        study = open_study(sweep)
    _same(study, sweep, space)
    _refuse_others(study, sweep)
    put_back(study)
    before = finished(study)
    if len(before) > trials:
        print(f"{plural(len(before), 'trial')} are finished, more than the {trials} that are asked for")
    elif before:
        are = "is" if len(before) == 1 else "are"
        print(f"{len(before)} of {plural(trials, 'trial')} {are} finished")
    stopped = False
    with _kept(sweep):
        try:
            with HeldInterrupt() as interrupt:
                while True:
                    if workers == 1:
                        _work_here(study, sweep, trials, interrupt)
                    else:
                        _work_in_processes(study, sweep, trials, workers, interrupt)
                    if not _some_have_gone(study, sweep, trials, interrupt):
                        break
        except KeyboardInterrupt:
            stopped = True
        finally:
            put_back(study)
        try:
            _same(study, sweep, space)
        except UsageError as error:  # a file was changed meanwhile
            raise UsageError(f"{error}; or put it back, and the same command writes the report") from error
        report = write_report(study, folder, config, monitor)
    print(f"report:     {report}", flush=True)
    if stopped:
        print("stopped; the same command goes on", file=sys.stderr)
        return INTERRUPTED
    done = finished(study)
    if others := _elsewhere(study, sweep):
        are = "trial is" if others == 1 else "trials are"
        print(f"{others} {are} still trained by other commands; the last of them writes the whole report")
        return 0
    if not any(one.state == TrialState.COMPLETE for one in done):
        reasons = dict.fromkeys(one.user_attrs.get("failure") or "pruned" for one in done)
        raise TrackNetError("no trial came to its end" + "".join(f"\n  {reason}" for reason in reasons))
    return 0


def open_study(sweep: Sweep) -> optuna.Study:
    """Open the study of a sweep, or begin it.

    Args:
        sweep: The sweep.

    Returns:
        The study, with a sampler and a pruner.

    Raises:
        TrackNetError: The storage cannot be used.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler = deepcopy(sweep.sampler) or optuna.samplers.TPESampler(seed=42)
    try:
        storage = open_storage(sweep.storage)
        study = optuna.create_study(
            study_name=sweep.name,
            storage=storage,
            sampler=sampler,
            pruner=deepcopy(sweep.pruner),
            direction=sweep.direction,
            load_if_exists=True,
        )
    except Exception as error:  # as many kinds as there are databases
        said = str(error).partition("\n")[0]
        raise TrackNetError(f"storage {sweep.storage}: cannot be used: {said}") from error
    if study.trials:
        # With the same seed it would draw once more what it drew before.
        sampler.reseed_rng()
    return study


def open_storage(storage: str) -> BaseStorage:
    """Open what keeps the trials: a journal in ``.log``, or else a database by its URL.

    Both hold JSON and numbers only; nothing in them is run when they are read.
    """
    if storage.endswith(".log"):
        return JournalStorage(JournalFileBackend(storage))
    sqlite = storage.startswith("sqlite")
    opened = RDBStorage(
        storage,
        engine_kwargs={"connect_args": {"timeout": _SQLITE_PATIENCE}} if sqlite else {},
        heartbeat_interval=HEARTBEAT_SECONDS,
        heartbeat_stale_trial_callback=_again,
    )
    if sqlite:
        # SQLite knows no lock of a row, and Python begins its transactions with the first write: two workers
        # would both read that a trial waits, and both begin it.
        listen(opened.engine, "begin", lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE"))
    return opened


@contextmanager
def _kept(sweep: Sweep) -> Iterator[None]:
    """Say that what keeps the trials is gone, whatever Optuna says when that happens."""
    try:
        yield
    except TrackNetError:
        raise
    except Exception as error:
        try:
            optuna.load_study(study_name=sweep.name, storage=open_storage(sweep.storage))
        except Exception:
            told = "deleted, overwritten or out of reach while the sweep ran"
            raise TrackNetError(
                f"storage {sweep.storage}: {told}; runs that ended are in {sweep.folder}"
            ) from error
        raise


def put_back(study: optuna.Study) -> int:
    """Begin trials anew whose process has died.

    A heartbeat, which databases keep, tells it of other machines' after a while; of this one's it is known at
    once.

    Args:
        study: The study.

    Returns:
        How many had died.
    """
    dead = [
        trial
        for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        if lives(trial.user_attrs.get("process") or {}) is False
    ]
    for trial in dead:
        killed = len(_again.retry_history(trial)) + 1
        with suppress(UpdateFinishedTrialError):  # another command has just put it back
            if killed > RETRIES:
                told = f"its process was killed {killed} times; is there too little memory?"
                Trial(study, trial._trial_id).set_user_attr("failure", told)
            # Not study.tell: a sampler that has tried all would stop what does not run.
            study._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
            _again(study, deepcopy(trial))
    return len(dead)


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

        _alone(counting, sweep, interrupt)
        if len(finished(study)) + _elsewhere(study, sweep) >= trials:
            return None
        try:
            study.optimize(train, n_trials=1, catch=(TrialFailedError,))
        except (StoppedError, KeyboardInterrupt):
            for trial in begun:
                study.enqueue_trial(trial.params)
            raise
    return study.get_trials(deepcopy=False)[begun[-1].number]


def _alone(stack: ExitStack, sweep: Sweep, interrupt: HeldInterrupt | None) -> None:
    """Wait until no other process begins the study or a trial: two would both make it, or take the last one.

    Args:
        stack: Holds the lock.
        sweep: The sweep.
        interrupt: Ctrl-C.
    """
    heed = None if interrupt is None else interrupt.heed
    with suppress(OSError):  # a file system without locks: there, as many as begin in one moment are trained
        stack.enter_context(locked(_begin_lock(sweep), check=heed))


def _begin_lock(sweep: Sweep) -> Path:
    """Give the lock of who begins something: beside the file that keeps the trials, whatever the folder.

    A server has no such file; there the commands of one folder keep apart.
    """
    if sweep.storage.endswith(".log"):
        kept = Path(sweep.storage)
    else:
        url = make_url(sweep.storage)
        in_file = url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:")
        kept = Path(str(url.database)) if in_file else sweep.folder / sweep.name
    return kept.with_name(f".{kept.name}.begin.lock")


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
        if len(finished(study)) + len(places) + _elsewhere(study, sweep, own) < trials:
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
            with _kept(sweep):
                trained = train_one(study, sweep, trials)
            calls.send(trained)
    except (StoppedError, KeyboardInterrupt, EOFError, BrokenPipeError):
        return
    except TrackNetError as error:
        calls.send(error)


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Give the trials that have come to an end of their own: completed, pruned or failed."""
    ended = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    return [
        one
        for one in study.get_trials(deepcopy=False, states=ended)
        if one.state != TrialState.FAIL or one.user_attrs.get("failure")
    ]


def _elsewhere(study: optuna.Study, sweep: Sweep, own: Sequence[int | None] = ()) -> int:
    """Count the trials that other commands train just now: together they begin no more than are asked for.

    Whether another machine still runs, a database tells by its heartbeat; a journal does not, and trials of
    other machines in it do not count.

    Args:
        study: The study.
        sweep: The sweep.
        own: Numbers of the processes of this command.
    """
    states = _running(study, sweep)
    return sum(pid not in own if alive else alive is None for alive, pid in states)


def _some_have_gone(study: optuna.Study, sweep: Sweep, trials: int, interrupt: HeldInterrupt) -> bool:
    """Wait until other machines' trials end or show, by their heartbeat, that their process has not gone.

    Otherwise nobody would train what a machine began that was lost just now, such as this one's own container
    before it was started again.

    Returns:
        Whether trials are left to train.
    """
    told, until = False, time.monotonic() + 2 * HEARTBEAT_SECONDS + 2  # whose last is older counts as gone
    while any(alive is None for alive, _ in _running(study, sweep)) and time.monotonic() < until:
        missing = trials - len(finished(study))
        if missing <= 0 or _elsewhere(study, sweep) < missing:
            break
        if not told:
            told = True
            print("waiting up to two minutes to learn whether other machines still train", flush=True)
        with interrupt.let_through():
            time.sleep(1)
    return len(finished(study)) + _elsewhere(study, sweep) < trials


def _running(study: optuna.Study, sweep: Sweep) -> list[tuple[bool | None, int | None]]:
    """Give of each trial that is begun and not ended whether its process lives, and the number of that.

    None where that cannot be known but for a heartbeat, which was heard then; those of a journal, which has
    none, are left out.
    """
    journal = sweep.storage.endswith(".log")
    if not journal:
        optuna.storages.fail_stale_trials(study)
    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    processes = [process for one in running if (process := one.user_attrs.get("process"))]
    states = [(lives(process), process.get("pid")) for process in processes]
    return [(alive, pid) for alive, pid in states if not (alive is None and journal)]


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


def _same(study: optuna.Study, sweep: Sweep, space: Space) -> None:
    """Keep what the study is about, and refuse to go on with something else.

    Raises:
        UsageError: It was begun with something else.
    """
    about: dict[str, Any] = json.loads(
        json.dumps(
            {
                "config": Redactor().words(sweep.config),
                "space": space,
                "monitor": sweep.monitor,
                "direction": sweep.direction,
                "values": Redactor().tree(compose(fit_words(sweep.config, first_of(space)), "fit").values),
            },
            default=str,
        )
    )
    before: Mapping[str, Any] = about | study.user_attrs.get("sweep", {})
    for key, value in about.items():
        if before[key] == value:
            continue
        was = f"with {before[key]}, found {value}"
        if key == "values":
            from tracknet.training.checkpoint_report import changes, flat

            differing = changes(dict(flat(before[key])), dict(flat(value)))
            key, was = "config", f"with other settings: {'; '.join(differing)}"
        raise UsageError(
            f"{key}: the sweep {sweep.name!r} in {sweep.storage} was begun {was}; choose another --name for "
            "a new sweep"
        )
    study.set_user_attr("sweep", about)


def _refuse_others(study: optuna.Study, sweep: Sweep) -> None:
    """Refuse a folder in which runs of other studies would be written over.

    Raises:
        UsageError: It holds trials that this study does not know.
    """
    # First: others may begin trials meanwhile. What only is called after a trial, such as a copy, is safe.
    found = {path.stem for path in sweep.folder.glob("trial_*") if re.fullmatch(r"trial_\d+", path.stem)}
    known = {f"trial_{one.number}" for one in study.get_trials(deepcopy=False)}
    if others := sorted(found - known):
        raise UsageError(
            f"folder: {sweep.folder} holds trials that the sweep {sweep.name!r} in {sweep.storage} does not "
            f"know: {first_few(others, 3)}; give the --storage they are kept in, or another --folder"
        )
