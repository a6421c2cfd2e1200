"""What is known of a window function's value, and which rows an untied numbering leaves open."""

from dataclasses import dataclass

from sqlglot import exp

from services.grader.etl.nondeterminism.aggregates import Call, ReadFacts, call_of, drawn
from services.grader.etl.nondeterminism.facts import NONE, Facts, Finding, Findings, hardened, merged
from services.grader.etl.nondeterminism.frames import Frame, NotUnderstood
from services.grader.etl.nondeterminism.functions import AGGREGATES, NUMBERING, RANKING
from services.grader.etl.nondeterminism.spaces import Term, Terms

Picking = tuple[Terms, list[Term] | None, Finding | None]
"""What is settled beside each number, the partition's columns if it has only such, and the finding if there is one."""


@dataclass(frozen=True)
class Over:
    """A window: how its rows are parted and ordered, and its frame as text."""

    partition: tuple[exp.Expr, ...]
    order: tuple[exp.Expr, ...]
    frame: exp.WindowSpec | None

    def known(self, frame: Frame) -> Terms:
        """What the partition and the order fix."""
        return frame.result.closure([*self.terms(frame, self.partition), *self.terms(frame, self.order)])

    @staticmethod
    def terms(frame: Frame, parts: tuple[exp.Expr, ...]) -> list[Term]:
        """Expressions as terms, without constants."""
        return [term for term in map(frame.term, parts) if term]


def over(node: exp.Window, frame: Frame) -> Over:
    """The window of a function, with a named window's parts. Raises NotUnderstood for a name that is not there."""
    base = Over((), (), None)
    named = node.args.get("alias")
    if named is not None:
        if named.name.lower() not in frame.windows:
            raise NotUnderstood(f"the window {named.name} is not there")
        definition = frame.windows[named.name.lower()]
        if not isinstance(definition, exp.Window):
            raise NotUnderstood(f"the window {named.name} is not one")
        base = over(definition, frame)
    order = node.args.get("order")
    return Over(
        (*base.partition, *(node.args.get("partition_by") or ())),
        (*base.order, *(part.this for part in order.expressions)) if order is not None else base.order,
        node.args.get("spec") or base.frame,
    )


def windowed(node: exp.Window, frame: Frame, read: ReadFacts) -> Facts:
    """What is known of a window function's value in each row. Raises NotUnderstood."""
    window, call = over(node, frame), call_of(node.this)
    decided = merged(read(part, frame) for part in (*window.partition, *window.order))
    findings = hardened(decided.findings, "PARTITION BY or ORDER BY of a window") | frame.rows
    if call.name in RANKING:
        return Facts(findings, call.name in ("percent_rank", "cume_dist"))
    if call.name in NUMBERING:
        value = merged(read(part, frame) for part in call.values)
        return Facts(findings | value.findings | _numbering(call, window, frame), value.floating)
    if call.name not in AGGREGATES:
        return Facts(findings | {Finding("F", f"{call.name}() is no window function that is known", call.name)})
    return _over_rows(call, window, frame, read).adding(findings)


def _numbering(call: Call, window: Over, frame: Frame) -> Findings:
    if frame.result.same(window.known(frame)):
        return NONE
    reason = f"{call.name}() over rows whose PARTITION BY and ORDER BY hold no known key: ties are numbered freely"
    return frozenset([Finding("B", reason, call.name)])


def _over_rows(call: Call, window: Over, frame: Frame, read: ReadFacts) -> Facts:
    """An aggregate over a window: ties matter where the frame cuts between them, or the aggregate follows an order."""
    known = window.known(frame)
    order = window.order if call.name in ("first_value", "last_value", "nth_value") else ()
    value = drawn(call, frame, frame.result, (window.terms(frame, window.partition), order), read)
    tied = not frame.result.same(known)
    if tied and _cuts_ties(window.frame):
        reason = f"{call.name}() over a frame of ROWS that cuts between tied rows"
        return value.adding([Finding("C", reason, call.name)])
    if tied and call.order and call.name not in ("count", "sum", "min", "max"):
        return value.adding([Finding("C", f"{call.name}() with an order of its own in a window", call.name)])
    return value


def _cuts_ties(spec: exp.WindowSpec | None) -> bool:
    """Whether a frame may hold some rows of a tie and not others."""
    if spec is None:
        return False
    whole = spec.args.get("start") == "UNBOUNDED" and spec.args.get("end") == "UNBOUNDED"
    excludes = spec.args.get("exclude") is not None
    return excludes or (str(spec.args.get("kind")).upper() == "ROWS" and not whole)


def picking(node: exp.Expr, frame: Frame, read: ReadFacts) -> Picking | None:
    """What is known of a ROW_NUMBER; None for any other expression, and if partition or order have findings."""
    node = node.unalias()
    if not isinstance(node, exp.Window) or not isinstance(node.this, exp.RowNumber):
        return None
    window = over(node, frame)
    found = _numbering(call_of(node.this), window, frame)
    if frame.rows or any(read(part, frame).findings for part in (*window.partition, *window.order)):
        return None
    parts = window.terms(frame, window.partition)
    plain = all(alias for alias, _ in parts) and len(parts) == len(window.partition)
    return window.known(frame), parts if plain else None, next(iter(found), None)
