"""The command line, configuration, wiring and the rollout driver."""
