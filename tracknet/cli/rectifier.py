"""What ``--rectifier`` names: a curve, or a checkpoint."""

from __future__ import annotations

from pathlib import Path

from tracknet.errors import UsageError, nearest
from tracknet.tracking.rectification import AccelerationFill, CubicFill, GapFill, LearnedFill, LinearFill
from tracknet.training.checkpoint_contents import read_file, recognise
from tracknet.training.public_checkpoints import build_rectifier
from tracknet.training.rectifier import CURVES, load_rectifier


def choose_fill(name: str) -> GapFill:
    """Choose a way to fill gaps.

    Args:
        name: ``linear``, ``acceleration``, ``cubic``, or a checkpoint file: of a `TrajectoryRectifier`, or
            TrackNetV3's InpaintNet as published.

    Returns:
        The way.

    Raises:
        UsageError: There is no such curve or file.
        TrackNetError: The file is not a checkpoint of a rectifier.
    """
    if name == "linear":
        return LinearFill()
    if name == "acceleration":
        return AccelerationFill()
    if name == "cubic":
        return CubicFill()
    path = Path(name)
    if not path.exists():
        near = [str(one) for one in path.parent.glob("*.ckpt")] if path.parent.is_dir() else []
        raise UsageError(
            f"--rectifier: no file {name!r}{nearest(name, [*CURVES, *near])}; "
            f"expected {', '.join(CURVES)} or a checkpoint of a rectifier"
        )
    found = recognise(read_file(path))
    if found is not None and found.family == "InpaintNet":
        return LearnedFill(build_rectifier(found).network)
    return LearnedFill(load_rectifier(path))
