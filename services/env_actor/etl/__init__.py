"""The ETL environment: one job, an agent that rewrites it, and a bench that runs, verifies and grades."""
