"""The seam to where production's jobs live, and the workspace that is a folder of exported files.

An implementation for a live workspace has these five methods; `tests/workspace_conformance.py` is the test that it has
to pass. Invariant: asking twice gives the same answer, and what is not there is BadInput, never an empty answer.
"""

import difflib
import json
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import yaml
from pydantic import Field, ValidationError

from cluster.etl.catalog import TableAddress
from cluster.etl.export import JobExport, parse_job
from cluster.etl.history import read_runs
from cluster.etl.naming import short_name
from cluster.keys import explain
from services.contracts.errors import BadInput
from services.contracts.etl import Contract, ProductionRun
from services.contracts.record import Record

SUFFIXES = ("", ".sql", ".py")


class Workspace(Protocol):
    """What an import asks of a workspace. Every method raises BadInput for what is not there."""

    def job(self, job_id: str) -> JobExport:
        """The job as `databricks jobs get` gives it."""
        ...

    def source(self, path: str) -> str:
        """The exported source of a notebook, or the text of a SQL file, by its path in the workspace."""
        ...

    def runs(self, job_id: str, task_key: str) -> tuple[ProductionRun, ...]:
        """The task's successful runs, the earliest first; none if none is known."""
        ...

    def table(self, name: str) -> TableAddress:
        """Where a table lies, by its dotted lower-case name with as many parts as the SQL gives it."""
        ...

    def contract(self, job_id: str, task_key: str) -> Contract:
        """What is declared of the tables that a task reads; nothing if nothing is."""
        ...


class CatalogFile(Record):
    """catalog.yaml: the folders of the tables by name, and contracts by task key."""

    tables: dict[str, Path]
    contracts: dict[str, Contract] = Field(default_factory=dict)


class FolderWorkspace:
    """`jobs/ID.json`, `runs/ID.json`, `sources/PATH` with .sql or .py, and catalog.yaml (protocol: Workspace)."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        if not self._root.is_dir():
            raise BadInput(f"there is no workspace folder {root}")

    def job(self, job_id: str) -> JobExport:
        """The job in jobs/ID.json."""
        path = self._inside("jobs", f"{job_id}.json")
        job = parse_job(_json(path), str(path))
        if job.job_id != job_id:
            raise BadInput(f"{path} is of job {job.job_id}: name the file after it")
        return job

    def source(self, path: str) -> str:
        """The file of that path below sources/, with or without its suffix."""
        bare = path.strip("/")
        for suffix in SUFFIXES:
            found = self._inside("sources", bare + suffix)
            if found.is_file():
                return _text(found)
        if self._inside("sources", f"{bare}.ipynb").is_file():
            raise BadInput(f"{path} was exported as .ipynb: export it as SOURCE")
        raise BadInput(f"there is no source of {path}: expected {self._root / 'sources' / bare}.sql or .py")

    def runs(self, job_id: str, task_key: str) -> tuple[ProductionRun, ...]:
        """The task's runs in runs/ID.json, if there is one."""
        path = self._inside("runs", f"{job_id}.json")
        alone = len(self.job(job_id).settings.tasks) == 1
        return read_runs(path, task_key, alone) if path.exists() else ()

    def table(self, name: str) -> TableAddress:
        """The table's folder in catalog.yaml, by its whole name or without its catalog."""
        tables = {known.lower(): path for known, path in self._catalog().tables.items()}
        path = tables.get(name, tables.get(short_name(name)))
        if path is None:
            near = difflib.get_close_matches(name, tables, n=1, cutoff=0.5)
            raise BadInput(f"catalog.yaml has no table {name}{f'; did you mean {near[0]}?' if near else ''}")
        return TableAddress(path=self._root / path)

    def contract(self, job_id: str, task_key: str) -> Contract:
        """The task's contract in catalog.yaml."""
        self.job(job_id).task(task_key)
        return self._catalog().contracts.get(task_key, Contract())

    def _catalog(self) -> CatalogFile:
        path = self._root / "catalog.yaml"
        try:
            tree: Any = yaml.safe_load(_text(path))
        except yaml.YAMLError as error:
            raise BadInput(f"{path}: {' '.join(str(error).split())[:300]}") from error
        try:
            return CatalogFile.model_validate(tree)
        except ValidationError as error:
            raise BadInput(f"{path}: {explain(error, CatalogFile)}") from error

    def _inside(self, folder: str, name: str) -> Path:
        """A path in a folder of the workspace; one that leads out of it is refused."""
        found = self._root / folder / name
        if ".." in PurePosixPath(name).parts or not found.resolve().is_relative_to((self._root / folder).resolve()):
            raise BadInput(f"{name} leads out of {self._root / folder}")
        return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error


def _json(path: Path) -> Any:
    try:
        return json.loads(_text(path))
    except ValueError as error:
        raise BadInput(f"{path} is no JSON: {error}") from error
