"""Why a mutant is no near miss at all: proofs from keys and constraints. Without one, a survivor is unresolved."""

from sqlglot import exp

from services.grader.variants.hints import parse
from services.grader.variants.mutants import Mutant
from services.grader.variants.relations import Tables
from services.grader.variants.rules import Rules


def proof(mutant: Mutant, tree: exp.Expr, rules: Rules, base: Tables) -> str | None:
    """The proof that a mutant gives what the gold gives on every database that keeps the rules; None without one."""
    other = parse(mutant.sql) if mutant.sql else None
    if other is None:
        return None
    return None
