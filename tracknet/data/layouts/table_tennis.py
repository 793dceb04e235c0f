"""Layouts of data sets of table tennis and other racket sports: OpenTTGames, RacketVision, BlurBall."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tracknet.data.clips import Clip, Layout, Part
from tracknet.data.faults import Fault, plural
from tracknet.data.label_formats import read_ball_markup
from tracknet.data.labels import Labels
from tracknet.data.layouts.folders import (
    entries,
    folders,
    image_folders,
    natural,
    parts,
    prefix_of,
    videos_by_name,
    without_labels,
    without_video,
)


class OpenTTGames(Layout):
    """OpenTTGames: table tennis at 120 frames a second, labelled around bounces and net hits (OSAI, 2020).

    ``training/annotations/GAME/ball_markup.json`` with ``training/videos/GAME.mp4`` (or
    ``training/GAME.mp4``), and the same under ``test``. The videos last many minutes, the labels cover some
    frames around each event: only those stretches are cached. Frames are taken to count from 0, as users of
    the set extract them; its publishers do not say. ``events_markup.json`` and the segmentation masks are not
    read.
    """

    name = "openttgames"
    expects = "training|test/ with annotations/GAME/ball_markup.json and videos/GAME.mp4"
    sparse = True

    def recognises(self, root: Path) -> bool:
        """Tell whether the folder holds a markup of the ball."""
        return any(
            (game / "ball_markup.json").is_file()
            for folder in ("training", "test")
            for game in folders(root / folder / "annotations")
        )

    def find(self, root: Path) -> tuple[list[Clip], list[Fault]]:
        """Find the clips, see `Layout.find`."""
        clips: list[Clip] = []
        orphans: list[Fault] = []
        own: dict[str, tuple[Part, ...]] = {"training": ("train",), "test": ("test",)}
        for folder, own_parts in own.items():
            part = root / folder
            tables = {game.name: game / "ball_markup.json" for game in folders(part / "annotations")}
            tables = {game: table for game, table in tables.items() if table.is_file()}
            videos = videos_by_name(part) | videos_by_name(part / "videos")
            clips += [
                Clip(f"{folder}/{game}", f"{folder}/{game}", videos[game], tables.get(game), own_parts)
                for game in sorted(videos, key=natural)
            ]
            orphans += [
                without_video(table, f"../../videos/{game}.mp4")
                for game, table in tables.items()
                if game not in videos
            ]
        return clips, [*without_labels(clips, "../annotations/{stem}/ball_markup.json"), *orphans]

    def read_labels(
        self, path: Path, frames: int, size: tuple[int, int], images: Sequence[str] | None = None
    ) -> tuple[Labels, list[Fault]]:
        """Read the markup of the ball, see `Layout.read_labels`."""
        return read_ball_markup(path, frames, size)


class RacketVision(Layout):
    """RacketVision: badminton, table tennis and tennis, a fifth of the frames labelled (2025).

    ``SPORT/videos/MATCH_RALLY.mp4`` (or images in ``SPORT/all/MATCH/frame/RALLY/``) with
    ``SPORT/all/MATCH/csv/RALLY_ball.csv`` (``Frame,X,Y,Visibility`` in pixels, frames from 0). The folder may
    be that of all sports or of one. ``SPORT/info/{train,val,test}.json``, lists of ``[MATCH, RALLY]``, are
    the split of the data set; a clip may be in ``val`` and in ``test``, not in ``train`` as well. The labels
    of rackets are not read.
    """

    name = "racketvision"
    expects = "[SPORT/] with videos/MATCH_RALLY.mp4, all/MATCH/csv/RALLY_ball.csv and info/train.json"
    sparse = True

    def recognises(self, root: Path) -> bool:
        """Tell whether the folder is that of a sport, or holds one."""
        return bool(self._sports(root))

    def find(self, root: Path) -> tuple[list[Clip], list[Fault]]:
        """Find the clips, see `Layout.find`."""
        clips: list[Clip] = []
        faults: list[Fault] = []
        for sport in self._sports(root):
            prefix = "" if sport == root else f"{sport.name}/"
            tables: dict[str, Path] = {}
            videos: dict[str, Path] = {}
            for match in folders(sport / "all"):
                for path in entries(match / "csv"):
                    if path.name.lower().endswith("_ball.csv"):
                        tables[f"{match.name}/{path.name[:-9]}"] = path
                images = image_folders(match / "frame")
                videos |= {f"{match.name}/{rally}": path for rally, path in images.items()}
            for stem, path in videos_by_name(sport / "videos").items():
                match_name, _, rally = stem.rpartition("_")
                if match_name and rally not in ("", ".", ".."):
                    videos[f"{match_name}/{rally}"] = path
                else:
                    faults.append(Fault(path, "no-labels", "has no labels; expected a name MATCH_RALLY"))
            listed, info_faults = self._own_split(sport, set(videos))
            found = [
                Clip(
                    f"{prefix}{name}",
                    f"{prefix}{name.partition('/')[0]}",
                    videos[name],
                    tables.get(name),
                    tuple(listed.get(name, ())),
                )
                for name in sorted(videos, key=natural)
            ]
            clips += found
            for clip in found:
                match_name, _, rally = clip.name.removeprefix(prefix).partition("/")
                faults += without_labels([clip], f"all/{match_name}/csv/{rally}_ball.csv")
            faults += [
                without_video(path, f"{sport.name}/videos/{name.replace('/', '_')}.mp4")
                for name, path in tables.items()
                if name not in videos
            ]
            faults += info_faults
        return clips, faults

    @staticmethod
    def _sports(root: Path) -> list[Path]:
        def is_sport(folder: Path) -> bool:
            rooms = ("csv", "frame")
            return any((match / room).is_dir() for match in folders(folder / "all") for room in rooms)

        return [root] if is_sport(root) else [folder for folder in folders(root) if is_sport(folder)]

    @staticmethod
    def _own_split(sport: Path, names: set[str]) -> tuple[dict[str, list[Part]], list[Fault]]:
        """Read which clips are in which part; a name that is no clip found is told, not followed."""
        listed: dict[str, list[Part]] = {}
        faults: list[Fault] = []
        own: tuple[Part, ...] = ("train", "val", "test")
        for part in own:
            path = sport / "info" / f"{part}.json"
            if not path.is_file():
                continue
            try:
                clips = _clips_of(json.loads(path.read_bytes()))
            except (OSError, ValueError, RecursionError):
                message = 'is no list of clips in JSON; expected [["MATCH", "RALLY"], ...], both in quotes'
                faults.append(Fault(path, "bad-markup", message))
                continue
            missing = [clip for clip in clips if clip not in names]
            for clip in clips:
                listed.setdefault(clip, []).append(part)
            if missing:
                message = f"lists {plural(len(missing), 'clip')} without a video, such as {missing[0]}"
                faults.append(Fault(path, "no-clip", message, severity="warning"))
        both = [clip for clip, found in listed.items() if "train" in found and len(set(found)) > 1]
        if both:
            message = f"lists {plural(len(both), 'clip')} of val.json or test.json, such as {both[0]}"
            faults.append(Fault(sport / "info" / "train.json", "shared-clip", message))
        for clip in both:
            listed[clip] = [part for part in listed[clip] if part != "train"]
        if not (listed or faults):
            there = [f"{part}.json" for part in own if (sport / "info" / f"{part}.json").is_file()]
            message = "has no train.json, val.json and test.json, which are the split of the data set"
            if there:
                message = f"lists no clip in {' and '.join(there)}, which are the split of the data set"
            faults.append(Fault(sport / "info", "no-split", message, severity="warning"))
        return listed, faults


def _clips_of(entries: object) -> list[str]:
    """Give the names of the clips in a list of the split.

    Raises:
        ValueError: It is no such list.
    """
    if not isinstance(entries, list):
        raise ValueError
    clips = []
    for entry in entries:
        match entry:
            case [str(match), str(rally)]:
                clips.append(f"{match}/{rally}")
            case _:
                raise ValueError
    return clips


class BlurBall(Layout):
    """BlurBall: table tennis with the motion blur of the ball (Gossard et al., 2025).

    ``MATCH/frames/CLIP/00000.png ...`` with ``MATCH/csv/CLIP.csv`` (``Frame,Visibility,X,Y,l,theta`` in
    pixels). X and Y are the **centre of the blur**; the tennis set of TrackNet marks its leading edge, so
    that a ball of one set lies up to half a blur beside that of the other: do not mix them unawares. ``l``
    and ``theta``, half the length of the blur and its direction, are not read.
    """

    name = "blurball"
    expects = "MATCH/ with frames/CLIP/00000.png ... and csv/CLIP.csv"

    def recognises(self, root: Path) -> bool:
        """Tell whether the folder, or a part of it, holds a match with a labelled clip."""
        return any(
            table.suffix.lower() == ".csv" and (match / "frames" / table.stem).is_dir()
            for part in parts(root)
            for match in folders(part)
            for table in entries(match / "csv")
        )

    def find(self, root: Path) -> tuple[list[Clip], list[Fault]]:
        """Find the clips, see `Layout.find`."""
        clips: list[Clip] = []
        orphans: list[Fault] = []
        for part in parts(root):
            for match in folders(part):
                group = f"{prefix_of(part, root)}{match.name}"
                tables = {path.stem: path for path in entries(match / "csv") if path.suffix.lower() == ".csv"}
                images = image_folders(match / "frames")
                clips += [
                    Clip(f"{group}/{name}", group, path, tables.get(name)) for name, path in images.items()
                ]
                orphans += [
                    without_video(table, f"../frames/{name}/00000.png ...")
                    for name, table in tables.items()
                    if name not in images
                ]
        return clips, [*without_labels(clips, "../../csv/{stem}.csv"), *orphans]
