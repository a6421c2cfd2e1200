"""Judges statements one after another in a process like the one in which an agent's are judged (its `main`).

Each statement is judged as a question, as a statement of a rewrite, and as the query of one; a statement that ends the
process leaves no answer, and `judged_apart` goes on behind it.
"""

import json
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from services.grader.etl.asking import Scope, shared_core
from services.grader.runtime.confine import confine
from services.grader.runtime.launch import launch
from services.grader.runtime.running import own_folder
from services.grader.runtime.warden import supervise
from services.grader.runtime.worker import tell

DEADLINE_S = 400.0
FORMS = ("question", "statement", "table", "rows")


def main(messages_fd: int) -> None:
    """Read the statements from stdin and supervise the judging."""
    order = json.load(sys.stdin)
    os.sched_setaffinity(0, {order["core"]})
    watched = supervise(lambda: judge_all(order, messages_fd), DEADLINE_S)
    tell(messages_fd, {"watched": watched.as_message()})


def judge_all(order: dict[str, Any], messages_fd: int) -> None:
    """Tell, for every statement by its number, in which forms it was let through."""
    import duckdb

    from services.grader.etl.frames import Refusal
    from services.grader.etl.writeguard import Scope as GuardScope
    from services.grader.etl.writeguard import WriteGuard
    from services.sandbox.guard import parser_on

    logging.getLogger("sqlglot").setLevel(logging.CRITICAL)
    confine(order["folder"], 2048, 10)
    tables = {name: frozenset(columns) for name, columns in order["scope"]["tables"].items()}
    scope = GuardScope(**{**order["scope"], "tables": tables})
    output = order["scope"]["output"]
    parser = parser_on(duckdb.connect(config={"threads": 1}))
    for number, sql in order["statements"]:
        passed = []
        forms = (sql, (sql,), (f"CREATE TABLE {output} AS {sql}",), (f"INSERT INTO {output} {sql}",))
        for name, form in zip(FORMS, forms, strict=True):
            if name not in order["forms"]:
                continue
            guard = WriteGuard(scope, parser)
            try:
                guard.query(form) if isinstance(form, str) else guard.statements(form)
            except (Refusal, MemoryError, RecursionError):
                continue
            passed.append(name)
        tell(messages_fd, {str(number): passed})


def judged_apart(scope: Scope, statements: Sequence[str], forms: Sequence[str] = FORMS) -> dict[int, list[str]]:
    """The forms in which each statement, by its place, was let through; none for one that ended its process."""
    found: dict[int, list[str]] = {}
    left = list(enumerate(statements))
    while left:
        said = _launched(scope, left, forms)
        told = {int(key): forms for key, forms in said.items() if key.isdigit()}
        found |= told
        left = [one for one in left if one[0] not in told]
        if left and said["watched"]["end"] != "exited":
            found[left.pop(0)[0]] = []
        elif left:
            raise RuntimeError(f"the judge ended with {said['watched']}")
    return found


def _launched(scope: Scope, statements: Sequence[tuple[int, str]], forms: Sequence[str]) -> Mapping[str, Any]:
    with shared_core() as core, own_folder() as folder:
        order = {
            "core": core.number,
            "folder": str(folder),
            "scope": scope.model_dump(mode="json"),
            "statements": statements,
            "forms": forms,
        }
        return launch(order, core, folder, DEADLINE_S + 20, "tests.etl_corpus")
