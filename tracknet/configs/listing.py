"""The packaged configurations, with a line each."""

from __future__ import annotations

from tracknet.configs.library import by_group, packaged_configs, packaged_file
from tracknet.errors import UsageError, nearest


def listing(group: str = "") -> str:
    """List the packaged configurations, each with its first comment.

    Args:
        group: Only those of one group, such as ``model``; empty for all.

    Returns:
        A line for each.

    Raises:
        UsageError: There is no such group.
    """
    names = packaged_configs()
    groups = by_group(names)
    if group and group not in groups:
        raise UsageError(f"list: no group {group!r}{nearest(group, groups)} (those are {', '.join(groups)})")
    names = [name for name in names if not group or name.startswith(f"configs/{group}/")]
    width = max(map(len, names))
    lines: list[str] = []
    for name in names:
        path = packaged_file(name)
        if path is not None:
            with path.open(encoding="utf-8") as file:
                lines.append(f"{name:<{width}}  {file.readline().lstrip('# ').strip()}")
    return "\n".join(lines)
