"""Grades submissions of one job on the grader's own ground: equality with production, then on variants, then the time.

Invariant: the agent's process is shown neither production's output nor a variant; what is timed is a variant, too, so
that a result which was known beforehand is of no use. A broken machine raises Infrastructure, and nothing is graded.
"""

import secrets
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path

from services.contracts.errors import AssayError, BadInput, Infrastructure
from services.contracts.etl import EtlJob
from services.grader.etl.asking import Judgement, Refused, Scope, judge_apart, shared_core
from services.grader.etl.ground import LIMITS, Ground, expected, ground_of, guard_scope, runtime_job, stored_name
from services.grader.etl.nondeterminism.signoff import left_out
from services.grader.etl.nondeterminism.vouching import Vouched, vouch
from services.grader.etl.outputs import compare_outputs, export, output_of, write_parquet
from services.grader.etl.rules import table_rules
from services.grader.etl.staging import stage
from services.grader.etl.submission import Check, Submission, Where, counts_of
from services.grader.etl.variants import CHECKED, Checked, make_variant
from services.grader.runtime.baseline import split_gain
from services.grader.runtime.job import Comparison as Sides
from services.grader.runtime.job import Job, JobLimits
from services.grader.runtime.measurement import Measurement
from services.grader.runtime.measuring import timed_here
from services.grader.runtime.pay import PayRules
from services.grader.runtime.run import Run, RunOutcome, Stopped
from services.grader.runtime.running import run_once
from services.grader.runtime.sides import RunJob
from services.grader.tables.verdict import Comparison

WAIT_S = 600.0
"""Seconds to wait for a core on which to time."""
EXAMPLES = 20
Judge = Callable[[Scope, Sequence[str]], Judgement | Refused]
Measure = Callable[[Sides, Path], Measurement]


def measure_here(sides: Sides, keep: Path) -> Measurement:
    """Time both sides on a core of this machine; `keep` holds one pair's outputs. Raises TimingFault, BadInput."""
    (measurement,) = timed_here(lambda timer: timer.batch([sides], keep), WAIT_S)
    return measurement


def within_disk(limits: JobLimits) -> JobLimits:
    """The limits, with no more spill and no larger file than a quarter of what the disk has left."""
    quarter_mb = shutil.disk_usage(tempfile.gettempdir()).free // 2**22
    return limits.model_copy(
        update={"spill_mb": min(limits.spill_mb, quarter_mb), "file_mb": max(1, min(limits.file_mb, quarter_mb))}
    )


