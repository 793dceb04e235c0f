"""Names of cameras, network streams and pipes: which they are, and what of them may be shown."""

from __future__ import annotations

import re
from pathlib import Path

CAMERA_FORMATS = ("v4l2", "avfoundation", "dshow")
"""Formats of cameras on Linux, macOS and Windows, written before the name: ``avfoundation:0``."""

SCHEMES = ("http", "https", "rtmp", "rtsp", "srt", "tcp", "udp")
"""Beginnings of the URLs of streams, those that one may have meant by a mistyped one."""

# Host and port rather than user and the beginning of a password: a dot, a usual port, or a query behind it.
_HOST = (
    r"(?:[^/?#:]*\.[^/?#:]*|localhost):\d+[/?]"
    r"|[^/?#:]*:(?:80|443|554|1935|8000|8080|8443|8554|8888)[/?]"
    r"|[^/?#:]*:\d+\?[^@]*="
)

# Scheme, login, address, query. What is before the last @ is a login also where its password holds a slash, a
# question mark or a #, which had to be written as %2F, %3F and %23.
_URL = re.compile(
    rf"([\w+.:-]{{2,}}:/+)(?:[^/?#]+@|(?!{_HOST})[^/?#:[]*:.*@)?([^?#]*)([?#]?).*",
    re.DOTALL,
)

# Cheap cameras take it in the path: /user=admin&password=x&channel=1, also with _ for &.
_NAMED = r"[a-z]*(?:user(?:name)?|pass(?:wd|word|phrase)?|pwd|token|key)="
_SECRET = re.compile(rf"({_NAMED})(?:(?!_[a-z]+=)[^&/])*", re.IGNORECASE)


def is_live(name: str) -> bool:
    """Say whether a name is that of a stream rather than of a file or a folder.

    Args:
        name: ``-`` for standard input, a URL, a camera (``/dev/video0``, ``avfoundation:0``), a named pipe,
            or anything else.

    Returns:
        True for a stream.
    """
    if name == "-" or "://" in name or name.startswith(tuple(f"{kind}:" for kind in CAMERA_FORMATS)):
        return True
    path = Path(name)
    return path.is_fifo() or path.is_char_device()


def without_secrets(name: str) -> str:
    """Give a name as it may be shown: a URL without user, password, token and what is behind ``?``.

    Args:
        name: See `is_live`; a URL may have been made a path, and what is no URL stays as it is.

    Example:
        >>> without_secrets("http://user:password@10.0.0.5:80/court1.ts?token=abc")
        'http://10.0.0.5:80/court1.ts?...'
    """
    url = _URL.fullmatch(name)
    if not url:
        return name
    return url[1] + _SECRET.sub(r"\1...", url[2]) + (url[3] and f"{url[3]}...")


def stream_title(name: str) -> str:
    """Give a name for files about a stream: ``rtsp://10.0.0.5/court1?x=1`` -> ``court1``."""
    if name == "-":
        return "stdin"
    plain = re.split(r"[?#]", without_secrets(name))[0]
    plain = re.sub(rf"[&_]?{_NAMED}\.\.\.", "", plain, flags=re.IGNORECASE).rstrip("/")
    if host := re.fullmatch(r"\w+://([^/@:]+)(?::\d+)?", plain):
        return re.sub(r"[^\w.-]+", "_", host[1])
    last = re.split(r"[/:]", plain)[-1]
    return re.sub(r"[^\w.-]+", "_", Path(last.lstrip("&_")).stem) or "stream"
