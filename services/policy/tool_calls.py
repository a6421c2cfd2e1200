"""A policy's action as a call of one of the tools that a request offers, and such a call as the text of an action.

Source: OpenAI API reference, "Create chat completion": `tools`, `tool_choice` and `tool_calls`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Literal, assert_never

from pydantic import ConfigDict, Field

from services.contracts.actions import (
    Action,
    Answer,
    Describe,
    ExploreAction,
    Malformed,
    Query,
    Sample,
    SQLAction,
    argument_of,
    make_action,
)
from services.contracts.record import Record
from services.policy.chat import write_action

_OWN_FIELD = {"DESCRIBE": "table", "SAMPLE": "table", "QUERY": "sql", "ANSWER": "value"}
_SQL_TOOLS = {"RUN_SQL": False, "SUBMIT_SQL": True}
"""The tools of an analyst, and whether a call of one submits."""
_GENERAL = ("action_type", "argument")


class Parameters(Record):
    """What of a tool's JSON Schema decides which argument is which."""

    model_config = ConfigDict(extra="ignore")

    properties: Mapping[str, object] = Field(default={})
    required: tuple[str, ...] = ()


class Function(Record):
    """A function that the client can call."""

    model_config = ConfigDict(extra="ignore")

    name: str
    parameters: Parameters = Parameters()


class Tool(Record):
    """A tool that a request offers."""

    model_config = ConfigDict(extra="ignore")

    type: Literal["function"]
    function: Function


class Called(Record):
    """A function's name and its arguments as JSON text, which may be anything."""

    model_config = ConfigDict(extra="ignore")

    name: str
    arguments: str


class ToolCall(Record):
    """One call in an assistant's message."""

    model_config = ConfigDict(extra="ignore")

    id: str
    function: Called


def call_for(action: Action, tools: Sequence[Tool]) -> Called | None:
    """The call that says the action, of the first tool that can; None if none can.

    A tool named after the verb takes the argument in its own property (table, sql, value), `argument` or the only one;
    any other tool can say an action if it has `action_type` and `argument`, or an analyst's if it has `sql_query`. An
    analyst's action goes to `run_sql` and `submit_sql` too, by whether it submits.
    """
    for tool in tools:
        arguments = _arguments(action, tool.function)
        if arguments is not None:
            return Called(name=tool.function.name, arguments=json.dumps(arguments, ensure_ascii=False))
    return None


def text_of_call(call: Called) -> str:
    """The text of the action that a call stands for; arguments that say none are the text, and so malformed."""
    try:
        fields = json.loads(call.arguments)
    except (ValueError, RecursionError):
        return call.arguments
    if not isinstance(fields, dict):
        return call.arguments
    if call.name.upper() in _SQL_TOOLS and isinstance(fields.get("sql"), str):
        fields = {"sql_query": fields["sql"], "is_done": _SQL_TOOLS[call.name.upper()]}
    if "sql_query" in fields:
        return json.dumps({key: fields[key] for key in ("sql_query", "is_done") if key in fields}, ensure_ascii=False)
    kind, argument = (fields.get(key) for key in _GENERAL) if set(_GENERAL) <= set(fields) else _of_verb(call, fields)
    if not isinstance(kind, str) or not isinstance(argument, str):
        return call.arguments
    return write_action(_explore_action(kind.upper(), argument))


def _arguments(action: Action, function: Function) -> Mapping[str, object] | None:
    properties = function.parameters.properties
    match action:
        case Malformed():
            return None
        case SQLAction():
            if _SQL_TOOLS.get(function.name.upper()) == action.is_done and "sql" in properties:
                return {"sql": action.sql_query}
            fits = "sql_query" in properties and ("is_done" in properties or not action.is_done)
            said: dict[str, object] = {"sql_query": action.sql_query, "is_done": action.is_done}
            return {key: value for key, value in said.items() if key in properties} if fits else None
        case Describe() | Sample() | Query() | Answer():
            if set(_GENERAL) <= set(properties):
                return dict(zip(_GENERAL, (action.kind, argument_of(action)), strict=True))
            place = _place(action.kind, function.parameters) if function.name.upper() == action.kind else None
            return None if place is None else {place: argument_of(action)}
        case _:
            assert_never(action)


def _place(kind: str, parameters: Parameters) -> str | None:
    """The property that takes the verb's argument."""
    for name in (_OWN_FIELD[kind], "argument"):
        if name in parameters.properties:
            return name
    names = parameters.required or tuple(parameters.properties)
    return names[0] if len(names) == 1 else None


def _of_verb(call: Called, fields: Mapping[str, object]) -> tuple[str | None, object]:
    """Verb and argument of a call of a tool that is named after its verb."""
    kind = call.name.upper()
    if kind not in _OWN_FIELD:
        return None, None
    texts = [value for value in fields.values() if isinstance(value, str)]
    return kind, fields.get(_OWN_FIELD[kind], fields.get("argument", texts[0] if len(texts) == 1 else None))


def _explore_action(kind: str, argument: str) -> ExploreAction:
    """The action with its argument to the letter, where `make_action` would strip it."""
    made = make_action(kind, argument)
    return made if isinstance(made, Malformed) else made.model_copy(update={_OWN_FIELD[kind]: argument})
