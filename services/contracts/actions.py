"""What an agent may do in each environment. Parsing never raises: what cannot be read is Malformed."""

import json
import re
from typing import Annotated, Literal, assert_never

from pydantic import Field

from services.contracts.record import Record


class Describe(Record):
    """Columns, types and row count of one table."""

    kind: Literal["DESCRIBE"] = "DESCRIBE"
    table: str


class Sample(Record):
    """Five rows of one table."""

    kind: Literal["SAMPLE"] = "SAMPLE"
    table: str


class Query(Record):
    """One SELECT statement."""

    kind: Literal["QUERY"] = "QUERY"
    sql: str


class Answer(Record):
    """The final answer; it ends the episode."""

    kind: Literal["ANSWER"] = "ANSWER"
    value: str


class Malformed(Record):
    """Something that is no action; it costs a step like any other mistake."""

    kind: Literal["MALFORMED"] = "MALFORMED"
    text: str
    reason: str


class SQLAction(Record):
    """The analyst's one action: a statement to run, and whether it is the submission (sql-data-analyst-prd §3)."""

    kind: Literal["SQL"] = "SQL"
    sql_query: str
    is_done: bool = False


ExploreAction = Annotated[Describe | Sample | Query | Answer | Malformed, Field(discriminator="kind")]
AnalystAction = Annotated[SQLAction | Malformed, Field(discriminator="kind")]
Action = Annotated[Describe | Sample | Query | Answer | SQLAction | Malformed, Field(discriminator="kind")]

HISTORY_CHARACTERS = 200
_VERB = re.compile(r"\s*(DESCRIBE|SAMPLE|QUERY|ANSWER)\b[ \t]*[:=]?\s*(.*)\Z", re.IGNORECASE | re.DOTALL)
_NEED_ARGUMENT = frozenset({"DESCRIBE", "SAMPLE", "QUERY"})

_DONE = re.compile(r"\s*DONE\b[ \t]*:?(.*)\Z", re.IGNORECASE | re.DOTALL)


def make_action(kind: str, argument: str) -> ExploreAction:
    """The action of an `action_type` and its `argument` (sqlenv-v1-spec §2.2), or Malformed."""
    verb, argument = kind.upper(), writable(argument).strip()
    if not argument and verb in _NEED_ARGUMENT:
        return Malformed(text=verb, reason=f"{verb} needs an argument")
    match verb:
        case "DESCRIBE":
            return Describe(table=argument)
        case "SAMPLE":
            return Sample(table=argument)
        case "QUERY":
            return Query(sql=argument)
        case "ANSWER":
            return Answer(value=argument)
        case _:
            return Malformed(text=writable(f"{kind} {argument}"), reason="expected DESCRIBE, SAMPLE, QUERY or ANSWER")


def parse_action(text: str) -> ExploreAction:
    """The action in `VERB argument`, or in a JSON object with action_type and argument."""
    text = writable(text)
    if text.lstrip().startswith("{"):
        return _from_json(text)
    found = _VERB.match(text)
    if found is None:
        return Malformed(text=text, reason="expected DESCRIBE, SAMPLE, QUERY or ANSWER, then its argument")
    return make_action(found[1], found[2])


def parse_sql_action(text: str) -> AnalystAction:
    """The analyst's action: a JSON object with sql_query and is_done, `DONE statement`, or a statement alone."""
    text = writable(text)
    if not text.lstrip().startswith("{"):
        found = _DONE.match(text)
        return SQLAction(sql_query=found[1].strip(), is_done=True) if found else SQLAction(sql_query=text.strip())
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return Malformed(text=text, reason="not valid JSON")
    sql, done = fields.get("sql_query"), fields.get("is_done", False)
    if not isinstance(sql, str) or not isinstance(done, bool):
        return Malformed(text=text, reason="expected the text field sql_query and the flag is_done")
    return SQLAction(sql_query=writable(sql).strip(), is_done=done)


def writable(text: str) -> str:
    """The text with U+FFFD for lone surrogates, which no UTF-8 file could hold."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _from_json(text: str) -> ExploreAction:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError):
        return Malformed(text=text, reason="not valid JSON")
    if not isinstance(fields, dict):
        return Malformed(text=text, reason="expected a JSON object")
    kind, argument = fields.get("action_type"), fields.get("argument")
    if not isinstance(kind, str) or not isinstance(argument, str):
        return Malformed(text=text, reason="expected the text fields action_type and argument")
    return make_action(kind, argument)


def argument_of(action: Action) -> str:
    """The text that the action carries."""
    match action:
        case Describe() | Sample():
            return action.table
        case Query():
            return action.sql
        case Answer():
            return action.value
        case SQLAction():
            return action.sql_query
        case Malformed():
            return action.text
        case _:
            assert_never(action)


def render_action(action: Action) -> str:
    """The action as one line of history: `VERB argument`; a submission of the analyst's begins with DONE."""
    if isinstance(action, SQLAction):
        return f"DONE {action.sql_query}".rstrip() if action.is_done else action.sql_query
    return f"{action.kind} {argument_of(action)}"


def history_line(action: Action) -> str:
    """The action as an observation's `action_history` lists it: the first 200 characters."""
    return render_action(action)[:HISTORY_CHARACTERS]
