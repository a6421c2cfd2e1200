"""The official client against a policy server: completions, streams, tools, errors, models. No Ray."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import pytest
from hypothesis import given
from openai import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    InternalServerError,
    NotFoundError,
    OpenAI,
)

from services.contracts.actions import Action, Answer, SQLAction, argument_of
from services.contracts.observation import SQLObservation
from services.contracts.policy import AnalystTurn, AnyTurn
from services.policy.admission import Admission, digest
from services.policy.chat import messages_of, read_action
from services.policy.registry import policy_maker
from services.policy.tool_calls import Called, Function, Parameters, Tool, call_for, text_of_call
from tests.conftest import Down
from tests.openai_server import hosting
from tests.test_chat import ACTION

TOKEN = "a-token-of-some-length"
FIRST = "Question: How many orders are there?\n\ntables: orders\nSteps left: 15"
SAID: list[Any] = [{"role": "user", "content": FIRST}]
STATEMENT = SQLAction(sql_query="select 1", is_done=True)


class Broken:
    """A policy with a bug."""

    def act(self, turns: Sequence[AnyTurn]) -> list[Action]:
        raise ZeroDivisionError("secret")


class Teller:
    """Answers with the number of exchanges and the last result that it was told."""

    def act(self, turns: Sequence[AnyTurn]) -> list[Action]:
        return [self._one(turn) for turn in turns]

    def _one(self, turn: AnyTurn) -> Action:
        if isinstance(turn, AnalystTurn):
            return STATEMENT
        return Answer(value=f"{len(turn.history)}: {turn.observation.result}")


MAKERS = {**{name: policy_maker(name) for name in ("random", "heuristic")}, "teller": Teller}


def tool(name: str, *properties: str) -> Any:
    fields = {key: {"type": "string"} for key in properties}
    parameters = {"type": "object", "properties": fields, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": "", "parameters": parameters}}


TOOLS = [tool("describe", "table"), tool("sample", "table"), tool("query", "sql"), tool("answer", "value")]
ONE_TOOL = [tool("act", "action_type", "argument")]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    door = Admission(token_sha256=digest(TOKEN), request_bytes=50_000)
    with hosting({**MAKERS, "down": Down, "broken": Broken}, door) as url:
        yield url


@pytest.fixture(scope="module")
def client(url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=url, api_key=TOKEN, max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def long() -> Iterator[OpenAI]:
    """A client of a server that reads long requests."""
    with hosting(MAKERS) as url, OpenAI(base_url=url, api_key="none", max_retries=0) as client:
        yield client


def test_the_models_are_listed(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["random", "heuristic", "teller", "down", "broken"]


@pytest.mark.parametrize("seed", [0, 1, 2**60 - 3])
def test_the_same_seed_gives_the_same_reply(client: OpenAI, seed: int) -> None:
    replies = {
        client.chat.completions.create(model="random", messages=SAID, seed=seed).choices[0].message.content
        for _ in range(3)
    }
    assert len(replies) == 1


def test_other_seeds_give_other_replies(client: OpenAI) -> None:
    told = [client.chat.completions.create(model="random", messages=SAID, seed=seed) for seed in range(8)]
    assert len({reply.choices[0].message.content for reply in told}) > 1


@pytest.mark.parametrize("with_usage", [False, True])
def test_a_stream_adds_up_to_the_whole_reply(client: OpenAI, with_usage: bool) -> None:
    whole = client.chat.completions.create(model="heuristic", messages=SAID, seed=1)
    options: Any = {"include_usage": with_usage}
    stream = client.chat.completions.create(
        model="heuristic", messages=SAID, seed=1, stream=True, stream_options=options
    )
    chunks = list(stream)
    parts = [chunk.choices[0] for chunk in chunks if chunk.choices]
    assert parts[0].delta.role == "assistant"
    assert "".join(part.delta.content or "" for part in parts) == whole.choices[0].message.content
    assert [part.finish_reason for part in parts] == [None, None, "stop"]
    assert len({chunk.id for chunk in chunks}) == 1
    assert [chunk.usage for chunk in chunks if chunk.usage] == [whole.usage] * with_usage


@pytest.mark.parametrize("tools", [TOOLS, ONE_TOOL])
def test_an_action_is_a_call_of_the_tool_that_can_say_it(client: OpenAI, tools: Any) -> None:
    reply = client.chat.completions.create(model="heuristic", messages=SAID, seed=1, tools=tools).choices[0]
    assert (reply.finish_reason, reply.message.content) == ("tool_calls", None)
    assert reply.message.tool_calls is not None
    (call,) = reply.message.tool_calls
    assert call.type == "function"
    expected = {"table": "orders"} if tools is TOOLS else {"action_type": "DESCRIBE", "argument": "orders"}
    assert json.loads(call.function.arguments) == expected


def test_a_call_and_its_result_are_the_next_turns_history(client: OpenAI) -> None:
    asked = client.chat.completions.create(model="heuristic", messages=SAID, seed=1, tools=TOOLS).choices[0].message
    assert asked.tool_calls is not None
    result = {"role": "tool", "tool_call_id": asked.tool_calls[0].id, "content": "Step 1 done, 14 left. Result:\nid"}
    said: list[Any] = [*SAID, asked.model_dump(exclude_none=True), result]
    reply = client.chat.completions.create(model="teller", messages=said, seed=1)
    assert reply.choices[0].message.content == "ANSWER 1: id"


def test_a_streamed_call_adds_up_to_the_whole_call(client: OpenAI) -> None:
    with client.chat.completions.stream(model="heuristic", messages=SAID, seed=1, tools=TOOLS) as stream:
        (choice,) = stream.get_final_completion().choices
    assert choice.message.tool_calls is not None
    assert choice.message.tool_calls[0].function.name == "describe"
    assert json.loads(choice.message.tool_calls[0].function.arguments) == {"table": "orders"}


def test_no_tool_is_called_that_is_not_wanted_or_cannot_say_the_action(client: OpenAI) -> None:
    create = client.chat.completions.create
    for options in ({"tools": TOOLS, "tool_choice": "none"}, {"tools": [tool("weather", "city")]}):
        reply: Any = create(model="heuristic", messages=SAID, seed=1, **options)
        assert reply.choices[0].message.content == "DESCRIBE orders"
    named: Any = {"type": "function", "function": {"name": "query"}}
    for choice in ("required", named):
        with pytest.raises(BadRequestError, match="none of them can say"):
            create(model="heuristic", messages=SAID, tools=[TOOLS[2]], tool_choice=choice)


def test_an_analysts_action_is_a_tool_call_too(client: OpenAI) -> None:
    first = SQLObservation(question="How many?", schema={"t": {"a": "INTEGER"}}, task_id="one")
    turn = AnalystTurn(task_id="one", seed=0, first=first, history=())
    said: Any = [message.model_dump() for message in messages_of(turn)]
    whole = {"sql_query": "select 1", "is_done": True}
    for tools, arguments in (
        ([tool("go", "sql_query", "is_done")], whole),
        ([tool("run_sql", "sql"), tool("submit_sql", "sql")], {"sql": "select 1"}),
    ):
        reply = client.chat.completions.create(model="teller", messages=said, tools=tools).choices[0].message
        assert reply.tool_calls is not None
        assert reply.tool_calls[0].type == "function"
        call = reply.tool_calls[0].function
        assert json.loads(call.arguments) == arguments
        assert json.loads(text_of_call(Called(name=call.name, arguments=call.arguments))) == whole


@given(ACTION)
def test_an_action_comes_back_from_any_tool_as_it_went(action: Action) -> None:
    offers = [
        [Tool(type="function", function=Function(name=name, parameters=Parameters(properties={field: {}})))]
        for name, field in (("Describe", "table"), ("SAMPLE", "x"), ("query", "sql"), ("answer", "argument"))
    ]
    both = Parameters(properties={"action_type": {}, "argument": {}})
    for tools in [*offers, [Tool(type="function", function=Function(name="any", parameters=both))]]:
        call = call_for(action, tools)
        if call is not None and (isinstance(action, Answer) or argument_of(action).strip()):
            assert read_action(text_of_call(call)) == action


@pytest.mark.parametrize(
    ("changed", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "user", "content": "hello"}]}, "messages"),
        ({"messages": [{"role": "robot", "content": "hello"}]}, "messages.0.role"),
        ({"messages": [{"role": "user"}]}, "messages"),
        ({"n": 2}, "n"),
        ({"seed": "x"}, "seed"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"tools": [{"type": "function"}]}, "tools.0.function"),
        ({"model": "gpt"}, "model"),
    ],
)
def test_a_refusal_names_the_field(client: OpenAI, changed: dict[str, Any], param: str) -> None:
    kind = NotFoundError if param == "model" else BadRequestError
    with pytest.raises(kind) as caught:
        client.post("/chat/completions", cast_to=object, body={"model": "random", "messages": SAID, **changed})
    assert (caught.value.param, caught.value.type) == (param, "invalid_request_error")


@pytest.mark.parametrize(
    "said",
    [
        [{"role": "user", "content": "Question: " + "\n" * 40_000}],
        [{"role": "user", "content": FIRST}, {"role": "assistant", "content": "```" + "\n" * 40_000}],
        [{"role": "user", "content": "{" * 40_000}],
        [{"role": "user", "content": "x"}] * 4_097,
    ],
)
def test_what_is_made_to_be_slow_to_read_is_refused_like_the_rest(long: OpenAI, said: list[Any]) -> None:
    with pytest.raises(BadRequestError):
        long.with_options(timeout=20).chat.completions.create(model="random", messages=said)


@pytest.mark.parametrize("token", ["wrong", TOKEN[:-1], TOKEN + "x", "ä"])
def test_without_the_token_there_is_nothing_but_health(url: str, token: str) -> None:
    headers = [(b"Authorization", f"Bearer {token}".encode())]
    for method, path in (("GET", "/models"), ("POST", "/chat/completions"), ("GET", "/nothing")):
        answer = httpx.request(method, url + path, headers=headers)
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    assert httpx.get(url + "/models", headers={"Authorization": f"Basic {TOKEN}"}).status_code == 401
    assert httpx.get(url + "/models").status_code == 401


def test_a_wrong_token_is_the_clients_authentication_error(url: str) -> None:
    with OpenAI(base_url=url, api_key="wrong", max_retries=0) as stranger, pytest.raises(AuthenticationError):
        stranger.models.list()


@pytest.mark.parametrize("declared", [True, False])
def test_a_request_that_is_too_long_is_refused_before_it_is_kept(url: str, declared: bool) -> None:
    body = b'{"model": "random", "messages": "' + b"x" * 60_000
    content = body if declared else iter([body])
    answer = httpx.post(url + "/chat/completions", content=content, headers={"Authorization": f"Bearer {TOKEN}"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "request_too_large")


def test_a_too_long_request_is_a_status_error_of_the_client(client: OpenAI) -> None:
    with pytest.raises(APIStatusError) as caught:
        client.chat.completions.create(model="random", messages=[{"role": "user", "content": "x" * 60_000}])
    assert caught.value.status_code == 413


def test_a_policys_fault_and_a_policys_bug_are_server_errors(client: OpenAI) -> None:
    for model, status in (("down", 503), ("broken", 500)):
        with pytest.raises(InternalServerError) as caught:
            client.chat.completions.create(model=model, messages=SAID)
        assert (caught.value.status_code, caught.value.type) == (status, "server_error")
        assert "secret" not in str(caught.value)


def test_what_only_plays_explore_refuses_an_analysts_turn(client: OpenAI) -> None:
    said: list[Any] = [{"role": "user", "content": '{"question":"q","task_id":"t","schema":{}}'}]
    with pytest.raises(BadRequestError, match="plays explore tasks only"):
        client.chat.completions.create(model="heuristic", messages=said)


def test_health_asks_every_policy(url: str) -> None:
    assert httpx.get(url.removesuffix("/v1") + "/health").status_code == 500
    with hosting({**MAKERS, "down": Down}) as healthy:
        assert httpx.get(healthy.removesuffix("/v1") + "/health").json() == {"status": "ok"}
