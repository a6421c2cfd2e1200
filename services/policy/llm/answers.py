"""A chat completion as what was said in it. The client checks no types: anything may be anywhere."""

from collections.abc import Iterator

from services.contracts.errors import PolicyFault
from services.contracts.policy import Usage
from services.contracts.record import Record
from services.policy.llm.reading import Reply
from services.policy.llm.tools import Call

MOST_TOKENS = 1 << 40
FILTERED = "content_filter"


class Answered(Record):
    """A reply and the tokens that it took; None: the server does not say."""

    reply: Reply
    usage: Usage | None


def answered(answer: object, where: str) -> Answered:
    """What the first choice says. Raises PolicyFault for what is no chat completion."""
    choices = getattr(answer, "choices", None)
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = getattr(choice, "message", None)
    content = getattr(message, "content", None)
    if message is None or not isinstance(content, str | None):
        raise PolicyFault(f"{where} gave an answer that is no chat completion")
    refusal = _text(message, "refusal")
    if not refusal and getattr(choice, "finish_reason", None) == FILTERED:
        refusal = content or "(filtered)"
    calls = getattr(message, "tool_calls", None)
    reply = Reply(
        content=content or "",
        calls=tuple(_calls(calls)) if isinstance(calls, list) else (),
        thinking=_text(message, "reasoning_content") or _text(message, "reasoning"),
        refusal=refusal,
    )
    return Answered(reply=reply, usage=_usage(answer))


def _calls(calls: list[object]) -> Iterator[Call]:
    for call in calls:
        function = getattr(call, "function", None)
        name, arguments = getattr(function, "name", None), getattr(function, "arguments", None)
        if isinstance(name, str):
            yield Call(name=name, arguments=arguments if isinstance(arguments, str) else "")


def _text(message: object, name: str) -> str:
    found = getattr(message, name, None)
    return found if isinstance(found, str) else ""


def _usage(answer: object) -> Usage | None:
    """The tokens that the server says it took; None if it says nothing that can be one."""
    said = getattr(answer, "usage", None)
    counts = [getattr(said, name, None) for name in ("prompt_tokens", "completion_tokens")]
    prompt, completion = (count if isinstance(count, int) and 0 <= count < MOST_TOKENS else None for count in counts)
    if prompt is None or completion is None or not prompt + completion:
        return None
    return Usage(prompt_tokens=prompt, completion_tokens=completion)
