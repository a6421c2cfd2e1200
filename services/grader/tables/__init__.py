"""Whether two tables hold the same bag of rows, judged so that the author of one of them cannot cheat."""
