"""Variants of a database: other rows under the same rules, on which a right query is still right."""
