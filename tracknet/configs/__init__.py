"""Where YAML comes from: packaged configs, search and composition."""

from tracknet.configs.composition import COMMAND_LINE, Composed, Origin, compose
from tracknet.configs.layers import CONFIG_FLAGS, Start
from tracknet.configs.library import find_config, find_piece, library, packaged_configs

__all__ = [
    "COMMAND_LINE",
    "CONFIG_FLAGS",
    "Composed",
    "Origin",
    "Start",
    "compose",
    "find_config",
    "find_piece",
    "library",
    "packaged_configs",
]
