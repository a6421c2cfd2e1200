"""A folder of CSV and Parquet files with a questions file as a task set: what people bring of their own.

Each file is a table named after it; a sub-folder is a database, and so are the files of the folder itself. A row that
cannot be read is reported with its line, and fails the import unless it is to be skipped.
"""

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cluster.tasksets.columns import BLANKS, NULLS, typed_column
from cluster.tasksets.delimited import read_sheet
from cluster.tasksets.freeze import Frozen, SetAside, freeze
from cluster.tasksets.keys import keys_of_folder
from cluster.tasksets.parquet import read_parquet
from cluster.tasksets.questions import Question, find_questions, read_questions
from cluster.tasksets.tables import Table
from cluster.tasksets.writer import TaskSetWriter
from services.contracts.errors import BadInput
from services.env_actor.taskset import TaskSetManifest
from services.sandbox.limits import SandboxLimits
from services.sandbox.pool import SandboxPool

SUFFIXES = (".csv", ".tsv", ".parquet")
SHOWN_BAD_ROWS = 20
LIMITS = SandboxLimits(children=1, cache_mb=0)
_TABLE_NAME = re.compile(r"\w[\w .$-]*")
Progress = Callable[[int], None]
Complain = Callable[[str], None]


@dataclass(frozen=True)
class CsvSource:
    """What to import and how: `nulls` are further spellings of NULL."""

    folder: Path
    questions: Path | None = None
    nulls: tuple[str, ...] = ()
    skip_bad_rows: bool = False


@dataclass(frozen=True)
class CsvImport:
    """What came of it."""

    manifest: TaskSetManifest
    bad_rows: int


class BadRows:
    """Counts the rows that could not be read, and shows the first of them."""

    def __init__(self, complain: Complain) -> None:
        self._complain = complain
        self.count = 0

    def add(self, shown: str, rows: Sequence[tuple[int, str]]) -> None:
        """Take in the bad rows of one file."""
        for line, why in rows[: max(0, SHOWN_BAD_ROWS - self.count)]:
            self._complain(f"{shown} line {line}: {why}")
        self.count += len(rows)

    def settle(self, skip: bool) -> None:
        """Say how many were not shown. Raises BadInput if there are any and they are not to be skipped."""
        if self.count > SHOWN_BAD_ROWS:
            self._complain(f"… and {self.count - SHOWN_BAD_ROWS} more")
        if self.count and not skip:
            rows = "1 row" if self.count == 1 else f"{self.count} rows"
            raise BadInput(f"{rows} cannot be read: mend them, or leave them out with --skip-bad-rows")


async def import_csv(source: CsvSource, destination: Path, progress: Progress, complain: Complain) -> CsvImport:
    """Read a folder into a task set. `progress` hears how many files and questions are done, `complain` of each row
    and question that is left out. Raises BadInput.
    """
    if not source.folder.is_dir():
        raise BadInput(f"no folder {source.folder}")
    destination = destination.resolve()  # the sandbox works in another folder
    path = find_questions(source.folder, source.questions)
    databases = find_tables(source.folder, path)
    questions = read_questions(path, _callable_by(source.folder, databases), destination.name, complain)
    bad = BadRows(complain)
    done = 0
    with TaskSetWriter(destination, destination.name, f"csv {source.folder.resolve().name}") as writer:
        for database, files in databases.items():
            tables = [read_table(source, file, bad) for file in files]
            writer.add_database(database, tables, keys=keys_of_folder(files[0].parent, tables))
            progress(done := done + len(files))
        bad.settle(source.skip_bad_rows)
        frozen = await _freeze_all(writer, questions, lambda more: progress(done + more), complain)
        kept = [verdict for verdict in frozen if isinstance(verdict, Frozen)]
        set_aside = Counter(verdict.reason for verdict in frozen if isinstance(verdict, SetAside))
        if not kept:
            raise BadInput(f"{path.name}: no question could be admitted ({_counts(set_aside)})")
        return CsvImport(writer.finish([k.task for k in kept], [k.gold for k in kept], set_aside), bad.count)


def find_tables(folder: Path, questions: Path) -> dict[str, list[Path]]:
    """The files of each database, by name. Raises BadInput for names that clash or cannot be used."""
    databases: dict[str, list[Path]] = {}
    for part in (folder, *sorted(path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")):
        files = sorted(file for file in part.iterdir() if _is_table(file, questions))
        if not files:
            continue
        name = database_name(part)
        if name in databases:
            raise BadInput(f"{folder}: two folders would be the database {name}: rename one")
        _check_tables(folder, files)
        databases[name] = files
    if not databases:
        raise BadInput(f"{folder} has no tables: expected {', '.join('*' + suffix for suffix in SUFFIXES)}")
    return databases


def read_table(source: CsvSource, file: Path, bad: BadRows) -> Table:
    """One file as a typed table; rows that cannot be read go to `bad`. Raises BadInput."""
    shown = str(file.relative_to(source.folder))
    if file.suffix.lower() == ".parquet":
        return read_parquet(file, file.stem, shown)
    more = frozenset(source.nulls)
    sheet = read_sheet(file, shown, NULLS | more)
    bad.add(shown, sheet.bad)
    columns = [typed_column(values, BLANKS | more) for values in zip(*sheet.rows, strict=True)]
    kinds = [kind for kind, _ in columns] or ["VARCHAR"] * len(sheet.header)
    rows = list(zip(*(values for _, values in columns), strict=True))
    return Table(name=file.stem, columns=tuple(zip(sheet.header, kinds, strict=True)), rows=rows)


def database_name(folder: Path) -> str:
    """The folder's name with every run of other characters than letters and digits as one underscore."""
    return re.sub(r"\W+", "_", folder.resolve().name).strip("_") or "data"


def _is_table(file: Path, questions: Path) -> bool:
    is_ours = file.suffix.lower() in SUFFIXES and file.name[0] != "." and file.is_file()
    return is_ours and file.resolve() != questions.resolve()


def _check_tables(folder: Path, files: Sequence[Path]) -> None:
    seen: dict[str, str] = {}
    for file in files:
        shown = str(file.relative_to(folder))
        if not _TABLE_NAME.fullmatch(file.stem):
            raise BadInput(f"{shown}: {file.stem!r} cannot be the name of a table: rename the file")
        if file.stem.casefold() in seen:
            raise BadInput(f"{seen[file.stem.casefold()]} and {shown} would both be the table {file.stem}: keep one")
        seen[file.stem.casefold()] = shown


def _callable_by(folder: Path, databases: Mapping[str, Sequence[Path]]) -> dict[str, str]:
    """A question may name a database as it is called or as its folder is."""
    named = {files[0].resolve().parent.name: name for name, files in databases.items()}
    return named | {name: name for name in databases}


async def _freeze_all(
    writer: TaskSetWriter, questions: Sequence[Question], progress: Progress, complain: Complain
) -> list[Frozen | SetAside]:
    """What became of each question, in file order."""
    frozen: dict[str, Frozen | SetAside] = {}
    for database in writer.catalogs:
        async with SandboxPool({database: writer.database_path(database)}, LIMITS) as pool:
            for question in questions:
                if question.database == database:
                    frozen[question.task_id] = await freeze(question, pool)
                    progress(len(frozen))
    for question in questions:
        verdict = frozen[question.task_id]
        if isinstance(verdict, SetAside):
            complain(f"{question.where}: {verdict.reason}: {verdict.detail}")
    return [frozen[question.task_id] for question in questions]


def _counts(set_aside: Mapping[str, int]) -> str:
    return ", ".join(f"{reason}: {count}" for reason, count in sorted(set_aside.items()))
