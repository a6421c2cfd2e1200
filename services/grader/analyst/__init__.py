"""Scores of the analyst's statements in [0, 1]: by their results, on hidden copies too, and by their syntax tree."""
