"""The OpenAI wire format around policies: what a request must say, and how answers look.

Source: OpenAI API reference, "Create chat completion" and "List models".
"""

from collections.abc import Iterable, Iterator
from typing import Literal, TypeVar

from openai.types import CompletionUsage, Model
from openai.types.chat import ChatCompletion, ChatCompletionChunk, ChatCompletionMessage
from openai.types.chat.chat_completion import Choice
from openai.types.chat.chat_completion_chunk import Choice as Part
from openai.types.chat.chat_completion_chunk import ChoiceDelta
from openai.types.chat.chat_completion_message_function_tool_call import ChatCompletionMessageFunctionToolCall
from pydantic import ConfigDict, Field, ValidationError

from services.contracts.errors import BadInput
from services.contracts.policy import AnyTurn, Decided, Usage, action_of, usage_of
from services.contracts.record import Record
from services.policy.chat import Message, turn_of, write_action
from services.policy.tool_calls import Tool, ToolCall, call_for, text_of_call

Kind = TypeVar("Kind", bound=Record)
MOST_MESSAGES, MOST_TOOLS = 4096, 128
"""Each message of an episode holds all that was done before it: their number counts twice."""
DONE = "data: [DONE]\n\n"


class WrongRequest(BadInput):
    """A request that says something that cannot be answered; `param` is the field."""

    def __init__(self, param: str | None, message: str) -> None:
        super().__init__(message)
        self.param = param


class TextPart(Record):
    """A part of a message; text is all that a policy reads."""

    type: Literal["text"]
    text: str


class ChatMessage(Record):
    """A message as clients send it: its text whole or in parts, or a tool's call or result."""

    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | tuple[TextPart, ...] | None = None
    tool_calls: tuple[ToolCall, ...] | None = None

    def plain(self) -> Message:
        """The message without tools: a call is the text of its action, a result is what the user tells."""
        if self.role == "tool":
            return Message(role="user", content=self._text())
        if self.tool_calls:
            if len(self.tool_calls) > 1:
                raise WrongRequest("messages", "messages: an episode takes one tool call at a time")
            return Message(role=self.role, content=text_of_call(self.tool_calls[0].function))
        return Message(role=self.role, content=self._text())

    def _text(self) -> str:
        if self.content is None:
            raise WrongRequest("messages", f"messages: a message of {self.role} has no content")
        return self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)


class StreamOptions(Record):
    """What a stream holds besides the reply."""

    model_config = ConfigDict(extra="ignore")

    include_usage: bool | None = None


class NamedFunction(Record):
    """The name of a function."""

    name: str


class NamedTool(Record):
    """The tool that has to be called."""

    type: Literal["function"]
    function: NamedFunction


class Envelope(Record):
    """What decides where a request goes."""

    model_config = ConfigDict(extra="ignore")

    model: str
    stream: bool | None = None


class ChatRequest(Envelope):
    """A chat completion request to a policy. What a policy has no use for (temperature, …) is ignored."""

    messages: tuple[ChatMessage, ...] = Field(max_length=MOST_MESSAGES)
    seed: int | None = None
    user: str | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    tools: tuple[Tool, ...] | None = Field(default=None, max_length=MOST_TOOLS)
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None

    def turn(self) -> AnyTurn:
        """The turn to decide; `seed` is the episode's (0 if left out) and `user` its task id. Raises WrongRequest."""
        said = [message.plain() for message in self.messages]
        try:
            return turn_of(said, self.seed or 0, self.user or "")
        except BadInput as error:
            raise WrongRequest("messages", str(error)) from error

    def usable_tools(self) -> tuple[Tool, ...]:
        """The tools that the reply may call."""
        tools = self.tools or ()
        if isinstance(self.tool_choice, NamedTool):
            return tuple(tool for tool in tools if tool.function.name == self.tool_choice.function.name)
        return () if self.tool_choice == "none" else tools

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with the tokens that were used."""
        return bool(self.stream_options and self.stream_options.include_usage)


class ModelList(Record):
    """OpenAI's list of models."""

    object: str = "list"
    data: tuple[Model, ...]


def read_envelope(body: bytes) -> Envelope:
    """Where the request of a body goes. Raises WrongRequest with the field that is wrong."""
    return _read(body, Envelope)


def read_request(body: bytes) -> ChatRequest:
    """The request of a body. Raises WrongRequest with the field that is wrong."""
    request = _read(body, ChatRequest)
    if request.stream_options is not None and not request.stream:
        raise WrongRequest("stream_options", "stream_options: only allowed when stream is true")
    if request.n not in (None, 1):
        raise WrongRequest("n", "n: a policy gives one choice")
    return request


def _read(body: bytes, kind: type[Kind]) -> Kind:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join(map(str, detail["loc"]))
        raise WrongRequest(where or None, f"{where or 'body'}: {detail['msg']}") from error


def completion(request_id: str, created: int, request: ChatRequest, decided: Decided) -> ChatCompletion:
    """The answer. Usage is zero for a policy that reads and writes no tokens. Raises WrongRequest."""
    call = call_for(action_of(decided), request.usable_tools())
    if call is None and (request.tool_choice == "required" or isinstance(request.tool_choice, NamedTool)):
        raise WrongRequest("tools", "tools: none of them can say the action that the policy takes")
    usage = usage_of(decided) or Usage(prompt_tokens=0, completion_tokens=0)
    message = ChatCompletionMessage(role="assistant", content=None if call else write_action(action_of(decided)))
    if call is not None:
        made = {"id": f"call_{len(request.messages)}", "type": "function", "function": call.model_dump()}
        message.tool_calls = [ChatCompletionMessageFunctionToolCall.model_validate(made)]
    return ChatCompletion(
        id=f"chatcmpl-{request_id}",
        object="chat.completion",
        created=created,
        model=request.model,
        choices=[Choice(index=0, message=message, finish_reason="tool_calls" if call else "stop")],
        usage=CompletionUsage(total_tokens=usage.prompt_tokens + usage.completion_tokens, **dict(usage)),
    )


def events_of(whole: ChatCompletion, with_usage: bool) -> Iterator[str]:
    """The answer as server-sent events. A policy decides at once, so all of its text is in one chunk."""
    choice, message = whole.choices[0], whole.choices[0].message
    said = ChoiceDelta(content=message.content)
    if message.tool_calls:
        said = ChoiceDelta.model_validate({"tool_calls": [{"index": 0, **message.tool_calls[0].model_dump()}]})
    left_out = set() if with_usage else {"usage"}
    for delta in (ChoiceDelta(role="assistant"), said):
        yield _event(whole, [Part(index=0, delta=delta, finish_reason=None)], None, left_out)
    yield _event(whole, [Part(index=0, delta=ChoiceDelta(), finish_reason=choice.finish_reason)], None, left_out)
    if with_usage:
        yield _event(whole, [], whole.usage, left_out)
    yield DONE


def _event(whole: ChatCompletion, parts: list[Part], usage: CompletionUsage | None, left_out: set[str]) -> str:
    chunk = ChatCompletionChunk(
        id=whole.id,
        object="chat.completion.chunk",
        created=whole.created,
        model=whole.model,
        choices=parts,
        usage=usage,
    )
    return f"data: {chunk.model_dump_json(exclude_unset=True, exclude=left_out)}\n\n"


def model_list(names: Iterable[str], created: int) -> ModelList:
    """The policies as OpenAI lists models."""
    return ModelList(data=tuple(Model(id=name, created=created, object="model", owned_by="assay") for name in names))
