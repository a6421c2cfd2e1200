"""Which outputs of the original may differ from run to run, and what may be done about it."""
