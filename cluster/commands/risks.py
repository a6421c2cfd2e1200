"""`assay risks JOB`: what may differ from run to run in a job's output. Exit 1 if a person has to answer for it."""

from pathlib import Path
from typing import Annotated

import typer

from cluster.commands import STOPPED


def risks(
    job: Annotated[Path, typer.Argument(metavar="JOB", help="A JOB.yaml, jobs/ID.json of a workspace, or pins.json.")],
    task: Annotated[str | None, typer.Option(metavar="KEY", help="Which of the job's tasks.")] = None,
    sign_offs: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Signed risks. Default: <JOB>.<KEY>.sign-offs.yaml.")
    ] = None,
    prove: Annotated[
        bool, typer.Option("--prove", help="Run the original five times, with other threads and orders of rows.")
    ] = False,
    deadline: Annotated[float, typer.Option(min=0.001, help="Seconds that one run of --prove may take.")] = 900.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Class what may differ from run to run, and write the file to sign; exit 1 if something is open or newly found."""
    from cluster.commands.risk_table import RiskReport, print_risks
    from cluster.etl.opening import classified_pins
    from services.grader.etl.nondeterminism.rerun import RerunLimits, rerun
    from services.grader.etl.nondeterminism.signoff import open_risks, write_sign_off

    pins, file = classified_pins(job, task, sign_offs=sign_offs)
    remaining = open_risks(pins.job)
    if remaining and not file.exists():
        write_sign_off(pins.job, file)
    try:
        proof = rerun(pins.job, limits=RerunLimits(deadline_s=deadline)) if prove else None
    except KeyboardInterrupt:
        raise typer.Exit(STOPPED) from None
    report = RiskReport(
        job=pins.job.job_id,
        task=pins.job.task_key,
        risks=pins.job.risks,
        excluded=pins.job.excluded,
        open=remaining,
        file=str(file) if remaining else None,
        proof=proof,
    )
    if as_json:
        typer.echo(report.model_dump_json(indent=1))
    else:
        print_risks(report)
    raise typer.Exit(1 if remaining or (proof is not None and proof.found) else 0)
