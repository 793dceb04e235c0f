"""The Lightning module with its losses, targets, loggers, checkpoints and callbacks."""
