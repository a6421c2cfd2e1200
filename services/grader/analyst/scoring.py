"""The three graders of the analyst (sql-data-analyst-prd §4): deterministic, from results, profile and syntax tree.

Invariant: a part of a score is paid only if it holds on the visible database and on every hidden copy, so that neither
a constant nor a lucky value is worth anything; a statement whose result may change from run to run scores 0.
"""

import json
from collections import Counter
from collections.abc import Sequence

from services.contracts.errors import BadInput
from services.contracts.statements import ResultTable, Rows
from services.contracts.trials import Profile, Trial, TrialOrder
from services.grader.analyst.gold import AnalystGold, CostRange
from services.grader.analyst.joins import severed
from services.grader.gold import GoldAnswer
from services.grader.results import same_result
from services.grader.runtime.cost import Cost

JOIN, VALUE = 0.5, 0.5
ACCURACY, EXECUTION = 0.6, 0.4


def orders_for(gold: GoldAnswer, sql: str, result: ResultTable) -> tuple[TrialOrder, ...]:
    """The runs that the score needs; a result that is wrong already needs none."""
    part = _part(gold)
    if result.facts.volatile:
        return ()
    right = _is_right(part, result, gold.rows())
    copies = [TrialOrder(purpose="copy", database=copy.database, sql=sql) for copy in part.copies] if right else []
    match part.kind:
        case "fix_broken_join":
            return tuple(copies)
        case "category_revenue":
            cut = severed(sql, part.tables, part.keys) if result.rows and result.facts.from_data else None
            probe = [TrialOrder(purpose="severed", database=part.copies[0].database, sql=cut)] if cut else []
            whole = [TrialOrder(purpose="copy", database=part.copies[0].database, sql=sql)] if cut and not right else []
            return (*copies, *whole, *probe)
        case "churn_analysis":
            cost = TrialOrder(purpose="cost", database=part.copies[0].database, sql=sql)
            return (*copies, cost) if right else ()


def score_of(gold: GoldAnswer, result: ResultTable, trials: Sequence[Trial]) -> float:
    """The score in [0, 1]. Raises BadInput if its cost was counted by another engine than the gold's."""
    part = _part(gold)
    if result.facts.volatile:
        return 0.0
    right = _is_right(part, result, gold.rows()) and _holds_on_copies(part, trials)
    match part.kind:
        case "fix_broken_join":
            return 1.0 if right else 0.0
        case "category_revenue":
            joined = right or _join_matters(trials)
            return (JOIN if joined else 0.0) + (VALUE if right else 0.0)
        case "churn_analysis":
            return ACCURACY + EXECUTION * _saved(part, trials) if right else 0.0


def saved_share(cost: float, span: CostRange) -> float:
    """The share of the possible speed-up that is had: 0 at the cost of the query shown, 1 at the lean one's."""
    possible = span.slow / span.lean - 1
    return min(1.0, max(0.0, (span.slow / max(cost, 1.0) - 1) / possible)) if possible > 0 else 0.0


def cost_total(profile: Profile) -> float:
    """Rows scanned and made, and the bytes made at 64 to a row (services.grader.runtime.cost)."""
    cost = Cost(
        engine=profile.engine,
        rows_scanned=profile.rows_scanned,
        rows_made=profile.rows_made,
        bytes_made=profile.bytes_made,
        bytes_read=0,
        bytes_written=0,
    )
    return cost.total


def _part(gold: GoldAnswer) -> AnalystGold:
    if gold.analyst is None:
        raise BadInput(f"the gold of {gold.task_id} has no analyst's part, but its task is one for the analyst")
    return gold.analyst


def _is_right(part: AnalystGold, result: ResultTable, golds: Rows) -> bool:
    """The same bag, and so the same count; of a revenue, the first row, which has two columns."""
    if result.truncated or len(result.columns) != len(golds[0]):
        return False
    rows = result.rows[:1] if part.kind == "category_revenue" else result.rows
    return same_result(rows, golds, ordered=False)


def _holds_on_copies(part: AnalystGold, trials: Sequence[Trial]) -> bool:
    tried = {trial.order.database: trial.outcome for trial in trials if trial.order.purpose == "copy"}
    if set(tried) != {copy.database for copy in part.copies}:
        raise ValueError("a right result needs a trial on each hidden copy")
    return all(
        isinstance(found := tried[copy.database], ResultTable) and _is_right(part, found, copy.rows)
        for copy in part.copies
    )


def _join_matters(trials: Sequence[Trial]) -> bool:
    """Whether the statement gives something on a hidden copy that it no longer gives once the join is cut."""
    cut = next((trial for trial in trials if trial.order.purpose == "severed"), None)
    if cut is None or not isinstance(cut.outcome, ResultTable):
        return False
    whole = next(
        (t for t in trials if t.order.purpose == "copy" and t.order.database == cut.order.database),
        None,
    )
    if whole is None or not isinstance(whole.outcome, ResultTable) or not whole.outcome.rows:
        return False
    return _bag(cut.outcome.rows) != _bag(whole.outcome.rows)


def _bag(rows: Rows) -> Counter[str]:
    return Counter(map(json.dumps, rows))


def _saved(part: AnalystGold, trials: Sequence[Trial]) -> float:
    found = next((trial.outcome for trial in trials if trial.order.purpose == "cost"), None)
    if part.cost is None or found is None:
        raise ValueError("a cost is scored from a profile and the costs of the gold")
    if not isinstance(found, Profile):
        return 0.0
    if found.engine != part.cost.engine:
        raise BadInput(
            f"the costs of this task set are DuckDB {part.cost.engine}'s, not {found.engine}'s: make it again"
        )
    return saved_share(cost_total(found), part.cost)
