"""Actions read from text and written as text; reading never raises."""

import json
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from services.contracts.actions import (
    Answer,
    Describe,
    ExploreAction,
    Malformed,
    Query,
    Sample,
    argument_of,
    make_action,
    parse_action,
    render_action,
)
from services.contracts.statements import Cell, QueryFacts, ResultTable
from services.env_actor.render import CELL_CHARACTERS, ROWS_SHOWN, csv_field, csv_lines, result_text

ADAPTER: TypeAdapter[ExploreAction] = TypeAdapter(ExploreAction)

READ: list[tuple[str, ExploreAction]] = [
    ("DESCRIBE singer", Describe(table="singer")),
    ("describe singer", Describe(table="singer")),
    ("  \n DESCRIBE   singer \n", Describe(table="singer")),
    ("DESCRIBE: singer", Describe(table="singer")),
    ("DESCRIBE\tsinger", Describe(table="singer")),
    ("Describe = singer", Describe(table="singer")),
    ("SAMPLE order items", Sample(table="order items")),
    ("SAMPLE\nsinger", Sample(table="singer")),
    ("QUERY SELECT 1", Query(sql="SELECT 1")),
    ("QUERY\nSELECT a,\n  b\nFROM t;\n", Query(sql="SELECT a,\n  b\nFROM t;")),
    ("query: SELECT ':' ", Query(sql="SELECT ':'")),
    ('QUERY "ANSWER 5"', Query(sql='"ANSWER 5"')),
    ("QUERY(SELECT 1)", Query(sql="(SELECT 1)")),
    ("ANSWER 42", Answer(value="42")),
    ("answer: 42", Answer(value="42")),
    ("ANSWER=42", Answer(value="42")),
    ("ANSWER -42", Answer(value="-42")),
    ("ANSWER: :)", Answer(value=":)")),
    ("ANSWER", Answer(value="")),
    ("ANSWER  ", Answer(value="")),
    ('ANSWER [["a", 1]]', Answer(value='[["a", 1]]')),
    ("ANSWER a\nANSWER b", Answer(value="a\nANSWER b")),
    ('{"action_type": "ANSWER", "argument": "42"}', Answer(value="42")),
    ('{"action_type": "answer", "argument": ""}', Answer(value="")),
    (' {"action_type": "QUERY", "argument": " SELECT 1 "}', Query(sql="SELECT 1")),
    ('{"argument": "t", "action_type": "Describe", "why": "to see"}', Describe(table="t")),
    ('{"action_type": "SAMPLE", "argument": "t"}', Sample(table="t")),
]

NEEDS_VERB = "expected DESCRIBE, SAMPLE, QUERY or ANSWER, then its argument"
UNKNOWN = "expected DESCRIBE, SAMPLE, QUERY or ANSWER"
FIELDS = "expected the text fields action_type and argument"
MALFORMED: list[tuple[str, str]] = [
    ("", NEEDS_VERB),
    (" \n", NEEDS_VERB),
    ("SELECT 1", NEEDS_VERB),
    ("42", NEEDS_VERB),
    ("ANSWERS 42", NEEDS_VERB),
    ("ANSWER_42", NEEDS_VERB),
    ("ANSWER42", NEEDS_VERB),
    ("The ANSWER is 42", NEEDS_VERB),
    ('[{"action_type": "ANSWER", "argument": "42"}]', NEEDS_VERB),
    ("DESCRIBE", "DESCRIBE needs an argument"),
    ("sample  :  ", "SAMPLE needs an argument"),
    ("QUERY\n", "QUERY needs an argument"),
    ('{"action_type": "query", "argument": " "}', "QUERY needs an argument"),
    ("{", "not valid JSON"),
    ("{}{}", "not valid JSON"),
    ('{"a":' * 100_000, "not valid JSON"),
    ('{"action_type": "ANSWER", "argument": ' + "1" * 5_000 + "}", "not valid JSON"),
    ("{}", FIELDS),
    ('{"action_type": "ANSWER"}', FIELDS),
    ('{"action_type": "ANSWER", "argument": 42}', FIELDS),
    ('{"action_type": "ANSWER", "argument": null}', FIELDS),
    ('{"action_type": ["ANSWER"], "argument": "42"}', FIELDS),
    ('{"action_type": "DROP", "argument": "t"}', UNKNOWN),
    ('{"action_type": "DROP", "argument": ""}', UNKNOWN),
    ('{"action_type": "", "argument": ""}', UNKNOWN),
    ('{"action_type": " ANSWER ", "argument": "42"}', UNKNOWN),
    ('{"action_type": "MALFORMED", "argument": "42"}', UNKNOWN),
]


def case_id(case: object) -> str:
    return repr(case)[:40]


@pytest.mark.parametrize(("text", "action"), READ, ids=case_id)
def test_an_action_is_a_verb_and_its_argument_or_a_json_object(text: str, action: ExploreAction) -> None:
    assert parse_action(text) == action


