"""The script of an oracle: each task's gold query, then its answer; of the analyst's the query alone. An upper bound.

It is written by an explicit command and played as `scripted:FILE`; no policy reads gold.
"""

import json
from pathlib import Path

from cluster.run import write_whole
from services.contracts.errors import BadInput
from services.env_actor.taskset import TaskSet
from services.grader.answers import submission
from services.grader.gold import GoldAnswer, read_gold
from services.policy.scripted import Script


def write_oracle(task_set: TaskSet, path: Path) -> int:
    """Write the script of every task that has gold; returns how many. Raises BadInput if the file is there."""
    if path.exists():
        raise BadInput(f"{path} is there already: name another FILE")
    golds = read_gold(task_set.gold_path)
    scripts = [_script(golds[task_id]).model_dump_json() + "\n" for task_id in task_set.tasks if task_id in golds]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, "".join(scripts))
    except OSError as error:
        raise BadInput(f"cannot write {path}: {error.strerror}") from error
    return len(scripts)


def _script(gold: GoldAnswer) -> Script:
    if gold.analyst is not None:
        return Script(task_id=gold.task_id, actions=(_submission(gold.gold_sql),))
    queries = [_action("QUERY", gold.gold_sql)] if gold.gold_sql else []
    return Script(task_id=gold.task_id, actions=(*queries, _action("ANSWER", submission(gold.gold_answer))))


def _submission(sql: str) -> str:
    return json.dumps({"sql_query": sql, "is_done": True}, ensure_ascii=False)


def _action(kind: str, argument: str) -> str:
    return json.dumps({"action_type": kind, "argument": argument}, ensure_ascii=False)
