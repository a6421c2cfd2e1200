"""The actions of each environment as tools in OpenAI's form, and calls of them as actions.

Invariant: a call of any name with any arguments is an action or Malformed; nothing raises.
"""

import json
from collections.abc import Mapping
from typing import Literal, TypedDict, assert_never

from pydantic import JsonValue

from services.contracts.actions import (
    Action,
    AnalystAction,
    ExploreAction,
    Malformed,
    SQLAction,
    argument_of,
    make_action,
    parse_sql_action,
    writable,
)
from services.contracts.etl import EtlAction
from services.contracts.etl_parsing import etl_action, is_shallow, parse_etl_action
from services.contracts.frozen import FrozenJob
from services.contracts.record import Record

Setting = Literal["explore", "analyst", "etl"]
"""Where a model plays."""
ARGUMENTS = {"DESCRIBE": "table", "SAMPLE": "table", "QUERY": "sql", "ANSWER": "value"}
CHARACTERS = 200_000
"""What is read of a call; a longer one is torn, and malformed."""
RUN_SQL, SUBMIT_SQL = "run_sql", "submit_sql"


class Call(Record):
    """One tool call of a model: a name, and arguments as the text that it wrote."""

    name: str
    arguments: str


class FunctionTool(TypedDict):
    """A tool's function: what it is for, and its parameters as JSON Schema."""

    name: str
    description: str
    parameters: dict[str, JsonValue]


class Tool(TypedDict):
    """A tool in OpenAI's form."""

    type: Literal["function"]
    function: FunctionTool


def tools_of(setting: Setting) -> list[Tool]:
    """What a model may call."""
    match setting:
        case "explore":
            return _EXPLORE
        case "analyst":
            return _ANALYST
        case "etl":
            return _ETL
        case _:
            assert_never(setting)


def explore_call(call: Call) -> ExploreAction:
    """The action of a call: its one argument, under whatever name the model gave it."""
    call = _writable(call)
    fields = _fields(call)
    if fields is None:
        return Malformed(text=call.arguments, reason=f"the arguments of {call.name} are no JSON object")
    kind = call.name.strip().upper()
    if kind not in ARGUMENTS:
        return Malformed(text=f"{call.name} {call.arguments}", reason=f"no tool {call.name[:100]}")
    return make_action(kind, _only(fields, ARGUMENTS[kind]))


def analyst_call(call: Call) -> AnalystAction:
    """The analyst's action of a call."""
    call = _writable(call)
    fields = _fields(call)
    if fields is None:
        return Malformed(text=call.arguments, reason=f"the arguments of {call.name} are no JSON object")
    if isinstance(fields.get("is_done"), bool):
        return parse_sql_action(json.dumps({"sql_query": _only(fields, "sql_query"), "is_done": fields["is_done"]}))
    if call.name.strip().lower() not in (RUN_SQL, SUBMIT_SQL):
        return Malformed(text=f"{call.name} {call.arguments}", reason=f"no tool {call.name[:100]}")
    done = call.name.strip().lower() == SUBMIT_SQL
    return SQLAction(sql_query=writable(_only(fields, "sql")).strip(), is_done=done)


def etl_call(call: Call, frozen: FrozenJob, reasoning: str = "") -> EtlAction:
    """The ETL action of a call; `reasoning` is what was said beside it."""
    call = _writable(call)
    fields = _fields(call)
    if fields is None:
        return parse_etl_action(call.arguments, frozen)
    said: dict[str, object] = {"reasoning": reasoning} if reasoning else {}
    return etl_action({**said, **fields, "kind": call.name.strip().upper()}, frozen)


def call_of(action: Action | EtlAction) -> Call | None:
    """The call that an action would have been; None of what was no action."""
    if action.kind == "MALFORMED":
        return None
    if isinstance(action, SQLAction):
        name = SUBMIT_SQL if action.is_done else RUN_SQL
        return Call(name=name, arguments=json.dumps({"sql": action.sql_query}, ensure_ascii=False))
    if action.kind in ARGUMENTS:
        argument = {ARGUMENTS[action.kind]: argument_of(action)}  # type: ignore[arg-type]
        return Call(name=action.kind.lower(), arguments=json.dumps(argument, ensure_ascii=False))
    fields = action.model_dump(mode="json", exclude={"kind", "reasoning"}, exclude_defaults=True)
    return Call(name=action.kind.lower(), arguments=json.dumps(fields, ensure_ascii=False))


def _writable(call: Call) -> Call:
    return Call(name=writable(call.name[:CHARACTERS]), arguments=writable(call.arguments[:CHARACTERS]))


def _fields(call: Call) -> Mapping[str, object] | None:
    try:
        fields = json.loads(call.arguments or "{}", strict=False)
    except (ValueError, RecursionError):
        return None
    if isinstance(fields, str):  # some servers write the object twice
        return _fields(Call(name=call.name, arguments=fields)) if fields.lstrip().startswith("{") else None
    return fields if isinstance(fields, dict) and is_shallow(fields) else None


def _only(fields: Mapping[str, object], name: str) -> str:
    """The argument of that name, or the only one, as text; a list is written with commas."""
    found = fields.get(name, next(iter(fields.values())) if len(fields) == 1 else "")
    if isinstance(found, list):
        return ", ".join(_text(part) for part in found)
    return _text(found)


def _text(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    return json.dumps(value, ensure_ascii=False)


def _tool(name: str, description: str, **parameters: str | dict[str, JsonValue]) -> Tool:
    """A tool whose parameters are texts with a description, or schemas, all of them required."""
    schemas: dict[str, JsonValue] = {
        key: {"type": "string", "description": told} if isinstance(told, str) else told
        for key, told in parameters.items()
    }
    schema: dict[str, JsonValue] = {"type": "object", "properties": schemas, "required": list(schemas)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": schema}}


_EXPLORE = [
    _tool("describe", "The columns, types and row count of a table.", table="a table's name"),
    _tool("sample", "Five rows of a table.", table="a table's name"),
    _tool("query", "Run one SELECT statement (DuckDB); the first 20 rows are shown.", sql="one SELECT statement"),
    _tool("answer", "Give the final answer. It ends the episode.", value="a value, or a list with commas"),
]
_ANALYST = [
    _tool(RUN_SQL, "Run one SELECT statement (DuckDB); the first 5 rows are shown.", sql="one SELECT statement"),
    _tool(SUBMIT_SQL, "Hand in the statement that answers the question. It ends the episode.", sql="the statement"),
]
_ETL = [
    _tool("explain", "The plan of one statement over the sources.", sql="one SELECT statement"),
    _tool("analyze", "The profile of one statement, which is run for it.", sql="one SELECT statement"),
    _tool("probe", "The first rows of one read-only query over the sources.", sql="one SELECT statement"),
    _tool(
        "ready_probe",
        "A ready-made look at one column.",
        probe={"type": "string", "enum": ["skew", "cardinality", "nulls"]},
        table="a source's name",
        column="a column's name",
    ),
    _tool(
        "run",
        "Run a rewrite of the whole job in the sandbox and keep its output.",
        statements={"type": "array", "items": {"type": "string"}, "description": "all statements, in order"},
    ),
    _tool("verify", "Compare the output of the last run with production's."),
    _tool("submit", "Hand in what ran last. It ends the episode."),
]
