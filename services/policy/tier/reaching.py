"""Reaching: the way to a query by candidates alone, each operation or one that says the same among those offered."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from services.policy.tier.candidates import candidates
from services.policy.tier.frames import State
from services.policy.tier.knowledge import Knowledge
from services.policy.tier.operations import Comparison, Filter, Having, Operation, Operations, Scalar
from services.policy.tier.state import after, is_legal

_NEXT: dict[Comparison, tuple[Comparison, int]] = {">": (">=", 1), ">=": (">", -1), "<": ("<=", -1), "<=": ("<", 1)}


@dataclass(frozen=True, slots=True)
class Way:
    """The operations, how many candidates each was chosen from, and whether all of them were among those."""

    operations: Operations
    offered: tuple[int, ...]
    reachable: bool


def way_to(operations: Operations, knowledge: Knowledge) -> Way:
    """The way to a query. Where an operation is not offered, one that is likely to say the same stands in for it."""
    state, taken, offered, reachable = State(), list[Operation](), list[int](), True
    for operation in operations:
        options = candidates(state, knowledge)
        chosen = next((one for one in (operation, *_alike(operation)) if one in options), None)
        reachable = reachable and chosen is not None
        taken.append(chosen or operation)
        offered.append(len(options))
        if not is_legal(state, taken[-1], knowledge.schema):
            return Way(operations, tuple(offered), reachable=False)
        state = after(state, taken[-1])
    return Way(tuple(taken), tuple(offered), reachable)


def _alike(operation: Operation) -> Iterator[Operation]:
    """Operations that say the same of whole numbers, or of numbers kept as text."""
    if not isinstance(operation, Filter | Having):
        return
    written = replace(operation, values=tuple(map(_rewritten, operation.values)))
    for one in (written, operation):
        yield one
        if one.operator in _NEXT and isinstance(one.values[0], int):
            operator, further = _NEXT[one.operator]
            yield replace(one, operator=operator, values=(one.values[0] + further,))


def _rewritten(value: Scalar) -> Scalar:
    """A text of digits as a number, a number as text."""
    if isinstance(value, str):
        return int(value) if value.isdecimal() and value.isascii() and len(value) < 16 else value
    return str(value)
