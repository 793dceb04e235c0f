"""The YAML files that come with the package, and how a name finds one."""

from __future__ import annotations

import os
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from tracknet.configs.plugins import plugin_libraries
from tracknet.configs.well_formed import well_formed
from tracknet.errors import UsageError, nearest


def library() -> Path:
    """Folder of the packaged YAML files: inside an installed package, or ``configs/`` of a checkout."""
    installed = Path(__file__).parent / "yaml"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "configs"


def libraries() -> tuple[Path, ...]:
    """Folders of YAML files: that of ours, and the folders ``configs`` in the packages of plugins."""
    return (library(), *plugin_libraries())


def packaged_configs() -> list[str]:
    """Names of all packaged YAML files, those of plugins included, such as ``configs/env/cluster.yaml``."""
    inside = (path.relative_to(root).as_posix() for root in libraries() for path in root.rglob("*.yaml"))
    return sorted({f"configs/{name}" for name in inside})


def packaged_file(name: str) -> Path | None:
    """Find a packaged YAML file; ours comes before one of the same name in a plugin.

    Args:
        name: Its name in the folder, such as ``env/cluster.yaml``; a leading ``configs/`` is passed over.

    Returns:
        Its path; None when there is none.
    """
    inside = Path(name)
    inside = inside.relative_to("configs") if inside.parts[:1] == ("configs",) else inside
    found = (root / inside for root in libraries() if not inside.is_absolute())
    return next((path for path in found if is_file(path)), None)


def find_config(name: str, asked: str = "--config") -> Path:
    """Find the YAML file that a person names.

    A file of the person's own comes first; otherwise the packaged file of that name, with or without the
    leading ``configs/``.

    Args:
        name: Path as written, for example ``configs/base.yaml``.
        asked: Where it was named, for the message.

    Returns:
        The path of an existing file.

    Raises:
        UsageError: There is no such file here or in the package, or it is not a YAML mapping, or one of its
            keys is there twice, of which YAML would take the last without a word.
    """
    own = _at_home(name)
    if is_file(own):
        return well_formed(own)
    if packaged := packaged_file(str(own)):
        return packaged
    if os.path.exists(own) and not os.path.isdir(own):  # unlike those of Path, they take any name
        raise UsageError(f"{asked}: {name} is no regular file; write what comes out of it to a file in .yaml")
    # Without the ending and the folders, which nearly all names share.
    known = {Path(one).stem: one for one in reversed(packaged_configs())}
    like = get_close_matches(own.stem, known, n=1)
    mend = f"; did you mean {known[like[0]]!r}?" if like else " (`tracknet config list` shows those)"
    raise UsageError(f"{asked}: no file {name!r} here or among the packaged ones{mend}")


def find_piece(group: str, name: str, asked: str) -> Path:
    """Find the YAML file that ``+group=name`` means.

    ``configs/GROUP/NAME.yaml`` and ``GROUP/NAME.yaml`` of the current folder come first, then the packaged
    one, then that of a plugin. A name that ends with ``.yaml`` is a path.

    Args:
        group: Folder, such as ``model``.
        name: File in it, with or without ``.yaml``.
        asked: The words that name it, for the message.

    Returns:
        The path of an existing file.

    Raises:
        UsageError: There is no such file here or in the package, or it is not a YAML mapping.
    """
    if name.endswith((".yaml", ".yml")) and is_file(_at_home(name)):
        return find_config(name)
    stem = name.removesuffix(".yaml")
    for folder in (Path("configs"), Path(), *libraries()):
        path = folder / group / f"{stem}.yaml"
        if is_file(path):
            return well_formed(path)
    groups = by_group([*packaged_configs(), *(path.as_posix() for path in Path("configs").glob("*/*.yaml"))])
    if group not in groups:
        known = f"{nearest(group, groups)} (those are {', '.join(groups)})"
        raise UsageError(f"{asked}: no group {group!r}{known}")
    names = groups[group]
    raise UsageError(f"{asked}: no {group} {name!r}{nearest(name, names)} (those are {', '.join(names)})")


def by_group(files: Iterable[str]) -> dict[str, list[str]]:
    """Give the names of the pieces in each group, both sorted.

    Args:
        files: Configurations; those that are not ``configs/GROUP/NAME.yaml`` are passed over.

    Example:
        >>> by_group(["configs/base.yaml", "configs/model/wasb.yaml", "configs/model/compact.yaml"])
        {'model': ['compact', 'wasb']}
    """
    groups: dict[str, set[str]] = {}
    for path in map(Path, files):
        if len(path.parts) == 3:
            groups.setdefault(path.parts[1], set()).add(path.stem)
    return {group: sorted(groups[group]) for group in sorted(groups)}


def is_file(path: Path) -> bool:
    """Tell whether there is such a file; a name that no file can have is that of none."""
    return os.path.isfile(path)


def _at_home(name: str) -> Path:
    try:
        return Path(name).expanduser()
    except RuntimeError:  # there is no such user
        return Path(name)
