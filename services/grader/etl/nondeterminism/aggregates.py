"""What is known of an aggregate's value: its arguments' findings, the risk of the rows it sees, and its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlglot import exp

from services.grader.etl.nondeterminism.facts import Facts, Finding, Findings, hardened, merged
from services.grader.etl.nondeterminism.frames import Frame
from services.grader.etl.nondeterminism.functions import ALWAYS_DRIFT, gives_float, name_of, order_of
from services.grader.etl.nondeterminism.spaces import Space, Term, Terms

ReadFacts = Callable[[exp.Expr, Frame], Facts]


@dataclass(frozen=True)
class Call:
    """An aggregate or window function, taken apart."""

    name: str
    values: tuple[exp.Expr, ...]
    """Its arguments, without ORDER BY, DISTINCT and the like."""
    order: tuple[exp.Expr, ...]
    filters: tuple[exp.Expr, ...]
    distinct: bool


def call_of(node: exp.Expr) -> Call:
    """The function behind FILTER, WITHIN GROUP and IGNORE NULLS."""
    filters: list[exp.Expr] = []
    order: list[exp.Expr] = []
    while isinstance(node, exp.Filter | exp.WithinGroup | exp.IgnoreNulls | exp.RespectNulls):
        if isinstance(node, exp.Filter):
            filters.append(node.expression.this)
        if isinstance(node, exp.WithinGroup):
            order.extend(part.this for part in node.expression.expressions)
        node = node.this
    values: list[exp.Expr] = []
    distinct = False
    for part in node.iter_expressions():
        distinct |= _gather(part, values, order)
    return Call(name_of(node), tuple(values), tuple(order), tuple(filters), distinct)


def _gather(part: exp.Expr, values: list[exp.Expr], order: list[exp.Expr]) -> bool:
    """Sort a part of a call into values and order; whether it says DISTINCT."""
    match part:
        case exp.Order():
            order.extend(one.this for one in part.expressions)
            return _gather(part.this, values, order) if part.this is not None else False
        case exp.Distinct():
            for one in part.expressions:
                _gather(one, values, order)
            return True
        case exp.IgnoreNulls() | exp.RespectNulls() | exp.Limit():
            return _gather(part.this, values, order) if part.this is not None else False
    values.append(part)
    return False


def aggregate(node: exp.Expr, frame: Frame, read: ReadFacts) -> Facts:
    """What is known of an aggregate of the rows of its SELECT, in each group. Raises NotUnderstood."""
    call = call_of(node)
    return drawn(call, frame, frame.space, (frame.groups, ()), read)


def drawn(
    call: Call, frame: Frame, space: Space, among: tuple[Sequence[Term], Sequence[exp.Expr]], read: ReadFacts
) -> Facts:
    """What is known of a value drawn from the rows that agree in some terms, in the order of the call and of a window.

    `space` is where these rows lie, `among` the terms and the window's order.
    """
    groups, order = among
    value = merged(read(part, frame) for part in call.values)
    inside = [*call.order, *order]
    findings = value.findings | frame.rows
    for part in call.filters:
        findings |= hardened(read(part, frame).findings, "FILTER")
    for part in inside:
        findings |= hardened(read(part, frame).findings, f"ORDER BY in {call.name}()")
    known = space.closure([*groups, *(term for term in map(frame.term, inside) if term)])
    own = _own(call, value, frame, space, known)
    if order_of(call.name) not in ("drift",) and call.name not in ("min", "max", "first", "last", "any_value"):
        findings = hardened(findings, f"{call.name}()")
    if call.distinct:
        findings = hardened(findings, "DISTINCT")
    floating = gives_float(call.name, value.floating)
    return Facts(findings | own, floating, derived=True)


def _own(call: Call, value: Facts, frame: Frame, space: Space, known: Terms) -> Findings:
    """The finding that an aggregate makes by itself; `known` is what its groups and its order fix."""
    name = call.name
    settled = space.same(known) or all(frame.fixed(part, known) for part in call.values)
    match order_of(name):
        case "drift":
            floating = name in ALWAYS_DRIFT or value.floating
            reason = f"{name}() of floats: the last bits follow the order of the rows"
            return frozenset([Finding("E", reason, name)]) if floating else frozenset()
        case "pick" if not settled:
            reason = f"{name}() takes a value from any row of its group; no key or order settles which"
            return frozenset([Finding("B", reason, name)])
        case "extreme" if not _extreme_settled(call, frame, space, known):
            reason = f"{name}() takes a value from any of the rows that are tied at the extreme"
            return frozenset([Finding("B", reason, name)])
        case "sequence" if not settled:
            return frozenset([Finding("C", f"{name}() follows the order of the rows, which is not total", name)])
        case "approximate":
            return frozenset([Finding("C", f"{name}() is an approximation", name)])
        case "sampled":
            return frozenset([Finding("D", f"{name}() samples without a seed", name)])
    return frozenset()


def _extreme_settled(call: Call, frame: Frame, space: Space, known: Terms) -> bool:
    """arg_max(value, by): whether the group and `by` settle the row, or at least the value."""
    by = frame.term(call.values[1]) if len(call.values) > 1 else None
    fixed = space.closure([*known, *([by] if by else [])])
    return space.same(fixed) or frame.fixed(call.values[0], fixed)
