"""Files of scripts: a JSON line each, read as records."""

from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from services.contracts.errors import BadInput
from services.contracts.record import Record

Kind = TypeVar("Kind", bound=Record)


def read_scripts(path: Path, kind: type[Kind]) -> Iterator[Kind]:
    """The scripts of a file, in order. Raises BadInput with the line that is wrong."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read the script {path}: {error}") from error
    for number, line in enumerate(lines, 1):
        try:
            yield kind.model_validate_json(line)
        except ValidationError as error:
            raise BadInput(f"{path} line {number}: {error.errors()[0]['msg']}") from error
