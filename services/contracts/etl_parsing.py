"""Tool calls of an agent as actions. Parsing never raises: what cannot be read is Malformed.

Invariant: no action takes a job id, and a call that is none and names the production job is told that it is frozen.
"""

import json
from collections.abc import Mapping

from pydantic import TypeAdapter, ValidationError

from services.contracts.etl import EtlAction, EtlMalformed
from services.contracts.frozen import FrozenJob

_ACTION: TypeAdapter[EtlAction] = TypeAdapter(EtlAction)
_KINDS = "EXPLAIN, ANALYZE, PROBE, READY_PROBE, RUN, VERIFY or SUBMIT"
DEPTH = 32
"""How deep the arguments of a call may be nested."""
SHOWN = 500
"""Characters of a reason."""


def parse_etl_action(text: str, frozen: FrozenJob) -> EtlAction:
    """The action in a JSON object with `kind` and its fields."""
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return EtlMalformed(text=text, reason=f"expected a JSON object with kind: {_KINDS}")
    if not isinstance(fields, dict) or not is_shallow(fields):
        return EtlMalformed(text=text, reason=f"expected a JSON object with kind: {_KINDS}")
    return etl_action(fields, frozen)


def etl_action(fields: Mapping[str, object], frozen: FrozenJob) -> EtlAction:
    """The action of a tool call's fields."""
    try:
        return _ACTION.validate_python(dict(fields))
    except ValidationError as error:
        text = json.dumps(dict(fields), default=str)
        if frozen.named_by(fields):
            return EtlMalformed(text=text, reason="the production job is frozen: no tool changes it")
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "kind"
        return EtlMalformed(text=text, reason=f"{where}: {first['msg']}"[:SHOWN])


def is_shallow(value: object, depth: int = DEPTH) -> bool:
    """Whether a JSON value is nested at most so deep, so that walking it cannot exhaust the stack."""
    if not isinstance(value, dict | list):
        return True
    parts = value.values() if isinstance(value, dict) else value
    return depth > 0 and all(is_shallow(part, depth - 1) for part in parts)
