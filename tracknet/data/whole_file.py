"""Files that are there as a whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tracknet.errors import TrackNetError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a hidden place beside a file, which takes the place of the file when all went well.

    Args:
        path: The file to write; its folder is made.

    Yields:
        Where to write. What is there is moved to `path` when the block ends, and removed when it fails. The
        ending of the name is that of `path`.

    Raises:
        TrackNetError: The disk does not allow it.

    Example:
        >>> with whole_file(folder / "new" / "a.txt") as part:
        ...     _ = part.write_text("ball")
        >>> (folder / "new" / "a.txt").read_text()
        'ball'
    """
    part = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError as error:
        raise TrackNetError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            part.unlink()
