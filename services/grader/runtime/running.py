"""One run of a job: a fresh process on the claimed core, in a folder that nobody else has, gone afterwards."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from services.contracts.errors import BadInput
from services.grader.runtime.cores import Core
from services.grader.runtime.faults import TimingFault
from services.grader.runtime.job import Job, Source
from services.grader.runtime.launch import launch
from services.grader.runtime.run import Output, Run, RunOutcome, Stopped, Work
from services.sandbox.rights import NOBODY

GRACE_S = 20.0
"""Seconds beyond the deadline after which the warden itself is given up."""


def run_once(job: Job, core: Core, profile: bool = False, keep: Path | None = None) -> RunOutcome:
    """Run a job by itself; with `profile` what it did is recorded, and its time should not be used.

    With `keep` its folder, with the database run.duckdb and the folders that it wrote, is copied to that path.
    Raises TimingFault where the machine or a signal from outside ended the run, BadInput where it cannot be set up.
    """
    with own_folder() as folder:
        order = {**order_of(job, core, folder), "profile": profile, "keep": keep is not None}
        messages = launch(order, core, folder, job.limits.deadline_s + GRACE_S)
        if keep is not None:
            shutil.rmtree(keep, ignore_errors=True)
            shutil.copytree(folder, keep, symlinks=True)
    return _outcome(messages, core.number)


@contextmanager
def own_folder() -> Iterator[Path]:
    """A new folder that the measured process may write, and that is gone afterwards with all that is in it."""
    folder = Path(tempfile.mkdtemp(prefix="assay-timing-")).resolve()
    try:
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def order_of(job: Job, core: Core, folder: Path) -> dict[str, Any]:
    """What the process is told: the job, with its core and folder, as JSON can carry it."""
    return {
        "core": core.number,
        "folder": str(folder),
        "query": job.is_query,
        "sources": [_source(source) for source in job.sources],
        **job.limits.model_dump(),
        **job.model_dump(mode="json", include={"statements", "prepare", "tables", "folders", "unstable"}),
    }


def _source(source: Source) -> dict[str, Any]:
    paths = source.paths if source.kind == "parquet" else (source.path,)
    hive = source.kind == "parquet" and source.hive_partitioning
    where = [str(path.resolve()) for path in paths]
    return {"kind": source.kind, "name": source.name, "paths": where, "hive_partitioning": hive}


def _outcome(messages: dict[str, Any], core: int) -> RunOutcome:
    watched = messages["watched"]
    match watched["end"]:
        case "paused" | "killed":
            raise TimingFault(f"the measured process was {watched['end']} by signal {watched['status']}")
        case "deadline":
            return Stopped(reason="deadline", message="it was killed at its deadline")
        case "crashed":
            return Stopped(reason="crash", message=f"the engine ended with signal {watched['status']}")
    if "unready" in messages:
        raise BadInput(f"the job cannot be set up: {messages['unready']}")
    if messages.get("stopped") == "disk":
        raise TimingFault(f"the disk is full: {messages['message']}")
    if "stopped" in messages:
        return Stopped(reason=messages["stopped"], message=messages["message"])
    if "ran" not in messages:
        raise RuntimeError(f"the measured process ended with status {watched['status']}; its stderr says why")
    if watched["descendants"]:
        return Stopped(reason="processes", message=f"it started or left {watched['descendants']} processes")
    return _finished(messages, watched, core)


def _finished(messages: dict[str, Any], watched: dict[str, Any], core: int) -> RunOutcome:
    start, ran = messages["start"], messages["ran"]
    for output in ran["outputs"]:
        if "lacks" in output:
            return Stopped(reason="output", message=f"{output['name']}: {output['lacks']}")
    return Run(
        core=core,
        user_s=ran["end"]["user_s"] - start["user_s"],
        system_s=ran["end"]["system_s"] - start["system_s"],
        children_s=max(0.0, watched["tree_s"] - watched["self_s"]),
        wall_s=ran["end"]["at"] - start["at"],
        outputs=tuple(Output.model_validate(output) for output in ran["outputs"]),
        work=tuple(Work.model_validate(work) for work in ran["profiles"]),
    )
