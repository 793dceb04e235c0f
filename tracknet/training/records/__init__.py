"""Records of runs: written beside a training; read, compared and tidied without torch."""
