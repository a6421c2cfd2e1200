"""One task's near misses held against candidates: which are told from the gold, and where."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from services.contracts.statements import LimitHit, ResultTable, Rows, StatementOutcome
from services.grader.gold import GoldAnswer
from services.grader.ties import AmbiguousError, groups_in, keyed, limited_parts
from services.grader.variants.agreement import Expected, agrees
from services.grader.variants.candidates import Candidate
from services.grader.variants.mutants import HARD_CODED_ANSWER, Mutant
from services.sandbox.pool import SandboxPool

MOST_ROWS = 2_000
"""Rows of a gold on a variant; more would make the archive large and tell no more."""


@dataclass
class Trial:
    """A task under trial. `kills` has for each mutant left the candidates, by name, that tell it from the gold."""

    gold: GoldAnswer
    tree: exp.Expr
    kills: dict[Mutant, set[str]] = field(default_factory=dict)
    expected: dict[str, Expected] = field(default_factory=dict)
    on_base: list[Mutant] = field(default_factory=list)

    @property
    def left(self) -> list[Mutant]:
        """The mutants that nothing tells from the gold so far."""
        return [mutant for mutant, places in self.kills.items() if not places]


async def start(trial: Trial, mutants: Sequence[Mutant], database: str, pool: SandboxPool) -> None:
    """Hold the mutants against the gold on the database itself; those that do not run are no near misses."""
    truth = Expected(rows=tuple(tuple(row) for row in trial.gold.rows()), tie_groups=trial.gold.tie_groups)
    for mutant in mutants:
        outcome, _ = await pool.run(database, mutant.sql)
        if not isinstance(outcome, ResultTable) or outcome.facts.volatile:
            continue
        if outcome.truncated or not agrees(trial.gold, truth, outcome.rows):
            trial.on_base.append(mutant)
        else:
            trial.kills[mutant] = set()
    trial.kills[Mutant(HARD_CODED_ANSWER, "")] = set()


async def hold(
    trial: Trial, candidates: Sequence[Candidate], name: str, pool: SandboxPool, only_left: bool = False
) -> None:
    """Hold the mutants against the gold on candidates. `name` is that of this set of candidates."""
    paths = [path for candidate in candidates for path in (candidate.path, candidate.reverse)]
    found = await _expected(trial, candidates, name, paths, pool)
    trial.expected.update({candidates[place].name: expected for place, expected in found.items()})
    places = sorted(found)
    for mutant in trial.left if only_left else list(trial.kills):
        if mutant.kind == HARD_CODED_ANSWER:
            told = {p for p in places if not agrees(trial.gold, found[p], trial.gold.rows())}
        else:
            outcomes = await pool.replay(name, paths, mutant.sql, [2 * place for place in places])
            told = {p for p, o in zip(places, outcomes, strict=True) if _is_told(trial.gold, found[p], o)}
        trial.kills[mutant] |= {candidates[place].name for place in told}


def _is_told(gold: GoldAnswer, expected: Expected, outcome: StatementOutcome) -> bool:
    """Whether an outcome is another one than the gold's; of a limit that was hit nothing is known."""
    if isinstance(outcome, LimitHit):
        return False
    return not isinstance(outcome, ResultTable) or outcome.truncated or not agrees(gold, expected, outcome.rows)


async def _expected(
    trial: Trial, candidates: Sequence[Candidate], name: str, paths: Sequence[object], pool: SandboxPool
) -> dict[int, Expected]:
    """What the gold gives on the candidates where it leaves nothing to chance."""
    outcomes = await pool.replay(name, paths, trial.gold.gold_sql, range(2 * len(candidates)))  # type: ignore[arg-type]
    groups = await _tie_groups(trial, candidates, name, paths, pool, outcomes)
    found: dict[int, Expected] = {}
    for place in range(len(candidates)):
        one, other = outcomes[2 * place : 2 * place + 2]
        ties = groups[place]
        if ties is None or not isinstance(one, ResultTable) or one.truncated or len(one.rows) > MOST_ROWS:
            continue
        if not one.rows or all(cell in (None, 0) for row in one.rows for cell in row):
            continue  # any query that finds nothing would give it, and right ones differ in how they say so
        expected = Expected(
            rows=tuple(map(tuple, one.rows)),
            tie_groups=ties if _is_tied(ties) else (),
            repeats=candidates[place].repeats,
        )
        if isinstance(other, ResultTable) and _same(trial.gold, expected, one.rows, other.rows):
            found[place] = expected
    return found


def _same(gold: GoldAnswer, expected: Expected, rows: Rows, others: Rows) -> bool:
    """Whether the gold gives the same rows, as often, whatever the order in which the tables' rows are read."""
    exact = gold.model_copy(update={"answer_type": "table"})
    return len(rows) == len(others) and agrees(exact, expected, others)


def _is_tied(groups: tuple[int, ...]) -> bool:
    return max(groups, default=1) > 1


async def _tie_groups(
    trial: Trial, candidates: Sequence[Candidate], name: str, paths: Sequence[object], pool: SandboxPool,
    outcomes: Sequence[StatementOutcome],
) -> list[tuple[int, ...] | None]:  # fmt: skip
    """For each candidate the runs of tied rows; None where rows tie at a LIMIT."""
    groups: list[tuple[int, ...] | None] = [() for _ in candidates]
    for part in (*limited_parts(trial.tree), trial.tree):
        query = keyed(part, "duckdb")
        if query is None or (part is trial.tree and not trial.gold.ordered and query.limit is None):
            continue
        wholes = await pool.replay(name, paths, query.sql, range(0, 2 * len(candidates), 2))  # type: ignore[arg-type]
        for place, whole in enumerate(wholes):
            gold = outcomes[2 * place]
            if groups[place] is None or not isinstance(whole, ResultTable) or not isinstance(gold, ResultTable):
                continue
            try:
                found = groups_in(whole.rows, query, gold.rows if part is trial.tree else None, strict=True)
            except AmbiguousError:
                groups[place] = None
                continue
            if part is trial.tree and trial.gold.ordered:
                groups[place] = found
    return groups
