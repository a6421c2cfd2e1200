"""A filter on an untied ROW_NUMBER: what partition and order fix is settled, what the rows carry is not (class B)."""

from collections.abc import Container, Iterable
from dataclasses import replace

from sqlglot import exp

from services.grader.etl.nondeterminism.facts import Finding, Relation
from services.grader.etl.nondeterminism.frames import Frame


def narrow(frame: Frame, filters: Iterable[exp.Expr], among: Container[str] | None = None) -> list[exp.Expr]:
    """Apply the filters that only pick by number to the frame's sources, or to some of them; the rest is returned."""
    rest: list[exp.Expr] = []
    for condition in filters:
        picked = _picked(condition, frame)
        if picked is None or (among is not None and picked[0] not in among):
            rest.append(condition)
            continue
        alias, column = picked
        frame.sources[alias] = picked_rows(frame.sources[alias], column, first_only(condition))
    return rest


def first_only(condition: exp.Expr) -> bool:
    """Whether a condition leaves one number only: = 1, <= 1 or < 2."""
    number = condition.expression.name if isinstance(condition, exp.EQ | exp.LTE | exp.LT) else ""
    return (type(condition), number) in ((exp.EQ, "1"), (exp.LTE, "1"), (exp.LT, "2"))


def _picked(condition: exp.Expr, frame: Frame) -> tuple[str, str] | None:
    """The numbering that a condition compares with a constant, if that is all it does."""
    if not isinstance(condition, exp.EQ | exp.NEQ | exp.GT | exp.GTE | exp.LT | exp.LTE):
        return None
    mine, other = condition.this, condition.expression
    if not isinstance(mine, exp.Column) or not isinstance(other, exp.Literal) or mine.table not in frame.sources:
        return None
    facts = frame.sources[mine.table].columns.get(mine.name.lower())
    if facts is None or facts.pick is None or facts.findings - {facts.pick.finding}:
        return None
    return mine.table, mine.name.lower()


def picked_rows(relation: Relation, column: str, first: bool) -> Relation:
    """The rows that a numbering's filter leaves: `first` if it leaves the number 1 only."""
    pick = relation.columns[column].pick
    if pick is None:
        return relation
    open_names = relation.columns.keys() - pick.settled - {column} if pick.finding else set()
    columns = dict(relation.columns)
    for name in open_names:
        columns[name] = columns[name].adding([carried(pick.finding)])
    keys = relation.keys
    if first:
        columns[column] = replace(columns[column], findings=frozenset(), pick=None)
        if pick.key is not None:
            keys |= {pick.key}
    return replace(relation, columns=columns, keys=keys)


def carried(finding: Finding | None) -> Finding:
    """The finding of a column that comes with a picked row."""
    source = finding.source if finding is not None else ""
    return Finding("B", "it is carried from a row that an untied order picks", source)
