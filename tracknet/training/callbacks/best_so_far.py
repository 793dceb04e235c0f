"""The best checkpoint of a run that goes on in another folder."""

from __future__ import annotations

import filecmp
import os
import shutil
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from tracknet.data.whole_file import whole_file
from tracknet.errors import TrackNetError
from tracknet.training.checkpoint_reading import read_checkpoint


class BestSoFar(Callback):
    """Takes the best checkpoints so far along when a run goes on in another folder.

    Lightning forgets them then: the next validation counts as the best, whatever was reached before. Here
    they are copied into the new folder and count there. They are looked for beside the checkpoint that the
    run goes on from and nowhere else, whatever that names, and must be what it tells of. ``tracknet fit``
    has it always.
    """

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Copy the best checkpoints, before those who save take up their state.

        Args:
            trainer: The trainer.
            pl_module: The module.
            checkpoint: What was saved; changed in place.
        """
        if trainer.ckpt_path is None:
            return  # SLURM has begun the run again, and Lightning has found its checkpoint by itself
        for callback in trainer.checkpoint_callbacks:
            if not isinstance(callback, ModelCheckpoint) or "://" in str(callback.dirpath):
                continue
            state = checkpoint.get("callbacks", {}).get(callback.state_key)
            if not state or not state.get("best_k_models") or state.get("dirpath") == callback.dirpath:
                continue
            if taken := trainer.strategy.broadcast(_take(trainer, callback, checkpoint)):
                best, worst = next(iter(taken)), list(taken)[-1]
                state |= {
                    "dirpath": callback.dirpath,
                    "best_k_models": taken,
                    "best_model_path": best,
                    "best_model_score": taken[best],
                    "kth_best_model_path": worst,
                    "kth_value": taken[worst],
                    "last_model_path": "",
                }


def _take(trainer: Trainer, callback: ModelCheckpoint, checkpoint: dict[str, Any]) -> dict[str, Tensor]:
    """Copy the best checkpoints of a callback into its folder; give them with their figures, best first.

    The first process does; whatever is wrong there, the others wait for what it gives.
    """
    taken: dict[str, Tensor] = {}
    if not trainer.is_global_zero:
        return taken
    scores = checkpoint["callbacks"][callback.state_key]["best_k_models"]
    try:
        ranked = sorted(scores, key=lambda path: float(scores[path]), reverse=callback.mode == "max")
    except (AttributeError, TypeError, ValueError) as error:
        rank_zero_info(f"note: the best checkpoints so far are not taken along: {error}")
        return taken
    # Of those who keep all, the best alone.
    for path in ranked[: 1 if callback.save_top_k == -1 else callback.save_top_k]:
        source = Path(str(trainer.ckpt_path)).parent / Path(path).name
        target = os.path.join(str(callback.dirpath), source.name)
        told = f"({callback.monitor} {float(scores[path]):.4f})"
        try:
            if not _is_of(checkpoint, callback.state_key, source, scores[path]):
                raise TrackNetError(f"{source}: not the one that {trainer.ckpt_path} tells of")
            _copy(source, Path(target))
        except (TrackNetError, OSError, KeyError, TypeError, ValueError) as error:
            rank_zero_info(f"note: a best checkpoint so far {told} is not taken along: {error}")
        else:
            taken[target] = scores[path]
    return taken


def _is_of(checkpoint: dict[str, Any], key: str, path: Path, score: Tensor) -> bool:
    """Say whether a file is of this run, from before this checkpoint, and has the figure that it names."""
    found = read_checkpoint(path)
    if not isinstance(found, dict) or found.get("global_step", float("inf")) > checkpoint["global_step"]:
        return False
    state = found.get("callbacks", {}).get(key)  # none where weights alone are saved
    return state is None or float(state["current_score"]) == float(score)


def _copy(source: Path, target: Path) -> None:
    if not target.exists():
        with whole_file(target) as part:
            shutil.copy2(source, part)  # with its date: a run goes on from the newest
    elif not filecmp.cmp(source, target, shallow=False):
        raise TrackNetError(f"{target}: there is another one already")
