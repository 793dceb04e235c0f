"""The study of a sweep: where its trials are kept, which have ended, and which are trained or were killed."""

from __future__ import annotations

import json
import re
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from copy import deepcopy
from pathlib import Path
from typing import Any

import optuna
from optuna.exceptions import ExperimentalWarning, UpdateFinishedTrialError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage, RetryHeartbeatStaleTrialCallback
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.event import listen

from tracknet.cli.held_interrupt import HeldInterrupt
from tracknet.cli.sweep_settings import Sweep
from tracknet.cli.sweep_space import Space, first_of, fit_words
from tracknet.configs import compose
from tracknet.data.file_lock import locked
from tracknet.errors import TrackNetError, UsageError, first_few
from tracknet.training.records.machine import lives
from tracknet.training.records.redaction import Redactor

HEARTBEAT_SECONDS = 60
RETRIES = 2
"""How often a trial that was killed is begun anew."""

_SQLITE_PATIENCE = 60  # seconds to wait for another process that writes
warnings.filterwarnings("ignore", category=ExperimentalWarning)
_again = RetryHeartbeatStaleTrialCallback(max_retry=RETRIES)


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
def kept(sweep: Sweep) -> Iterator[None]:
    """Say that what keeps the trials is gone, whatever Optuna says when that happens.

    Args:
        sweep: The sweep.

    Raises:
        TrackNetError: It is gone.
    """
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


def alone(stack: ExitStack, sweep: Sweep, interrupt: HeldInterrupt | None = None) -> None:
    """Wait until no other process begins the study or a trial: two would both make it, or take the last one.

    Args:
        stack: Holds the lock.
        sweep: The sweep.
        interrupt: Ctrl-C.
    """
    heed = None if interrupt is None else interrupt.heed
    with suppress(OSError):  # a file system without locks: there, as many as begin in one moment are trained
        stack.enter_context(locked(begin_lock(sweep), check=heed))


def begin_lock(sweep: Sweep) -> Path:
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


def refuse_changes(study: optuna.Study, sweep: Sweep, space: Space) -> None:
    """Keep what the study is about, and refuse to go on with something else.

    Args:
        study: The study.
        sweep: The sweep.
        space: Settings that vary, as they were given.

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


def refuse_other_runs(study: optuna.Study, sweep: Sweep) -> None:
    """Refuse a folder in which runs of other studies would be written over.

    Args:
        study: The study.
        sweep: The sweep.

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


def finished(study: optuna.Study) -> list[FrozenTrial]:
    """Give the trials that have come to an end of their own: completed, pruned or failed.

    Args:
        study: The study.
    """
    ended = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    return [
        one
        for one in study.get_trials(deepcopy=False, states=ended)
        if one.state != TrialState.FAIL or one.user_attrs.get("failure")
    ]


def elsewhere(study: optuna.Study, sweep: Sweep, own: Sequence[int | None] = ()) -> int:
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


def some_have_gone(study: optuna.Study, sweep: Sweep, trials: int, interrupt: HeldInterrupt) -> bool:
    """Wait until other machines' trials end or show, by their heartbeat, that their process has not gone.

    Otherwise nobody would train what a machine began that was lost just now, such as this one's own container
    before it was started again.

    Args:
        study: The study.
        sweep: The sweep.
        trials: How many trials the sweep has in all.
        interrupt: Ctrl-C, which is not held while waiting.

    Returns:
        Whether trials are left to train.
    """
    told, until = False, time.monotonic() + 2 * HEARTBEAT_SECONDS + 2  # whose last is older counts as gone
    while any(alive is None for alive, _ in _running(study, sweep)) and time.monotonic() < until:
        missing = trials - len(finished(study))
        if missing <= 0 or elsewhere(study, sweep) < missing:
            break
        if not told:
            told = True
            print("waiting up to two minutes to learn whether other machines still train", flush=True)
        with interrupt.let_through():
            time.sleep(1)
    return len(finished(study)) + elsewhere(study, sweep) < trials


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
