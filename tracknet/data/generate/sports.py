"""The four sports: courts, balls, players and the strokes they play."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tracknet.data.generate.flight import Aerodynamics, Surface

Sport = Literal["badminton", "tennis", "table_tennis", "volleyball"]
Range = tuple[float, float]
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Shot:
    """One kind of stroke: where it sends the ball, and what may answer it.

    Attributes:
        name: What players call it.
        seconds: Time until the ball is met or, in sports with a bounce, touches the floor.
        depth: Distance from the net where that happens, metres.
        spread: Share of half the court's width within which it happens.
        height: How high the ball is met, metres; unused in sports with a bounce.
        answers: Names and weights of the shots that may follow.
        over: Whether it crosses the net.
        spin: Topspin as Magnus acceleration per speed, 1/s; negative for backspin.
        two_handed: Whether both hands meet the ball.
        jump: Whether the player leaves the floor.
    """

    name: str
    seconds: Range
    depth: Range
    height: Range
    answers: tuple[tuple[str, float], ...]
    spread: float = 0.85
    over: bool = True
    spin: Range = (0.0, 0.0)
    two_handed: bool = False
    jump: bool = False


@dataclass(frozen=True)
class Bounce:
    """When a player meets a ball that has touched the floor.

    Attributes:
        least: Seconds after the bounce, at least.
        beyond: Distance from the net at which it is met at the latest, metres.
        low: A falling ball is met at this height at the latest, metres.
    """

    least: Range
    beyond: Range
    low: Range


@dataclass(frozen=True)
class Box:
    """A rectangle on the court, metres from its middle: the extent of a line.

    Attributes:
        left: Lowest x.
        right: Highest x.
        near: Lowest y.
        far: Highest y.
    """

    left: float
    right: float
    near: float
    far: float


@dataclass(frozen=True)
class View:
    """Where a broadcast camera may stand; see `tracknet.data.generate.camera.watch`.

    Attributes:
        distance: Metres from the net.
        height: Metres above the floor.
        azimuth: Radians from the middle line, to either side.
        near: Share of the picture's height at which the near end of the court appears.
        far: The same for the far end.
    """

    distance: Range
    height: Range
    azimuth: Range
    near: Range
    far: Range


@dataclass(frozen=True)
class Racket:
    """What a player holds, metres.

    Attributes:
        shaft: From the hand to the head.
        length: Length of the head.
        radius: Half of the head's width.
        solid: A bat rather than strings.
    """

    shaft: float
    length: float
    radius: float
    solid: bool = False


@dataclass(frozen=True)
class Game:
    """Everything that tells one sport from another.

    Attributes:
        name: Its name.
        half_width: Half of the court's (or table's) width, metres.
        half_length: Half of its length.
        lines: Its lines.
        net: Lower edge, upper edge and half of the width of the net, metres.
        surface: What the ball bounces on.
        air: What slows the ball.
        diameter: Apparent diameter of the ball, metres; small balls glow larger than they are.
        least_pixels: Apparent diameter at least, pixels in a picture 360 pixels high.
        balls: Colours a ball may have.
        homes: Where the players of one team wait: x, and distance from the net; metres.
        serve_from: x range, distance from the net and height of the first stroke, metres.
        shots: The strokes; the first one opens a rally.
        bounce: How a bounced ball is met; without it the ball is met in the air.
        racket: What players hold, if anything.
        view: Where the camera may stand.
        runoff: Free floor to the sides and behind the court, metres.
        table: Whether the court is a table.
        outdoors: Whether it may be played in daylight.
    """

    name: Sport
    half_width: float
    half_length: float
    lines: tuple[Box, ...]
    net: tuple[float, float, float]
    surface: Surface
    air: Aerodynamics
    diameter: float
    least_pixels: float
    balls: tuple[Colour, ...]
    homes: tuple[tuple[float, float], ...]
    serve_from: tuple[float, float, float]
    shots: tuple[Shot, ...]
    bounce: Bounce | None
    racket: Racket | None
    view: View
    runoff: tuple[float, float]
    table: bool = False
    outdoors: bool = False

    def shot(self, name: str) -> Shot:
        """The stroke of that name."""
        return next(shot for shot in self.shots if shot.name == name)


def _along(x: float, near: float, far: float, width: float) -> Box:
    """A line towards the camera."""
    return Box(x - width / 2, x + width / 2, near, far)


def _across(y: float, half: float, width: float) -> Box:
    """A line across the court."""
    return Box(-half, half, y - width / 2, y + width / 2)


_FLOOR = Surface(0.0, 1e3, 1e3)

BADMINTON = Game(
    name="badminton",
    half_width=3.05,
    half_length=6.7,
    lines=(
        *(_along(x, -6.7, 6.7, 0.06) for x in (-3.03, -2.57, 2.57, 3.03)),
        *(_along(0.0, y, y + 4.72, 0.06) for y in (-6.7, 1.98)),
        *(_across(y, 3.05, 0.06) for y in (-6.68, -5.92, -2.0, 2.0, 5.92, 6.68)),
    ),
    net=(0.79, 1.55, 3.05),
    surface=_FLOOR,
    air=Aerodynamics(drag=9.81 / 6.8**2, restitution=0.0, grip=0.0),
    diameter=0.1,
    least_pixels=3.6,
    balls=((250.0, 250.0, 245.0), (252.0, 248.0, 225.0)),
    homes=((0.0, 3.6),),
    serve_from=(1.0, 2.4, 1.0),
    shots=(
        Shot("serve", (1.2, 1.5), (5.0, 6.2), (2.1, 2.6), (("smash", 0.4), ("clear", 0.3), ("drop", 0.3))),
        Shot("clear", (1.3, 1.65), (5.2, 6.4), (2.0, 2.7), (("clear", 0.3), ("drop", 0.3), ("smash", 0.4))),
        Shot("drop", (0.85, 1.1), (1.0, 2.2), (0.4, 1.2), (("lift", 0.6), ("net", 0.4))),
        Shot(
            "smash",
            (0.38, 0.55),
            (2.5, 5.0),
            (0.4, 1.2),
            (("block", 0.45), ("lift", 0.3), ("drive", 0.25)),
            jump=True,
        ),
        Shot("drive", (0.5, 0.65), (3.0, 5.0), (1.0, 1.7), (("drive", 0.4), ("block", 0.3), ("lift", 0.3))),
        Shot("block", (0.7, 0.95), (0.9, 2.0), (0.5, 1.3), (("lift", 0.55), ("net", 0.45))),
        Shot("net", (0.75, 1.0), (0.6, 1.5), (0.5, 1.2), (("lift", 0.6), ("net", 0.4))),
        Shot("lift", (1.3, 1.7), (5.0, 6.4), (2.1, 2.7), (("smash", 0.5), ("drop", 0.3), ("clear", 0.2))),
    ),
    bounce=None,
    racket=Racket(0.36, 0.26, 0.11),
    view=View((20.5, 25.0), (7.0, 9.5), (0.0, 0.05), (0.84, 0.92), (0.37, 0.44)),
    runoff=(2.6, 2.2),
)

TENNIS = Game(
    name="tennis",
    half_width=5.485,
    half_length=11.885,
    lines=(
        *(_along(x, -11.885, 11.885, 0.09) for x in (-5.44, -4.07, 4.07, 5.44)),
        _along(0.0, -6.4, 6.4, 0.09),
        *(_across(y, 4.07, 0.09) for y in (-6.4, 6.4)),
        *(_across(y, 5.485, 0.12) for y in (-11.83, 11.83)),
    ),
    net=(0.0, 1.0, 6.4),
    surface=_FLOOR,
    air=Aerodynamics(drag=0.02, restitution=0.74, grip=0.72),
    diameter=0.15,
    least_pixels=3.6,
    balls=((222.0, 240.0, 90.0), (228.0, 238.0, 120.0)),
    homes=((0.0, 12.4),),
    serve_from=(1.5, 12.0, 2.7),
    shots=(
        Shot(
            "serve",
            (0.5, 0.62),
            (4.2, 6.2),
            (0.0, 0.0),
            (("drive", 0.8), ("slice", 0.2)),
            spread=0.65,
            spin=(0.1, 0.2),
        ),
        Shot(
            "drive",
            (0.8, 1.15),
            (6.5, 11.0),
            (0.0, 0.0),
            (("drive", 0.75), ("slice", 0.18), ("lob", 0.07)),
            spread=0.7,
            spin=(0.15, 0.35),
        ),
        Shot(
            "slice",
            (1.0, 1.3),
            (6.0, 10.0),
            (0.0, 0.0),
            (("drive", 0.75), ("slice", 0.25)),
            spread=0.7,
            spin=(-0.2, -0.1),
        ),
        Shot("lob", (1.9, 2.3), (8.5, 11.0), (0.0, 0.0), (("drive", 1.0),), spread=0.6, spin=(0.05, 0.15)),
    ),
    bounce=Bounce(least=(0.3, 0.5), beyond=(12.2, 14.0), low=(0.5, 1.0)),
    racket=Racket(0.33, 0.35, 0.13),
    view=View((25.0, 31.0), (8.5, 12.0), (0.0, 0.04), (0.70, 0.80), (0.22, 0.29)),
    runoff=(3.8, 6.0),
    outdoors=True,
)

TABLE_TENNIS = Game(
    name="table_tennis",
    half_width=0.7625,
    half_length=1.37,
    lines=(
        *(_along(x, -1.37, 1.37, 0.025) for x in (-0.75, 0.75)),
        _along(0.0, -1.37, 1.37, 0.012),
        *(_across(y, 0.7625, 0.025) for y in (-1.3575, 1.3575)),
    ),
    net=(0.76, 0.9125, 0.915),
    surface=Surface(0.76, 0.7625, 1.37),
    air=Aerodynamics(drag=0.126, restitution=0.88, grip=0.85),
    diameter=0.054,
    least_pixels=3.8,
    balls=((252.0, 250.0, 240.0), (250.0, 165.0, 50.0)),
    homes=((0.0, 2.15),),
    serve_from=(0.5, 1.75, 1.0),
    shots=(
        Shot(
            "loop",
            (0.32, 0.44),
            (0.6, 1.25),
            (0.0, 0.0),
            (("loop", 0.6), ("push", 0.2), ("smash", 0.1), ("chop", 0.1)),
            spread=0.75,
            spin=(0.5, 1.0),
        ),
        Shot(
            "push",
            (0.4, 0.5),
            (0.5, 1.2),
            (0.0, 0.0),
            (("loop", 0.7), ("push", 0.3)),
            0.75,
            spin=(-0.5, -0.2),
        ),
        Shot(
            "smash",
            (0.24, 0.3),
            (0.8, 1.3),
            (0.0, 0.0),
            (("chop", 0.6), ("loop", 0.4)),
            0.75,
            spin=(0.2, 0.4),
        ),
        Shot(
            "chop",
            (0.55, 0.75),
            (0.7, 1.25),
            (0.0, 0.0),
            (("loop", 0.9), ("push", 0.1)),
            0.7,
            spin=(-0.5, -0.2),
        ),
    ),
    bounce=Bounce(least=(0.1, 0.22), beyond=(1.5, 2.3), low=(0.85, 1.0)),
    racket=Racket(0.1, 0.08, 0.075, solid=True),
    view=View((6.8, 8.2), (3.8, 5.0), (0.2, 0.42), (0.7, 0.78), (0.46, 0.52)),
    runoff=(3.2, 4.5),
    table=True,
)

VOLLEYBALL = Game(
    name="volleyball",
    half_width=4.5,
    half_length=9.0,
    lines=(
        *(_along(x, -9.0, 9.0, 0.07) for x in (-4.47, 4.47)),
        *(_across(y, 4.5, 0.07) for y in (-8.97, -3.0, 0.0, 3.0, 8.97)),
    ),
    net=(1.43, 2.43, 4.75),
    surface=_FLOOR,
    air=Aerodynamics(drag=0.022, restitution=0.7, grip=0.8),
    diameter=0.23,
    least_pixels=4.0,
    balls=((245.0, 225.0, 70.0), (250.0, 250.0, 250.0)),
    homes=((-2.9, 2.3), (0.3, 1.6), (2.9, 2.3), (-2.8, 6.4), (0.0, 7.4), (2.8, 6.4)),
    serve_from=(3.5, 9.3, 2.7),
    shots=(
        Shot("serve", (0.9, 1.2), (5.0, 8.0), (0.5, 1.0), (("dig", 1.0),), 0.7, spin=(0.05, 0.25)),
        Shot("dig", (1.1, 1.5), (0.9, 1.8), (2.2, 2.5), (("set", 1.0),), 0.35, over=False, two_handed=True),
        Shot(
            "set",
            (0.9, 1.35),
            (0.8, 1.5),
            (2.8, 3.1),
            (("spike", 0.8), ("tip", 0.2)),
            0.8,
            over=False,
            two_handed=True,
        ),
        Shot("spike", (0.36, 0.5), (4.0, 8.0), (0.4, 0.9), (("dig", 1.0),), 0.85, spin=(0.1, 0.3), jump=True),
        Shot("tip", (0.75, 1.0), (2.5, 4.5), (0.4, 0.9), (("dig", 1.0),), 0.7, jump=True),
    ),
    bounce=None,
    racket=None,
    view=View((17.0, 20.5), (6.5, 9.0), (0.0, 0.1), (0.88, 0.95), (0.40, 0.47)),
    runoff=(3.5, 4.0),
)

GAMES: tuple[Game, ...] = (BADMINTON, TENNIS, TABLE_TENNIS, VOLLEYBALL)


def game_of(name: Sport) -> Game:
    """The sport of that name."""
    return next(game for game in GAMES if game.name == name)
