"""A task set on disk: databases, their catalogs, tasks, and a manifest with the hash of everything. Gold lies beside
them in gold.jsonl, which only the grader reads.

Invariant: what is loaded is what the manifest describes; a changed or damaged file is an error that names it.
"""

import hashlib
import json
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path

from pydantic import Field, ValidationError

from services.contracts.errors import BadInput
from services.contracts.keys import TableKeys
from services.contracts.record import Record
from services.contracts.tasks import Task
from services.env_actor.catalog import DatabaseCatalog

FORMAT_VERSION = 1
MANIFEST, TASKS, GOLD, DATABASES = "manifest.json", "tasks.jsonl", "gold.jsonl", "databases"
VARIANTS = "variants"


class DatabaseEntry(Record):
    """One database of the manifest. `content` hashes schema and rows, so that it is the same wherever it is made."""

    content: str
    file_sha256: str
    catalog_sha256: str
    tables: int
    rows: int
    keys: tuple[TableKeys, ...] | None = Field(default=None, description="as they are stated; None if nothing is")


class VariantsEntry(Record):
    """The variants of a task set: what they were made from, and the archive of each database that has any."""

    seed: int
    engine: str
    near_misses_sha256: str = Field(description="of variants/tasks.jsonl: kill rates and survivors, for the grader")
    archives: dict[str, str] = Field(description="the SHA-256 of variants/NAME.zip by database")
    content: str = Field(description="hash of the rows of every variant and what the golds give there")


class TaskSetManifest(Record):
    """What a task set holds and what it must hash to."""

    format_version: int = FORMAT_VERSION
    name: str = Field(min_length=1)
    source: str
    engine: str
    databases: dict[str, DatabaseEntry]
    tasks: int
    tasks_sha256: str
    gold_sha256: str
    set_aside: dict[str, int] = Field(default_factory=dict, description="questions left out, by reason")
    variants: VariantsEntry | None = None

    def task_set_hash(self) -> str:
        """16 hex digits over tasks, gold, the content of every database, and that of the variants."""
        parts = [self.name, self.tasks_sha256, self.gold_sha256]
        parts += [f"{name}={entry.content}" for name, entry in sorted(self.databases.items())]
        if self.variants is not None:
            parts.append(f"variants={self.variants.content}")
        return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:16]

    def files(self) -> dict[str, str]:
        """The SHA-256 of every file besides the manifest, by its name in the folder."""
        named = {TASKS: self.tasks_sha256, GOLD: self.gold_sha256}
        for name, entry in sorted(self.databases.items()):
            named[f"{DATABASES}/{name}.duckdb"] = entry.file_sha256
            named[f"{DATABASES}/{name}.catalog.json"] = entry.catalog_sha256
        if self.variants is not None:
            named[f"{VARIANTS}/{TASKS}"] = self.variants.near_misses_sha256
            named |= {f"{VARIANTS}/{name}.zip": sha for name, sha in sorted(self.variants.archives.items())}
        return named


class TaskSet:
    """An opened task set. Reading raises BadInput with what is missing or wrong."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            text = (folder / MANIFEST).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"no task set at {folder}: {MANIFEST} cannot be read") from error
        self.manifest = parse_manifest(text, str(folder / MANIFEST))

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """Tasks by id, in file order."""
        tasks: dict[str, Task] = {}
        for number, line in enumerate(self._checked(TASKS, self.manifest.tasks_sha256).splitlines(), 1):
            try:
                task = Task.model_validate_json(line)
            except ValidationError as error:
                raise BadInput(f"{TASKS} line {number}: {_first(error)}") from error
            if task.database not in self.manifest.databases:
                raise BadInput(f"{TASKS} line {number}: the database {task.database} is not in the task set")
            tasks[task.task_id] = task
        return tasks

    @property
    def gold_path(self) -> Path:
        """Where the grader reads the gold, once its hash is checked."""
        self._checked(GOLD, self.manifest.gold_sha256)
        return self.folder / GOLD

    def catalog(self, database: str) -> DatabaseCatalog:
        """What DESCRIBE and SAMPLE show of one database."""
        name = f"{DATABASES}/{database}.catalog.json"
        try:
            return DatabaseCatalog.model_validate_json(
                self._checked(name, self.manifest.databases[database].catalog_sha256)
            )
        except ValidationError as error:
            raise BadInput(f"{name}: {_first(error)}") from error

    def database_path(self, database: str) -> Path:
        """The database's file."""
        return (self.folder / DATABASES / f"{database}.duckdb").resolve()

    def databases_of(self, tasks: Iterable[Task]) -> set[str]:
        """Every database that playing the tasks may take: for the analyst hidden copies too, which only gold names."""
        tasks = list(tasks)
        if any(task.environment != "explore" for task in tasks):
            return set(self.manifest.databases)
        return {task.database for task in tasks}

    def check_databases(self, databases: Iterable[str]) -> None:
        """Raise BadInput for a database file that is missing or not what the manifest says."""
        for database in databases:
            path = self.database_path(database)
            if not path.is_file():
                raise BadInput(f"the task set {self.folder} lacks {DATABASES}/{path.name}")
            if sha256_of(path) != self.manifest.databases[database].file_sha256:
                raise BadInput(
                    f"{DATABASES}/{path.name} of the task set {self.folder} is damaged: its hash is not the manifest's"
                )

    def _checked(self, name: str, sha256: str) -> str:
        try:
            data = (self.folder / name).read_bytes()
        except OSError as error:
            raise BadInput(f"the task set {self.folder} lacks {name}") from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise BadInput(f"{name} of the task set {self.folder} was changed: its hash is not the manifest's")
        return data.decode()


def parse_manifest(text: str, where: str) -> TaskSetManifest:
    """The manifest that a text holds. Raises BadInput, which names where it was."""
    try:
        manifest = TaskSetManifest.model_validate_json(text)
    except ValidationError as error:
        raise BadInput(f"{where}: {_first(error)}") from error
    if manifest.format_version != FORMAT_VERSION:
        raise BadInput(f"{where}: format {manifest.format_version}, this version reads {FORMAT_VERSION}")
    return manifest


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_jsonl(path: Path, records: Iterable[Record]) -> None:
    """One JSON object a line, in the given order."""
    lines = (json.dumps(record.model_dump(mode="json"), ensure_ascii=False) + "\n" for record in records)
    path.write_text("".join(lines), encoding="utf-8")


def _first(error: ValidationError) -> str:
    detail = error.errors()[0]
    return f"{'.'.join(map(str, detail['loc']))}: {detail['msg']}"