class SubmissionGrader:
    """What is the grader's alone of one job: production's output, the variants, and the original's outputs on them."""

    def __init__(
        self,
        job: EtlJob,
        limits: JobLimits = LIMITS,
        rules: PayRules | None = None,
        seed: int | None = None,
        judge: Judge = judge_apart,
        run: RunJob = run_once,
        measure: Measure = measure_here,
    ) -> None:
        """Stage the files; `seed`, of the variants, is drawn if it is not given. Raises BadInput, Infrastructure."""
        self.limits = within_disk(limits)
        self._rules = rules or PayRules()
        self._judge = judge
        self._run = run
        self._measure = measure
        self.seed = secrets.randbits(31) if seed is None else seed
        self.folder = Path(tempfile.mkdtemp(prefix="assay-etl-")).resolve()
        self.folder.chmod(0o755)
        self._own = self.folder / "grader"
        self._own.mkdir(mode=0o700)
        try:
            self.job = stage(job, self.folder / "sources")
        except AssayError:
            self.close()
            raise
        self.ground = ground_of(self.job)
        self._variants: dict[Checked, tuple[Ground, Path] | None] = {}
        self._expected: Path | None = None

    def close(self) -> None:
        """Remove every copy."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @cached_property
    def original(self) -> Judgement:
        """The original as it runs. Raises BadInput if it may not."""
        found = self._judge(guard_scope(self.job), self.job.statements)
        if isinstance(found, Refused):
            raise BadInput(f"the job's own SQL cannot be run here: {found.message}")
        return found

    def judged(self, statements: tuple[str, ...]) -> Judgement | Refused:
        """A rewrite as it may run. Raises TimingFault."""
        found = self._judge(guard_scope(self.job), statements)
        if isinstance(found, Judgement) and found.volatile and not self.original.volatile:
            return Refused(
                reason="forbidden", message="the rewrite draws or reads the clock, and the original does not"
            )
        return found

    def baseline(self) -> tuple[Run, Comparison]:
        """The original alone on the pinned data, beside production's output. Raises BadInput if they differ."""
        kept = self._own / "baseline"
        outcome = self._ran(self.ground, self.original.sql, kept, profile=True)
        if isinstance(outcome, Stopped):
            raise BadInput(f"the original cannot be run here: {outcome.reason}: {outcome.message}")
        found = self._beside(kept)
        shutil.rmtree(kept, ignore_errors=True)
        if found.comparison is None or not found.comparison.equal:
            said = counts_of(found.comparison) if found.comparison else "there is none"
            raise BadInput(f"the original does not give production's output: {said}; check the pins")
        if found.vouched is not None and not found.vouched.sound:
            raise BadInput(f"production's own output is not vouched for: {found.vouched.reason}")
        return outcome, found.comparison

    def run(self, sql: tuple[str, ...], keep: Path) -> RunOutcome:
        """Judged statements on the pinned data; the output is kept. Raises TimingFault."""
        return self._ran(self.ground, sql, keep, profile=True)

    def beside_production(self, kept: Path) -> Comparison:
        """A kept output beside production's. Raises Infrastructure."""
        if self._expected is None:
            self._expected = self._own / "production.parquet"
            write_parquet(expected(self.job, self.ground), self._expected)
        export(kept, stored_name(self.job), self._own / "output.parquet")
        return compare_outputs(str(self._expected), str(self._own / "output.parquet"), table_rules(self.job, EXAMPLES))

    def _beside(self, kept: Path) -> Check:
        """The same with what is to be said of the columns that are left out. Raises BadInput, Infrastructure."""
        found = self.beside_production(kept)
        production = self._own / "production.parquet"
        vouched = self._vouched(self.ground, production, self._own / "output.parquet") if found.equal else None
        return Check(where="production", comparison=found, vouched=vouched)

    def _vouched(self, ground: Ground, left: Path, right: Path) -> Vouched | None:
        """What is to be said of the columns that are left out; None if none is."""
        if not left_out(self.job):
            return None
        job = self.job.model_copy(update={"sources": ground.sources, "before": ground.before})
        return vouch(job, left, right, folder=self._own)

    def _checked(self, where: Where, ground: Ground, original: Path, kept: Path) -> Check:
        """Two kept outputs beside each other, both of rows that are not production's."""
        stored = stored_name(self.job)
        rules = table_rules(self.job, EXAMPLES)
        found = compare_outputs(output_of(original, stored), output_of(kept, stored), rules)
        vouched = None
        if found.equal and rules.ignore:
            left, right = self._own / "left.parquet", self._own / "right.parquet"
            export(original, stored, left)
            export(kept, stored, right)
            vouched = self._vouched(ground, left, right)
        return Check(where=where, seed=self.seed, comparison=found, vouched=vouched)

    def grade(self, statements: tuple[str, ...]) -> Submission:
        """Judge, compare and time a rewrite. Raises Infrastructure; BadInput where the task itself is broken."""
        made = Submission(statements=statements, rules=self._rules)
        found = self.judged(statements)
        if isinstance(found, Refused):
            return made.model_copy(update={"refused": found})
        made = made.model_copy(update={"ran": found.sql})
        checks, void = self._checks(found.sql)
        made = made.model_copy(update={"checks": tuple(checks), "void": tuple(void)})
        return self._timed(made) if all(check.equal for check in checks) else made

    def _checks(self, sql: tuple[str, ...]) -> tuple[list[Check], list[str]]:
        """The comparisons, up to the first one that fails, and the variants that could not be used."""
        checks: list[Check] = [self._on_production(sql)]
        void: list[str] = []
        for kind in CHECKED:
            if not checks[-1].equal:
                break
            variant = self._variant(kind)
            if variant is None:
                void.append(kind)
            else:
                checks.append(self._on_variant(kind, *variant, sql))
        if len(void) == len(CHECKED):
            raise BadInput("the original cannot be run on any other rows than production's: nothing can be proven")
        return checks, void

    def _on_production(self, sql: tuple[str, ...]) -> Check:
        kept = self._own / "submitted"
        outcome = self.run(sql, kept)
        if isinstance(outcome, Stopped):
            return Check(where="production", stopped=outcome)
        return self._beside(kept)

    def _on_variant(self, kind: Checked, ground: Ground, original: Path, sql: tuple[str, ...]) -> Check:
        kept = self._own / "varied"
        outcome = self._ran(ground, sql, kept)
        if isinstance(outcome, Stopped):
            return Check(where=kind, seed=self.seed, stopped=outcome)
        return self._checked(kind, ground, original, kept)

    def _variant(self, kind: Checked) -> tuple[Ground, Path] | None:
        """A variant and the original's output on it; None if the original cannot run there."""
        if kind not in self._variants:
            ground = make_variant(self.job, self.ground, kind, self.seed, self.folder / kind)
            kept = self._own / f"original-{kind}"
            usable = ground is not None and isinstance(self._ran(ground, self.original.sql, kept), Run)
            self._variants[kind] = (ground, kept) if ground is not None and usable else None
        return self._variants[kind]

    def _timed(self, made: Submission) -> Submission:
        """The submission with its time on nearly all of the pinned rows, and the outputs of one of the timed pairs."""
        near = make_variant(self.job, self.ground, "near", self.seed, self._fresh("near"))
        if near is None:
            raise Infrastructure("the rows to time on could not be made")
        keep = self._own / "timed"
        job = self._runtime(near, self.original.sql)
        measurement = self._measure(Sides(original=job, rewrite=made.ran, seed=self.seed), keep)
        made = made.model_copy(update={"measurement": measurement})
        kept = keep / "0"
        if measurement.unfit is None:
            found = self._checked("timed", near, kept / "original", kept / "rewrite")
            made = made.model_copy(update={"checks": (*made.checks, found)})
        history = [run.duration_s for run in self.job.history]
        if len(history) > 1 and len(measurement.pairs) > 1:
            made = made.model_copy(update={"split": split_gain(measurement, history)})
        shutil.rmtree(self.folder / "near", ignore_errors=True)
        return made

    def _fresh(self, name: str) -> Path:
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        return path

    def _runtime(self, ground: Ground, sql: tuple[str, ...]) -> Job:
        return runtime_job(self.job, ground, sql, self.limits)

    def _ran(self, ground: Ground, sql: tuple[str, ...], keep: Path, profile: bool = False) -> RunOutcome:
        """One run that is not timed; its output is kept. Raises TimingFault."""
        with shared_core() as core:
            return self._run(self._runtime(ground, sql), core, profile, keep)
