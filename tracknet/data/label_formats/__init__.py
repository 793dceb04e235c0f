"""Label files that are no tables: JSON of OpenTTGames, XML of CVAT, lines of points."""

from tracknet.data.label_formats.ball_markup import read_ball_markup, write_ball_markup
from tracknet.data.label_formats.cvat import read_cvat, write_cvat
from tracknet.data.label_formats.point_lines import read_point_lines, write_point_lines

__all__ = [
    "read_ball_markup",
    "read_cvat",
    "read_point_lines",
    "write_ball_markup",
    "write_cvat",
    "write_point_lines",
]
