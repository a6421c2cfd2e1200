"""Whether the engine would do the same for both sides, so that there is nothing to time."""

from itertools import zip_longest

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.normalize_identifiers import normalize_identifiers

from services.grader.runtime.job import Comparison
from services.grader.runtime.run import Run


def equal_plans(comparison: Comparison, original: Run, rewrite: Run) -> bool:
    """Whether each statement's optimised plan, expressions included, is that of its counterpart.

    Where the engine cannot write a plan down, the syntax trees decide. What looks different is timed.
    """
    texts = zip_longest(comparison.original.statements, comparison.rewrite)
    plans = zip_longest((work.plan for work in original.work), (work.plan for work in rewrite.work))
    return all(
        (mine == theirs if mine and theirs else _same_tree(*sides))
        for (mine, theirs), sides in zip_longest(plans, texts, fillvalue=(None, None))
    )


def _same_tree(left: str | None, right: str | None) -> bool:
    if left is None or right is None:
        return False
    return left == right or (_tree(left) is not None and _tree(left) == _tree(right))


def _tree(sql: str) -> list[exp.Expr] | None:
    """The syntax trees without comments and case of names; None if they cannot be read."""
    try:
        parsed = sqlglot.parse(sql, read="duckdb")
    except SqlglotError:
        return None
    return [normalize_identifiers(tree, dialect="duckdb") for tree in parsed if tree is not None]
