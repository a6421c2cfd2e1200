"""A task of a workspace's job as a task to be pinned; and pins from whatever a person points at."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from cluster.etl.jobfile import read_job_file
from cluster.etl.naming import short_name, spell_out
from cluster.etl.notebook import read_notebook
from cluster.etl.pinning import Pins, check_files, read_pins
from cluster.etl.preparing import prepare
from cluster.etl.task import OutputAddress, TaskSpec
from cluster.etl.translate import upkeep_of
from cluster.etl.workspace import FolderWorkspace, Workspace
from services.contracts.errors import BadInput
from services.contracts.etl import Contract, ProductionRun
from services.grader.etl.contract import named_in
from services.grader.etl.increment import outputs_of, parse, reads_of


def open_pins(
    path: Path, task_key: str | None = None, started_at: str | None = None, parameters: Mapping[str, str] | None = None
) -> Pins:
    """The pins of a JOB.yaml, of `jobs/ID.json` in a workspace folder, or those that are written in a file of pins.

    `started_at` and `parameters` are of the run in a workspace that is meant, by default the last one. Raises BadInput.
    """
    if path.suffix in (".yaml", ".yml"):
        task = read_job_file(path)
        if task_key not in (None, task.task_key):
            raise BadInput(f"{path} is of task {task.task_key}, not {task_key}")
        return prepare(task)
    if path.suffix == ".json" and path.absolute().parent.name == "jobs":
        workspace = FolderWorkspace(path.absolute().parent.parent)
        return prepare(read_task(workspace, path.stem, task_key, started_at, parameters or {}))
    if path.suffix == ".json":
        pins = read_pins(path)
        check_files(pins)
        return pins
    raise BadInput(f"{path}: expected a JOB.yaml, jobs/ID.json in a workspace folder, or pins.json")


def read_task(
    workspace: Workspace, job_id: str, task_key: str | None, started_at: str | None, parameters: Mapping[str, str]
) -> TaskSpec:
    """A task of a job, with the tables that it names found, as of one of its runs. Raises BadInput."""
    job = workspace.job(job_id)
    task = job.task(task_key)
    read = read_notebook(workspace.source(task.source), job.parameters_of(task, parameters))
    trees = [tree for text in read.texts for tree in parse(text, "databricks")]
    spelled = [tree for tree in spell_out(trees)[0] if upkeep_of(tree) is None]
    outputs = outputs_of(spelled)
    if len(outputs) != 1:
        raise BadInput(f"task {task.task_key} writes {', '.join(outputs) or 'no table'}: expected one table")
    history = workspace.runs(job_id, task.task_key)
    contract = workspace.contract(job_id, task.task_key)
    return TaskSpec(
        job_id=job_id,
        task_key=task.task_key,
        statements=read.texts,
        dialect="databricks",
        sources={name: workspace.table(name) for name in _needed(reads_of(spelled), contract) if name != outputs[0]},
        output=OutputAddress(name=outputs[0], path=workspace.table(outputs[0]).path),
        started_at=started_at or _last(history, task.task_key).started_at,
        contract=contract,
        history=history,
        changes=read.changes,
    )


def _needed(read: Sequence[str], contract: Contract) -> list[str]:
    """The tables that are read, and those that only the contract is about."""
    known = set(map(short_name, read))
    return [*read, *sorted(name for name in named_in(contract) if short_name(name) not in known)]


def _last(history: tuple[ProductionRun, ...], task_key: str) -> ProductionRun:
    if not history:
        raise BadInput(f"no successful run of task {task_key} is known: say when the run started")
    return history[-1]
