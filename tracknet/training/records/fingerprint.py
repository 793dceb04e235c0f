"""What data a run has learnt from, told cheaply."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule

from tracknet.data.datamodules import RallyDataModule
from tracknet.data.fingerprint import clip_prints, fingerprint

_MOST = 200_000  # files; a larger folder is told as such


def data_fingerprint(data: LightningDataModule | None) -> dict[str, Any] | None:
    """Tell data sets apart without reading them again.

    Args:
        data: The data of the trainer, set up.

    Returns:
        ``fingerprint`` (hexadecimal digits) and what it is ``of``: ``contents`` of the clips, whose hashes
        name their folders in the frame cache, and their labels and parts; or ``names, sizes and times`` of
        the files below ``root``. None where neither can be had.
    """
    if isinstance(data, RallyDataModule) and data.parts:
        prints = {part: clip_prints(clips) for part, clips in data.parts.items()}
        clips = {part: len(names) for part, names in prints.items()}
        told = {"of": "contents", "fingerprint": fingerprint(prints)}  # as in checkpoints
        return {**told, "root": str(data.root), "clips": clips}
    root = getattr(data, "root", None)
    if not isinstance(root, (str, Path)) or not Path(root).is_dir():
        return None
    digest, files = hashlib.blake2b(digest_size=16), 0
    for folder, folders, names in os.walk(root):
        folders.sort()
        for name in sorted(names):
            try:
                status = os.stat(os.path.join(folder, name), follow_symlinks=False)
            except OSError:  # it has gone since it was listed
                continue
            line = f"{os.path.relpath(folder, root)}/{name} {status.st_size} {status.st_mtime_ns}\n"
            digest.update(line.encode(errors="replace"))
            files += 1
        if files > _MOST:
            return {"of": "nothing: too many files", "fingerprint": None, "root": str(root)}
    kind = "names, sizes and times"
    return {"of": kind, "fingerprint": digest.hexdigest(), "root": str(root), "files": files}
