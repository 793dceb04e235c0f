"""A training command up to its configuration: nothing is built or run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import yaml
from jsonargparse import Namespace
from lightning.pytorch.cli import ArgsType, LightningArgumentParser
from typing_extensions import override

from tracknet.cli.explaining import HIDDEN
from tracknet.cli.train import TrackNetCLI
from tracknet.cli.usage import SettingError, located, refuse_nulls
from tracknet.cli.words import config_of_run, refuse_linked
from tracknet.configs import Composed, compose, find_config
from tracknet.configs.check import find_faults, told
from tracknet.configs.crossing import crossing_faults
from tracknet.configs.options import Options, options_of
from tracknet.configs.tree import read_tree
from tracknet.errors import UsageError
from tracknet.training.settings import CHECKS
from tracknet.trust import limited


class _ReadyError(Exception):
    """The parser is made."""

    def __init__(self, parser: LightningArgumentParser) -> None:
        super().__init__()
        self.parser = parser


class _Parser(TrackNetCLI):
    """Makes the parser of a command and stops there."""

    @override
    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> NoReturn:
        (made,) = self._subcommand_parsers.values()
        raise _ReadyError(made)


class Parsing:
    """Parses configurations of one training command.

    Args:
        command: The command, such as ``fit``.
    """

    def __init__(self, command: str) -> None:
        self.command = command
        try:
            _Parser([command])
        except _ReadyError as ready:
            self.parser = ready.parser
        self.options: Options = options_of(self.parser, HIDDEN)

    def parse(self, words: Sequence[str]) -> tuple[Composed, dict[str, Any]]:
        """Parse words.

        Args:
            words: Words as after the command.

        Returns:
            What files, environment and words set, and all values with the defaults of the classes.

        Raises:
            UsageError: Something is wrong; all of it is told.
        """
        composed, config = self.parse_to_build(words)
        values: dict[str, Any] = yaml.safe_load(
            self.parser.dump(config, skip_none=False, skip_validation=True)
        )
        values.pop("config", None)
        return composed, values

    def faults(self, files: Sequence[str], words: Sequence[str]) -> list[str]:
        """Say all that is wrong.

        Args:
            files: Files to put together; on top of ``base.yaml`` where they choose no model or no data.
            words: Words as after the command.

        Returns:
            A line for each fault, with file, line and column.
        """
        try:
            named = [f"--config={name}" for name in files]
            if files and not _is_whole(files):
                named = ["--config=configs/base.yaml", *named]
            composed = compose([*named, *words], self.command, start=config_of_run(words))
            with limited(composed.trusted_only):
                found = find_faults(self.options, composed.values)
                if found:
                    return [told(fault, composed.origins) for fault in found]
                _, config = self.parse_to_build([*named, *words])
                return self.crossing(composed, config)
        except UsageError as error:
            return [str(error)]

    def parse_to_build(self, words: Sequence[str]) -> tuple[Composed, Namespace]:
        """Parse words as the command does before it builds anything.

        Args:
            words: Words as after the command.

        Returns:
            What files, environment and words set, and the configuration of jsonargparse.

        Raises:
            UsageError: Something is wrong; all of it is told.
        """
        composed = compose(words, self.command, start=config_of_run(words))
        refuse_linked(composed)
        with limited(composed.trusted_only):
            try:
                parsed = self.parser.parse_args(composed.parser_words())
            except SettingError as error:
                raise located(error, self.options, composed) from error
            refuse_nulls(self.options, composed)
            return composed, parsed

    def crossing(self, composed: Composed, config: Namespace) -> list[str]:
        """Say which settings are right alone and wrong together, a line each."""
        return [told(fault, composed.origins) for fault in crossing_faults(config, CHECKS)]


def _is_whole(files: Sequence[str]) -> bool:
    """Say whether files choose a model and data, or name what they extend."""
    trees = [read_tree(find_config(name)) for name in files]
    chosen = {
        key
        for tree in trees
        for key in ("model", "data")
        if (node := tree.child(key)) is not None
        and (isinstance(node.value, str) or node.child("class_path") is not None)
    }
    return len(chosen) == 2 or any("extends" in tree.value for tree in trees)
