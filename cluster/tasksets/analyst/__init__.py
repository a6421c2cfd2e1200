"""The analyst's built-in task set: messy databases and three kinds of tasks over each, made by code from a seed."""
