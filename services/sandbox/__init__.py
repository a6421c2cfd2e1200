"""Where the agent's SQL runs: a locked-down DuckDB in a child process. The one place that opens DuckDB for an agent."""
