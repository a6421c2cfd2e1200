"""The structured action tier (sqlenv-v1-spec §6.3): typed relational operations that build a query step by step.

Invariant: all of it is made from what an agent may see; the same state and operation give the same SQL.
"""
