"""Changed configurations."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from tracknet.configs import compose, packaged_configs
from tracknet.configs.composition import write_yaml

from .mutate import mutate

_TOKENS = [
    *(b"null true false ~ 0 -1 .inf .nan 1e999 [ ] { } [] {} : - ? | > @ ` % # && *a &a <<: --- ...".split()),
    *(b"${trainer.max_epochs} ${oc.env:HOME} ${ class_path init_args extends model data trainer".split()),
    *(b"!!python/object/apply:os.getcwd !!binary !!set !x 0o17 0x1f 1_000 12:30:45 2026-11-25".split()),
    *(b"HeatmapTracker CompactTrackNet FlatVideoDataModule AdamW WBCELoss tracknet.models os.path".split()),
    b"a: &a [*a]\n",
    b"x: &x {y: *x}\n",
    b"\n  ",
    b"\nextends: [base.yaml]\n",
    b"\xef\xbb\xbf",
    b"\xe2\x80\xa8",
    "é".encode("latin-1"),
]


def config_files(folder: Path) -> Callable[[random.Random], tuple[str, bytes]]:
    """Give what makes changed configurations, of the packaged experiments and of the pieces of them."""
    names = [name for name in packaged_configs() if name.startswith("configs/experiment/")]
    whole = [write_yaml(compose([f"--config={name}"], "fit").values).encode() for name in names]
    pieces = [
        b"extends: configs/base.yaml\ntrainer:\n  max_epochs: 3\n",
        b"model:\n  class_path: HeatmapTracker\n  init_args:\n    network: CompactTrackNet\n    mixup: 0.5\n",
        b"trainer:\n  max_epochs: &n 3\n  limit_val_batches: *n\n  log_every_n_steps: 0x10\n",
        b"trainer:\n  callbacks+:\n  - class_path: ModelCheckpoint\n    init_args: {monitor: val/f1}\n",
        b"data:\n  init_args:\n    root: ${oc.env:HOME}/rallies\n    batch_size: ${trainer.max_epochs}\n",
    ]

    def make(draw: random.Random) -> tuple[str, bytes]:
        content = draw.choice(pieces) if draw.random() < 0.5 else draw.choice(whole)
        return "config.yaml", mutate(content, draw, _TOKENS, [*whole, *pieces])

    return make


def read_configs(folder: Path) -> Callable[[Path], str]:
    """Give what checks a configuration as ``tracknet config check`` does."""
    from tracknet.cli.parsing import Parsing

    parsing = Parsing("fit")

    def read(path: Path) -> str:
        faults = parsing.faults([str(path)], [])
        assert all(isinstance(fault, str) and fault for fault in faults)
        return "refused" if faults else "read"

    return read
