"""The `tracknet` command: one module a command; the entry point imports nothing heavy."""
