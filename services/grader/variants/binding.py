"""Constants of a statement that an earlier statement had found: on a variant, what it finds there takes their place."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlglot import exp

from services.contracts.cells import cell_text
from services.contracts.grading import Found
from services.contracts.statements import Cell, Rows
from services.grader.reading import normal_text
from services.grader.variants.hints import parse

MOST_CHARACTERS, MOST_BRACKETS = 4_000, 20


@dataclass(frozen=True)
class Binding:
    """The constants at some places of the tree's literals, and the column of the earlier result that they are from."""

    places: tuple[int, ...]
    source: Found
    column: int
    earlier: tuple[Found, ...]

    def values(self, rows: Rows) -> list[Cell]:
        """What takes their place, given the rows of the earlier statement."""
        return [row[self.column] for row in rows if row[self.column] is not None]


def is_plain(sql: str) -> bool:
    """Whether a statement is short and shallow: this process reads it, and the agent may mean harm."""
    depth = most = 0
    for sign in sql:
        depth += (sign in "([{") - (sign in ")]}")
        most = max(most, depth)
    return len(sql) <= MOST_CHARACTERS and most <= MOST_BRACKETS


def bindings(source: Found, earlier: Sequence[Found], question: str) -> Iterator[Binding]:
    """The constants that the question does not name and an earlier result holds: of one row, or as a whole column."""
    tree = parse(source.sql) if is_plain(source.sql) else None
    if tree is None:
        return
    literals = list(tree.find_all(exp.Literal))
    taken: set[int] = set()
    for node in tree.find_all(exp.In):
        places = tuple(i for i, literal in enumerate(literals) if literal.parent is node)
        found = _column_of({_text(literals[i]) for i in places}, earlier) if len(places) > 1 else None
        if found is not None:
            taken |= set(places)
            yield Binding(places, *found, _before(found[0], earlier))
    for place, literal in enumerate(literals):
        if place in taken or isinstance(literal.parent, exp.Limit | exp.Offset | exp.Ordered):
            continue
        if _text(literal) in question.casefold():
            continue
        one = _column_of({_text(literal)}, [part for part in earlier if len(part.result.rows) == 1])
        if one is not None:
            yield Binding((place,), *one, _before(one[0], earlier))


def bound(sql: str, values: Sequence[tuple[Binding, Sequence[Cell]]]) -> str | None:
    """The statement with other constants; None where there is no value, or several for one place."""
    tree = parse(sql)
    if tree is None:
        return None
    literals = list(tree.find_all(exp.Literal))
    for binding, found in values:
        nodes = [literals[place] for place in binding.places]
        parent = nodes[0].parent
        if len(nodes) == 1 and len(found) == 1:
            nodes[0].replace(_literal(found[0], nodes[0].is_string))
        elif isinstance(parent, exp.In) and found:
            others = [node for node in parent.expressions if node not in nodes]
            parent.set("expressions", others + [_literal(value, nodes[0].is_string) for value in found])
        else:
            return None
    return tree.sql(dialect="duckdb")


def _before(source: Found, others: Sequence[Found]) -> tuple[Found, ...]:
    return tuple(other for other in others if other.step < source.step)


def _column_of(texts: set[str], earlier: Sequence[Found]) -> tuple[Found, int] | None:
    """The earlier result, the latest first, with a column of just these values."""
    for part in earlier:
        for column in range(len(part.result.columns)):
            if part.result.rows and {normal_text(cell_text(row[column])) for row in part.result.rows} == texts:
                return part, column
    return None


def _literal(value: Cell, as_text: bool) -> exp.Expr:
    text = cell_text(value)
    return exp.Literal.string(text) if as_text else exp.Literal.number(text)


def _text(literal: exp.Expr) -> str:
    return normal_text(str(literal.this))
