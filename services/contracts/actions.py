"""What an agent may do in the explore environment. Parsing never raises: what cannot be read is Malformed."""

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


ExploreAction = Annotated[Describe | Sample | Query | Answer | Malformed, Field(discriminator="kind")]

HISTORY_CHARACTERS = 200
_VERB = re.compile(r"\s*(DESCRIBE|SAMPLE|QUERY|ANSWER)\b[ \t]*[:=]?\s*(.*)\Z", re.IGNORECASE | re.DOTALL)
_NEED_ARGUMENT = frozenset({"DESCRIBE", "SAMPLE", "QUERY"})


def make_action(kind: str, argument: str) -> ExploreAction:
    """The action of an `action_type` and its `argument` (sqlenv-v1-spec §2.2), or Malformed."""
    verb, argument = kind.upper(), _writable(argument).strip()
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
            return Malformed(text=_writable(f"{kind} {argument}"), reason="expected DESCRIBE, SAMPLE, QUERY or ANSWER")


def parse_action(text: str) -> ExploreAction:
    """The action in `VERB argument`, or in a JSON object with action_type and argument."""
    text = _writable(text)
    if text.lstrip().startswith("{"):
        return _from_json(text)
    found = _VERB.match(text)
    if found is None:
        return Malformed(text=text, reason="expected DESCRIBE, SAMPLE, QUERY or ANSWER, then its argument")
    return make_action(found[1], found[2])


def _writable(text: str) -> str:
    """The text with U+FFFD for lone surrogates, which no UTF-8 file could hold."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


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


def argument_of(action: ExploreAction) -> str:
    """The text that the action carries."""
    match action:
        case Describe() | Sample():
            return action.table
        case Query():
            return action.sql
        case Answer():
            return action.value
        case Malformed():
            return action.text
        case _:
            assert_never(action)


def render_action(action: ExploreAction) -> str:
    """The action as one line of history: `VERB argument`."""
    return f"{action.kind} {argument_of(action)}"


def history_line(action: ExploreAction) -> str:
    """The action as an observation's `action_history` lists it: the first 200 characters."""
    return render_action(action)[:HISTORY_CHARACTERS]
