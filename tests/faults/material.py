"""What the commands of the campaign work on: tiny rallies and a film of a dot."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import make_rally


def make_material(folder: Path) -> None:
    """Write ``rallies`` for training, more ``clips`` for the cache, and ``film.mp4`` for tracking."""
    rallies, clips, film = folder / "rallies", folder / "clips", folder / "film"
    for one in (rallies, clips, film):
        one.mkdir(parents=True)
    for number, name in enumerate("abcd"):
        make_rally(rallies, name, 12 + number, phase=number)
    for number in range(10):
        make_rally(clips, f"clip_{number}", 40 + number, phase=number)
    make_rally(film, "film", 60)
    (film / "film.mp4").rename(folder / "film.mp4")
