"""What ends a training command before its end, in words: a stop from outside, and what others raise."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from tracknet.data.whole_file import why_refused
from tracknet.errors import TrackNetError, UsageError, reasons


class StoppedError(TrackNetError):
    """A training command was stopped from outside.

    Args:
        by: What stopped it.
        exit_code: Exit code of the command.
        checkpoint: Where the state of the moment is, if it was saved.
    """

    def __init__(self, by: str, exit_code: int, checkpoint: Path | None) -> None:
        saved = "nothing was saved"
        if checkpoint is not None:
            saved = f"to go on: tracknet fit --ckpt_path {shlex.quote(str(checkpoint))}"
        super().__init__(f"stopped by {by}; {saved}")
        self.exit_code = exit_code


@contextmanager
def failures_in_words() -> Iterator[None]:
    """Say what is known of the errors of PyTorch, Lightning and the system; the others pass as they are.

    Raises:
        UsageError: A wrong option or setting.
        TrackNetError: The data, the memory or the disk does not allow it.
    """
    try:
        yield
    except MisconfigurationException as error:
        raise UsageError(str(error)) from error
    except ValueError as error:
        if "`val_check_interval`" not in str(error):
            raise
        raise UsageError(f"trainer.val_check_interval: {error}") from error
    except torch.OutOfMemoryError as error:
        raise TrackNetError("no memory left on the device; use a smaller --data.batch_size") from error
    except BrokenPipeError:
        raise
    except OSError as error:
        if error.strerror is None:
            raise
        place = f"{error.filename}: " if error.filename else ""
        raise TrackNetError(f"{place}{why_refused(error)}") from error
    except RuntimeError as error:
        if lost := _lost_worker(error):
            raise TrackNetError(
                f"{lost}: a process that loads data was lost, "
                "mostly for want of memory; use fewer with --data.num_workers, or a smaller "
                "--data.batch_size; to go on: the same command with --ckpt_path last"
            ) from error
        if "Error(s) in loading state_dict" not in str(error):
            raise
        raise UsageError(
            "--ckpt_path: the checkpoint holds another network than the configuration names"
            f"{_mismatch(str(error))}; "
            "without --config, that of the checkpoint's own run is taken"
        ) from error


def _lost_worker(error: BaseException) -> str:
    """Give what PyTorch says of a worker that is gone.

    It says so wherever the process is at that moment: code that fails in turn has it as its reason.
    """
    told = next((str(one) for one in reasons(error) if str(one).startswith("DataLoader worker")), "")
    return told.partition("\n")[0].rstrip(". ")


def _mismatch(message: str) -> str:
    """Name the first weights in a message of PyTorch that have another shape, or another name."""
    shapes = r"size mismatch for (\S+): .*?Size\((\[.*?\])\) from checkpoint.*?Size\((\[.*?\])\)"
    if found := re.findall(shapes, message):
        name, given, expected = found[0]
        more = f" and {len(found) - 1} more" if found[1:] else ""
        return f" ({name} is {given}, expected {expected}{more})"
    missing, unknown = (
        re.search(rf'{kind} key\(s\) in state_dict: "(.*?)"', message) for kind in ("Missing", "Unexpected")
    )
    faults = [f"there is no {missing[1]}"] if missing else []
    faults += [f"{unknown[1]} is unknown"] if unknown else []
    if not faults:
        return ""
    return (
        f" ({'; '.join(faults)}); where only names differ, as in files of the older tracknet, "
        "`tracknet checkpoint import FILE --config YAML` makes it ours"
    )
