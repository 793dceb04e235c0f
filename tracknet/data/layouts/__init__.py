"""All layouts of data sets, and which of them a folder has."""

from __future__ import annotations

from pathlib import Path

from tracknet.data.clips import Layout
from tracknet.data.layouts.folders import CVAT_EXPORT, entries
from tracknet.data.layouts.table_tennis import BlurBall, OpenTTGames, RacketVision
from tracknet.data.layouts.tracknet import FlatVideo, ShuttlecockTrajectory, TrackNetTennis
from tracknet.data.layouts.wasb import WasbBasketball, WasbSoccer, WasbVolleyball
from tracknet.errors import TrackNetError, nearest

__all__ = [
    "LAYOUTS",
    "BlurBall",
    "FlatVideo",
    "OpenTTGames",
    "RacketVision",
    "ShuttlecockTrajectory",
    "TrackNetTennis",
    "WasbBasketball",
    "WasbSoccer",
    "WasbVolleyball",
    "detect_layout",
]

LAYOUTS: tuple[Layout, ...] = (
    TrackNetTennis(),
    OpenTTGames(),
    RacketVision(),
    BlurBall(),
    WasbSoccer(),
    WasbVolleyball(),
    WasbBasketball(),
    ShuttlecockTrajectory(),
    FlatVideo(),
)
"""All layouts, in the order in which they are tried: the more exactly a layout is known, the earlier."""

# Written out: what reads packed data takes long to import.
_PACKED = {"index.json", "frames.npy"}


def detect_layout(root: Path) -> Layout:
    """Recognise the layout of a data set.

    Args:
        root: Folder of the data set.

    Returns:
        The first of `LAYOUTS` that recognises the folder.

    Raises:
        TrackNetError: There is no such folder, or it has none of the layouts.
    """
    root = Path(root)
    if not root.is_dir():
        found = "is not a folder" if root.exists() else "there is no such folder"
        near = nearest(root.name, [path.name for path in entries(root.parent) if path.is_dir()])
        raise TrackNetError(f"{root}: {found}; expected the folder of a data set{near}")
    for layout in LAYOUTS:
        if layout.recognises(root):
            return layout
    held = entries(root)
    if not held:
        raise TrackNetError(f"{root}: the folder is empty; expected that of a data set")
    inside = next(
        (path for path in held if path.is_dir() and any(one.recognises(path) for one in LAYOUTS)),
        None,
    )
    hint = f"; the folder {inside.name} in it has one of them" if inside else ""
    if {path.name for path in held} >= _PACKED:
        hint += "; these are packed data, for +data=packed; check the data set that was packed"
    if any(path.name.lower() == CVAT_EXPORT for path in held):
        hint += f"; {CVAT_EXPORT} of CVAT belongs beside its video, renamed to NAME.xml as in the layout flat"
    expected = "".join(f"\n  {layout.name}: {layout.expects}" for layout in LAYOUTS)
    raise TrackNetError(f"{root}: none of the known layouts of data sets{hint}; expected one of{expected}")
