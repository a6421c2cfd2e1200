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
    made: Path | None = None,
) -> Pins:
    """The pins of a job that may be played; `made` is a folder for the output if production's was not kept,
    by default one beside the job's file.

    Raises BadInput, which names the risks that nobody has signed off.
    """
    pins, file = classified_pins(path, task_key, started_at, parameters, sign_offs, made)
    remaining = open_risks(pins.job)
    if remaining:
        if not file.exists():
            write_sign_off(pins.job, file)
        said = "; ".join(f"{risk.column or 'the rows'}: {risk.kind}, {risk.reason}" for risk in remaining)
        raise BadInput(f"the output may differ from run to run ({said}): if that is all right, sign {file}")
    return pins


def classified_pins(
    path: Path,
    task_key: str | None = None,
    started_at: str | None = None,
    parameters: Mapping[str, str] | None = None,
    sign_offs: Path | None = None,
    made: Path | None = None,
) -> tuple[Pins, Path]:
    """The pins of a job with its risks and what is signed of them, and the file where they are signed, there or not.

    Raises BadInput.
    """
    beside = path.with_name(f"{path.stem}.output")
    pins = open_pins(path, task_key, started_at, parameters, made or beside)
    job = classified(pins.job).model_copy(update={"sign_offs": ()})
    file = sign_offs or path.with_name(f"{path.stem}.{job.task_key}.sign-offs.yaml")
    if file.exists():
        job = job.model_copy(update={"sign_offs": read_sign_offs(job, file)})
    return pins.model_copy(update={"job": job}), file
