"""What a model wrote, as an action: out of fences, tags, JSON and prose; the first action counts.

Invariant: any text at all is an action or Malformed; nothing raises.
"""

import json
import re
from collections.abc import Callable, Iterator
from typing import TypeVar

from services.contracts.actions import (
    AnalystAction,
    ExploreAction,
    Malformed,
    Query,
    SQLAction,
    make_action,
    parse_action,
    parse_sql_action,
    writable,
)
from services.contracts.etl import EtlAction, EtlMalformed
from services.contracts.etl_parsing import etl_action, is_shallow, parse_etl_action
from services.contracts.frozen import FrozenJob
from services.contracts.record import Record
from services.policy.llm.tools import ARGUMENTS, Call, analyst_call, etl_call, explore_call

REASONING_CHARACTERS = 20_000
REPLY_CHARACTERS = 200_000
"""What is read of a reply; the rest is passed over."""
BRACES_TRIED = 64
_TAG = re.compile(r"<(/?)(?:think|thinking|thought|reasoning|scratchpad)>", re.IGNORECASE)
_FENCE = re.compile(r"```[ \t]{0,4}([A-Za-z]{0,20})[ \t]{0,4}\n(.*?)(?:```|\Z)", re.DOTALL)
_INLINE = re.compile(r"\A`{1,3}([^`]*)`{1,3}\Z", re.DOTALL)
_MARKS = r"^[ \t>*#`-]{0,16}(?:\d{1,3}[.)][ \t]{0,4})?(?:Action[ \t]{0,4}:[ \t]{0,4})?[*`\"]{0,4}"
"""What may stand before an action in its line: a quote, a list's number, bold print. Bounded, so that it reads fast."""
_VERB = re.compile(_MARKS + r"(DESCRIBE|SAMPLE|QUERY|ANSWER)\b[*`\"]{0,4}[ \t]{0,16}[:=]?[ \t]{0,16}", re.MULTILINE)
_DONE = re.compile(_MARKS + r"DONE\b[*`\"]{0,4}[ \t]{0,16}:?", re.MULTILINE)
_SQL_WORDS = re.compile(r"\s*(?:SELECT|WITH|FROM|VALUES|DESCRIBE|SHOW|SUMMARIZE|PIVOT|UNPIVOT|TABLE)\b", re.IGNORECASE)
_REFUSED = "the model refused"
Read = TypeVar("Read")


class Reply(Record):
    """What a model said: its text, its calls, what it thought aloud apart from them, and a refusal."""

    content: str = ""
    calls: tuple[Call, ...] = ()
    thinking: str = ""
    refusal: str = ""


def explore_action(reply: Reply) -> tuple[ExploreAction, str]:
    """The action of a reply, and the reasoning beside it."""
    said, body = _apart(reply)
    if reply.calls:
        return explore_call(reply.calls[0]), _joined(said, body)
    if reply.refusal:
        return Malformed(text=writable(reply.refusal[:REPLY_CHARACTERS]), reason=_REFUSED), said
    found = _first(body, _explore_candidates(body))
    if found is None:
        return _malformed(body, parse_action), said
    place, action = found
    return action, _joined(said, body[:place])


def analyst_action(reply: Reply) -> tuple[AnalystAction, str]:
    """The analyst's action of a reply, and the reasoning beside it."""
    said, body = _apart(reply)
    if reply.calls:
        return analyst_call(reply.calls[0]), _joined(said, body)
    if reply.refusal:
        return Malformed(text=writable(reply.refusal[:REPLY_CHARACTERS]), reason=_REFUSED), said
    found = _first(body, _analyst_candidates(body))
    if found is None:
        return _malformed(body, parse_sql_action), said
    place, action = found
    return action, _joined(said, body[:place])


def read_etl_reply(reply: Reply, frozen: FrozenJob) -> EtlAction:
    """The ETL action of a reply, with the reasoning beside it."""
    said, body = _apart(reply)
    if reply.calls:
        return etl_call(reply.calls[0], frozen, _joined(said, body))
    if reply.refusal:
        return EtlMalformed(text=writable(reply.refusal[:REPLY_CHARACTERS]), reason=_REFUSED, reasoning=said)
    for place, fields in _objects(body):
        beside = {"reasoning": _joined(said, body[:place])}
        kind = fields.get("kind", fields.get("name"))
        if isinstance(kind, str):
            inner = fields.get("arguments", fields.get("parameters"))
            told = inner if isinstance(inner, dict) else {k: v for k, v in fields.items() if k != "name"}
            return etl_action({**beside, **told, "kind": kind.strip().upper()}, frozen)
    if not body:
        return EtlMalformed(text="", reason="the reply is empty", reasoning=said)
    return parse_etl_action(body, frozen)


