"""The grade of an optimised job, derived again from the submission that its folder holds."""

from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from cluster.etl.optimize import Optimized
from services.contracts.errors import BadInput
from services.contracts.record import Record
from services.grader.etl.submission import Submission, grade_of
from services.grader.runtime.grade import GradeDifference

SUBMISSION, RESULT = "submission.json", "result.json"
Kind = TypeVar("Kind", bound=Record)


def submission_differences(folder: Path) -> tuple[GradeDifference, ...]:
    """What the stored submission gives otherwise than the stored result says. Raises BadInput."""
    stored, derived = _read(folder / RESULT, Optimized), grade_of(_read(folder / SUBMISSION, Submission))
    pairs = (
        ("grade", stored.grade, derived),
        ("verdict", stored.verdict, derived.verdict),
        ("reward", stored.reward, derived.reward),
    )
    return tuple(GradeDifference(where=name, stored=str(a), derived=str(b)) for name, a, b in pairs if a != b)


def _read(path: Path, kind: type[Kind]) -> Kind:
    try:
        return kind.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        raise BadInput(f"{path} is not what assay optimize leaves: {error.errors()[0]['msg']}") from error
