"""Where YAML comes from: packaged configs, search and composition."""

from tracknet.configs.library import find_config, library, packaged_configs

__all__ = ["find_config", "library", "packaged_configs"]