def _apart(reply: Reply) -> tuple[str, str]:
    """What was thought, and what was said. A tag that only opens, or only closes, is taken at its word."""
    text = writable(reply.content[:REPLY_CHARACTERS])
    thoughts, said, place, thinking = [writable(reply.thinking[:REPLY_CHARACTERS])], [], 0, False
    for tag in _TAG.finditer(text):
        part = text[place : tag.start()]
        if thinking or tag[1]:
            thoughts.append(part)
        else:
            said.append(part)
        thinking, place = not tag[1], tag.end()
    (thoughts if thinking else said).append(text[place:])
    return _joined(*thoughts), "".join(said).strip()


def _joined(*parts: str) -> str:
    return "\n".join(part.strip() for part in parts if part.strip())[:REASONING_CHARACTERS]


def _malformed(body: str, parse: Callable[[str], Read]) -> Read | Malformed:
    """What the strict reader makes of it: it reads lower-case verbs, and bare statements."""
    return parse(body) if body else Malformed(text="", reason="the reply is empty")


def _first(body: str, candidates: Iterator[tuple[int, Read]]) -> tuple[int, Read] | None:
    """The action that stands first in the text."""
    return min(candidates, key=lambda candidate: candidate[0], default=None)


def _explore_candidates(body: str) -> Iterator[tuple[int, ExploreAction]]:
    verbs = list(_VERB.finditer(body))
    for verb in verbs[:1]:
        end = verbs[1].start() if len(verbs) > 1 else len(body)
        yield verb.start(), make_action(verb[1], _argument(verb[1], body[verb.end() : end]))
    for place, fields in _objects(body):
        action = _explore_object(fields)
        if action is not None:
            yield place, action
            break
    for fence in _FENCE.finditer(body):
        if _SQL_WORDS.match(fence[2]) and fence[1].lower() in ("", "sql", "duckdb"):
            yield fence.start(), Query(sql=fence[2].strip())
            break


def _argument(verb: str, text: str) -> str:
    """The argument after a verb, out of its fence, and without what is said after it."""
    fence = _FENCE.search(text)
    if fence is not None and not text[: fence.start()].strip():
        return fence[2].strip()
    text = text.split("\n```")[0].strip()
    if verb == "QUERY":
        ended = re.search(r";[ \t]*(?:\n|\Z)", text)
        text = text[: ended.start()] if ended else text
    else:
        text = re.split(r"\n\s*\n" if verb == "ANSWER" else r"\n", text)[0]
    inline = _INLINE.match(text.strip().rstrip("*"))
    return (inline[1] if inline else text.strip().removesuffix("**")).strip()


def _explore_object(fields: dict[str, object]) -> ExploreAction | None:
    kind = next((fields[key] for key in ("action_type", "action", "name", "kind", "tool") if key in fields), None)
    if not isinstance(kind, str) or kind.strip().upper() not in ARGUMENTS:
        return None
    inner = fields.get("arguments", fields.get("parameters", fields.get("argument", fields.get("action_input"))))
    if isinstance(inner, dict):
        return explore_call(Call(name=kind, arguments=json.dumps(inner)))
    if inner is None:
        inner = fields.get(ARGUMENTS[kind.strip().upper()])
    return explore_call(Call(name=kind, arguments=json.dumps({"_": inner}))) if inner is not None else None


def _analyst_candidates(body: str) -> Iterator[tuple[int, AnalystAction]]:
    for place, fields in _objects(body):
        inner = fields.get("arguments", fields.get("parameters"))
        if "sql_query" in fields:
            yield place, parse_sql_action(json.dumps(fields))
            break
        if isinstance(fields.get("name"), str) and isinstance(inner, dict):
            yield place, analyst_call(Call(name=str(fields["name"]), arguments=json.dumps(inner)))
            break
    done = _DONE.search(body)
    if done is not None:
        yield done.start(), SQLAction(sql_query=_argument("QUERY", body[done.end() :]), is_done=True)
    for fence in _FENCE.finditer(body):
        if fence[1].lower() in ("", "sql", "duckdb") and not fence[2].lstrip().startswith("{"):
            yield fence.start(), parse_sql_action(fence[2])
            break


def _objects(body: str) -> Iterator[tuple[int, dict[str, object]]]:
    """The JSON objects in a text, in order; those inside of one that was read are passed over."""
    reader = json.JSONDecoder(strict=False)
    place = -1
    for _ in range(BRACES_TRIED):
        place = body.find("{", place + 1)
        if place < 0:
            return
        try:
            found, end = reader.raw_decode(body, place)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict) and is_shallow(found):
            yield place, found
        place = end - 1
