"""ETL jobs made by code from a seed: such as have a cheaper rewrite, and traps."""
