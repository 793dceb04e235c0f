"""The YAML files that come with the package, and how a name finds one."""

from __future__ import annotations

from pathlib import Path

from tracknet.errors import UsageError, nearest


def library() -> Path:
    """Folder of the packaged YAML files: inside an installed package, or ``configs/`` of a checkout."""
    installed = Path(__file__).parent / "yaml"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "configs"


def packaged_configs() -> list[str]:
    """Names of all packaged YAML files, such as ``configs/env/cluster.yaml``."""
    root = library()
    return sorted(f"configs/{path.relative_to(root).as_posix()}" for path in root.rglob("*.yaml"))


def find_config(name: str) -> Path:
    """Find the YAML file that a person names.

    A file of the person's own comes first; otherwise the packaged file of that name, with or without the
    leading ``configs/``.

    Args:
        name: Path as written, for example ``configs/base.yaml``.

    Returns:
        The path of an existing file.

    Raises:
        UsageError: There is no such file here or in the package.
    """
    own = Path(name).expanduser()
    if own.is_file():
        return own
    inside = own.relative_to("configs") if own.parts[:1] == ("configs",) else own
    packaged = library() / inside
    if not own.is_absolute() and packaged.is_file():
        return packaged
    known = packaged_configs()
    raise UsageError(
        f"--config: no file {name!r} here or among the packaged configs{nearest(name, known)} "
        f"(packaged: {', '.join(known)})"
    )
