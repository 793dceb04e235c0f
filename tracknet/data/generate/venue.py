"""A venue: its colours, light, camera and kits, all drawn from one seed."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

from tracknet.data.generate.camera import Camera, watch
from tracknet.data.generate.play import between
from tracknet.data.generate.sports import Colour, Game

COURTS: dict[str, tuple[Colour, ...]] = {
    "badminton": ((40, 135, 85), (45, 150, 60), (95, 140, 125), (50, 95, 150), (35, 120, 125)),
    "tennis": ((72, 66, 122), (48, 92, 150), (165, 95, 62), (80, 125, 62), (60, 110, 95)),
    "table_tennis": ((30, 75, 135), (35, 95, 75), (40, 60, 110), (25, 40, 85)),
    "volleyball": ((190, 115, 60), (205, 145, 95), (60, 115, 165), (190, 100, 70)),
}
FLOORS: dict[str, tuple[Colour, ...]] = {
    "badminton": ((45, 45, 50), (35, 55, 135), (120, 12, 28), (60, 65, 75), (95, 75, 50)),
    "tennis": ((120, 155, 105), (40, 70, 115), (150, 85, 58), (60, 105, 55), (70, 75, 110)),
    "table_tennis": ((130, 35, 45), (45, 50, 60), (110, 45, 60), (90, 75, 60), (35, 80, 120)),
    "volleyball": ((45, 110, 135), (60, 70, 115), (95, 105, 110), (150, 80, 50), (40, 60, 80)),
}
"""Colours of court and surround; a venue shifts them."""

SKIN: tuple[Colour, ...] = ((225, 180, 150), (205, 155, 120), (165, 115, 85), (110, 75, 55))
HAIR: tuple[Colour, ...] = ((30, 25, 22), (60, 40, 28), (110, 80, 45), (150, 125, 80))
SHOES: tuple[Colour, ...] = ((240, 240, 240), (235, 235, 225), (230, 80, 60), (50, 50, 60))


@dataclass(frozen=True)
class Kit:
    """What a team wears, red, green and blue.

    Attributes:
        shirt: Colour of the shirt.
        shorts: Colour of the shorts.
        shoes: Colour of the shoes.
    """

    shirt: Colour
    shorts: Colour
    shoes: Colour


@dataclass(frozen=True)
class Venue:
    """Where a match is played and how it is filmed.

    Attributes:
        game: What is played.
        camera: The main camera.
        court: Colour of the playing surface.
        floor: Colour around it.
        lines: Colour of the lines.
        boards: Colours of the advertising boards.
        seats: Colour of the empty stands.
        light: Brightness of court and players, 1 in the middle of its range.
        crowd_light: Brightness of the stands compared with the court.
        crowd: Share of the seats that are taken.
        restless: Share of the spectators who move.
        kits: What the two teams wear.
        ball: Colour of the ball.
        gain: Factors of red, green and blue: the colour of the light.
        noise: Standard deviation of the sensor's noise, grey levels.
        flicker: Relative amplitude of the lamps' flicker.
        shake: Unrest of the camera, standard deviation in pixels of a picture 360 pixels high.
        pan: How far the camera turns, pixels of a picture 360 pixels high.
        shutter: Share of the time between two frames during which light is gathered.
        boards_move: Share of the boards whose picture moves.
        seed: Seed of everything that stays the same in all rallies there.
    """

    game: Game
    camera: Camera
    court: Colour
    floor: Colour
    lines: Colour
    boards: tuple[Colour, ...]
    seats: Colour
    light: float
    crowd_light: float
    crowd: float
    restless: float
    kits: tuple[Kit, Kit]
    ball: Colour
    gain: Colour
    noise: float
    flicker: float
    shake: float
    pan: float
    shutter: float
    boards_move: float
    seed: int


def draw_venue(game: Game, size: tuple[int, int], seed: np.random.SeedSequence) -> Venue:
    """Invent a venue.

    Args:
        game: What is played there.
        size: Picture ``(height, width)``.
        seed: Decides everything; the same seed gives the same venue.

    Returns:
        The venue.
    """
    rng = np.random.default_rng(seed)
    view = game.view
    camera = watch(
        size,
        distance=between(rng, view.distance),
        height=between(rng, view.height),
        azimuth=between(rng, view.azimuth) * (1 if rng.random() < 0.5 else -1),
        near=(-game.half_length, between(rng, view.near)),
        far=(game.half_length, between(rng, view.far)),
    )
    court = _shifted(_pick(COURTS[game.name], rng), rng)
    floor = _shifted(_pick(FLOORS[game.name], rng), rng)
    while sum(abs(a - b) for a, b in zip(court, floor, strict=True)) < 60:
        floor = _shifted(_pick(FLOORS[game.name], rng), rng)
    daylight = game.outdoors and rng.random() < 0.6
    first = _vivid(rng)
    second = _vivid(rng)
    while sum(abs(a - b) for a, b in zip(first.shirt, second.shirt, strict=True)) < 150:
        second = _vivid(rng)
    style = rng.choice(4, p=(0.5, 0.25, 0.15, 0.1))  # camera: fixed, restless, panning, both
    warm = rng.normal(0, 0.03)
    return Venue(
        game=game,
        camera=camera,
        court=court,
        floor=floor,
        lines=(232.0, 234.0, 232.0),
        boards=tuple(_board(rng) for _ in range(int(rng.integers(3, 6)))),
        seats=_hue(rng, 0.3, between(rng, (0.1, 0.3))),
        light=between(rng, (0.85, 1.1)),
        crowd_light=between(rng, (0.55, 0.9) if daylight else (0.15, 0.6)),
        crowd=between(rng, (0.35, 0.95)),
        restless=between(rng, (0.15, 0.4)),
        kits=(first, second),
        ball=_pick(game.balls, rng),
        gain=(1 + warm, 1.0, 1 - warm),
        noise=between(rng, (1.2, 3.0)),
        flicker=0.0 if daylight else between(rng, (0.0, 0.02)),
        shake=between(rng, (0.3, 1.0)) if style in (1, 3) else 0.0,
        pan=between(rng, (4.0, 16.0)) if style in (2, 3) else 0.0,
        shutter=between(rng, (0.4, 0.6)),
        boards_move=between(rng, (0.2, 0.6)),
        seed=int(rng.integers(2**31)),
    )


def _pick(colours: tuple[Colour, ...], rng: np.random.Generator) -> Colour:
    return colours[int(rng.integers(len(colours)))]


def _shifted(colour: Colour, rng: np.random.Generator) -> Colour:
    """A colour like this one: other hue, saturation and value, but nothing as bright as a ball."""
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in colour))
    hue = (hue + rng.normal(0, 0.035)) % 1
    saturation = min(1.0, max(0.0, saturation * rng.uniform(0.7, 1.15)))
    value = min(0.75, max(0.12, value * rng.uniform(0.8, 1.15)))
    return _rgb(hue, saturation, value)


def _hue(rng: np.random.Generator, saturation: float, value: float) -> Colour:
    return _rgb(float(rng.random()), saturation, value)


def _rgb(hue: float, saturation: float, value: float) -> Colour:
    red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
    return 255 * red, 255 * green, 255 * blue


def _board(rng: np.random.Generator) -> Colour:
    return _hue(rng, between(rng, (0.5, 0.95)), between(rng, (0.2, 0.7)))


def _vivid(rng: np.random.Generator) -> Kit:
    """A kit; one shirt in six is white."""
    white: Colour = (225.0, 225.0, 225.0)
    dark: Colour = (38.0, 40.0, 52.0)
    shirt = white if rng.random() < 0.16 else _hue(rng, between(rng, (0.5, 0.95)), between(rng, (0.3, 0.85)))
    choice = rng.random()
    shorts = white if choice < 0.3 else dark if choice < 0.65 else tuple(0.7 * channel for channel in shirt)
    return Kit(shirt, (shorts[0], shorts[1], shorts[2]), _pick(SHOES, rng))
