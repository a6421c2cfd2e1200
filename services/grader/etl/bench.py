"""The bench of one job: what an agent may ask before it submits (protocol: services.contracts.etl.EtlBench).

Invariant: every answer comes from a confined process that sees the pinned sources alone, and names no path of the host;
of production's output it tells counts and the columns that differ.
"""

from functools import cached_property
from pathlib import Path

from services.contracts.etl import BenchReply, EtlGrade, EtlJob
from services.grader.etl.asking import Halted, Refused, Shown, ask
from services.grader.etl.grading import SubmissionGrader
from services.grader.etl.ground import guard_scope, runtime_job, stored_name
from services.grader.etl.submission import Submission, counts_of, grade_of
from services.grader.runtime.run import Run, Stopped
from services.grader.tables.verdict import Comparison

ROWS = 50
"""Rows of a probe that are shown."""
_SAID = {"identical": "equal", "within_tolerance": "equal within the tolerance", "different": "different"}


class Bench:
    """One job's bench. Close it when the episode is over."""

    def __init__(self, grader: SubmissionGrader) -> None:
        self._grader = grader
        self._job: EtlJob = grader.job
        self._kept = grader.folder / "grader" / "last"
        self._last: Run | None = None
        self.submission: Submission | None = None
        self.verified: Comparison | None = None

    @cached_property
    def baseline(self) -> tuple[Run, Comparison]:
        """The original alone here, and its output beside production's. Raises BadInput if they differ."""
        return self._grader.baseline()

    def explain(self, sql: str) -> BenchReply:
        """The plan of one query."""
        return self._asked(sql, "FORMAT json")

    def analyze(self, sql: str) -> BenchReply:
        """The profile of one query."""
        return self._asked(sql, "ANALYZE, FORMAT json")

    def probe(self, sql: str) -> BenchReply:
        """The first rows of one query."""
        return self._asked(sql, "")

    def run(self, statements: tuple[str, ...]) -> BenchReply:
        """Run a rewrite and keep its output for `verify`."""
        self._last = None
        found = self._grader.judged(statements)
        if isinstance(found, Refused):
            return BenchReply(error=found.message)
        outcome = self._grader.run(found.sql, self._kept)
        if isinstance(outcome, Stopped):
            limit = "" if outcome.reason in ("sql_error", "output") else outcome.reason
            return BenchReply(error=self._without_paths(f"{outcome.reason}: {outcome.message}"), limit=limit)
        self._last = outcome
        read = sum(work.bytes_read for work in outcome.work)
        scanned, made = (sum(getattr(work, name) for work in outcome.work) for name in ("rows_scanned", "rows_made"))
        first = self.baseline[0].cpu_s
        text = (
            f"{outcome.outputs[0].rows} rows in {self._job.output}; {outcome.cpu_s:.3f} CPU s in one run "
            f"(the original took {first:.3f}); {scanned} rows scanned, {made} rows made, {read} bytes read"
        )
        return BenchReply(text=text, cpu_s=outcome.cpu_s, bytes_read=read)

    def verify(self) -> BenchReply:
        """The last run's output beside production's: the verdict, counts, and the columns that differ."""
        if self._last is None:
            return BenchReply(error="nothing to verify: RUN a rewrite first")
        self.verified = self._grader.beside_production(self._kept)
        said = f"{_SAID[self.verified.verdict]}: {counts_of(self.verified)}"
        return BenchReply(text=said, equal=self.verified.equal)

    def submit(self, statements: tuple[str, ...]) -> EtlGrade:
        """The grade of a rewrite. Raises Infrastructure, BadInput."""
        self.submission = self._grader.grade(statements)
        return grade_of(self.submission)

    def close(self) -> None:
        """Remove what was kept."""
        self._grader.close()

    def _asked(self, sql: str, how: str) -> BenchReply:
        grader = self._grader
        job = runtime_job(self._job, grader.ground, ("SELECT 1",), grader.limits)
        answer = ask(job.model_copy(update={"tables": ()}), guard_scope(self._job), sql, how, ROWS)
        match answer:
            case Refused():
                return BenchReply(error=answer.message)
            case Halted():
                return BenchReply(error=self._without_paths(answer.message), limit=answer.limit)
            case Shown():
                text = self._without_paths(answer.plan or table_text(answer))
                return BenchReply(text=text, cpu_s=answer.cpu_s, bytes_read=answer.bytes_read)

    def _without_paths(self, text: str) -> str:
        """The text with the names of tables where files are named."""
        for number, table in enumerate(self._grader.ground.tables):
            for path in table.files:
                text = text.replace(path, table.name).replace(str(Path(path).parent), table.name)
            text = text.replace(f"__pin_{number}", table.name)
        return text.replace(f"run.main.{stored_name(self._job)}", self._job.output)


def table_text(shown: Shown) -> str:
    """Rows as text: a line of columns with their types, then a line a row."""
    lines = [" | ".join(shown.columns)]
    lines += [" | ".join("NULL" if cell is None else cell for cell in row) for row in shown.rows]
    return "\n".join([*lines, *(["…"] if shown.more else [])]) if shown.rows else f"{lines[0]}\n(no rows)"
