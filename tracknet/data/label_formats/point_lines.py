"""Lines of ``x y``, one a frame: the ball of the volleyball data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tracknet.data.faults import Fault, plural, shown
from tracknet.data.frame_numbers import image_numbers
from tracknet.data.label_formats.sheet import LabelSheet, number
from tracknet.data.label_text import read_text, write_text
from tracknet.data.labels import Labels


def read_point_lines(
    path: Path, frames: int, size: tuple[int, int], images: Sequence[str] | None = None
) -> tuple[Labels, list[Fault]]:
    """Read ``X Y`` in pixels of the source, the n-th line for the n-th frame.

    ``0 0`` says that the ball is not visible. Frames behind the last line are not labelled. Where images are
    missing, there must be a line for each number from the first image to the last. More lines than frames are
    a fault of the whole file: nothing tells which of them belong together.

    Args:
        path: The file.
        frames: Frames of the clip, N.
        size: Height and width of the clip.
        images: Names of the image files of the clip, in order, when it is a folder of images.

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
    lines = text.rstrip().splitlines()
    known = image_numbers(images or ()) or list(range(frames))
    span = known[-1] - known[0] + 1 if known else 0
    if len(lines) > span or len(lines) < span > frames:
        message = f"holds {plural(len(lines), 'line')} for {plural(frames, 'frame')}"
        if span > frames:
            message += f", numbered {known[0]} to {known[-1]} with gaps"
        return sheet.labels(), [Fault(path, "beyond-video", f"{message}: which belong together?")]
    places = {name: frame for frame, name in enumerate(known)}
    for line, text in enumerate(lines, start=1):
        name = known[0] + line - 1
        frame = places.get(name)
        numbers = [number(cell) for cell in text.split()]
        if frame is None:
            sheet.fault("beyond-video", f"is for {name}, which is not among the images of the clip", line)
        elif len(numbers) != 2 or numbers[0] is None or numbers[1] is None:
            sheet.fault("bad-number", f"the line {shown(text)} is not x y", line, frame)
        else:
            ball = (numbers[0], numbers[1])
            sheet.put(frame, None if ball == (0, 0) else ball, line)
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
