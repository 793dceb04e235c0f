"""Small plots as inline SVG."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape

WIDTH = 900
COLOURS = {
    "data_wait": "#c0392b",
    "transfer": "#e08e45",
    "augmentation": "#e6c34a",
    "targets": "#b5a642",
    "forward": "#2563a8",
    "backward": "#5a9bd8",
    "optimizer": "#7e57a8",
    "callbacks": "#6b8e62",
    "loop": "#9aa5b1",
}
"""Phase -> its colour."""


def bars(values: Sequence[tuple[str, float, str]]) -> str:
    """Draw horizontal bars from a common zero.

    Args:
        values: Name, length and the text behind the bar.

    Returns:
        SVG.
    """
    left, right, row = 200, 150, 28
    most = max(value for _, value, _ in values) or 1.0
    marks = []
    for place, (name, value, told) in enumerate(values):
        top = place * row
        width = (WIDTH - left - right) * value / most
        marks.append(
            f'<text x="{left - 10}" y="{top + 18}" text-anchor="end">{escape(name)}</text>'
            f'<rect x="{left}" y="{top + 4}" width="{width:.1f}" height="20" rx="2" fill="#2563a8"/>'
            f'<text x="{left + width + 8:.1f}" y="{top + 18}">{escape(told)}</text>'
        )
    return _svg(row * len(values), marks)


def stacked(parts: Sequence[tuple[str, float, str]]) -> str:
    """Draw one bar of several parts; a part says what it is when pointed at.

    Args:
        parts: Name, length and colour.

    Returns:
        SVG.
    """
    total = sum(value for _, value, _ in parts) or 1.0
    marks = []
    at = 0.0
    for name, value, colour in parts:
        width = WIDTH * value / total
        told = f"{name}: {value / total:.1%}"
        marks.append(
            f'<rect x="{at:.1f}" y="0" width="{width:.1f}" height="34" fill="{colour}">'
            f"<title>{escape(told)}</title></rect>"
        )
        at += width
    return _svg(36, marks)


def line(points: Sequence[tuple[float, float]], told: Callable[[float], str], unit: str) -> str:
    """Draw a line over a zero.

    Args:
        points: Places and values, in order.
        told: Writes a value.
        unit: What the places are.

    Returns:
        SVG.
    """
    left, top, height, width = 90, 10, 120, WIDTH - 110
    first, last = points[0][0], points[-1][0]
    most = max(value for _, value in points) or 1.0
    least = min(0.0, *(value for _, value in points)) if len(points) > 1 else 0.0
    spread = (last - first) or 1.0

    def x(place: float) -> float:
        return left + width * (place - first) / spread

    def y(value: float) -> float:
        return top + height * (1 - (value - least) / (most - least))

    path = " ".join(f"{x(place):.1f},{y(value):.1f}" for place, value in points)
    marks = [
        f'<line x1="{left}" x2="{left + width}" y1="{y(value):.1f}" y2="{y(value):.1f}" stroke="#dfe3e8"/>'
        f'<text x="{left - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{escape(told(value))}</text>'
        for value in (0.0, most)
    ]
    marks.append(f'<polyline points="{path}" fill="none" stroke="#2563a8" stroke-width="1.6"/>')
    if len(points) == 1:
        marks.append(f'<circle cx="{x(first):.1f}" cy="{y(points[0][1]):.1f}" r="3" fill="#2563a8"/>')
    marks += [
        f'<text x="{left}" y="{top + height + 20}">{unit} {first:.3g}</text>',
        f'<text x="{left + width}" y="{top + height + 20}" text-anchor="end">{last:.3g}</text>',
    ]
    return _svg(top + height + 28, marks)


def _svg(height: float, marks: Sequence[str]) -> str:
    # Without a namespace address: inside HTML it is not needed.
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img">{"".join(marks)}</svg>'
