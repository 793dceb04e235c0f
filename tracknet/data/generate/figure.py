"""Painting players: limbs, clothes, rackets and their shadows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracknet.data.generate.paint import Canvas, Point
from tracknet.data.generate.people import Joint
from tracknet.data.generate.sports import Colour, Racket
from tracknet.data.generate.venue import HAIR, SKIN, Kit

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Looks:
    """Colours of one player, lit.

    Attributes:
        skin: Face, arms and legs.
        hair: Hair.
        shirt: Shirt.
        shorts: Shorts.
        shoes: Shoes.
        racket: Frame of the racket.
        away: Whether the player turns the back to the camera.
    """

    skin: Colour
    hair: Colour
    shirt: Colour
    shorts: Colour
    shoes: Colour
    racket: Colour
    away: bool


def dress(kit: Kit, light: float, away: bool, rng: np.random.Generator) -> Looks:
    """Dress a player.

    Args:
        kit: What the team wears.
        light: Brightness of the court.
        away: Whether the player turns the back to the camera.
        rng: Where skin, hair and racket come from.

    Returns:
        The colours under that light.
    """

    def lit(colour: Colour) -> Colour:
        return light * colour[0], light * colour[1], light * colour[2]

    racket = float(rng.uniform(40, 200))
    return Looks(
        lit(SKIN[int(rng.integers(len(SKIN)))]),
        lit(HAIR[int(rng.integers(len(HAIR)))]),
        lit(kit.shirt),
        lit(kit.shorts),
        lit(kit.shoes),
        lit((racket, racket * 0.95, racket)),
        away,
    )


def paint_player(
    canvas: Canvas, seen: Array, depth: Array, scale: float, looks: Looks, racket: Racket | None
) -> None:
    """Paint a player, blurred by the movement while the shutter is open.

    Args:
        canvas: What to paint on.
        seen: Joints at each moment, pixels, ``[moments, len(Joint), 2]``.
        depth: Distance of the joints in the middle of that time, metres, ``[len(Joint)]``.
        scale: Pixels per metre at the player.
        looks: Colours.
        racket: What the player holds.
    """
    middle = seen[len(seen) // 2].tolist()
    spread = (0.6 * np.abs(seen[-1] - seen[0]).max(axis=1)).tolist()

    def limb(start: Joint, end: Joint, radius: float, colour: Colour, share: float = 1.0) -> None:
        first, last = middle[start], middle[end]
        if share != 1.0:
            last = [first[0] + share * (last[0] - first[0]), first[1] + share * (last[1] - first[1])]
        soft = 1.0 + min(6.0, max(spread[start], spread[end]))
        canvas.capsule((first[0], first[1]), (last[0], last[1]), radius * scale, colour, soft=soft)

    def arm(shoulder: Joint, elbow: Joint, hand: Joint) -> None:
        limb(elbow, hand, 0.042, looks.skin)
        limb(shoulder, elbow, 0.055, looks.shirt)

    def right_arm() -> None:
        arm(Joint.SHOULDER_R, Joint.ELBOW_R, Joint.HAND_R)
        if racket is not None:
            _paint_racket(canvas, seen, scale, looks.racket, racket)

    right_behind = depth[Joint.HAND_R] > depth[Joint.CHEST]
    left_behind = depth[Joint.HAND_L] > depth[Joint.CHEST]
    if left_behind:
        arm(Joint.SHOULDER_L, Joint.ELBOW_L, Joint.HAND_L)
    if right_behind:
        right_arm()
    legs = [
        (Joint.HIP_L, Joint.KNEE_L, Joint.ANKLE_L, Joint.TOE_L),
        (Joint.HIP_R, Joint.KNEE_R, Joint.ANKLE_R, Joint.TOE_R),
    ]
    legs.sort(key=lambda leg: -float(depth[leg[1]]))
    for hip, knee, ankle, toe in legs:
        limb(ankle, toe, 0.05, looks.shoes)
        limb(knee, ankle, 0.056, looks.skin)
        limb(hip, knee, 0.085, looks.skin)
        limb(hip, knee, 0.1, looks.shorts, share=0.6)
    limb(Joint.HIP_L, Joint.HIP_R, 0.115, looks.shorts)
    limb(Joint.PELVIS, Joint.CHEST, 0.165, looks.shirt)
    limb(Joint.SHOULDER_L, Joint.SHOULDER_R, 0.075, looks.shirt)
    face, hair = (Joint.HEAD, Joint.HEAD, 0.11, looks.skin), (Joint.CROWN, Joint.CROWN, 0.108, looks.hair)
    for part in (face, hair) if looks.away else (hair, face):
        limb(*part)
    if not left_behind:
        arm(Joint.SHOULDER_L, Joint.ELBOW_L, Joint.HAND_L)
    if not right_behind:
        right_arm()


def _paint_racket(canvas: Canvas, seen: Array, scale: float, colour: Colour, racket: Racket) -> None:
    joints = seen[:, [Joint.HAND_R, Joint.RACKET_NECK, Joint.RACKET_TIP]]
    moved = float(np.abs(joints[-1] - joints[0]).max())
    if moved < 1.0:
        joints = joints[len(joints) // 2][None]
    if racket.solid:
        dark: Colour = (150.0, 30.0, 35.0)
        canvas.sweep(joints[:, 1], joints[:, 2], racket.radius * scale, dark)
        return
    canvas.sweep(joints[:, 0], joints[:, 1], 0.018 * scale, colour)
    # A stadium of the head's outline: the middle line is shorter than the head by its radius at both ends.
    axis = joints[:, 2] - joints[:, 1]
    inset = axis * min(0.5, racket.radius / racket.length)
    canvas.sweep(
        joints[:, 1] + inset, joints[:, 2] - inset, racket.radius * scale, colour, rim=max(0.9, 0.022 * scale)
    )


def paint_shadow(canvas: Canvas, foot: Point, scale: float, flat: float, strength: float) -> None:
    """Paint the shadow of a player.

    Args:
        canvas: What to paint on.
        foot: Where the player stands, pixels.
        scale: Pixels per metre there.
        flat: Height of a circle on the floor as the camera sees it, compared with its width.
        strength: Opacity, 0 to 1.
    """
    canvas.ellipse(foot, (0.5 * scale, 0.5 * scale * flat + 0.5), (10.0, 12.0, 14.0), strength, soft=0.8)
