"""Lines of ``x y``, one a frame: the ball of the volleyball data set."""

from __future__ import annotations

from pathlib import Path

from tracknet.data.faults import Fault, shown
from tracknet.data.label_formats.sheet import LabelSheet, number, read_text
from tracknet.data.labels import Labels, write_text


def read_point_lines(path: Path, frames: int, size: tuple[int, int]) -> tuple[Labels, list[Fault]]:
    """Read ``X Y`` in pixels of the source, the n-th line for the n-th frame.

    ``0 0`` says that the ball is not visible. Frames behind the last line are not labelled.

    Args:
        path: The file.
        frames: Frames of the clip, N.
        size: Height and width of the clip.

    Returns:
        The labels, and the faults in the order of the lines.

    Raises:
        TrackNetError: The file cannot be read at all.
    """
    path = Path(path)
    sheet = LabelSheet(path, frames, size)
    text = read_text(path)
    if isinstance(text, Fault):
        return sheet.labels(), [text]
    for frame, line in enumerate(text.rstrip().splitlines()):
        cells = line.split()
        numbers = [number(cell) for cell in cells]
        if len(numbers) != 2 or numbers[0] is None or numbers[1] is None:
            sheet.fault("bad-number", f"the line {shown(line)} is not x y", frame + 1, frame)
        else:
            ball = (numbers[0], numbers[1])
            sheet.put(frame, None if ball == (0, 0) else ball, frame + 1)
    return sheet.labels(), sheet.faults


def write_point_lines(path: Path, labels: Labels) -> None:
    """Write labels as `read_point_lines` reads them.

    Args:
        path: File to write; it appears whole or not at all.
        labels: The labels; frames that are not labelled are written as without a ball.

    Raises:
        TrackNetError: The file cannot be written.
    """
    lines = [
        f"{x:.2f} {y:.2f}\n" if seen else "0 0\n"
        for (x, y), seen in zip(labels.xy, labels.visible, strict=True)
    ]
    write_text(path, "".join(lines))
