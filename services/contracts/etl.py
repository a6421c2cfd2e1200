"""The ETL environment's wire types: a pinned job, what an agent may do to it, what it is told. Never gold.

`reasoning` is the policy's own text beside an action: recorded, never judged.
"""

from typing import Annotated, Literal, Protocol

from pydantic import Field

from services.contracts.grading import Verdict
from services.contracts.policy import Usage
from services.contracts.record import Record

Dialect = Literal["duckdb", "databricks"]
Mode = Literal["create", "insert", "overwrite", "merge"]


class TableColumn(Record):
    """One column: its name and DuckDB's text of its type."""

    name: str
    type: str


class PinnedTable(Record):
    """A table at one version, readable without its catalog: lower-case dotted name, absolute paths of Parquet files."""

    name: str
    kind: Literal["delta", "parquet"]
    files: tuple[str, ...]
    hive_partitioning: bool = False
    columns: tuple[TableColumn, ...]
    version: int | None = None
    rows: int = 0


class KeyClause(Record):
    """The columns are unique together, and not null."""

    table: str
    columns: tuple[str, ...]


class DependencyClause(Record):
    """Rows that agree on `determines` agree on `dependent`."""

    table: str
    determines: tuple[str, ...]
    dependent: tuple[str, ...]


class FormatClause(Record):
    """Every value that is not null matches the pattern as a whole (RE2)."""

    table: str
    column: str
    pattern: str


class NotNullClause(Record):
    """The column holds no null."""

    table: str
    column: str


class ReferenceClause(Record):
    """Every row without a null in `columns` has its partner in the target."""

    table: str
    columns: tuple[str, ...]
    target: str
    target_columns: tuple[str, ...]


class Contract(Record):
    """What is declared of the sources; it alone may license a rewrite that needs it."""

    keys: tuple[KeyClause, ...] = ()
    dependencies: tuple[DependencyClause, ...] = ()
    formats: tuple[FormatClause, ...] = ()
    not_null: tuple[NotNullClause, ...] = ()
    references: tuple[ReferenceClause, ...] = ()


class ColumnRisk(Record):
    """One finding of the nondeterminism classifier; without a column it is about the set of rows."""

    column: str | None
    kind: Literal["A", "B", "C", "D", "E", "F"]
    reason: str


class SignOff(Record):
    """A person's word that a risk is acceptable."""

    column: str | None
    kind: str
    by: str
    reason: str


class ProductionRun(Record):
    """One run of the job in production: ISO 8601 with zone, seconds."""

    started_at: str
    duration_s: float
    rows: int | None = None


class EtlJob(Record):
    """One pinned production task. `after` is production's output: grader-only, never reachable by the agent.

    `statements` are the original in DuckDB's SQL; `touched` are predicates over partition columns that bound
    production's increment (none: the whole table); `excluded` are output columns left out of the comparison;
    `changes` says what the import changed in the SQL, one line each.
    """

    job_id: str
    task_key: str
    question: str
    statements: tuple[str, ...]
    output: str
    mode: Mode
    output_columns: tuple[TableColumn, ...]
    sources: tuple[PinnedTable, ...]
    before: PinnedTable | None
    after: PinnedTable
    touched: tuple[str, ...] = ()
    contract: Contract = Contract()
    risks: tuple[ColumnRisk, ...] = ()
    sign_offs: tuple[SignOff, ...] = ()
    history: tuple[ProductionRun, ...] = ()
    excluded: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()


class Explain(Record):
    """The plan of one statement."""

    kind: Literal["EXPLAIN"] = "EXPLAIN"
    sql: str
    reasoning: str = ""


class Analyze(Record):
    """The profile of one statement, which is run for it."""

    kind: Literal["ANALYZE"] = "ANALYZE"
    sql: str
    reasoning: str = ""


class Probe(Record):
    """One read-only query over the sources."""

    kind: Literal["PROBE"] = "PROBE"
    sql: str
    reasoning: str = ""


class ReadyProbe(Record):
    """A ready-made probe of one column."""

    kind: Literal["READY_PROBE"] = "READY_PROBE"
    probe: Literal["skew", "cardinality", "nulls"]
    table: str
    column: str
    reasoning: str = ""


