"""Adds variants to a task set: one Ray task a database, archives that appear whole, the manifest last.

An interrupted build is finished by the next one: databases whose archive is there for the same seed are not searched
again. The manifest names variants only once all are there.
"""

import asyncio
import hashlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import duckdb
import ray
from pydantic import Field, ValidationError

from cluster.remote import result_of
from cluster.run import write_whole
from cluster.session import ray_session
from services.contracts.errors import BadInput
from services.contracts.record import Record
from services.env_actor.taskset import MANIFEST, TASKS, VARIANTS, TaskSet, TaskSetManifest, VariantsEntry, sha256_of
from services.grader.gold import read_gold
from services.grader.variants.library import TaskVariants, pack
from services.grader.variants.relations import read_tables
from services.grader.variants.search import DatabaseJob, search

PARTS = ".parts"
TALLY = "tally.json"
"""Near misses told apart, by kind and by mutation: about the build, and not part of the task set."""
VERSION = 2
"""Raised whenever the code makes other variants from the same seed."""
Progress = Callable[[int], None]
Build = Callable[[Sequence[DatabaseJob], Path, Progress], None]


class Part(Record):
    """What was built for one database; beside it lies the archive."""

    mark: str = Field(description="what it was built from")
    sha256: str
    content: str
    tasks: tuple[TaskVariants, ...]
    tally: dict[str, dict[str, int]]


def add_variants(
    task_set: TaskSet,
    seed: int,
    progress: Progress,
    check: Collection[str] = (),
    only: Collection[str] | None = None,
    build: Build | None = None,
) -> TaskSetManifest:
    """Build what is not built yet and name it in the manifest. Raises BadInput, Infrastructure.

    What is left over on the databases of `check` is looked at by a larger search. `only` names the databases that get
    variants; all of them if it is None. `build` does the work, on Ray unless it is given.
    """
    task_set.check_databases(task_set.manifest.databases)
    folder = task_set.folder / VARIANTS
    parts = folder / PARTS
    try:
        parts.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"cannot write to {task_set.folder}: {error.strerror}; name --out DEST") from error
    jobs = [job for job in jobs_of(task_set, seed, check) if only is None or job.name in only]
    left = [job for job in jobs if _built(parts, job) is None]
    progress(len(jobs) - len(left))
    if left:
        (build or build_on_ray)(left, parts.resolve(), lambda done: progress(len(jobs) - len(left) + done))
    return _finish(task_set, jobs, parts, seed)


def jobs_of(task_set: TaskSet, seed: int, check: Collection[str]) -> list[DatabaseJob]:
    """One job a database that has tasks with gold SQL."""
    golds = {task_id: gold for task_id, gold in read_gold(task_set.gold_path).items() if gold.gold_sql}
    by_database: dict[str, list[str]] = {}
    for task_id, task in task_set.tasks.items():
        if task_id in golds:
            by_database.setdefault(task.database, []).append(task_id)
    return [
        DatabaseJob(
            name=database,
            path=task_set.database_path(database),
            keys=task_set.manifest.databases[database].keys,
            tasks=tuple(task_set.tasks[task_id] for task_id in ids),
            golds={task_id: golds[task_id] for task_id in ids},
            seed=seed,
            check=database in check,
        )
        for database, ids in sorted(by_database.items())
    ]


def build_part(job: DatabaseJob, parts: Path) -> str:
    """Search the variants of one database and store them as a part. Raises BadInput, SandboxFault."""
    with tempfile.TemporaryDirectory(prefix="assay-variants-") as temporary:
        folder = Path(temporary)
        folder.chmod(0o755)
        found = asyncio.run(search(job, folder))
        partial = parts / f".{job.name}.zip"
        pack(folder, found.variants, found.golds, partial)
        digest = hashlib.sha256()
        for name in found.variants:
            digest.update(
                repr(sorted((k, t.columns, t.rows) for k, t in read_tables(folder / f"{name}.duckdb").items())).encode()
            )
        digest.update("".join(gold.model_dump_json() for gold in found.golds).encode())
    os.replace(partial, parts / f"{job.name}.zip")
    part = Part(
        mark=_mark(job), sha256=sha256_of(parts / f"{job.name}.zip"), content=digest.hexdigest(),
        tasks=tuple(found.tasks), tally=found.tally,
    )  # fmt: skip
    write_whole(parts / f"{job.name}.json", part.model_dump_json())
    return job.name


def build_here(jobs: Sequence[DatabaseJob], parts: Path, progress: Progress) -> None:
    """Build the parts in this process, one after the other."""
    for done, job in enumerate(jobs, 1):
        build_part(job, parts)
        progress(done)


def build_on_ray(jobs: Sequence[DatabaseJob], parts: Path, progress: Progress) -> None:
    """Build the parts on Ray, as many at a time as there are cores."""
    with ray_session():
        running = [RemotePart.remote(job, parts) for job in jobs]
        done = 0
        while running:
            ready, running = ray.wait(running, num_returns=1)
            result_of(ready[0])
            progress(done := done + 1)


def _built(parts: Path, job: DatabaseJob) -> Part | None:
    try:
        part = Part.model_validate_json((parts / f"{job.name}.json").read_text(encoding="utf-8"))
    except (OSError, ValidationError):
        return None
    whole = (parts / f"{job.name}.zip").is_file() and sha256_of(parts / f"{job.name}.zip") == part.sha256
    return part if whole and part.mark == _mark(job) else None


def _mark(job: DatabaseJob) -> str:
    """A hash of all that a part is built from."""
    golds = "".join(gold.model_dump_json() for gold in job.golds.values())
    keys = [table.model_dump_json() for table in job.keys] if job.keys is not None else None
    text = json.dumps([VERSION, job.name, sha256_of(job.path), job.seed, job.check, golds, keys])
    return hashlib.sha256(text.encode()).hexdigest()


def _finish(task_set: TaskSet, jobs: Sequence[DatabaseJob], parts: Path, seed: int) -> TaskSetManifest:
    """Put the parts in their places, and the manifest last."""
    folder = parts.parent
    built = {job.name: part for job in jobs if (part := _built(parts, job)) is not None}
    lines = "".join(task.model_dump_json() + "\n" for part in built.values() for task in part.tasks)
    write_whole(folder / TASKS, lines)
    tally: dict[str, Counter[str]] = {}
    for part in built.values():
        for kind, counts in part.tally.items():
            tally.setdefault(kind, Counter()).update(counts)
    write_whole(folder / TALLY, json.dumps(tally, indent=1, sort_keys=True) + "\n")
    for name in built:
        os.replace(parts / f"{name}.zip", folder / f"{name}.zip")
    content = hashlib.sha256("".join(f"{name}={part.content}" for name, part in built.items()).encode()).hexdigest()
    entry = VariantsEntry(
        seed=seed,
        engine=f"duckdb {duckdb.__version__}",
        near_misses_sha256=sha256_of(folder / TASKS),
        archives={name: part.sha256 for name, part in built.items()},
        content=content,
    )
    manifest = task_set.manifest.model_copy(update={"variants": entry})
    write_whole(task_set.folder / MANIFEST, manifest.model_dump_json(indent=1) + "\n")
    shutil.rmtree(parts)
    return manifest


RemotePart: Any = ray.remote(num_cpus=1, max_retries=2)(build_part)
