"""Where YAML comes from: packaged configs, search and composition."""
