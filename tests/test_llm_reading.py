"""What models write is read as what they mean, and nothing that they write raises."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.contracts.actions import Answer, Describe, ExploreAction, Malformed, Query, Sample, SQLAction
from services.contracts.etl import EtlMalformed, Probe, RunRewrite, Submit, Verify
from services.contracts.frozen import FrozenJob
from services.policy.llm.reading import Reply, analyst_action, explore_action, read_etl_reply
from services.policy.llm.tools import Call, call_of, explore_call

COUNT = Query(sql="SELECT count(*) FROM orders")
FROZEN = FrozenJob("4711")
PIECES = st.sampled_from(
    [
        "<think>",
        "</think>",
        "```sql\n",
        "```json\n",
        "```\n",
        "QUERY ",
        "ANSWER 7",
        "\nDESCRIBE orders",
        "Action: ",
        "**",
        "{",
        "}",
        '{"action_type": "QUERY", "argument": "SELECT 1"}',
        '{"sql_query": "SELECT 1", "is_done": true}',
        '{"kind": "RUN", "statements": ["SELECT 1"]}',
        '{"name": "answer", "arguments": {"value": [1, null, {"a": 1e999}]}}',
        "[" * 2000,
        '{"a":' * 2000,
        '{"kind": "RUN", "job": ' + "[" * 600 + "]" * 600 + "}",
        "9" * 5000,
        "\ud800",
        "\x00",
        "DONE SELECT 1;",
        "\n\n",
        "SELECT",
    ]
)
TEXT = st.one_of(st.text(max_size=60), st.lists(st.one_of(PIECES, st.text(max_size=8)), max_size=8).map("".join))
REPLIES = st.builds(
    Reply,
    content=TEXT,
    calls=st.lists(
        st.builds(
            Call,
            name=st.one_of(TEXT, st.sampled_from(["query", "answer", "run_sql", "submit_sql", "run", "verify"])),
            arguments=st.one_of(
                TEXT,
                st.recursive(
                    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
                    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
                    max_leaves=4,
                ).map(json.dumps),
            ),
        ),
        max_size=2,
    ).map(tuple),
    thinking=TEXT,
    refusal=st.one_of(st.just(""), TEXT),
)


@given(REPLIES)
def test_any_reply_is_an_action_that_can_be_stored(reply: Reply) -> None:
    for action, reasoning in (explore_action(reply), analyst_action(reply)):
        action.model_dump_json().encode()
        reasoning.encode()
    read_etl_reply(reply, FROZEN).model_dump_json().encode()


@given(
    st.sampled_from([Describe, Sample, Query, Answer]), st.text(min_size=1).filter(lambda text: text == text.strip())
)
def test_an_action_written_as_a_call_is_read_back(kind: type[Query], text: str) -> None:
    (field,) = set(kind.model_fields) - {"kind"}
    action: ExploreAction = kind.model_validate({field: text})
    call = call_of(action)
    assert call is not None
    assert explore_call(call) == action


@pytest.mark.parametrize(
    "said",
    [
        "QUERY SELECT count(*) FROM orders",
        "Let me count them.\n\nQUERY SELECT count(*) FROM orders;\n\nThis gives the number.",
        "<think>The answer may be 7.\nANSWER 7</think>\nQUERY SELECT count(*) FROM orders",
        "ANSWER 7 comes to mind, but first:</think>QUERY SELECT count(*) FROM orders",
        "```sql\nSELECT count(*) FROM orders\n```",
        "I count:\n```\nQUERY SELECT count(*) FROM orders\n```\nand then answer.",
        "QUERY\n```sql\nSELECT count(*) FROM orders\n```",
        "QUERY `SELECT count(*) FROM orders`",
        "**QUERY** SELECT count(*) FROM orders",
        "Action: QUERY SELECT count(*) FROM orders",
        "1. QUERY SELECT count(*) FROM orders\n2. ANSWER 411",
        "QUERY SELECT count(*) FROM orders\nANSWER 411",
        'Sure! {"action_type": "QUERY", "argument": "SELECT count(*) FROM orders"} Hope that helps.',
        '```json\n{"action": "query", "argument": "SELECT count(*) FROM orders"}\n```',
        '<tool_call>{"name": "query", "arguments": {"sql": "SELECT count(*) FROM orders"}}</tool_call>',
        "query SELECT count(*) FROM orders",
    ],
)
def test_a_query_is_found_in_whatever_surrounds_it(said: str) -> None:
    action, _ = explore_action(Reply(content=said))
    assert action == COUNT


@pytest.mark.parametrize(
    ("said", "action"),
    [
        ("ANSWER 411\n\nThere are 411 orders.", Answer(value="411")),
        ("DESCRIBE `orders`\nto see its columns", Describe(table="orders")),
        ("**ANSWER: Paris, Rome**", Answer(value="Paris, Rome")),
        ("", Malformed(text="", reason="the reply is empty")),
        ("<think>hm", Malformed(text="", reason="the reply is empty")),
    ],
)
def test_an_argument_ends_where_the_action_does(said: str, action: ExploreAction) -> None:
    assert explore_action(Reply(content=said))[0] == action


def test_reasoning_is_kept_beside_the_action_and_a_refusal_is_malformed() -> None:
    said = Reply(content="<think>b</think>\nLet me see.\nQUERY SELECT count(*) FROM orders", thinking="a")
    assert explore_action(said) == (COUNT, "a\nb\nLet me see.")
    refused, _ = explore_action(Reply(refusal="no, thanks"))
    assert refused == Malformed(text="no, thanks", reason="the model refused")


@pytest.mark.parametrize(
    ("said", "action"),
    [
        ('{"sql_query": "SELECT 1", "is_done": true}', SQLAction(sql_query="SELECT 1", is_done=True)),
        ('Done!\n```json\n{"sql_query": "SELECT 1", "is_done": false}\n```', SQLAction(sql_query="SELECT 1")),
        ("<think>{}</think>```sql\nSELECT 1\n```", SQLAction(sql_query="SELECT 1")),
        ("I am sure.\nDONE SELECT 1;", SQLAction(sql_query="SELECT 1", is_done=True)),
        ("SELECT 1", SQLAction(sql_query="SELECT 1")),
    ],
)
def test_an_analysts_statement_is_found(said: str, action: SQLAction) -> None:
    assert analyst_action(Reply(content=said))[0] == action


def test_tool_calls_are_read_whatever_the_arguments_are_called() -> None:
    call = Call(name="answer", arguments='{"answer": ["a", 2]}')
    assert explore_action(Reply(calls=(call, call)))[0] == Answer(value="a, 2")
    done = Call(name="submit_sql", arguments='{"sql": "SELECT 1"}')
    assert analyst_action(Reply(content="sure", calls=(done,))) == (
        SQLAction(sql_query="SELECT 1", is_done=True),
        "sure",
    )
    torn = Call(name="query", arguments='{"sql": "SELECT')
    assert isinstance(explore_action(Reply(calls=(torn,)))[0], Malformed)
    unknown = Call(name="rm", arguments="{}")
    assert "no tool rm" in explore_action(Reply(calls=(unknown,)))[0].model_dump_json()


def test_etl_replies_are_read_from_calls_and_from_text() -> None:
    run = Call(name="run", arguments='{"statements": ["SELECT 1"]}')
    assert read_etl_reply(Reply(content="because", calls=(run,)), FROZEN) == RunRewrite(
        statements=("SELECT 1",), reasoning="because"
    )
    said = 'First a look.\n```json\n{"kind": "probe", "sql": "SELECT 1"}\n```'
    assert read_etl_reply(Reply(content=said), FROZEN) == Probe(sql="SELECT 1", reasoning="First a look.\n```json")
    named = Reply(content='{"name": "verify", "arguments": {}}')
    assert read_etl_reply(named, FROZEN) == Verify()
    assert read_etl_reply(Reply(calls=(Call(name="submit", arguments=""),)), FROZEN) == Submit()
    frozen = read_etl_reply(Reply(calls=(Call(name="run", arguments='{"job_id": 4711}'),)), FROZEN)
    assert isinstance(frozen, EtlMalformed)
    assert "frozen" in frozen.reason


@pytest.mark.parametrize(
    "unit", ["<think>", "```sql\n", "``` ", "*", " ", "{", "QUERY", "\n", "`", "1. ", "DONE", "; ", '{"a": ', "\n*"]
)
@pytest.mark.timeout(60)  # a quadratic reader would take hours
def test_a_long_reply_is_read_in_the_end_whatever_it_repeats(unit: str) -> None:
    reply = Reply(content=unit * (200_000 // len(unit)))
    explore_action(reply)
    analyst_action(reply)
    read_etl_reply(reply, FROZEN)
