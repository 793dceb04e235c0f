"""DataModules of public data sets beyond those of the TrackNet family."""

from __future__ import annotations

from tracknet.data.clips import Layout
from tracknet.data.datamodules import RallyDataModule
from tracknet.data.layouts import (
    BlurBall,
    OpenTTGames,
    RacketVision,
    WasbBasketball,
    WasbSoccer,
    WasbVolleyball,
)
from tracknet.data.splits import (
    BASKETBALL_SPLITS,
    BLURBALL_SPLITS,
    OPENTTGAMES_SPLITS,
    RACKETVISION_SPLITS,
    SOCCER_SPLITS,
    VOLLEYBALL_SPLITS,
)


class OpenTTGamesDataModule(RallyDataModule):
    """OpenTTGames: table tennis at 120 frames a second, labelled around events.

    Only the stretches around labels are decoded into the frame cache and read; windows hold at least one
    labelled frame. Named split: ``openttgames`` (folders ``training`` and ``test``), which is also the
    default. Labels and folders: see `tracknet.data.layouts.OpenTTGames`.
    """

    layout = OpenTTGames
    named_splits = OPENTTGAMES_SPLITS


class RacketVisionDataModule(RallyDataModule):
    """RacketVision: badminton, table tennis and tennis, a fifth of the frames labelled.

    Named split: ``racketvision`` (``info/train.json``, ``val.json`` and ``test.json``), which is also the
    default. One sport is chosen by its folder as root, or as ``--data.train '[tennis]'``.
    """

    layout = RacketVision
    named_splits = RACKETVISION_SPLITS


class BlurBallDataModule(RallyDataModule):
    """BlurBall: table tennis, labelled at the centre of the motion blur.

    Named split: ``blurball`` (test matches 22 to 25). Length and direction of the blur are not used.
    """

    layout = BlurBall
    named_splits = BLURBALL_SPLITS


class SoccerDataModule(RallyDataModule):
    """The soccer data set of WASB: six cameras, ``annos/ID-1.xml`` with ``videos`` or ``frames``.

    Named split: ``wasb`` (test cameras 5 and 6).
    """

    layout = WasbSoccer
    named_splits = SOCCER_SPLITS


class VolleyballDataModule(RallyDataModule):
    """The volleyball data set as WASB uses it: ``videos`` with ``volleyball_ball_annotation``.

    Named split: ``wasb`` (16 of the 55 matches are the test).
    """

    layout = WasbVolleyball
    named_splits = VOLLEYBALL_SPLITS


class BasketballDataModule(RallyDataModule):
    """The basketball data set of WASB: ``videos`` with ``ball-annos``.

    Named split: ``wasb`` (30 test videos).
    """

    layout = WasbBasketball
    named_splits = BASKETBALL_SPLITS


def module_of(layout: Layout) -> type[RallyDataModule]:
    """Find the DataModule of a layout, which knows its named splits."""
    found = [cls for cls in RallyDataModule.__subclasses__() if getattr(cls, "layout", None) is type(layout)]
    return found[0]
