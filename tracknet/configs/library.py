"""The YAML files that come with the package, and how a name finds one."""

from __future__ import annotations

from pathlib import Path

import yaml

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
        UsageError: There is no such file here or in the package, or it is not YAML.
    """
    own = Path(name).expanduser()
    if own.is_file():
        return _well_formed(own)
    inside = own.relative_to("configs") if own.parts[:1] == ("configs",) else own
    packaged = library() / inside
    if not own.is_absolute() and packaged.is_file():
        return packaged
    known = packaged_configs()
    raise UsageError(
        f"--config: no file {name!r} here or among the packaged configs{nearest(name, known)} "
        f"(packaged: {', '.join(known)})"
    )


def _well_formed(path: Path) -> Path:
    try:
        yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise UsageError(f"{path}:{line}: not valid YAML: {error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid YAML: {error}") from error
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error
    return path
