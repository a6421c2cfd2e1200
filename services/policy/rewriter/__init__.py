"""A rewriter of ETL jobs by rules: edits with stated preconditions, and policies that search among them."""
