"""Clips of a data set, and what a layout of data sets is."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from tracknet.data.faults import Fault
from tracknet.data.labels import Labels, read_labels
from tracknet.errors import TrackNetError, printable

Part = Literal["train", "val", "test"]
"""Parts of a split."""

_LONGEST_NAME = 255  # bytes of the name of a file


@dataclass(frozen=True)
class Clip:
    """A video of one rally.

    Attributes:
        name: Name within the data set, unique, with ``/`` between its parts, such as ``match1/1_02_00``. It
            names files, too: no part is empty, ``.`` or ``..``; bytes that are no text are escaped.
        group: What belongs together in a split, such as ``match1``; empty when the layout does not tell.
        video: Video file or folder of images.
        labels: Label file, or None when there is none.
        parts: Parts in which the data set's own split lists the clip; empty when it has none.

    Raises:
        TrackNetError: The name leads out of a folder.
    """

    name: str
    group: str
    video: Path
    labels: Path | None
    parts: tuple[Part, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", printable(self.name))
        if not is_clip_name(self.name):
            raise TrackNetError(
                f"{self.video}: its clip would be named {self.name!r}, after which files are named; expected "
                "names with / between them, none of them empty, . or .."
            )


def is_clip_name(name: str) -> bool:
    r"""Tell whether files can be named after a clip without leading out of a folder.

    Args:
        name: Name of a clip.

    Example:
        >>> [is_clip_name(name) for name in ("match1/1_02_00", "../a", "/a", r"a\..\..\b")]
        [True, False, False, False]
    """
    parts = re.split(r"[/\\]", name)
    try:
        longest = max(len(os.fsencode(part)) for part in parts)
    except UnicodeEncodeError:
        return False
    return "\0" not in name and not {"", ".", ".."} & set(parts) and longest <= _LONGEST_NAME


class Layout(ABC):
    """How a data set lies in its folder.

    Attributes:
        name: Name on the command line.
        expects: What the folder must hold, in a few words.
        sparse: Only some frames are labelled on purpose: frames without a label are no fault, and only the
            stretches around labels are cached and read.
    """

    name: ClassVar[str]
    expects: ClassVar[str]
    sparse: ClassVar[bool] = False

    @abstractmethod
    def recognises(self, root: Path) -> bool:
        """Tell whether the folder looks like this layout."""

    @abstractmethod
    def find(self, root: Path) -> tuple[list[Clip], list[Fault]]:
        """Find the clips of a data set.

        Args:
            root: Folder of the data set.

        Returns:
            The clips (those without labels too), sorted by name with numbers as numbers, and a fault for each
            video without labels (``no-labels``) and each label file without a video (``no-video``).

        Raises:
            TrackNetError: The folder cannot be read.
        """

    def read_labels(
        self, path: Path, frames: int, size: tuple[int, int], images: Sequence[str] | None = None
    ) -> tuple[Labels, list[Fault]]:
        """Read the labels of one clip; a layout whose label files are no CSV says how.

        Args:
            path: The label file.
            frames: Frames of the video, N.
            size: Height and width of the video.
            images: Names of the images of the clip, in order, when it is a folder of images.

        Returns:
            The labels, and the faults in the order of the lines.

        Raises:
            TrackNetError: The file cannot be read at all.
        """
        labels, faults = read_labels(path, frames, size, images)
        return labels, [fault for fault in faults if not (self.sparse and fault.kind == "missing-frames")]
