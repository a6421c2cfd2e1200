"""What is wrong with a file that people write, in one line: an unknown key is told its nearest valid neighbour."""

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """The first problem; for an unknown key, the valid key that looks most like it."""
    detail = error.errors()[0]
    where = ".".join(str(part) for part in detail["loc"])
    if detail["type"] != "extra_forbidden":
        return f"{where}: {detail['msg']}"
    known = _keys_at(detail["loc"][:-1], model)
    near = difflib.get_close_matches(str(detail["loc"][-1]), known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(known)}"
    return f"unknown key {where}; {hint}"


def _keys_at(location: Sequence[Any], model: type[BaseModel]) -> list[str]:
    """The keys of the record at a place; the numbers and names of entries on the way are no keys."""
    for part in location:
        field = model.model_fields.get(str(part))
        inner = next(_records_in(field.annotation), None) if field is not None else None
        model = inner or model
    return list(model.model_fields)


def _records_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """The records that an annotation is made of, such as those of a tuple."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _records_in(inner)
