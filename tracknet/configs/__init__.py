"""Where YAML comes from: packaged configs, search and composition."""

from tracknet.configs.composition import Composed, Origin, compose
from tracknet.configs.library import find_config, find_piece, library, packaged_configs

__all__ = ["Composed", "Origin", "compose", "find_config", "find_piece", "library", "packaged_configs"]
