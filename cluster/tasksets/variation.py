"""What the variants of a task set are worth: kill rates, what is left over, and the CPU time they took."""

from collections import Counter

from pydantic import ValidationError
from rich.table import Table

from services.contracts.errors import BadInput
from services.contracts.record import Record
from services.env_actor.taskset import TASKS, VARIANTS, TaskSet
from services.grader.variants.library import TaskVariants


class KindFigures(Record):
    """The near misses left over of one kind, by what is known of them."""

    kind: str
    equivalent: int
    killable: int
    unresolved: int


class VariationReport(Record):
    """Figures over the tasks of a set that have variants."""

    tasks: int
    variants_per_task: float
    mutants: int
    killed_on_base: int
    killed: int
    equivalent: int
    killable_left: int
    unresolved: int
    kill_rate: float | None
    cpu_s_per_task: float
    left_over: tuple[KindFigures, ...]


def near_misses(task_set: TaskSet) -> list[TaskVariants]:
    """The records of all tasks with variants. Raises BadInput if there are none or they are damaged."""
    path = task_set.folder / VARIANTS / TASKS
    if task_set.manifest.variants is None:
        raise BadInput(f"the task set {task_set.folder} has no variants: assay tasks variants {task_set.folder}")
    try:
        return [TaskVariants.model_validate_json(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValidationError) as error:
        raise BadInput(f"{path} cannot be read: {str(error).splitlines()[0]}") from error


def report(task_set: TaskSet) -> VariationReport:
    """The figures of a task set. Raises BadInput."""
    tasks = near_misses(task_set)
    left: dict[str, Counter[str]] = {}
    for task in tasks:
        for survivor in task.survivors:
            left.setdefault(survivor.kind, Counter())[survivor.standing.split(":")[0]] += 1
    killed, on_base = sum(t.killed for t in tasks), sum(t.killed_on_base for t in tasks)
    killable = sum(counts["killable"] for counts in left.values())
    return VariationReport(
        tasks=len(tasks),
        variants_per_task=sum(len(t.variants) for t in tasks) / max(1, len(tasks)),
        mutants=sum(t.mutants for t in tasks),
        killed_on_base=on_base,
        killed=killed,
        equivalent=sum(t.equivalent for t in tasks),
        killable_left=killable,
        unresolved=sum(t.unresolved for t in tasks),
        kill_rate=(killed + on_base) / (killed + on_base + killable) if killed + on_base else None,
        cpu_s_per_task=sum(t.cpu_s for t in tasks) / max(1, len(tasks)),
        left_over=tuple(
            KindFigures(kind=kind, equivalent=c["equivalent"], killable=c["killable"], unresolved=c["unresolved"])
            for kind, c in sorted(left.items())
        ),
    )


def show(figures: VariationReport) -> None:
    """Print the figures as a table."""
    from cluster.console import out

    out.print(
        f"{figures.tasks} tasks of {figures.variants_per_task:.1f} variants, {figures.cpu_s_per_task:.2f} CPU s each; "
        f"{figures.mutants} near misses: {figures.killed_on_base} fall on the database, {figures.killed} on variants, "
        f"{figures.equivalent} are proven equivalent, {figures.killable_left} are killable, "
        f"{figures.unresolved} unresolved",
        highlight=False,
    )
    table = Table("left over", "equivalent", "killable", "unresolved")
    for kind in figures.left_over:
        table.add_row(kind.kind, str(kind.equivalent), str(kind.killable), str(kind.unresolved))
    out.print(table)
