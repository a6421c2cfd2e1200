"""The OpenAI wire format around policies: what a request must say, and how answers and refusals look.

Source: OpenAI API reference, "Create chat completion" and "List models"; errors are {"error": {message, type, code}}.
"""

from collections.abc import Iterable

from openai.types import CompletionUsage, Model
from openai.types.chat import ChatCompletion, ChatCompletionMessage
from openai.types.chat.chat_completion import Choice
from pydantic import ConfigDict, ValidationError

from services.contracts.errors import BadInput
from services.contracts.policy import AnyTurn, Decided, Usage, action_of, usage_of
from services.contracts.record import Record
from services.policy.chat import Message, turn_of, write_action


class ChatRequest(Record):
    """A chat completion request. What a policy has no use for (temperature, tools, …) is ignored."""

    model_config = ConfigDict(extra="ignore")

    model: str
    messages: tuple[Message, ...]
    seed: int | None = None
    user: str | None = None
    stream: bool | None = None
    n: int | None = None

    def turn(self) -> AnyTurn:
        """The turn to decide; `seed` is the episode's (0 if left out) and `user` its task id. Raises BadInput."""
        return turn_of(self.messages, self.seed or 0, self.user or "")


class ErrorDetail(Record):
    """What went wrong."""

    message: str
    type: str = "invalid_request_error"
    param: str | None = None
    code: str | None = None


class ErrorBody(Record):
    """OpenAI's error JSON."""

    error: ErrorDetail


class ModelList(Record):
    """OpenAI's list of models."""

    object: str = "list"
    data: tuple[Model, ...]


def read_request(body: bytes) -> ChatRequest:
    """The request of a body. Raises BadInput with the field that is wrong."""
    try:
        request = ChatRequest.model_validate_json(body)
    except ValidationError as error:
        detail = error.errors()[0]
        raise BadInput(f"{'.'.join(map(str, detail['loc'])) or 'body'}: {detail['msg']}") from error
    if request.stream:
        raise BadInput("stream: a policy answers at once, it does not stream")
    if request.n not in (None, 1):
        raise BadInput("n: a policy gives one choice")
    return request


def completion(request_id: str, created: int, model: str, decided: Decided) -> ChatCompletion:
    """The answer. Usage is zero for a policy that reads and writes no tokens."""
    message = ChatCompletionMessage(role="assistant", content=write_action(action_of(decided)))
    usage = usage_of(decided) or Usage(prompt_tokens=0, completion_tokens=0)
    return ChatCompletion(
        id=f"chatcmpl-{request_id}",
        object="chat.completion",
        created=created,
        model=model,
        choices=[Choice(index=0, message=message, finish_reason="stop")],
        usage=CompletionUsage(total_tokens=usage.prompt_tokens + usage.completion_tokens, **dict(usage)),
    )


def model_list(names: Iterable[str], created: int) -> ModelList:
    """The policies as OpenAI lists models."""
    return ModelList(data=tuple(Model(id=name, created=created, object="model", owned_by="assay") for name in names))
