"""Single faults in configurations: what a person gets wrong, made at random with a seed."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml


@dataclass(frozen=True)
class Mutation:
    """A configuration with one fault.

    Attributes:
        kind: Kind of the fault.
        text: The YAML.
        line: Line that a message should name; None where several would do.
        mend: What a correct message names: the right name, or what is allowed.
        what: What was done.
    """

    kind: str
    text: str
    line: int | None
    mend: tuple[str, ...]
    what: str


Path = tuple[Any, ...]
KINDS = (
    "typo in a key",
    "typo in a class",
    "wrong type",
    "out of range",
    "missing",
    "misplaced",
    "wrong class",
    "syntax",
)
RANGES = {
    "batch_size": (0, "above 0"),
    "holdout": (1.5, "from 0 to 1"),
    "on_ball": (-0.2, "from 0 to 1"),
    "radius": (-1.0, "above 0"),
    "frames": (0, "above 0"),
    "warmup": (2.0, "from 0 to 1"),
    "threshold": (3.0, "from 0 to 1"),
    "mixup": (-1.0, "from 0"),
    "num_workers": (-1, "from 0"),
    "background": ("blend", "concat"),
    "preset": ("tracknetv9", "wasb"),
    "reduction": ("bal", "ball"),
    "input_size": ([0, 512], "above 0"),
    "size": ([-16, 256], "above 0"),
    "precision": ("33-true", "32-true"),
}
WRONG_CLASS = {
    "loss": "PeakDecoder",
    "decoder": "WBCELoss",
    "network": "DiscTarget",
    "target": "AdamW",
    "optimizer": "WarmupCosine",
    "lr_scheduler": "AdamW",
    "logger": "Report",
    "data": "HeatmapTracker",
}


def mutations(config: dict[str, Any], count: int, seed: int) -> Iterator[Mutation]:
    """Make faults in turn of every kind."""
    draw = random.Random(seed)
    made = 0
    while made < count:
        kind = KINDS[made % len(KINDS)]
        mutation = MAKERS[kind](copy.deepcopy(config), draw)
        if mutation is None:
            continue
        made += 1
        yield mutation


def _walk(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in items:
        yield (*path, key), one
        yield from _walk(one, (*path, key))


def _at(config: Any, path: Path) -> Any:
    for key in path:
        config = config[key]
    return config


def _line(text: str, path: Path) -> int:
    node = yaml.compose(text)
    line = 1
    for key in path:
        if isinstance(node, yaml.SequenceNode):
            node = node.value[key]
            line = node.start_mark.line + 1
        else:
            name, node = next(pair for pair in node.value if pair[0].value == str(key))
            line = name.start_mark.line + 1
    return line


def _done(kind: str, config: dict[str, Any], path: Path | None, mend: tuple[str, ...], what: str) -> Mutation:
    text = yaml.safe_dump(config, sort_keys=False)
    return Mutation(kind, text, None if path is None else _line(text, path), mend, what)


def _typo(word: str, draw: random.Random) -> str:
    place = draw.randrange(1, len(word) - 1)
    how = draw.randrange(4)
    if how == 0:
        return word[:place] + word[place + 1 :]
    if how == 1:
        return word[:place] + word[place + 1] + word[place] + word[place + 2 :]
    if how == 2:
        return word[:place] + word[place] + word[place:]
    return word[:place] + draw.choice("abcdefghijklmnopqrstuvwxyz") + word[place + 1 :]


def _rename(mapping: dict[Any, Any], old: str, new: str) -> None:
    items = [(new if key == old else key, value) for key, value in mapping.items()]
    mapping.clear()
    mapping.update(items)


def _key_typo(config: dict[str, Any], draw: random.Random) -> Mutation | None:
    path = draw.choice([p for p, _ in _walk(config) if isinstance(p[-1], str) and len(p[-1]) > 2])
    typo = _typo(path[-1], draw)
    parent = _at(config, path[:-1])
    if typo in parent or typo == path[-1]:
        return None
    _rename(parent, path[-1], typo)
    return _done(
        "typo in a key", config, (*path[:-1], typo), (path[-1],), f"{'.'.join(map(str, path))} -> {typo}"
    )


def _class_typo(config: dict[str, Any], draw: random.Random) -> Mutation | None:
    path, name = draw.choice([(p, v) for p, v in _walk(config) if p[-1] == "class_path"])
    typo = _typo(name, draw)
    if typo == name:
        return None
    _at(config, path[:-1])["class_path"] = typo
    return _done("typo in a class", config, path, (name,), f"{name} -> {typo}")


def _wrong_type(config: dict[str, Any], draw: random.Random) -> Mutation | None:
    numbers = [
        (p, v)
        for p, v in _walk(config)
        if isinstance(v, (int, float)) and not isinstance(p[-1], int) and p != ("trainer", "devices")
    ]
    path, value = draw.choice(numbers)
    wrong: Any = draw.choice(["plenty", [1, 2, 3], {"a": 1}])
    _at(config, path[:-1])[path[-1]] = wrong
    mend = ("true or false",) if isinstance(value, bool) else ("number", "true or false")
    return _done("wrong type", config, path, mend, f"{'.'.join(map(str, path))}: {wrong}")


def _out_of_range(config: dict[str, Any], draw: random.Random) -> Mutation | None:
    places = [p for p, _ in _walk(config) if p[-1] in RANGES]
    path = draw.choice(places)
    value, mend = RANGES[path[-1]]
    _at(config, path[:-1])[path[-1]] = value
    return _done("out of range", config, path, (mend,), f"{'.'.join(map(str, path))}: {value}")


def _missing(config: dict[str, Any], draw: random.Random) -> Mutation | None:
    which = draw.choice(["model", "data", "network", "root", "scheduler", "class"])
    if which in ("model", "data"):
        del config[which]
        return _done("missing", config, None, (which,), f"no {which}")
    if which == "network" and config["model"]["class_path"] != "HeatmapTracker":
        return None  # another module has a default
    if which in ("network", "root"):
        group = "model" if which == "network" else "data"
        del config[group]["init_args"][which]
        return _done("missing", config, (group,), (which,), f"no {group}.{which}")
    if which == "scheduler":
        name, needs = draw.choice(
            [("StepLR", "step_size"), ("MultiStepLR", "milestones"), ("ExponentialLR", "gamma")]
        )
        config["lr_scheduler"] = {"class_path": name}
        return _done("missing", config, ("lr_scheduler",), (needs,), f"{name} without {needs}")
    places = [
        p[:-1] for p, _ in _walk(config) if p[-1] == "class_path" and "init_args" in _at(config, p[:-1])
    ]
    path = draw.choice([p for p in places if p[-1] not in ("metrics", "crop")])
    del _at(config, path)["class_path"]
    return _done("missing", config, path, ("class_path",), f"no class_path at {'.'.join(map(str, path))}")


def _misplaced(config: dict[str, Any], draw: random.Random) -> Mutation | None:
    moves = [
        (("trainer", "max_epochs"), ()),
        (("trainer", "max_epochs"), ("model", "init_args")),
        (("trainer", "precision"), ("model", "init_args")),
        (("optimizer", "init_args", "lr"), ("trainer",)),
        (("optimizer", "init_args", "lr"), ("lr_scheduler", "init_args")),
        (("data", "init_args", "root"), ("data",)),
        (("data", "init_args", "batch_size"), ("trainer",)),
        (("data", "init_args", "batch_size"), ("model", "init_args")),
        (("data", "init_args", "batch_size"), ()),
        (("optimizer", "init_args", "weight_decay"), ("optimizer",)),
        (("model", "init_args", "input_size"), ("data", "init_args")),
        (("model", "init_args", "loss"), ()),
        (("model", "init_args", "network", "init_args", "frames"), ("model", "init_args")),
        (("trainer", "callbacks"), ()),
        (("trainer", "logger"), ()),
        (("seed_everything",), ("trainer",)),
    ]
    source, target = draw.choice(moves)
    try:
        value = _at(config, source)
        holder = _at(config, target)
    except KeyError:
        return None
    if not isinstance(holder, dict):
        return None
    if target != ("data",) or source[-1] != "root":
        del _at(config, source[:-1])[source[-1]]
    holder[source[-1]] = value
    what = f"{'.'.join(source)} below {'.'.join(target) or 'nothing'}"
    return _done("misplaced", config, (*target, source[-1]), ("did you mean", "write it below"), what)


def _wrong_class(config: dict[str, Any], draw: random.Random) -> Mutation | None:
    places = [
        p for p, v in _walk(config) if p[-1] in WRONG_CLASS and (isinstance(v, str) or "class_path" in v)
    ]
    path = draw.choice(places)
    parent = _at(config, path[:-1])
    wrong = WRONG_CLASS[path[-1]]
    if isinstance(parent[path[-1]], dict):
        parent[path[-1]]["class_path"] = wrong
        at: Path = (*path, "class_path")
    else:
        parent[path[-1]] = wrong
        at = path
    return _done(
        "wrong class",
        config,
        at,
        (f"{wrong!r} is not", "expected one of"),
        f"{'.'.join(map(str, path))}: {wrong}",
    )


def _syntax(config: dict[str, Any], draw: random.Random) -> Mutation | None:
    lines = yaml.safe_dump(config, sort_keys=False).splitlines()
    places = [n for n, line in enumerate(lines) if ": " in line]
    place = draw.choice(places)
    line = lines[place]
    how = draw.randrange(5)
    if how == 0:
        lines[place] = "\t" + line
    elif how == 1:
        lines[place] = line.replace(": ", ': "', 1)
        return _text(lines, None, "an open quote", line)
    elif how == 2:
        lines[place] = line.replace(": ", ": [", 1)
        return _text(lines, None, "an open list", line)
    elif how == 3:
        lines.insert(place + 1, line)
        return _text(lines, place + 2, "a repeated key", line) if not line.strip().startswith("-") else None
    else:
        lines[place] = line.replace(": ", ": : ", 1)
    return _text(lines, None, "a tab" if how == 0 else "two colons", line)


def _text(lines: list[str], line: int | None, what: str, where: str) -> Mutation | None:
    text = "\n".join(lines) + "\n"
    mend = (
        ("already",) if what == "a repeated key" else ("not valid YAML", "already", "expected", "no option")
    )
    return Mutation("syntax", text, line, mend, f"{what} at {where.strip()!r}")


MAKERS = dict(
    zip(
        KINDS,
        (_key_typo, _class_typo, _wrong_type, _out_of_range, _missing, _misplaced, _wrong_class, _syntax),
        strict=True,
    )
)
