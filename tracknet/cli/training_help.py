"""What ``--help`` of the training commands says."""

from __future__ import annotations

from lightning.pytorch.cli import LightningArgumentParser

from tracknet.cli.main import COMMANDS
from tracknet.cli.trusting import TRUST_FLAG, TRUST_HELP

_GOES_ON = (
    "Checkpoint to go on from: a file, the folder of a run or of checkpoints (the newest in it), or last: "
    "the newest of the runs."
)
_TAKEN = "Checkpoint to take: a file such as RUN/checkpoints/best.ckpt, a folder, last or best."
_TITLES = {
    "Lightning's trainer": "Trainer",
    "<class 'lightning.pytorch.core.module": "Model",
    "A DataModule": "Data",
    "Base class for all optimizers": "Optimizer",
    "(<class 'torch.optim.lr_scheduler": "Schedule of the learning rate",
}
"""How groups of options are called in the help, by what Lightning's titles begin with."""


def explain_options(parser: LightningArgumentParser, subcommand: str) -> None:
    """Say in the help what is so here, where Lightning speaks of its classes and of calls in Python.

    Args:
        parser: The parser of the command.
        subcommand: The command, such as ``fit``.
    """
    parser.description = COMMANDS[subcommand][1]
    for group in parser._action_groups:
        begun = str(group.title)
        group.title = next((title for begin, title in _TITLES.items() if begun.startswith(begin)), begun)
    parser._action_groups[-1].title = "Checkpoint"
    for action in parser._actions:
        if action.dest == "ckpt_path":
            action.help = _GOES_ON if subcommand == "fit" else _TAKEN
    parser.epilog = (
        "Also: +GROUP=NAME takes a file of a group, such as +model=wasb, --env NAME an environment; "
        "`tracknet config list` names them, `tracknet config explain` says where each value comes from. "
        "--trusted-only takes no class but those of torch, lightning, torchmetrics, tracknet and plugins."
        f" {TRUST_FLAG}: {TRUST_HELP}"
    )
