"""Writes a task set folder: everything beside its place, moved there whole at the end."""

import shutil
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

import duckdb

from cluster.tasksets.tables import BLOCK_BYTES, Table, content_hash, read_catalog, write_database
from services.contracts.errors import BadInput
from services.contracts.keys import TableKeys
from services.contracts.tasks import Task
from services.env_actor.catalog import DatabaseCatalog
from services.env_actor.taskset import (
    DATABASES,
    GOLD,
    MANIFEST,
    TASKS,
    DatabaseEntry,
    TaskSetManifest,
    sha256_of,
    write_jsonl,
)
from services.grader.gold import GoldAnswer


class TaskSetWriter:
    """Use as a context manager: what is not finished leaves nothing behind."""

    def __init__(self, destination: Path, name: str, source: str) -> None:
        self._destination = destination.resolve()  # the sandbox works in another folder
        self._name = name
        self._source = source
        self._entries: dict[str, DatabaseEntry] = {}
        self.catalogs: dict[str, DatabaseCatalog] = {}

    def __enter__(self) -> "TaskSetWriter":
        if self._destination.exists():
            raise BadInput(f"{self._destination} is there already: name a new folder, or remove it first")
        try:
            self._destination.parent.mkdir(parents=True, exist_ok=True)
            self.folder = Path(tempfile.mkdtemp(prefix=f".{self._destination.name}-", dir=self._destination.parent))
            self.folder.chmod(0o755)
            (self.folder / DATABASES).mkdir()
        except OSError as error:
            raise BadInput(f"cannot write {self._destination}: {error.strerror}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def add_database(
        self,
        name: str,
        tables: Iterable[Table],
        block_bytes: int = BLOCK_BYTES,
        keys: tuple[TableKeys, ...] | None = None,
    ) -> None:
        """Write one database, its catalog and its hashes; `keys` as they are stated, None if nothing is."""
        tables = tuple(tables)
        path = self.database_path(name)
        write_database(path, tables, block_bytes)
        path.chmod(0o644)
        catalog = read_catalog(path)
        catalog_path = path.with_name(f"{name}.catalog.json")
        catalog_path.write_text(catalog.model_dump_json(), encoding="utf-8")
        self.catalogs[name] = catalog
        self._entries[name] = DatabaseEntry(
            content=content_hash(tables),
            file_sha256=sha256_of(path),
            catalog_sha256=sha256_of(catalog_path),
            tables=len(tables),
            rows=sum(len(table.rows) for table in tables),
            keys=keys,
        )

    def database_path(self, name: str) -> Path:
        """Where the database lies until the task set is finished."""
        return self.folder / DATABASES / f"{name}.duckdb"

    def finish(
        self, tasks: Iterable[Task], golds: Iterable[GoldAnswer], set_aside: Mapping[str, int]
    ) -> TaskSetManifest:
        """Write tasks, gold and manifest, and move the folder to its place."""
        tasks = list(tasks)
        write_jsonl(self.folder / TASKS, tasks)
        write_jsonl(self.folder / GOLD, golds)
        manifest = TaskSetManifest(
            name=self._name,
            source=self._source,
            engine=f"duckdb {duckdb.__version__}",
            databases=self._entries,
            tasks=len(tasks),
            tasks_sha256=sha256_of(self.folder / TASKS),
            gold_sha256=sha256_of(self.folder / GOLD),
            set_aside=dict(set_aside),
        )
        (self.folder / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
        self.folder.rename(self._destination)
        return manifest
