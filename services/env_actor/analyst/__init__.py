"""The analyst: statements against one messy database, scored by what they compute (sql-data-analyst-prd)."""
