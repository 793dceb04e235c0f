"""What a data set holds and what is wrong with it, told at once and before a training."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

from tracknet.data.clips import Clip, Layout
from tracknet.data.excerpt import Excerpt, length, used_stretches
from tracknet.data.faults import UNDECODABLE, Fault, FaultKind, are, plural, render_faults
from tracknet.data.labels import Labels
from tracknet.data.layouts import detect_layout
from tracknet.data.progress import track_progress
from tracknet.data.threads import in_threads, usable_cores
from tracknet.data.video import FrameSource, Note, VideoFile, count_frames, open_source, say, turned
from tracknet.errors import TrackNetError, first_few

_SHOWN = 5
_MANY = 100
_TOLD_FRAMES, _TOLD_SIZE = 8, (288, 512)  # what the size of the frame cache is told for
_READERS = 8


@dataclass(frozen=True, eq=False)
class CheckedClip:
    """A clip whose video can be read.

    Attributes:
        clip: Name and files.
        labels: The labels, faulty rows unlabelled; None when not one frame is labelled.
        frames: Exact number of frames.
        size: Height and width in pixels.
        fps: Frames a second.
    """

    clip: Clip
    labels: Labels | None
    frames: int
    size: tuple[int, int]
    fps: float

    def expect(self, decoded: int) -> None:
        """Compare the number of frames with those that could be decoded.

        Args:
            decoded: How many there were.

        Raises:
            TrackNetError: It is another number.
        """
        if decoded != self.frames:
            raise TrackNetError(
                f"{self.clip.video}: {plural(self.frames, 'frame')} were counted, but {decoded} can be "
                "decoded, so that labels would not belong to them; re-encode it: ffmpeg -i OLD NEW.mp4"
            )


@dataclass(frozen=True)
class Counts:
    """What the readable clips of a data set hold together.

    Attributes:
        frames: Frames of all videos.
        labelled: Frames that the labels speak of.
        visible: Labelled frames with a visible ball.
        without_ball: Labelled frames without one.
        seconds: Duration of all videos.
        sizes: Number of clips of each (height, width), most frequent first.
        fps: Number of clips of each frame rate, most frequent first.
    """

    frames: int
    labelled: int
    visible: int
    without_ball: int
    seconds: float
    sizes: dict[tuple[int, int], int]
    fps: dict[float, int]


@dataclass(frozen=True, eq=False)
class DatasetReport:
    """Everything found in a data set.

    Attributes:
        root: Folder of the data set.
        layout: Its layout.
        clips: All clips found, each name once.
        checked: Those whose video can be read, with their labels.
        faults: All faults, in the order of the clips.
    """

    root: Path
    layout: Layout
    clips: tuple[Clip, ...]
    checked: tuple[CheckedClip, ...]
    faults: tuple[Fault, ...]

    @property
    def errors(self) -> list[Fault]:
        """Faults that stop a training unless it masks them."""
        return [fault for fault in self.faults if fault.severity == "error"]

    @property
    def warnings(self) -> list[Fault]:
        """Faults that never stop a training."""
        return [fault for fault in self.faults if fault.severity == "warning"]

    @property
    def unusable(self) -> list[Clip]:
        """Clips without a readable video or without one labelled frame."""
        usable = {checked.clip for checked in self.checked if checked.labels is not None}
        return [clip for clip in self.clips if clip not in usable]

    @property
    def counts(self) -> Counts:
        """Sums over the readable clips."""
        labels = [checked.labels for checked in self.checked if checked.labels is not None]
        labelled = sum(int(one.labelled.sum()) for one in labels)
        visible = sum(int(one.visible.sum()) for one in labels)
        return Counts(
            frames=sum(checked.frames for checked in self.checked),
            labelled=labelled,
            visible=visible,
            without_ball=labelled - visible,
            seconds=sum(checked.frames / checked.fps for checked in self.checked),
            sizes=dict(Counter(checked.size for checked in self.checked).most_common()),
            fps=dict(Counter(checked.fps for checked in self.checked).most_common()),
        )

    def render(self, shown: int = _SHOWN) -> str:
        """Write the report for a person: what there is, then the faults by kind and file, each with a remedy.

        Args:
            shown: Files shown of each kind of fault, and stretches of lines of each file; 0 shows all.
        """
        lines = [f"{self.root}: layout {self.layout.name} ({self.layout.expects})", *self._summary(), ""]
        if not self.faults:
            return "\n".join([*lines, "no faults"])
        found = (plural(len(self.errors), "error"), plural(len(self.warnings), "warning"))
        lines += [" and ".join(part for part in found if not part.startswith("0 "))]
        lines += ["", render_faults(self.faults, shown)]
        if self.errors:
            lines += ["", self._verdict()]
        return "\n".join(lines)

    def fail_if_errors(self, masked: bool) -> None:
        """Stop before a training on faulty data.

        Args:
            masked: Accept errors, as long as one clip can be used, and tell on standard error what is left
                out.

        Raises:
            TrackNetError: There are errors that are not masked, or no clip can be used; the message is the
                whole report.
        """
        if self.errors and not (masked and self._usable):
            raise TrackNetError(self.render())
        if self.errors:
            print(f"{self.root}: training without {self._masked()}", file=sys.stderr)

    @property
    def _usable(self) -> int:
        return len(self.clips) - len(self.unusable)

    def _verdict(self) -> str:
        if not self._usable:
            return "No clip can be used."
        if any(fault.kind == "undecodable" for fault in self.errors):
            return f"Errors stop a training; {UNDECODABLE}."
        options = "--data.faults mask (data pack: --faults mask)"
        return f"Errors stop a training. With {options} it goes on without {self._masked()}."

    def _summary(self) -> list[str]:
        counts = self.counts
        sizes = ", ".join(f"{width}x{height}" for height, width in counts.sizes)
        rates = ", ".join(dict.fromkeys(f"{fps:.4g} fps" for fps in counts.fps))
        clips = plural(len(self.clips), "clip")
        clips += "" if self._usable == len(self.clips) else f", {self._usable} usable"
        if not self.checked:
            return [f"  {clips}"]
        minutes, seconds = divmod(round(counts.seconds), 60)
        unlabelled = counts.frames - counts.labelled
        return [
            f"  {clips}: {plural(counts.frames, 'frame')}, {minutes}:{seconds:02d} minutes, {sizes}, {rates}",
            f"  {plural(counts.labelled, 'frame')} labelled ({counts.visible:,} with a ball, "
            f"{counts.without_ball:,} without), {unlabelled:,} not labelled",
            *([self._sparse_summary()] if self.layout.sparse else []),
        ]

    def _sparse_summary(self) -> str:
        """Tell what the frame cache will hold of a data set whose labels are sparse."""
        labels = [one.labels.labelled for one in self.checked if one.labels is not None]
        used = [used_stretches(one, _TOLD_FRAMES) or ((0, len(one)),) for one in labels]
        frames, whole = sum(map(length, used)), sum(map(len, labels))
        gigabytes = [number * 3 * _TOLD_SIZE[0] * _TOLD_SIZE[1] / 1e9 for number in (frames, whole)]
        return (
            f"  windows of {_TOLD_FRAMES} frames with a label take {frames:,} frames in "
            f"{plural(sum(map(len, used)), 'stretch')}: {gigabytes[0]:.3g} GB in the frame cache at "
            f"{_TOLD_SIZE[0]}x{_TOLD_SIZE[1]} (the whole videos: {gigabytes[1]:.3g} GB)"
        )

    def _masked(self) -> str:
        """Name what a training that masks faults does without."""
        rows = sum(fault.line is not None for fault in self.errors)
        unusable = self.unusable
        told = {path for clip in unusable for path in (clip.video, clip.labels)}
        files = {fault.path for fault in self.errors if fault.line is None and fault.path not in told}
        parts = [plural(rows, "faulty row")] if rows else []
        parts += [_named([clip.name for clip in unusable], "clip")] if unusable else []
        parts += [_named(sorted(path.name for path in files), "file")] if files else []
        return " and ".join(parts)


def check_dataset(root: Path, layout: Layout | None = None, decode: bool = False) -> DatasetReport:
    """Look at every video and every label file of a data set.

    Videos are opened and their frames counted, without decoding where that is safe. Nothing that is wrong
    with a file ends the check: all faults are collected.

    Args:
        root: Folder of the data set.
        layout: Its layout; None recognises it.
        decode: Decode the frames, too, as a training does: a video that is damaged inside can be counted and
            not be read. Where labels are sparse, what lies behind the last one that a training uses is
            passed over.

    Returns:
        The report, with the labels of each clip.

    Raises:
        TrackNetError: The folder is missing or has not the layout.
    """
    root = Path(root).expanduser()
    if layout is None:
        layout = detect_layout(root)
    elif not layout.recognises(root):
        found = detect_layout(root)
        raise TrackNetError(
            f"{root}: no clips of the layout {layout.name} ({layout.expects}); the folder looks "
            f"like the layout {found.name} ({found.expects})"
        )
    found_clips, faults = layout.find(root)
    clips, duplicates = _distinct(found_clips)
    faults += duplicates
    if not clips and not faults:
        faults.append(Fault(root, "no-clips", f"holds no clips; expected {layout.expects}"))
    checked: list[CheckedClip] = []
    readers = min(_READERS, usable_cores())
    with track_progress(len(clips), "clips", "checking", shown=len(clips) >= _MANY) as progress:
        for one, found_faults in in_threads(partial(_check_clip, layout), clips, readers):
            faults += found_faults
            if one is not None:
                checked.append(one)
            progress.advance()
    if decode:
        checked, damage = _decodable(checked, layout)
        faults += [fault for fault in damage if fault not in faults]
    faults += _odd_sizes(checked)
    return DatasetReport(root, layout, tuple(clips), tuple(checked), tuple(faults))


def source_of(
    checked: CheckedClip, layout: Layout | type[Layout], frames: int, note: Note = say
) -> FrameSource:
    """Open what a training reads of a clip.

    Args:
        checked: The clip.
        layout: Its layout.
        frames: Frames per window.
        note: Is told what is odd about the video; the default says it on standard error.

    Returns:
        The video; of one with sparse labels, the stretches around them.

    Raises:
        TrackNetError: The video cannot be opened.
    """
    source = open_source(checked.clip.video, note)
    if not layout.sparse or checked.labels is None:
        return source
    stretches = used_stretches(checked.labels.labelled, frames)
    return source if stretches is None else Excerpt(source, stretches)


def _check_clip(layout: Layout, clip: Clip) -> tuple[CheckedClip | None, list[Fault]]:
    faults: list[Fault] = []
    try:
        source = open_source(clip.video, _into(faults))
        frames = count_frames(source)
    except TrackNetError as error:
        return None, [*faults, _refused(clip, "unreadable", error)]
    info = source.info
    if info.frames not in (None, frames):
        message = f"holds {plural(frames, 'frame')}, though its container claims {info.frames}"
        faults.append(Fault(clip.video, "frame-count", message, severity="warning"))
    if isinstance(source, VideoFile):
        with suppress(TrackNetError):
            if degrees := source.rotation():
                source.note("turned", turned(degrees))
    else:
        files = source.files()
        images_faults = [_emptied(clip.video, files), _numbering(clip.video, [file.name for file in files])]
        faults += [fault for fault in images_faults if fault]
        if any(fault.severity == "error" for fault in faults):
            return None, faults
    size = (info.height, info.width)
    labels = None
    if clip.labels is not None:
        images = [file.name for file in source.files()] if clip.video.is_dir() else None
        try:
            read, label_faults = layout.read_labels(clip.labels, frames, size, images)
        except TrackNetError as error:
            faults.append(Fault(clip.labels, "not-text", str(error).removeprefix(f"{clip.labels}: ")))
        else:
            faults += label_faults
            labels = read if read.labelled.any() else None
    return CheckedClip(clip, labels, frames, size, info.fps), faults


def _decodable(checked: Sequence[CheckedClip], layout: Layout) -> tuple[list[CheckedClip], list[Fault]]:
    """Decode what a training needs of clips; give those that can be decoded, and what is wrong."""
    whole: list[CheckedClip] = []
    faults: list[Fault] = []
    pairs: list[tuple[CheckedClip, FrameSource]] = []
    for one in checked:
        try:
            pairs.append((one, source_of(one, layout, _TOLD_FRAMES, _into(faults))))
        except TrackNetError as error:  # it has gone since it was counted
            faults.append(_refused(one.clip, "undecodable", error))
    total = sum(source.count() if isinstance(source, Excerpt) else one.frames for one, source in pairs)
    with track_progress(total, "frames", "decoding") as progress:
        for one, source in pairs:
            decoded = 0
            try:
                for _ in source.frames((2, 2)):
                    decoded += 1
                    progress.advance()
                if not isinstance(source, Excerpt):  # which looks for itself
                    one.expect(decoded)
            except TrackNetError as error:
                faults.append(_refused(one.clip, "undecodable", error))
            else:
                whole.append(one)
    return whole, faults


def _into(faults: list[Fault]) -> Note:
    """Put what is odd about videos that can be read among the faults."""
    return lambda path, kind, what: faults.append(Fault(path, kind, what, severity="warning"))


def _refused(clip: Clip, kind: FaultKind, error: TrackNetError) -> Fault:
    # Of a folder of images, the message names one.
    message = str(error).removeprefix(f"{clip.video}: ").removeprefix(f"{clip.video}{os.sep}")
    return Fault(clip.video, kind, message)


def _emptied(folder: Path, images: Sequence[Path]) -> Fault | None:
    """Find images without content, as a full disk leaves them; the others are not read before a training."""
    try:
        empty = [file.name for file in images if not file.stat().st_size]
    except OSError as error:  # a link that leads nowhere
        return Fault(folder, "unreadable", f"{Path(error.filename).name} cannot be read: {error.strerror}")
    if not empty:
        return None
    told = f"{first_few(empty, 1)} {are(len(empty))} empty (0 bytes)"
    return Fault(folder, "unreadable", told)


def _numbering(folder: Path, images: Sequence[str]) -> Fault | None:
    """Find two images of one frame, which is an error, or frames without an image."""
    numbered = [(int(Path(name).stem), name) for name in images if Path(name).stem.isdecimal()]
    for (first, name), (second, after) in pairwise(numbered):
        if first == second:
            return Fault(folder, "double-image", f"{name} and {after} are both frame {first}")
    gaps = [
        f"{name} and {after}" for (first, name), (second, after) in pairwise(numbered) if second > first + 1
    ]
    if not gaps:
        return None
    more = f", and in {plural(len(gaps) - 1, 'more place')}" if len(gaps) > 1 else ""
    message = f"images are missing between {gaps[0]}{more}"
    return Fault(folder, "missing-images", message, severity="warning")


def _distinct(clips: Sequence[Clip]) -> tuple[list[Clip], list[Fault]]:
    kept: dict[str, Clip] = {}
    faults = []
    for clip in clips:
        if clip.name in kept:
            message = f"the clip {clip.name} is also {kept[clip.name].video.name}, which is used"
            faults.append(Fault(clip.video, "duplicate-clip", message))
        else:
            kept[clip.name] = clip
    return list(kept.values()), faults


def _odd_sizes(checked: Sequence[CheckedClip]) -> list[Fault]:
    """Warn of clips that are over twice or under half as large as most, or have another shape."""
    if not checked:
        return []
    (height, width), _ = Counter(one.size for one in checked).most_common(1)[0]
    faults = []
    for one in checked:
        scales = (one.size[0] / height, one.size[1] / width)
        bent = max(scales) / min(scales)
        if max(scales) > 2 or min(scales) < 0.5 or bent > 1.1:
            message = f"is {one.size[1]}x{one.size[0]}, most clips are {width}x{height}"
            faults.append(Fault(one.clip.video, "odd-size", message, severity="warning"))
    return faults


def _named(names: Sequence[str], noun: str) -> str:
    return f"{plural(len(names), noun)} ({', '.join(names[:_SHOWN])}{', ...' * (len(names) > _SHOWN)})"
