"""The process in which an agent's statements are judged, and its questions answered: confined like a measured one.

Its messages: `judged` or `refused`; then for a question `start` and `shown`, or `unready`, or `stopped`. The measured
process of services.grader.runtime.worker runs what was judged here. Standard library, duckdb and sqlglot only.
"""

import json
import logging
import os
import sys
from dataclasses import asdict
from typing import Any

from services.grader.etl.plantext import plan_lines
from services.grader.runtime.confine import confine
from services.grader.runtime.warden import supervise
from services.grader.runtime.worker import clock, tell, warm
from services.sandbox.rights import die_with_parent

CELL_CHARACTERS = 200
"""Of a value that is shown."""
WIDTH = 60
"""Columns of a result that are shown."""
Order = dict[str, Any]


def main(messages_fd: int) -> None:
    """Read the order from stdin and supervise the work."""
    die_with_parent()
    order: Order = json.load(sys.stdin)
    os.sched_setaffinity(0, {order["core"]})
    watched = supervise(lambda: run(order, messages_fd), order["deadline_s"])
    tell(messages_fd, {"watched": watched.as_message()})


def run(order: Order, messages_fd: int) -> None:
    """The life of the process."""
    import duckdb

    from services.grader.etl.frames import Refusal
    from services.grader.etl.writeguard import Scope, WriteGuard
    from services.grader.runtime.engine import Engine

    logging.getLogger("sqlglot").setLevel(logging.CRITICAL)
    files = [path for source in order["sources"] for path in source["paths"]]
    confine(order["folder"], order["memory_mb"] + order["headroom_mb"], order["file_mb"], files)
    tables = {name: frozenset(columns) for name, columns in order["scope"]["tables"].items()}
    guard = WriteGuard(Scope(**{**order["scope"], "tables": tables}))
    try:
        judged = [guard.query(order["query"])] if order["query"] else guard.statements(order["statements"])
    except Refusal as error:
        return tell(messages_fd, {"refused": {"reason": error.reason, "message": str(error)}})
    except (MemoryError, RecursionError):
        return tell(messages_fd, {"refused": {"reason": "too_long", "message": "it is too large to be read"}})
    tell(messages_fd, {"judged": [asdict(one) for one in judged]})
    if not order["query"]:
        return None
    try:
        warm(files)
        engine = Engine(order)
    except (OSError, duckdb.Error) as error:
        return tell(messages_fd, {"unready": str(error)[:500]})
    tell(messages_fd, {"start": clock()})
    try:
        shown = _answer(engine, order)
        tell(messages_fd, {"shown": {**shown, "end": clock()}})
    except (MemoryError, duckdb.OutOfMemoryException) as error:
        tell(messages_fd, {"stopped": "memory", "message": str(error)[:500]})
    except duckdb.Error as error:
        tell(messages_fd, {"stopped": engine.reason(error), "message": str(error)[:500]})
    return None


def _answer(engine: Any, order: Order) -> dict[str, object]:
    """The first rows of a query as text, or its plan."""
    query = order["query"].strip().rstrip(";")
    if order["how"]:
        rows, read = engine.ask(f"EXPLAIN ({order['how']}) FROM (\n{query}\n)")
        lines = (line for row in rows for line in plan_lines(str(row[1])))
        return {"plan": "\n".join(lines)[: order["characters"]], "bytes_read": read}
    kinds, _ = engine.ask(f"DESCRIBE FROM (\n{query}\n)")
    cells = ", ".join(f"left(#{at}::VARCHAR, {CELL_CHARACTERS})" for at in range(1, min(len(kinds), WIDTH) + 1))
    rows, read = engine.ask(f"SELECT {cells} FROM (\n{query}\n) LIMIT {order['rows'] + 1}")
    columns = [f"{name} {kind}" for name, kind, *_ in kinds[:WIDTH]]
    return {"columns": columns, "rows": rows[: order["rows"]], "more": len(rows) > order["rows"], "bytes_read": read}
