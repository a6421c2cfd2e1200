"""A job as it may be played: pinned, classified, and every risk that needs a person answered for.

Invariant: risks are worked out from the original's SQL each time; a file of pins cannot talk them away.
"""

from collections.abc import Mapping
from pathlib import Path

from cluster.etl.importing import open_pins
from cluster.etl.pinning import Pins
from services.contracts.errors import BadInput
from services.grader.etl.nondeterminism.classes import classified
from services.grader.etl.nondeterminism.signoff import open_risks, read_sign_offs, write_sign_off


def open_job(
    path: Path,
    task_key: str | None = None,
    started_at: str | None = None,
    parameters: Mapping[str, str] | None = None,
    sign_offs: Path | None = None,
) -> Pins:
    """The pins of a job that may be played. Raises BadInput, which names the risks that nobody has signed off."""
    pins = open_pins(path, task_key, started_at, parameters)
    job = classified(pins.job).model_copy(update={"sign_offs": ()})
    file = sign_offs or path.with_name(f"{path.stem}.{job.task_key}.sign-offs.yaml")
    if file.exists():
        job = job.model_copy(update={"sign_offs": read_sign_offs(job, file)})
    remaining = open_risks(job)
    if remaining:
        if not file.exists():
            write_sign_off(job, file)
        said = "; ".join(f"{risk.column or 'the rows'}: {risk.kind}, {risk.reason}" for risk in remaining)
        raise BadInput(f"the output may differ from run to run ({said}): if that is all right, sign {file}")
    return pins.model_copy(update={"job": job})
