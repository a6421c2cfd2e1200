"""Grades rewrites of ETL jobs: the contract on the data, the increment, nondeterminism, the bench."""
