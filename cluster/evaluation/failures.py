"""Why episodes were not solved: one kind each, derived from verdict and steps by the DuckDB expression below.

A faulted episode has no kind: the machine failed, not the agent.
"""

from typing import Literal, get_args

import duckdb

from cluster.run import RunFolder
from services.contracts.errors import BadInput
from services.contracts.record import Record
from services.env_actor.rewards import PROGRESS

FailureKind = Literal[
    "deadline",
    "violation",
    "invalid_sql",
    "malformed",
    "no_submission",
    "blank_answer",
    "wrong_answer_from_right_rows",
    "near_miss",
    "no_query",
    "syntax_error",
    "missing_name",
    "engine_error",
    "refused",
    "timeout",
    "over_limit",
    "empty_result",
    "wrong_rows",
]
MEANINGS: dict[FailureKind, str] = {
    "deadline": "its statements ran for longer than the episode may",
    "violation": "it tried to break a rule",
    "invalid_sql": "what it submitted is no SQL",
    "malformed": "not one of its steps was an action",
    "no_submission": "it spent its steps without an answer",
    "blank_answer": "its answer was empty",
    "wrong_answer_from_right_rows": "a query of its own showed the gold, the answer said something else",
    "near_miss": "its best query was at least half way to the gold",
    "no_query": "it answered without a query",
    "syntax_error": "its last query did not parse",
    "missing_name": "its last query named a table or column that is not there",
    "engine_error": "its last query failed for another reason",
    "refused": "its last query was refused by the guard",
    "timeout": "its last query ran out of time",
    "over_limit": "its last query ran into another limit",
    "empty_result": "its last query found no rows",
    "wrong_rows": "its last query found other rows than the gold",
}
EXAMPLES = 3
NEAR = 0.5
_KINDS = f"""
WITH seen AS (
    SELECT episode_id, policy, verdict, steps[-1] AS final,
           list_filter(steps, lambda step: step.action = 'QUERY')[-1] AS query,
           len(list_filter(steps, lambda step: step.action <> 'MALFORMED')) AS actions,
           coalesce(list_sum(list_transform(steps, lambda step: step.progress)), 0) / {PROGRESS} AS nearness
    FROM read_parquet($files) WHERE reward IS NOT NULL AND verdict <> 'correct'
)
SELECT episode_id, policy, CASE
    WHEN verdict = 'resource_exceeded' THEN 'deadline'
    WHEN verdict IN ('violation', 'invalid_sql') THEN verdict
    WHEN actions = 0 THEN 'malformed'
    WHEN verdict = 'no_submission' THEN 'no_submission'
    WHEN final.action = 'ANSWER' AND trim(final.argument) = '' THEN 'blank_answer'
    WHEN nearness > 0.99 THEN 'wrong_answer_from_right_rows'
    WHEN nearness > {NEAR} - 0.01 THEN 'near_miss'
    WHEN query IS NULL THEN 'no_query'
    WHEN query.outcome = 'syntax' THEN 'syntax_error'
    WHEN query.outcome IN ('forbidden', 'too_long') THEN 'refused'
    WHEN query.outcome = 'timeout' THEN 'timeout'
    WHEN query.outcome IN ('memory', 'result_size', 'crash') THEN 'over_limit'
    WHEN query.outcome = 'sql_error' AND regexp_matches(query.error, 'does not exist|not found|does not have a column')
        THEN 'missing_name'
    WHEN query.outcome = 'sql_error' THEN 'engine_error'
    WHEN ends_with(query.result, '(no rows)') THEN 'empty_result'
    ELSE 'wrong_rows' END AS kind
FROM seen
"""


class Failure(Record):
    """The episodes of one policy that failed in one way; `share` is of all its graded episodes that failed."""

    policy: str
    kind: FailureKind
    episodes: int
    share: float
    examples: tuple[str, ...]


def read_failures(run: RunFolder) -> tuple[Failure, ...]:
    """By policy, the most frequent kind first. Raises BadInput for a damaged file."""
    files = [str(path) for path in run.files()]
    grouped = f"""SELECT policy, kind, count(*), count(*) / sum(count(*)) OVER (PARTITION BY policy),
                  list(episode_id ORDER BY episode_id)[:{EXAMPLES}]
                  FROM ({_KINDS}) GROUP BY policy, kind ORDER BY policy, count(*) DESC, kind"""
    with duckdb.connect() as connection:
        try:
            rows = connection.execute(grouped, {"files": files}).fetchall()
        except duckdb.Error as error:
            raise BadInput(f"{run.path}: {str(error).splitlines()[0]}") from error
    return tuple(
        Failure(policy=policy, kind=kind, episodes=episodes, share=share, examples=tuple(examples))
        for policy, kind, episodes, share, examples in rows
    )


FAILURE_KINDS: tuple[FailureKind, ...] = get_args(FailureKind)
