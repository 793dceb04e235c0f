"""YAML that `tracknet fit +model=depthwise` finds."""