class RunRewrite(Record):
    """A rewrite to run in the sandbox; rule and place are the structured form of the edit."""

    kind: Literal["RUN"] = "RUN"
    statements: tuple[str, ...]
    rule: str = ""
    place: str = ""
    reasoning: str = ""


class Verify(Record):
    """Compare the last run's output with production's."""

    kind: Literal["VERIFY"] = "VERIFY"
    reasoning: str = ""


class Submit(Record):
    """Hand in the rewrite that ran last; it ends the episode."""

    kind: Literal["SUBMIT"] = "SUBMIT"
    reasoning: str = ""


class EtlMalformed(Record):
    """Something that is no action; it costs a step like any other mistake."""

    kind: Literal["MALFORMED"] = "MALFORMED"
    text: str
    reason: str
    reasoning: str = ""


EtlAction = Annotated[
    Explain | Analyze | Probe | ReadyProbe | RunRewrite | Verify | Submit | EtlMalformed, Field(discriminator="kind")
]


class EtlObservation(Record):
    """What the agent sees; never production's output, a host path or a stack trace."""

    question: str
    original: tuple[str, ...]
    sources: str
    contract: str
    result: str = ""
    error: str = ""
    step_count: int = 0
    budget_remaining: int = 0
    best: str = ""


class BenchReply(Record):
    """What the bench answers: text or an error, CPU seconds, bytes read, and the limit that was hit, if one was."""

    text: str = ""
    error: str = ""
    cpu_s: float = 0.0
    bytes_read: int = 0
    limit: str = ""
    equal: bool | None = None


class EtlGrade(Record):
    """The grade of a submission; the reward is None when ungraded, and 0 unless equal."""

    verdict: Verdict
    reward: float | None
    equal: bool
    reason: str
    speed_up: float | None = None
    lower_bound: float | None = None
    pay_mode: str = "log"


class EtlBench(Protocol):
    """What an episode may ask of the bench of one job."""

    def explain(self, sql: str) -> BenchReply:
        """The plan of one statement over the pinned sources."""
        ...

    def analyze(self, sql: str) -> BenchReply:
        """The profile of one statement over the pinned sources."""
        ...

    def probe(self, sql: str) -> BenchReply:
        """The first rows of one read-only query over the pinned sources."""
        ...

    def run(self, statements: tuple[str, ...]) -> BenchReply:
        """Run a rewrite into the sandbox schema and keep its output for `verify`."""
        ...

    def verify(self) -> BenchReply:
        """Compare the kept output with production's: counts and the columns that differ, never its rows."""
        ...

    def submit(self, statements: tuple[str, ...]) -> EtlGrade:
        """Grader-owned: equality on the pinned data and on variants of the sources, then the time."""
        ...


class EtlDesk(EtlBench, Protocol):
    """A bench that is set up when it is first needed, and that another thread may end in the middle of an answer."""

    def open(self) -> None:
        """Set it up, with what ran last. Raises BadInput if the job itself is broken, Infrastructure if closed."""
        ...

    def close(self) -> None:
        """End it with all its processes and files, without waiting for them; what is being asked raises."""
        ...


class SourceTable(Record):
    """A source as the agent knows it."""

    name: str
    columns: tuple[TableColumn, ...]
    rows: int


class EtlTurn(Record):
    """One decision to take: the episode so far. `tables` and `contract` say what `first` says as text."""

    job_id: str
    task_key: str
    seed: int
    first: EtlObservation
    history: tuple[tuple[EtlAction, EtlObservation], ...] = ()
    tables: tuple[SourceTable, ...] = ()
    contract: Contract = Contract()

    @property
    def observation(self) -> EtlObservation:
        """What the agent sees now."""
        return self.history[-1][1] if self.history else self.first


class EtlDecision(Record):
    """An action, and what it took to decide."""

    action: EtlAction
    usage: Usage | None = None
    usd: float | None = Field(default=None, ge=0, description="None: there is no price, or no count")


EtlDecided = EtlAction | EtlDecision


class EtlSpent(Record):
    """What one decision took: milliseconds of waiting, and what a model's server counts."""

    policy_ms: float
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    usd: float | None = None


class EtlPolicy(Protocol):
    """Chooses the next action; the same turn gives the same action."""

    def act(self, turn: EtlTurn) -> EtlDecided:
        """One action. Raises PolicyFault if its service fails."""
        ...