@pytest.mark.parametrize(("text", "reason"), MALFORMED, ids=case_id)
def test_what_is_no_action_is_malformed_for_a_reason(text: str, reason: str) -> None:
    action = parse_action(text)
    assert isinstance(action, Malformed)
    assert action.reason == reason


def test_a_reason_does_not_repeat_what_the_agent_wrote() -> None:
    action = parse_action(json.dumps({"action_type": "x" * 100_000, "argument": ""}))
    assert isinstance(action, Malformed)
    assert len(action.reason) < 100


TEXTS = st.text(st.characters(), max_size=30)
OPENINGS = ("DESCRIBE", "sample", "Query", "ANSWER", "ſAMPLE", "descrıbe", "{", '{"action_type": "ANSWER", ')
VERBS = st.sampled_from(OPENINGS)


@given(st.one_of(TEXTS, st.tuples(VERBS, TEXTS).map("".join), st.tuples(VERBS, TEXTS).map(" ".join)))
@settings(max_examples=500)
def test_no_text_raises_and_every_action_can_be_written_to_a_file(text: str) -> None:
    action = parse_action(text)
    assert ADAPTER.validate_json(ADAPTER.dump_json(action)) == action
    assert render_action(action).startswith(action.kind)


@given(TEXTS, TEXTS)
def test_no_json_object_raises(kind: str, argument: str) -> None:
    for fields in (
        {"action_type": kind, "argument": argument},
        {"action_type": "ANSWER", "argument": argument},
        {kind: 1},
    ):
        for text in (json.dumps(fields), json.dumps(fields, ensure_ascii=False)):
            ADAPTER.dump_json(parse_action(text))
    ADAPTER.dump_json(make_action(kind, argument))


@pytest.mark.parametrize("text", ["ANSWER \ud800", '{"action_type": "ANSWER", "argument": "\\ud800"}', "\udfff",
                                  '{"action_type": "\\ud800", "argument": "x"}', '{"\ud800"'])  # fmt: skip
def test_a_lone_surrogate_does_not_reach_the_trajectory(text: str) -> None:
    assert "\ufffd" in argument_of(parse_action(text))


def test_other_planes_are_kept() -> None:
    assert parse_action("ANSWER 😀") == parse_action('{"action_type": "ANSWER", "argument": "\\ud83d\\ude00"}')


ARGUMENTS = st.text(max_size=20).map(str.strip).filter(lambda text: text != "" and text[0] not in ":=")
ACTIONS: st.SearchStrategy[ExploreAction] = st.one_of(
    ARGUMENTS.map(lambda text: Describe(table=text)), ARGUMENTS.map(lambda text: Sample(table=text)),
    ARGUMENTS.map(lambda text: Query(sql=text)), ARGUMENTS.map(lambda text: Answer(value=text)),
    st.just(Answer(value="")),
)  # fmt: skip


@given(ACTIONS)
def test_what_is_rendered_is_parsed_back(action: ExploreAction) -> None:
    assert parse_action(render_action(action)) == action
    assert make_action(action.kind.lower(), argument_of(action)) == action
    assert parse_action(json.dumps({"action_type": action.kind, "argument": argument_of(action)})) == action


def test_malformed_is_never_read_back_as_an_action() -> None:
    assert isinstance(parse_action(render_action(parse_action("SELECT 1"))), Malformed)


FIELDS_SHOWN: list[tuple[Cell, str]] = [
    (None, "NULL"), ("NULL", '"NULL"'), ("", '""'), ("a", "a"), ("a,b", '"a,b"'), ('a"b', '"a""b"'), (" a", '" a"'),
    ("a\nb", '"a\nb"'), (1.5, "1.5"), (True, "true"), ({"decimal": "1.50"}, "1.50"), ([1, 2], '"[1, 2]"'),
]  # fmt: skip


@pytest.mark.parametrize(("cell", "text"), FIELDS_SHOWN)
def test_a_field_tells_null_from_text(cell: Cell, text: str) -> None:
    assert csv_field(cell) == text


@given(st.one_of(st.none(), st.text(), st.integers(), st.text(string.whitespace + 'NUL",', max_size=5)))
def test_a_field_is_never_longer_than_its_cap(cell: Cell) -> None:
    assert len(csv_field(cell)) <= 2 * CELL_CHARACTERS + 40
    assert (csv_field(cell) == "NULL") is (cell is None)


def test_a_result_is_shown_by_its_first_rows() -> None:
    facts = QueryFacts(tables=(), columns=(), tree="", skeleton="", literals=(), from_data=True, volatile=False)
    rows: list[list[Cell]] = [[n] for n in range(50)]
    result = ResultTable(columns=("n",), types=("BIGINT",), rows=rows, facts=facts)
    assert result_text(result).endswith(f"(first {ROWS_SHOWN} of 50 rows)")
    assert result_text(result.model_copy(update={"truncated": True})).endswith("of more than 50 rows)")
    assert result_text(result.model_copy(update={"rows": []})) == "n\n(no rows)"
    assert result_text(result.model_copy(update={"rows": rows[:2]})) == csv_lines(("n",), rows[:2])
