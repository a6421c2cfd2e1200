"""The commands of `assay` that have a module of their own; cluster.cli registers them."""

STOPPED = 130
"""Exit code of a command that was ended with Ctrl-C."""
