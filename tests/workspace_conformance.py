"""What every Workspace has to do. Subclass it, give the two fixtures, and pytest does the rest."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from cluster.etl.export import JobExport, JobTask
from cluster.etl.importing import read_task
from cluster.etl.notebook import read_notebook
from cluster.etl.preparing import prepare
from cluster.etl.timeline import parse_time
from cluster.etl.workspace import Workspace
from services.contracts.errors import BadInput
from services.contracts.etl import EtlJob

NOWHERE = "assay.nowhere_at_all"


@dataclass(frozen=True)
class Known:
    """What the workspace under test is known to have: a job and a task of it that ran at least once."""

    job_id: str
    task_key: str
    parameters: dict[str, str]


class WorkspaceConformance:
    """The tests. `workspace` is the implementation, `known` what it has."""

    @pytest.fixture
    def workspace(self) -> Workspace:
        raise NotImplementedError("give the workspace under test")

    @pytest.fixture
    def known(self) -> Known:
        raise NotImplementedError("say what it has")

    @pytest.fixture
    def job(self, workspace: Workspace, known: Known) -> JobExport:
        return workspace.job(known.job_id)

    def test_a_job_is_the_one_that_was_asked_for_and_its_tasks_hang_together(
        self, job: JobExport, known: Known
    ) -> None:
        keys = [task.task_key for task in job.settings.tasks]
        assert job.job_id == known.job_id
        assert known.task_key in keys
        assert len(set(keys)) == len(keys)
        assert {d.task_key for task in job.settings.tasks for d in task.depends_on} <= set(keys)

    def test_asking_twice_gives_the_same_answer(self, workspace: Workspace, job: JobExport, known: Known) -> None:
        task = job.task(known.task_key)
        assert workspace.job(known.job_id) == job
        assert workspace.source(task.source) == workspace.source(task.source)
        assert workspace.runs(known.job_id, known.task_key) == workspace.runs(known.job_id, known.task_key)

    def test_every_notebook_and_file_of_the_job_can_be_read(self, workspace: Workspace, job: JobExport) -> None:
        for task in _readable(job):
            assert workspace.source(task.source).strip()

    def test_runs_are_in_order_with_a_zone_and_a_length(self, workspace: Workspace, known: Known) -> None:
        runs = workspace.runs(known.job_id, known.task_key)
        times = [parse_time(run.started_at, "started_at") for run in runs]
        assert runs
        assert times == sorted(times)
        assert all(run.duration_s > 0 for run in runs)

    def test_what_is_not_there_is_bad_input(self, workspace: Workspace, known: Known) -> None:
        for ask in (
            lambda: workspace.job("0"),
            lambda: workspace.source("/Nowhere/at/all"),
            lambda: workspace.source("/../../etc/passwd"),
            lambda: workspace.table(NOWHERE),
            lambda: workspace.runs("0", known.task_key),
            lambda: workspace.contract(known.job_id, NOWHERE),
        ):
            with pytest.raises(BadInput):
                ask()

    def test_a_tasks_tables_are_where_they_are_said_to_be(self, workspace: Workspace, known: Known) -> None:
        task = read_task(workspace, known.job_id, known.task_key, None, known.parameters)
        for name, address in task.sources.items():
            assert address == workspace.table(name)
            assert address.path.is_absolute()
            assert address.path.exists()

    def test_its_sql_is_read_and_its_task_is_pinned_to_the_same_pins_each_time(
        self, workspace: Workspace, job: JobExport, known: Known
    ) -> None:
        task = job.task(known.task_key)
        assert read_notebook(workspace.source(task.source), job.parameters_of(task, known.parameters)).texts
        first, second = (
            prepare(read_task(workspace, known.job_id, known.task_key, None, known.parameters)) for _ in range(2)
        )
        assert first == second
        assert isinstance(first.job, EtlJob)
        assert (first.job.job_id, first.job.task_key) == (known.job_id, known.task_key)


def _readable(job: JobExport) -> Iterator[JobTask]:
    for task in job.settings.tasks:
        if task.notebook_task is not None or (task.sql_task is not None and task.sql_task.file is not None):
            yield task
