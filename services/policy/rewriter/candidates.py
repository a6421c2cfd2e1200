"""The edits that the rules offer: each one rule at one place, in a fixed order; the structured action list."""

from collections.abc import Iterator, Sequence
from itertools import islice

from sqlglot import exp
from sqlglot.errors import OptimizeError
from sqlglot.optimizer.scope import Scope, traverse_scope

from services.contracts.etl import Contract
from services.contracts.record import Record
from services.policy.rewriter.facts import Facts, Schema
from services.policy.rewriter.rules import RULES
from services.policy.rewriter.sites import Place, Rule, Site
from services.policy.rewriter.statement import Statement, read_statements

EVERYWHERE = "everywhere"
_MOST_SITES = 40


class Edit(Record):
    """One change: the rule, the place (statement.select.site, or statement.everywhere) and the statements it gives."""

    rule: str
    place: str
    statements: tuple[str, ...]


def candidates(statements: Sequence[str], contract: Contract, schema: Schema) -> tuple[Edit, ...]:
    """Every edit that a rule licenses; a rule that fits several places also comes once for all of them."""
    facts = Facts(schema, contract)
    read = read_statements(statements, schema)
    found = []
    for name, rule in RULES.items():
        for number, statement in enumerate(read):
            texts = [other.text for other in read]
            for place, query in _edits(statement, rule, facts):
                texts[number] = statement.with_query(query).text
                found.append(Edit(rule=name, place=f"{number}.{place}", statements=tuple(texts)))
    return tuple(found)


def _edits(statement: Statement, rule: Rule, facts: Facts) -> Iterator[tuple[str, exp.Query]]:
    query = statement.query
    if query is None:
        return
    sites = sum(1 for _ in _sites(query, rule, facts))
    if sites > 1:
        yield EVERYWHERE, _everywhere(query, rule, facts)
    for number in range(min(sites, _MOST_SITES)):
        changed = _changed(query, rule, facts, number)
        if changed is not None:
            yield changed


def _everywhere(query: exp.Query, rule: Rule, facts: Facts) -> exp.Query:
    for _ in range(_MOST_SITES):
        changed = _changed(query, rule, facts, 0)
        if changed is None:
            break
        query = changed[1]
    return query


def _changed(query: exp.Query, rule: Rule, facts: Facts, number: int) -> tuple[str, exp.Query] | None:
    """A copy of the query, changed at the rule's site of that number; None if there are fewer."""
    root = exp.Subquery(this=query.copy())
    site = next(islice(_sites(root.this, rule, facts), number, None), None)
    if site is None:
        return None
    site[1]()
    return site[0], root.this


def _sites(query: exp.Query, rule: Rule, facts: Facts) -> Iterator[Site]:
    """Where the rule fits, each with the number of its select."""
    root = query.parent or query
    for number, scope in enumerate(_scopes(query)):
        for label, change in rule(Place(scope, facts, root)):
            yield f"{number}.{label}", change


def _scopes(query: exp.Expr) -> list[Scope]:
    try:
        return list(traverse_scope(query))
    except OptimizeError:
        return []
