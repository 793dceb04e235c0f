"""Random changes of bytes and of texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

Tokens = Sequence[bytes]

_ODD = (
    b"\x00",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\n",
    b"\r",
    b'"',
    b"'",
    b",",
    b";",
    b"\t",
    b"-",
    b"9" * 25,
    b"1e999",
)


def mutate(content: bytes, draw: Random, tokens: Tokens = (), others: Tokens = ()) -> bytes:
    """Change a file in one to six places.

    Args:
        content: The file.
        draw: Where chance comes from.
        tokens: Words that mean something in such files.
        others: Other files, of which parts are taken over.
    """
    for _ in range(draw.choice((1, 1, 1, 2, 3, 6))):
        content = draw.choice(_CHANGES)(content, draw, tokens or _ODD, others or (content,))
    return content


def _flip(content: bytes, draw: Random, tokens: Tokens, others: Tokens) -> bytes:
    if not content:
        return b"\x01"
    place = draw.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << draw.randrange(8)]) + content[place + 1 :]


def _cut(content: bytes, draw: Random, tokens: Tokens, others: Tokens) -> bytes:
    return content[: draw.randrange(len(content) + 1)]


def _remove(content: bytes, draw: Random, tokens: Tokens, others: Tokens) -> bytes:
    first = draw.randrange(len(content) + 1)
    return content[:first] + content[first + draw.choice((1, 4, 40)) :]


def _repeat(content: bytes, draw: Random, tokens: Tokens, others: Tokens) -> bytes:
    first = draw.randrange(len(content) + 1)
    part = content[first : first + draw.choice((1, 8, 80))]
    return content[:first] + part * draw.choice((2, 3, 50)) + content[first:]


def _insert(content: bytes, draw: Random, tokens: Tokens, others: Tokens) -> bytes:
    place = draw.randrange(len(content) + 1)
    return content[:place] + draw.choice((*tokens, *_ODD)) + content[place:]


def _splice(content: bytes, draw: Random, tokens: Tokens, others: Tokens) -> bytes:
    other = draw.choice(others)
    place, first = draw.randrange(len(content) + 1), draw.randrange(len(other) + 1)
    length = draw.choice((3, 30, 300))
    return content[:place] + other[first : first + length] + content[place + draw.choice((0, length)) :]


def _swap_token(content: bytes, draw: Random, tokens: Tokens, others: Tokens) -> bytes:
    """Put a word in the place of another."""
    words = content.split(b" ")
    words[draw.randrange(len(words))] = draw.choice((*tokens, *_ODD))
    return b" ".join(words)


def _swap_lines(content: bytes, draw: Random, tokens: Tokens, others: Tokens) -> bytes:
    lines = content.split(b"\n")
    one, other = draw.randrange(len(lines)), draw.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    return b"\n".join(lines)


_CHANGES: tuple[Callable[[bytes, Random, Tokens, Tokens], bytes], ...] = (
    _flip,
    _flip,
    _cut,
    _remove,
    _repeat,
    _insert,
    _splice,
    _swap_token,
    _swap_token,
    _swap_lines,
)
