"""Block letters for advertising boards, shirts and scores."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

SPONSORS = (
    "NORDLYS",
    "VELA",
    "KITE AIR",
    "OSTERIA",
    "HALCYON",
    "MERIDIAN",
    "TOKI",
    "FJORD",
    "LUMEN",
    "QUILL",
    "RIVA 24",
    "ZEPHYR",
    "ALMA BANK",
    "COBALT",
)

_ROWS = {
    "A": "010101111101101",
    "B": "110101110101110",
    "C": "011100100100011",
    "D": "110101101101110",
    "E": "111100110100111",
    "F": "111100110100100",
    "G": "011100101101011",
    "H": "101101111101101",
    "I": "111010010010111",
    "J": "001001001101010",
    "K": "101101110101101",
    "L": "100100100100111",
    "M": "101111111101101",
    "N": "110101101101101",
    "O": "010101101101010",
    "P": "110101110100100",
    "Q": "010101101110011",
    "R": "110101110101101",
    "S": "011100010001110",
    "T": "111010010010010",
    "U": "101101101101111",
    "V": "101101101101010",
    "W": "101101111111101",
    "X": "101101010101101",
    "Y": "101101010010010",
    "Z": "111001010100111",
    "0": "111101101101111",
    "1": "010110010010111",
    "2": "110001010100111",
    "3": "110001010001110",
    "4": "101101111001001",
    "5": "111100110001110",
    "6": "011100111101111",
    "7": "111001010010010",
    "8": "111101111101111",
    "9": "111101111001110",
    " ": "000000000000000",
}


def letters(text: str, scale: int = 1) -> NDArray[np.float32]:
    """Set a line of text.

    Args:
        text: Capital letters, digits and spaces.
        scale: Pixels to one dot of the letters, which are five dots high and three wide.

    Returns:
        1 where there is ink, else 0: ``[5 * scale, (4 * len(text) - 1) * scale]``.

    Example:
        >>> letters("I").astype(int).tolist()
        [[1, 1, 1], [0, 1, 0], [0, 1, 0], [0, 1, 0], [1, 1, 1]]
    """
    dots = np.zeros((5, 4 * len(text) - 1), dtype=np.float32)
    for index, letter in enumerate(text):
        dots[:, 4 * index : 4 * index + 3] = np.array([int(dot) for dot in _ROWS[letter]]).reshape(5, 3)
    return np.kron(dots, np.ones((scale, scale), dtype=np.float32))


def banner(text: str, length: int, height: int) -> NDArray[np.float32]:
    """A strip with the text in its middle, as large as fits into half of its height and 0.9 of its length.

    Args:
        text: Capital letters, digits and spaces.
        length: Columns of the strip; a text that is too long even with the smallest letters is cut off.
        height: Rows of the strip.

    Returns:
        1 where there is ink, else 0: ``[height, length]``.
    """
    scale = min(round(0.5 * height / 5), int(0.9 * length / (4 * len(text) - 1)))
    ink = letters(text, max(1, scale))[:height, :length]
    strip = np.zeros((height, length), dtype=np.float32)
    top, left = (height - ink.shape[0]) // 2, (length - ink.shape[1]) // 2
    strip[top : top + ink.shape[0], left : left + ink.shape[1]] = ink
    return strip
