"""A rewrite timed beside its original from files: what `assay time` does, and the file that it leaves."""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import duckdb
from pydantic import ValidationError

from services.contracts.errors import BadInput
from services.grader.runtime.cores import Core
from services.grader.runtime.grade import RuntimeGrade, grade
from services.grader.runtime.job import Comparison, DatabaseSource, Job, ParquetSource, Source
from services.grader.runtime.measurement import Measurement
from services.grader.runtime.measuring import timed_here
from services.grader.runtime.pay import PayRules
from services.grader.runtime.run import RunOutcome
from services.grader.runtime.running import run_once
from services.grader.runtime.timer import CANARY_PAIRS
from services.grader.runtime.verdict import SecondOpinion
from services.grader.tables.compare import compare
from services.grader.tables.verdict import Comparison as TableComparison
from services.grader.tables.verdict import TableJob

FILE = "runtime.json"
WAIT_S = 60.0
DATABASES = (".duckdb", ".db")
RESULT = "run.duckdb::result"
OnRuns = Callable[[int], None]
"""Is told how many runs are over."""


def statements_in(path: Path) -> tuple[str, ...]:
    """The statements of a SQL file. Raises BadInput."""
    try:
        text = path.read_text(encoding="utf-8")
        found = tuple(statement.query.strip() for statement in duckdb.extract_statements(text))
    except OSError as error:
        raise BadInput(f"cannot read the SQL file {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"the SQL file {path} is not UTF-8 text: {error.reason}") from error
    except duckdb.Error as error:
        raise BadInput(f"{path} is not SQL that the engine can read: {str(error).splitlines()[0]}") from error
    if not found:
        raise BadInput(f"{path} holds no statement")
    return found


def source_of(text: str) -> Source:
    """The source of NAME=PATH: a DuckDB file, a Parquet file, or a folder of them. Raises BadInput."""
    name, equals, where = text.partition("=")
    path = Path(where)
    if not equals or not where:
        raise BadInput(f"--source {text} should be NAME=PATH, PATH being a DuckDB file, a Parquet file or a folder")
    if not path.exists():
        raise BadInput(f"--source {name}: there is nothing at {path}")
    try:
        if path.suffix in DATABASES:
            return DatabaseSource(name=name, path=path)
        files = tuple(sorted(path.rglob("*.parquet"))) if path.is_dir() else (path,)
        nested = any("=" in part for file in files for part in file.relative_to(path).parts[:-1])
        return ParquetSource(name=name, paths=files, hive_partitioning=nested)
    except ValidationError as error:
        raise BadInput(f"--source {text}: {error.errors()[0]['msg']}") from error


def time_rewrite(comparison: Comparison, rules: PayRules, history_s: Sequence[float], on_runs: OnRuns) -> RuntimeGrade:
    """Measure, compare the outputs, and grade. Raises BadInput, also for an original that fails; TimingFault."""
    with tempfile.TemporaryDirectory(prefix="assay-time-") as kept:
        (taken,) = timed_here(lambda timer: timer.batch([comparison], Path(kept)), WAIT_S, _counted(on_runs))
        if taken.unfit is not None and taken.unfit.side == "original":
            raise BadInput(f"the original cannot be measured: {taken.unfit.reason}: {taken.unfit.message}")
        return grade(taken, _equality(taken, Path(kept) / "0"), rules, history_s)


def remeasure(stored: RuntimeGrade, on_runs: OnRuns) -> SecondOpinion:
    """The stored comparison measured again on this machine. Raises BadInput, TimingFault."""
    return timed_here(lambda timer: timer.remeasure(stored.measurement), WAIT_S, _counted(on_runs))


def most_runs() -> int:
    """How many runs one comparison can come to: the canary's, the profiled ones, and 30 pairs."""
    return 2 * (CANARY_PAIRS + 1 + 30)


def read_grade(folder: Path) -> RuntimeGrade:
    """The grade that a folder holds. Raises BadInput."""
    path = folder / FILE
    try:
        return RuntimeGrade.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    except ValidationError as error:
        raise BadInput(f"{path} is not the grade of a rewrite: {error.errors()[0]['msg']}") from error


def write_grade(folder: Path, found: RuntimeGrade) -> None:
    """Leave the grade in a new folder. Raises BadInput."""
    try:
        folder.mkdir(parents=True)
        (folder / FILE).write_text(found.model_dump_json(indent=1), encoding="utf-8")
    except OSError as error:
        raise BadInput(f"cannot write {folder}: {error.strerror}") from error


def _counted(on_runs: OnRuns) -> Callable[[Job, Core, bool, Path | None], RunOutcome]:
    runs = 0

    def run(job: Job, core: Core, profile: bool, keep: Path | None) -> RunOutcome:
        nonlocal runs
        outcome = run_once(job, core, profile, keep)
        runs += 1
        on_runs(runs)
        return outcome

    return run


def _equality(taken: Measurement, kept: Path) -> TableComparison | None:
    """The outputs of the pair that was kept, compared; None if there are not two."""
    sides = [kept / side / "run.duckdb" for side in ("original", "rewrite")]
    if taken.unfit is not None or not all(side.exists() for side in sides):
        return None
    left, right = (str(side.parent / RESULT) for side in sides)
    found = compare(TableJob(left=left, right=right))
    return found.model_copy(update={"left": "original", "right": "rewrite"})
